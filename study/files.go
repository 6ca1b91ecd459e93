package study

import (
	"bytes"
	"fmt"
	"slices"

	"stegomq/internal/quality"
	"stegomq/report"
	"stegomq/schemas"
)

// WriteFiles writes summary.json, items.csv, report.md and report.html into dir, each whole or not at all. The file
// columns of items.csv name images relative to dir; SaveImages writes them, before the page shows them.
func WriteFiles(dir string, sum *Summary, scores []*schemas.Score) error {
	folder, err := report.OpenFolder(dir) // the page looks for images in it
	if err != nil {
		return err
	}
	folder.Close()
	files, err := Files(dir, sum, scores)
	if err != nil {
		return err
	}
	return report.WriteFolder(dir, files)
}

// Files are those that WriteFiles writes, with the images that are in dir; empty: without images.
func Files(dir string, sum *Summary, scores []*schemas.Score) ([]report.File, error) {
	table, err := report.CSV(items(scores))
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", itemsFile, err)
	}
	whole, err := report.JSON(sum)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", summaryFile, err)
	}
	d := sum.Document()
	all := NewItems(scores)
	all.Add(scores, dir)
	d.Sections = append(d.Sections, all.Section())
	var page bytes.Buffer
	if err := d.HTML(&page, ReadImage); err != nil {
		return nil, fmt.Errorf("write report.html: %w", err)
	}
	return []report.File{
		{Name: summaryFile, Data: whole}, {Name: itemsFile, Data: table}, {Name: "report.md", Data: []byte(d.Markdown())}, {Name: "report.html", Data: page.Bytes()},
	}, nil
}

// items is one row per comparison, with a column for the attack where there is any, and for each metric that any has. Numbers are written so
// that reading gives the same float64. The outcome is done or refused (schemas.End); of what was refused there is no test file, and
// the metrics are empty, which pandas reads as missing.
func items(scores []*schemas.Score) [][]string {
	some := func(has func(*schemas.Score) bool) bool { return slices.ContainsFunc(scores, has) }
	attacks := some(func(s *schemas.Score) bool { return s.GetAttack() != "" })
	var metrics []string
	for _, m := range quality.Metrics {
		if !m.Optional() || some(func(s *schemas.Score) bool { _, has := s.GetMetrics().Value(m.Name); return has }) {
			metrics = append(metrics, m.Name)
		}
	}
	head := append(append([]string{"item", "role", "embed_key", "decode_key", "reference_file", "test_file"}, metrics...), "outcome")
	if attacks {
		head = append(head, "attack")
	}
	rows := [][]string{head}
	for _, s := range scores {
		reference, test := imageFiles(s)
		if s.End() == schemas.EndRefused {
			test = ""
		}
		row := []string{s.GetItem(), s.GetRole().Token(), s.GetEmbedKey(), s.GetDecodeKey(), reference, test}
		for _, name := range metrics {
			cell := ""
			if v, measured := s.GetMetrics().Value(name); measured {
				cell = report.Exact(v)
			}
			row = append(row, cell)
		}
		row = append(row, string(s.End()))
		if attacks {
			row = append(row, s.GetAttack())
		}
		rows = append(rows, row)
	}
	return rows
}
