package producer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"stegomq/internal/pixel"
)

// maxList bounds a list file, in bytes: some two million paths.
const maxList = 256 << 20

// headings are what the first line of a list may say instead of naming files.
var headings = [][]string{{"cover", "secret"}, {"path"}, {"file"}, {"filename"}, {"image"}}

// listFile reads a list: on each line the path of an image, or those of a cover and its secret behind a comma,
// relative to the folder of the list or absolute. The form is CSV, so that a path with a comma stands in quotes; a
// line that begins with # says nothing. The order is that of the lines.
func listFile(name string) (*listing, error) {
	data, err := File{Path: name}.read(maxList)
	if errors.Is(err, pixel.ErrTooManyBytes) {
		return nil, fmt.Errorf("%w: the list %s is larger than %d MiB: split it", ErrDataset, name, maxList>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the list %s: %s", ErrDataset, name, reasonOf(err))
	}
	wrong := func(line int, what string) error {
		return fmt.Errorf("%w: the list %s, line %d: %s", ErrDataset, name, line, what)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comment, r.TrimLeadingSpace, r.LazyQuotes, r.ReuseRecord = '#', true, true, true
	l := &listing{}
	for first := true; ; first = false {
		record, err := r.Read()
		var parse *csv.ParseError
		switch {
		case errors.Is(err, io.EOF) && len(l.entries) == 0:
			return nil, fmt.Errorf("%w: the list %s names no files", ErrDataset, name)
		case errors.Is(err, io.EOF):
			return l, nil
		case errors.Is(err, csv.ErrFieldCount) && errors.As(err, &parse):
			return nil, wrong(parse.Line, "some lines have one path and others two (a path with a comma in it stands in quotes)")
		case err != nil:
			return nil, fmt.Errorf("%w: the list %s: %w", ErrDataset, name, err)
		}
		line, _ := r.FieldPos(0)
		if len(record) > 2 {
			return nil, wrong(line, fmt.Sprintf("a line has one path, or a cover and a secret, and not %d", len(record)))
		}
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
		if first && slices.ContainsFunc(headings, func(h []string) bool { return slices.EqualFunc(h, record, strings.EqualFold) }) {
			continue
		}
		l.paired = len(record) == 2
		for _, field := range record {
			if field == "" {
				return nil, wrong(line, "a path is missing")
			}
			at := filepath.FromSlash(field)
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(name), at)
			}
			l.entries = append(l.entries, entry{name: field, file: File{Path: at}})
		}
	}
}
