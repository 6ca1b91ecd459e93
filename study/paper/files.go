package paper

import (
	"strconv"

	"stegomq/report"
	"stegomq/report/stats"
)

// optional is a number, or nothing.
func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return report.Exact(*v)
}

// measured are the cells mean, deviation, and the interval's bounds; empty where there is no measurement.
func measured(m *stats.Moments) []string {
	switch {
	case m == nil:
		return []string{"", "", "", ""}
	case m.CI95 == nil:
		return []string{report.Exact(m.Mean), report.Exact(m.Std), "", ""}
	}
	return []string{report.Exact(m.Mean), report.Exact(m.Std), report.Exact(m.CI95.Low), report.Exact(m.CI95.High)}
}

var table1Head = []string{
	"block", "method", "data_set", "key_pair", "embed_key", "decode_key", "metric", "mean", "std", "ci95_low", "ci95_high", "n", "items", "refused",
	"paper", "why_not", "model", "parameters", "training_seconds", "training_steps", "training_images",
	"worst", "worst_pair", // of PSNR
}

// rows is the table in its long form: a row for each block, method, data set, key pair and metric.
func (t *Table1) rows() [][]string {
	rows := [][]string{table1Head}
	methods := make(map[string]Method)
	for _, m := range t.Methods {
		methods[m.Method] = m
	}
	for _, b := range t.Blocks {
		for _, l := range b.Lines {
			model := methods[l.Method].Model
			budget := []string{"", "", ""}
			if tr := model.Training; tr != nil {
				budget = []string{report.Exact(tr.Seconds), strconv.Itoa(tr.Steps), strconv.Itoa(tr.Images)}
			}
			parameters := ""
			if model.Parameters > 0 {
				parameters = strconv.Itoa(model.Parameters)
			}
			for _, m := range metrics {
				f := m.of(&l)
				row := []string{b.Name, l.Method, l.DataSet, l.KeyPair, l.EmbedKey, l.DecodeKey, m.name}
				row = append(row, measured(f.Ours)...)
				row = append(row, strconv.Itoa(l.N), strconv.Itoa(l.Items), strconv.Itoa(l.Refused), optional(f.Paper), l.Why, model.Name, parameters)
				worst := []string{"", ""}
				if l.Worst != nil && m.name == "psnr" {
					worst = []string{report.Exact(l.Worst.PSNR), l.Worst.Item}
				}
				rows = append(rows, append(append(row, budget...), worst...))
			}
		}
	}
	return rows
}
