package paper

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/report"
	"stegomq/schemas"
)

// Differing is where a method of ours stands against the paper's figures on a data set, in one of its blocks.
type Differing struct {
	Method  string `json:"method"`
	DataSet string `json:"data_set"`
	Block   string `json:"block"`
	// Ours and Paper are of the key pairs a and b; PSNR in dB.
	Ours  [2]float64 `json:"ours_psnr"`
	Paper [2]float64 `json:"paper_psnr"`
	// PSNR and SSIM are ours less the paper's, the mean of both pairs.
	PSNR float64 `json:"psnr"`
	SSIM float64 `json:"ssim"`
	// Direction is of PSNR: higher, lower, or as printed, which is where our intervals hold both of the paper's figures.
	Direction string `json:"direction"`
	// Better says whether that direction is the better one; false for "as printed".
	Better bool `json:"better"`
}

// Where ours stands.
const (
	higher    = "higher"
	lower     = "lower"
	asPrinted = "as printed"
)

// Cause is what is likely to make a method differ.
type Cause struct {
	Method string   `json:"method"`
	Words  []string `json:"words"`
}

// differing lists every figure of the paper that we have one for. Pairs that were not both measured are left out.
func (t *Table1) differing() []Differing {
	all := []Differing{}
	for _, m := range t.Methods {
		for _, set := range t.DataSets {
			for _, kind := range paperBlocks {
				block := t.block(kind.name)
				lines := [2]*Line{block.line(m.Method, set.Name, "a"), block.line(m.Method, set.Name, "b")}
				d := Differing{Method: m.Method, DataSet: set.Name, Block: kind.name, Direction: asPrinted}
				complete := true
				for i, l := range lines {
					if l.PSNR.Ours == nil || l.PSNR.Paper == nil {
						complete = false
						break
					}
					d.Ours[i], d.Paper[i] = l.PSNR.Ours.Mean, *l.PSNR.Paper
					d.PSNR += (d.Ours[i] - d.Paper[i]) / 2
					d.SSIM += (l.SSIM.Ours.Mean - *l.SSIM.Paper) / 2
				}
				if !complete {
					continue
				}
				if !holds(lines[0].PSNR.Ours.CI95, d.Paper[0]) || !holds(lines[1].PSNR.Ours.CI95, d.Paper[1]) {
					d.Direction = lower
					if d.PSNR > 0 {
						d.Direction = higher
					}
					d.Better = d.PSNR*kind.better > 0
				}
				all = append(all, d)
			}
		}
	}
	return all
}

// causes says for every method that was measured what is likely to make it differ. The words depend on the figures.
func (r *Report) causes() []Cause {
	var all []Cause
	for _, m := range r.Table1.Methods {
		var of []Differing
		for _, d := range r.Differences {
			if d.Method == m.Method {
				of = append(of, d)
			}
		}
		var run Run
		for _, set := range r.Table1.DataSets {
			if made := r.study.run(m.Method, set.Name); made.Made() {
				run = made
				break
			}
		}
		if !run.Made() {
			all = append(all, Cause{m.Method, []string{"Not measured: " + m.Why + "."}})
			continue
		}
		words := r.budgetCause(m, of)
		if g := run.Summary.Geometry; len(of) > 0 && (g.Width != printedSide || g.Height != printedSide) {
			words = append(words, fmt.Sprintf("Measured at %dx%d, the paper at %dx%d: a smaller image has more detail in a pixel, and is harder to hide in and to recover.",
				g.Width, g.Height, printedSide, printedSide))
		}
		all = append(all, Cause{m.Method, append(words, r.methodCauses(m, of)...)})
	}
	return all
}

// budgetCause is about training and size.
func (r *Report) budgetCause(m Method, of []Differing) []string {
	t := m.Model.Training
	switch {
	case m.Model.Keying == schemas.KeyingCipher:
		return []string{"A classical method without training, added here: its figures are exact, and the paper has none."}
	case t == nil && m.Model.Keying == schemas.KeyingRotation:
		return []string{"A method without training, added here: the paper has none."}
	case t == nil:
		return []string{"The model is not trained (its weights are seed-initialised): its figures say nothing about the method."}
	}
	budget := fmt.Sprintf("trained for %.0f s and %d steps on %d images (%s)", t.Seconds, t.Steps, t.Images, t.Hardware)
	worst, best := 0, 0
	for _, d := range of {
		switch {
		case d.Direction == asPrinted || d.Block == blockCross:
		case d.Better:
			best++
		default:
			worst++
		}
	}
	var words []string
	switch {
	case worst > 0 && best == 0:
		words = append(words, fmt.Sprintf("Budget: ours was %s, the paper's for %s. It is the likeliest cause of what ours lacks.", budget, printedBudget))
	case worst > 0:
		words = append(words, fmt.Sprintf("Budget: ours was %s, the paper's for %s. It explains what ours lacks (%d of %d figures of hiding and recovery), and not what ours has more (%d): hiding and recovery are traded for each other, and ours stands elsewhere on that line.",
			budget, printedBudget, worst, worst+best, best))
	case best > 0:
		words = append(words, fmt.Sprintf("Budget is unlikely to be the cause: ours was %s, the paper's for %s, and ours is better. Another recipe, other losses or other test images are likelier.", budget, printedBudget))
	default:
		words = append(words, fmt.Sprintf("Ours was %s, the paper's for %s.", budget, printedBudget))
	}
	if published := publishedParameters[m.Method]; published > 0 && m.Model.Parameters > 0 {
		if share := float64(m.Model.Parameters) / float64(published); share < 0.9 || share > 1.1 {
			words = append(words, fmt.Sprintf("Network: ours has %d parameters, the published one %d.", m.Model.Parameters, published))
		}
	}
	if paperNet := m.Method == MethodPUSNet || m.Method == MethodPUSNetMK; paperNet && m.Model.Backbone != "" && m.Model.Backbone != "pusnet" {
		words = append(words, fmt.Sprintf("The backbone is %s and not the paper's: the mechanism is the same, the network is not.", m.Model.Backbone))
	}
	return words
}

// methodCauses are those of one method.
func (r *Report) methodCauses(m Method, of []Differing) []string {
	var words []string
	if refused, all := r.refusedKeys(m.Method); refused > 0 {
		words = append(words, fmt.Sprintf("Its recovery is authenticated: it refused wrong keys in %d of %d attempts, so that there is no image to compare with the secret or with the paper's.", refused, all))
	}
	cross := meanLess(of, blockCross)
	if m.Model.Keying == schemas.KeyingVariant && !math.IsNaN(cross) {
		how := "The paper does not say how a wrong key is given to a method without keys. Ours decodes with another user's network, trained from another seed, and shows "
		switch {
		case cross < 0:
			how += fmt.Sprintf("%.1f dB less of the secret than is printed: ours have less in common than whatever the paper decoded with.", -cross)
		default:
			how += fmt.Sprintf("%.1f dB more of the secret than is printed: ours have more in common than whatever the paper decoded with.", cross)
		}
		words = append(words, how)
	}
	switch m.Method {
	case MethodHiNet, MethodUDH:
		words = append(words, suspicion(m.Method)...)
	case MethodPUSNet:
		words = append(words, "The public code trains with a wrong gradient, ours with the right one: see the ablation.")
		if !math.IsNaN(cross) {
			words = append(words, r.singleKey(cross))
		}
	case MethodPUSNetMK:
		if !math.IsNaN(cross) {
			words = append(words, r.looksLikeCover())
		}
	}
	return words
}

// refusedKeys counts what a method refused of what wrong keys tried.
func (r *Report) refusedKeys(method string) (refused, all int) {
	for _, name := range []string{blockCross, blockRandom} {
		for _, l := range r.Table1.block(name).Lines {
			if l.Method == method {
				refused, all = refused+l.Refused, all+l.N+l.Refused
			}
		}
	}
	return refused, all
}

// meanLess is the mean difference of a block over the data sets, NaN for none.
func meanLess(of []Differing, block string) float64 {
	sum, n := 0.0, 0.0
	for _, d := range of {
		if d.Block == block {
			sum += d.PSNR
			n++
		}
	}
	return sum / n
}

// suspicion says what is odd in the printed rows of methods without keys.
func suspicion(method string) []string {
	recovered, cross := printedTable[blockRecoverability][method], printedTable[blockCross][method]
	if method == MethodHiNet {
		equal := 0
		for i := range printedSets {
			if cross[i].PSNR[0] == recovered[i].PSNR[0] {
				equal++
			}
		}
		return []string{fmt.Sprintf("Suspicion: the printed cross decoding of key pair a is to the digit its own recovery on %d of %d data sets, so a wrong key would change nothing; that of pair b is %.1f dB at an SSIM of %.2f.",
			equal, len(printedSets), cross[0].PSNR[1], cross[0].SSIM[1])}
	}
	nearer := 0
	for i := range printedSets {
		for p := range 2 {
			if v := cross[i].PSNR[p]; math.Abs(v-recovered[i].PSNR[1-p]) < math.Abs(v-recovered[i].PSNR[p]) {
				nearer++
			}
		}
	}
	return []string{fmt.Sprintf("Suspicion: the printed cross decoding follows the decoder: on %d of %d figures it is nearer to what the decoding pair recovers of its own images than to what the embedding pair recovers of these. A wrong key is then as good as the right one, or better.",
		nearer, 2*len(printedSets))}
}

// singleKey compares what a wrong key shows in PUSNet with what the right one does, here and in the paper.
func (r *Report) singleKey(cross float64) string {
	var ours, paper, n float64
	for _, set := range r.Table1.DataSets {
		for _, pair := range []string{"a", "b"} {
			x, y := r.Table1.block(blockCross).line(MethodPUSNet, set.Name, pair), r.Table1.block(blockRecoverability).line(MethodPUSNet, set.Name, pair)
			if x.PSNR.Ours == nil || x.PSNR.Paper == nil || y.PSNR.Ours == nil {
				continue
			}
			ours += x.PSNR.Ours.Mean - y.PSNR.Ours.Mean
			paper += *x.PSNR.Paper - *y.PSNR.Paper
			n++
		}
	}
	if n == 0 {
		return ""
	}
	verdict := "The same is seen here."
	if ours/n < -1 {
		verdict = "That is not so here: two keys of one network come to differ without an isolation loss."
	}
	return fmt.Sprintf("A wrong registered key shows %+.1f dB against the right one in the paper, %+.1f dB here (ours %+.1f dB against the printed cross decoding). %s",
		paper/n, ours/n, cross, verdict)
}

// looksLikeCover sets the printed cross decoding beside unrelated images.
func (r *Report) looksLikeCover() string {
	var words []string
	for _, set := range r.Table1.DataSets {
		l := r.Table1.block(blockCross).line(methodUnrelated, set.Name, "a")
		if c, ok := printedAt(blockCross, MethodPUSNetMK, set.Name); ok && l.PSNR.Ours != nil {
			words = append(words, fmt.Sprintf("unrelated images measure %.2f dB and SSIM %.3f on %s here, the paper prints %.2f and %.3f for a wrong key",
				l.PSNR.Ours.Mean, l.SSIM.Ours.Mean, set.Name, c.PSNR[0], c.SSIM[0]))
		}
	}
	return "Cross decoding depends on the images more than on the method, because what it shows looks like the cover: " +
		strings.Join(words, "; ") + ". Compare the excess over unrelated images and not the PSNR."
}

