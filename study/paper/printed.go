package paper

import "strings"

// This file holds what the paper prints: Wei, Tseng, Lin, Tseng, Chen, "Multi-user multi-key image steganography with key
// isolation", its Table 1 and its Fig. 5.

// printedSets are the data sets of Table 1, in its order.
var printedSets = []string{"DIV2K", "COCO", "ImageNet"}

// printedCell is a cell of Table 1 for a data set: PSNR in dB, SSIM, MAE on [0,1], each for the key pairs a and b.
type printedCell struct{ PSNR, SSIM, MAE [2]float64 }

func cell(psnrA, psnrB, ssimA, ssimB, maeA, maeB float64) printedCell {
	return printedCell{[2]float64{psnrA, psnrB}, [2]float64{ssimA, ssimB}, [2]float64{maeA, maeB}}
}

// printedTable is Table 1: block, method, then the cells in the order of printedSets.
var printedTable = map[string]map[string][3]printedCell{
	blockImperceptibility: {
		MethodHiDDeN: {cell(24.82, 21.96, 0.817, 0.742, 0.045, 0.060), cell(25.51, 22.80, 0.831, 0.758, 0.040, 0.053), cell(25.09, 22.52, 0.823, 0.746, 0.043, 0.055)},
		MethodBaluja: {cell(27.06, 27.41, 0.906, 0.916, 0.036, 0.035), cell(27.86, 28.30, 0.913, 0.920, 0.032, 0.031), cell(27.13, 27.63, 0.903, 0.909, 0.036, 0.035)},
		MethodUDH:    {cell(30.18, 31.35, 0.887, 0.901, 0.024, 0.021), cell(30.56, 31.93, 0.879, 0.893, 0.023, 0.020), cell(30.35, 31.68, 0.871, 0.886, 0.024, 0.020)},
		MethodHiNet:  {cell(32.04, 31.66, 0.866, 0.865, 0.020, 0.021), cell(32.91, 32.63, 0.865, 0.864, 0.017, 0.018), cell(32.81, 32.54, 0.862, 0.861, 0.018, 0.018)},
		MethodPUSNet: {cell(38.07, 38.04, 0.969, 0.970, 0.009, 0.009), cell(38.74, 38.74, 0.967, 0.968, 0.009, 0.009), cell(38.35, 38.37, 0.962, 0.962, 0.009, 0.009)},
		MethodPUSNetMK: {cell(33.77, 33.65, 0.959, 0.957, 0.017, 0.017), cell(34.47, 34.40, 0.959, 0.958, 0.015, 0.015),
			cell(34.05, 33.93, 0.951, 0.950, 0.016, 0.016)},
	},
	blockRecoverability: {
		MethodHiDDeN: {cell(19.68, 21.92, 0.772, 0.738, 0.081, 0.063), cell(19.89, 22.52, 0.777, 0.737, 0.080, 0.056), cell(19.88, 22.15, 0.760, 0.725, 0.081, 0.059)},
		MethodBaluja: {cell(28.03, 27.89, 0.909, 0.904, 0.031, 0.032), cell(28.92, 28.80, 0.913, 0.908, 0.027, 0.028), cell(28.14, 28.05, 0.902, 0.898, 0.031, 0.032)},
		MethodUDH:    {cell(22.83, 26.38, 0.826, 0.872, 0.062, 0.039), cell(23.03, 26.92, 0.833, 0.860, 0.060, 0.036), cell(23.02, 26.83, 0.821, 0.855, 0.061, 0.037)},
		MethodHiNet:  {cell(25.88, 25.75, 0.826, 0.840, 0.040, 0.041), cell(26.31, 26.02, 0.815, 0.825, 0.038, 0.040), cell(26.11, 25.90, 0.808, 0.819, 0.039, 0.041)},
		MethodPUSNet: {cell(29.20, 29.23, 0.947, 0.948, 0.028, 0.028), cell(29.46, 29.34, 0.947, 0.947, 0.027, 0.028), cell(29.24, 29.09, 0.942, 0.942, 0.027, 0.028)},
		MethodPUSNetMK: {cell(32.21, 31.83, 0.949, 0.948, 0.019, 0.020), cell(33.17, 32.79, 0.952, 0.951, 0.017, 0.018),
			cell(32.64, 32.28, 0.946, 0.943, 0.018, 0.019)},
	},
	blockCross: {
		MethodHiDDeN: {cell(19.21, 20.67, 0.740, 0.730, 0.092, 0.071), cell(19.07, 21.18, 0.740, 0.730, 0.094, 0.064), cell(19.03, 20.89, 0.720, 0.720, 0.094, 0.067)},
		MethodBaluja: {cell(19.21, 20.00, 0.771, 0.792, 0.086, 0.080), cell(19.06, 19.70, 0.774, 0.788, 0.086, 0.082), cell(18.88, 19.43, 0.764, 0.779, 0.089, 0.085)},
		MethodUDH:    {cell(25.46, 22.30, 0.880, 0.830, 0.043, 0.065), cell(25.53, 22.36, 0.870, 0.830, 0.043, 0.065), cell(25.70, 22.42, 0.870, 0.820, 0.042, 0.065)},
		MethodHiNet:  {cell(25.88, 18.00, 0.830, 0.430, 0.040, 0.102), cell(26.31, 18.06, 0.820, 0.380, 0.038, 0.102), cell(26.11, 18.00, 0.810, 0.380, 0.039, 0.102)},
		MethodPUSNet: {cell(29.53, 28.36, 0.945, 0.943, 0.026, 0.031), cell(29.81, 28.55, 0.945, 0.942, 0.026, 0.030), cell(29.43, 28.46, 0.940, 0.938, 0.027, 0.030)},
		MethodPUSNetMK: {cell(8.67, 8.77, 0.153, 0.161, 0.312, 0.303), cell(8.51, 8.52, 0.215, 0.214, 0.315, 0.315),
			cell(8.48, 8.50, 0.207, 0.208, 0.318, 0.318)},
	},
}

