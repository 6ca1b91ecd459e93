package paper

import (
	"fmt"
	"slices"
	"strings"

	"stegomq/report"
)

// Deviation is how far a method of ours is from the paper's figures on a data set, in one of the paper's blocks.
type Deviation struct {
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

// The directions.
const (
	higher    = "higher"
	lower     = "lower"
	asPrinted = "as printed"
)

// deviations lists every figure of the paper that we have one for. Pairs that were not both measured are left out.
func (t *Table1) deviations() []Deviation {
	all := []Deviation{}
	for _, m := range t.Methods {
		for _, set := range t.DataSets {
			for _, kind := range paperBlocks {
				block := t.block(kind.name)
				lines := [2]*Line{block.line(m.Method, set.Name, "a"), block.line(m.Method, set.Name, "b")}
				d := Deviation{Method: m.Method, DataSet: set.Name, Block: kind.name, Direction: asPrinted}
				if slices.ContainsFunc(lines[:], func(l *Line) bool { return l.PSNR.Ours == nil || l.PSNR.Paper == nil }) {
					continue
				}
				for i, l := range lines {
					d.Ours[i], d.Paper[i] = l.PSNR.Ours.Mean, *l.PSNR.Paper
					d.PSNR += (d.Ours[i] - d.Paper[i]) / 2
					d.SSIM += (l.SSIM.Ours.Mean - *l.SSIM.Paper) / 2
				}
				if !lines[0].PSNR.Ours.CI95.Holds(d.Paper[0]) || !lines[1].PSNR.Ours.CI95.Holds(d.Paper[1]) {
					d.Direction, d.Better = pick(d.PSNR > 0, higher, lower), d.PSNR*kind.better > 0
				}
				all = append(all, d)
			}
		}
	}
	return all
}

// blockTitle is a block's name in a report.
func blockTitle(name string) string {
	return strings.ReplaceAll(name, "_", " ")
}

// differenceTable is ours less the paper's for every printed figure.
func differenceTable(all []Deviation) report.Table {
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
