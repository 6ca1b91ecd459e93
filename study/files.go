package study

import (
	"bytes"
	"fmt"
	"io/fs"
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
	var files []report.File
	for _, name := range []string{summaryFile, itemsFile, markdownFile, pageFile} {
		f, err := OneFile(name, dir, sum, scores)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return report.WriteFolder(dir, files)
}

// OneFile is one of the files that WriteFiles writes, with the images that are in dir; empty: without images.
func OneFile(name, dir string, sum *Summary, scores []*schemas.Score) (f report.File, err error) {
	f.Name = name
	switch name {
	case summaryFile:
		f.Data, err = report.JSON(sum)
	case itemsFile:
		f.Data, err = report.CSV(items(scores))
	case markdownFile:
		f.Data = []byte(sum.Document().Markdown())
	case pageFile:
		d, all := sum.Document(), NewItems(scores)
		all.Add(scores, dir)
		d.Sections = append(d.Sections, all.Section())
		var page bytes.Buffer
		err = d.HTML(&page, ReadImage)
		f.Data = page.Bytes()
	default:
		err = fs.ErrNotExist
	}
	if err != nil {
		err = fmt.Errorf("write %s: %w", name, err)
	}
	return f, err
}

// items is one row per comparison, with a column for the attack where there is any, and for each metric that any has. Numbers are written so
// that reading gives the same float64. The outcome is done or refused (schemas.End). A refused comparison has no test file, and its metrics are
// empty, which pandas reads as missing.
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
		row := []string{s.GetItem(), s.Role().Token(), s.GetEmbedKey(), s.GetDecodeKey(), reference, test}
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