// printedAt is the cell of Table 1, if the paper has it. The name of a data set may have any case.
func printedAt(block, method, set string) (printedCell, bool) {
	for i, name := range printedSets {
		if cells, ok := printedTable[block][method]; ok && strings.EqualFold(name, set) {
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

// publishedParameters are those of the public implementations, hiding and recovery together.
var publishedParameters = map[string]int{
	MethodHiDDeN: 582_342, MethodBaluja: 469_673, MethodUDH: 17_403_000, MethodHiNet: 4_050_240,
	MethodPUSNet: 4_879_107, MethodPUSNetMK: 4_879_107,
}

// PrintedCell is a cell of Fig. 5 in the paper: PSNR in dB, and SSIM.
type PrintedCell struct {
	PSNR float64 `json:"psnr"`
	SSIM float64 `json:"ssim"`
}

// printedMatrix is a confusion matrix of Fig. 5: row = the key that embedded, column = the key that decoded. Rows that the text of the
// paper does not have are missing at the end.
type printedMatrix struct {
	Keys  int
	Alpha float64
	Rows  [][]PrintedCell
}

// printedGrid is Fig. 5. The text of the paper repeats the second row of K = 2, an artefact of its layout, which is left
// out; of K = 4 it has no fourth row at alpha 0.9 and 0.7. It does not say on which data set it was measured.
var printedGrid = []printedMatrix{
	{2, 0.9, [][]PrintedCell{{{33.14, 0.951}, {8.95, 0.124}}, {{8.86, 0.120}, {33.09, 0.950}}}},
	{3, 0.9, [][]PrintedCell{
		{{25.33, 0.916}, {9.02, 0.124}, {8.86, 0.121}},
		{{8.94, 0.121}, {25.41, 0.916}, {8.86, 0.120}},
		{{8.94, 0.122}, {9.02, 0.125}, {25.09, 0.911}},
	}},
	{4, 0.9, [][]PrintedCell{
		{{29.47, 0.928}, {9.03, 0.126}, {8.86, 0.122}, {8.78, 0.120}},
		{{8.94, 0.122}, {29.31, 0.927}, {8.86, 0.122}, {8.78, 0.120}},
		{{8.94, 0.123}, {9.03, 0.127}, {29.16, 0.926}, {8.78, 0.120}},
	}},
	{2, 0.7, [][]PrintedCell{{{33.22, 0.951}, {8.94, 0.124}}, {{8.85, 0.120}, {33.12, 0.951}}}},
	{3, 0.7, [][]PrintedCell{
		{{28.91, 0.924}, {9.04, 0.127}, {8.88, 0.123}},
		{{8.95, 0.123}, {28.99, 0.924}, {8.87, 0.121}},
		{{8.95, 0.126}, {9.03, 0.125}, {28.98, 0.925}},
	}},
	{4, 0.7, [][]PrintedCell{
		{{20.19, 0.862}, {9.03, 0.125}, {8.86, 0.124}, {8.77, 0.120}},
		{{8.95, 0.122}, {20.04, 0.858}, {8.86, 0.121}, {8.79, 0.123}},
		{{8.96, 0.125}, {9.02, 0.125}, {20.13, 0.860}, {8.77, 0.120}},
	}},
	{2, 0.5, [][]PrintedCell{{{29.72, 0.924}, {8.96, 0.126}}, {{8.88, 0.120}, {28.90, 0.906}}}},
	{3, 0.5, [][]PrintedCell{
		{{26.50, 0.903}, {9.01, 0.121}, {8.84, 0.121}},
		{{8.92, 0.119}, {21.29, 0.859}, {8.84, 0.122}},
		{{8.92, 0.120}, {9.02, 0.125}, {23.85, 0.887}},
	}},
	{4, 0.5, [][]PrintedCell{
		{{23.92, 0.846}, {9.09, 0.133}, {8.90, 0.123}, {8.82, 0.121}},
		{{9.02, 0.126}, {21.93, 0.835}, {8.89, 0.118}, {8.80, 0.120}},
		{{9.02, 0.126}, {9.10, 0.127}, {24.3, 0.846}, {8.83, 0.126}},
		{{8.98, 0.122}, {9.08, 0.128}, {8.91, 0.130}, {22.13, 0.835}},
	}},
}

// printedMatrixAt are the rows of the matrix of Fig. 5 for K keys at alpha, nil where the paper has none.
func printedMatrixAt(keys int, alpha float64) [][]PrintedCell {
	for _, m := range printedGrid {
		if m.Keys == keys && near(m.Alpha, alpha) {
			return m.Rows
		}
	}
	return nil
}

// near says whether two shares are the same but for rounding.
func near(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }
