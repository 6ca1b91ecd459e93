package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
)

// File is a file of a report; its name may have folders, with slashes.
type File struct {
	Name string
	Data []byte
}

// JSON is an indented value.
func JSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return out.Bytes(), err
}

// CSV is rows of a table, the first its head.
func CSV(rows [][]string) ([]byte, error) {
	var out bytes.Buffer
	err := csv.NewWriter(&out).WriteAll(rows)
	return out.Bytes(), err
}

// Exact writes a number so that reading gives the same float64.
func Exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Write writes a document into dir as NAME.md and, with what load gives, report.html, its figures as SVG and PNG, and value as NAME.json;
// and the other files. Each is written whole or not at all. Files of figures that could not be drawn are removed.
func (d *Document) Write(dir, name string, value any, load Loader, others ...File) error {
	whole, err := JSON(value)
	if err != nil {
		return fmt.Errorf("make %s.json: %w", name, err)
	}
	files, gone := d.files()
	files = append(files, File{name + ".json", whole}, File{name + ".md", []byte(d.Markdown())})
	if load != nil {
		var page bytes.Buffer
		if err := d.HTML(&page, load); err != nil {
			return fmt.Errorf("make report.html: %w", err)
		}
		files = append(files, File{"report.html", page.Bytes()})
	}
	return WriteFolder(dir, append(files, others...), gone...)
}
