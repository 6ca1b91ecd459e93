package paper

import (
	_ "embed"
	"encoding/json"
	"strings"
	"sync"

	"stegomq/report/figure"
)

//go:embed printed.json
var printedFile []byte

// printed is what the paper prints: Wei, Tseng, Lin, Tseng, Chen, "Multi-user multi-key image steganography with key isolation".
var printed = sync.OnceValue(func() (p struct {
	// Table1 is by block and method, then the cells in the order of printedSets.
	Table1 map[string]map[string][3]printedCell
	// Fig5: the text of the paper repeats the second row of K = 2, an artefact of its layout, which is left out; of K = 4 it has no fourth
	// row at alpha 0.9 and 0.7. It does not say on which data set it was measured.
	Fig5 []printedMatrix
	// Parameters are those of the public implementations, hiding and recovery together.
	Parameters map[string]int
}) {
	if err := json.Unmarshal(printedFile, &p); err != nil {
		panic(err) // the binary is broken
	}
	return p
})

// printedSets are the data sets of Table 1, in its order.
var printedSets = []string{"DIV2K", "COCO", "ImageNet"}

// printedCell is a cell of Table 1 for a data set: PSNR in dB, SSIM, MAE on [0,1], each for the key pairs a and b.
type printedCell struct{ PSNR, SSIM, MAE [2]float64 }

// printedAt is the cell of Table 1, if the paper has it. The name of a data set may have any case.
func printedAt(block, method, set string) (printedCell, bool) {
	for i, name := range printedSets {
		if cells, ok := printed().Table1[block][method]; ok && strings.EqualFold(name, set) {
			return cells[i], true
		}
	}
	return printedCell{}, false
}

// The budget of every model of the paper (section 4), and the size of its test images.
const (
	printedBudget = "500 epochs, one L40S"
	printedSide   = 512
)

// printedMatrix is a confusion matrix of Fig. 5: row = the key that embedded, column = the key that decoded. Rows that the text of the
// paper does not have are missing at the end.
type printedMatrix struct {
	Keys  int
	Alpha float64
	Rows  figure.Heat
}

// printedMatrixAt are the rows of the matrix of Fig. 5 for K keys at alpha, nil where the paper has none.
func printedMatrixAt(keys int, alpha float64) figure.Heat {
	for _, m := range printed().Fig5 {
		if m.Keys == keys && near(m.Alpha, alpha) {
			return m.Rows
		}
	}
	return nil
}

// near says whether two shares are the same but for rounding.
func near(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }
