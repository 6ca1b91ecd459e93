package study

import (
	"fmt"
	"os"
	"path/filepath"

	"stegomq/report"
	"stegomq/schemas"
)

// Overview is a table of several runs, a row for each: one model on one data set at one size.
type Overview []*Summary

// ReadOverview reads the summary.json files at the paths, or in the folders, in their order.
func ReadOverview(paths ...string) (Overview, error) {
	var o Overview
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, summaryFile)
		}
		s, err := readSummary(path)
		if err != nil {
			return nil, err
		}
		o = append(o, s)
	}
	return o, nil
}

// Table is the overview as a table. A wrong key is judged by its SSIM with the secret, and by how much that is above the baseline of the same
// pair. PSNR alone does not show leakage: noise around grey has a higher PSNR with a photograph than another photograph has.
func (o Overview) Table() *report.Table {
	b := &report.Table{Words: 4, Head: []string{"model", "keying", "data", "size", "pairs", "stego dB", "SSIM", "least dB (pair)", "recovered dB", "SSIM", "least dB (pair)", "wrong key dB", "SSIM", "SSIM above an unrelated image", "purified dB"}}
	psnr := func(g Group) string { return measured(g, fmt.Sprintf("%.2f", g.PSNR.Mean)) }
	ssim := func(g Group) string { return measured(g, fmt.Sprintf("%.3f", g.SSIM.Mean)) }
	least := func(g Group) string {
		if g.N == 0 {
			return measured(g, "")
		}
		return g.PSNR.Least("%.2f")
	}
	for _, s := range o {
		keying := s.Model.Keying
		if keying == "" {
			keying = schemas.KeyingWeights
		}
		name := s.Model.Name
		if n := len(s.UntrainedKeys); n > 0 {
			name += fmt.Sprintf(" (not trained with %d of %d keys)", n, len(s.Keys))
		}
		above := "-"
		if e := s.LeakageMismatched.Excess; e != nil {
			above = fmt.Sprintf("%+.3f", e.SSIM.Mean) + e.SSIM.CI95.Text("%+.3f")
		}
		stego, recovered, wrong := s.Imperceptibility, s.Recoverability, s.LeakageMismatched
		b.Rows = append(b.Rows, []string{
			name, keying, filepath.Base(s.Dataset.Path), fmt.Sprintf("%dx%d", s.Geometry.Width, s.Geometry.Height), fmt.Sprint(s.Dataset.Pairs),
			psnr(stego), ssim(stego), least(stego), psnr(recovered), ssim(recovered), least(recovered), psnr(wrong), ssim(wrong), above, psnr(s.Purification),
		})
	}
	return b
}

// measured is a figure of a group, or what became of its images instead.
func measured(g Group, figure string) string {
	switch {
	case g.N > 0 && g.Refused > 0:
		return figure + ", " + g.RefusedText()
	case g.N > 0:
		return figure
	case g.Refused > 0:
		return g.RefusedText()
	}
	return "-"
}