// notes are what a reader of the paper's printed figures should know; they follow from the figures in printed.go and, of
// unrelated images, from ours.
func (r *Report) notes() []string {
	low, high := math.Inf(1), math.Inf(-1)
	ssimLow, ssimHigh := math.Inf(1), math.Inf(-1)
	for _, c := range printedTable[blockCross][MethodPUSNetMK] {
		for p := range 2 {
			low, high = min(low, c.PSNR[p]), max(high, c.PSNR[p])
			ssimLow, ssimHigh = min(ssimLow, c.SSIM[p]), max(ssimHigh, c.SSIM[p])
		}
	}
	notes := []string{fmt.Sprintf("The paper's %.2f to %.2f dB and SSIM %.3f to %.3f for a wrong key of PUSNet-MK are about what any two unrelated photographs measure: they say that the output looks like the cover, and are no floor.",
		low, high, ssimLow, ssimHigh)}
	for _, l := range r.Table1.block(blockCross).Lines {
		if l.Method == methodUnrelated && l.PSNR.Ours != nil {
			notes = append(notes, fmt.Sprintf("On %s, unrelated images (cover against secret) measure %.2f dB, SSIM %.3f and MAE %.3f here, over %d pairs.",
				l.DataSet, l.PSNR.Ours.Mean, l.SSIM.Ours.Mean, l.MAE.Ours.Mean, l.N))
		}
	}
	notes = append(notes, "The paper does not say for how many keys and at which alpha the PUSNet-MK of its Table 1 was trained, nor on which data set its Fig. 5 was measured.")
	if within, between := printedColumns(); within < between {
		notes = append(notes, fmt.Sprintf("In the paper's Fig. 5 what stands beside the diagonal hangs on the column: within a column it varies by %.2f dB at most, along a row by up to %.2f dB. The rows are said to be the embedding keys; the figures look as if the secret of the decoding key's own pair were compared.", within, between))
	}
	if a, b := printedMatrixAt(3, 0.9), printedMatrixAt(4, 0.9); a != nil && b != nil {
		three, four := matrix(Scalability{Keys: 3, Alpha: 0.9}), matrix(Scalability{Keys: 4, Alpha: 0.9})
		notes = append(notes, fmt.Sprintf("In the paper's Fig. 5 more keys are not always worse: at alpha 0.9 the diagonal is %.1f dB for K = 3 and %.1f dB for K = 4. The spread between trainings is as large as the effect.",
			three.PaperDiagonal.Mean, four.PaperDiagonal.Mean))
	}
	return notes
}

// printedColumns is the largest spread of off-diagonal entries of the printed Fig. 5 within a column, and along a row.
func printedColumns() (column, row float64) {
	for _, m := range printedGrid {
		for i := range m.Keys {
			var down, along []float64
			for j := range m.Keys {
				if i != j && j < len(m.Rows) {
					down = append(down, m.Rows[j][i][0])
				}
				if i != j && i < len(m.Rows) {
					along = append(along, m.Rows[i][j][0])
				}
			}
			if len(down) > 0 {
				column = max(column, slices.Max(down)-slices.Min(down))
			}
			if len(along) > 0 {
				row = max(row, slices.Max(along)-slices.Min(along))
			}
		}
	}
	return column, row
}

// blockTitle is a block's name for people.
func blockTitle(name string) string {
	return strings.ReplaceAll(name, "_", " ")
}

// differenceTable is where ours stands against every printed figure.
func differenceTable(all []Differing) report.Table {
	t := report.Table{
		Title: "Ours less the paper's", Words: 3,
		Head:  []string{"method", "data set", "block", "ours a/b", "paper a/b", "PSNR dB", "SSIM", "in words"},
		Notes: []string{"As printed: our 95 % intervals hold the paper's figures of both key pairs."},
	}
	for _, d := range all {
		words := d.Direction
		if d.Direction != asPrinted {
			words += ", " + pick(d.Better, "better", "worse")
		}
		t.Rows = append(t.Rows, []string{
			d.Method, d.DataSet, blockTitle(d.Block), fmt.Sprintf("%.2f/%.2f", d.Ours[0], d.Ours[1]), fmt.Sprintf("%.2f/%.2f", d.Paper[0], d.Paper[1]),
			fmt.Sprintf("%+.2f", d.PSNR), fmt.Sprintf("%+.3f", d.SSIM), words,
		})
	}
	return t
}
