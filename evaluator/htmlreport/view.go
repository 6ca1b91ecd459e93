package htmlreport

import (
	"html/template"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// pageRows is how many rows of the items the document holds at a time.
const pageRows = 50

// maxColumnWidth is the width in characters beyond which values of items are wrapped.
const maxColumnWidth = 28

// sectionView is a section with what the template cannot work out.
type sectionView struct {
	*Section
	Figures []figureView
	Items   *itemsView
}

type figureView struct {
	Figure
	URI           template.URL
	Width, Height int
}

// itemsView is the head and the first page of the items, for the template, and all of them, for the script.
type itemsView struct {
	Section   string // its ID
	Columns   []columnView
	Rows      []rowView
	Total     int
	Worst     string // the title of the column of the first order; empty without one
	Elsewhere string
	Data      itemsData
}

type columnView struct {
	Column
	Number  bool
	Width   int      // in characters: as wide as its widest value, so that no page moves the columns
	Choices []string // in order of appearance
	Sort    string   // aria-sort at the start
}

type rowView struct {
	Texts []string
	Opens bool
}

// itemsData is read by the script. A row is its values and its pictures.
type itemsData struct {
	Columns  []columnData `json:"columns"`
	Rows     [][2]any     `json:"rows"`
	PageRows int          `json:"pageRows"`
}

type columnData struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Number   bool   `json:"number,omitempty"`
	Decimals int    `json:"decimals,omitempty"`
	Lower    bool   `json:"lower,omitempty"` // is better
}

// number is a float64 in JSON: eight digits, null for NaN, and for an infinity a literal beyond every float64, which
// is read as one.
type number float64

// MarshalJSON never fails.
func (n number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte("null"), nil
	case math.IsInf(v, 1):
		return []byte("1e999"), nil
	case math.IsInf(v, -1):
		return []byte("-1e999"), nil
	default:
		return strconv.AppendFloat(nil, v, 'g', 8, 64), nil
	}
}

// view expects a valid section.
func (s *Section) view() (sectionView, error) {
	v := sectionView{Section: s}
	for _, f := range s.Figures {
		d, err := f.drawing()
		if err != nil {
			return v, err
		}
		if f.Alt == "" {
			f.Alt = f.Caption
		}
		uri := template.URL(d.uri()) //nolint:gosec // the data URI of an image, made here
		v.Figures = append(v.Figures, figureView{Figure: f, URI: uri, Width: d.width, Height: d.height})
	}
	if s.Items != nil {
		v.Items = s.Items.view()
		v.Items.Section = s.ID
	}
	return v, nil
}

func (it *Items) view() *itemsView {
	v := &itemsView{Total: len(it.Rows), Elsewhere: it.Elsewhere}
	v.Data = itemsData{PageRows: pageRows, Rows: make([][2]any, 0, len(it.Rows))}
	worst := it.worst()
	for i, c := range it.Columns {
		column := columnView{Column: c, Number: c.Kind == Number}
		for _, r := range it.Rows {
			text := c.text(r.Values[i])
			column.Width = max(column.Width, min(maxColumnWidth, utf8.RuneCountInString(text)))
			if c.Kind == Choice && text != "" && !slices.Contains(column.Choices, text) {
				column.Choices = append(column.Choices, text)
			}
		}
		if i == worst {
			column.Sort, v.Worst = it.direction(), c.Title
		}
		v.Columns = append(v.Columns, column)
		v.Data.Columns = append(v.Data.Columns, columnData{c.Name, c.Title, c.Kind == Number, c.Decimals, c.Better == Lower})
	}
	for n, r := range it.ordered() {
		row := rowView{Opens: len(r.Pictures) > 0}
		values := make([]any, len(it.Columns))
		for i, c := range it.Columns {
			row.Texts = append(row.Texts, c.text(r.Values[i]))
			values[i] = r.Values[i].Text
			if c.Kind == Number && !(math.IsNaN(r.Values[i].Number) && r.Values[i].Text != "") {
				values[i] = number(r.Values[i].Number)
			}
		}
		v.Data.Rows = append(v.Data.Rows, [2]any{values, shownData(r.Pictures)})
		if n < pageRows {
			v.Rows = append(v.Rows, row)
		}
	}
	return v
}

// shownData are pictures for the script: reference, title and, where there is one, note.
func shownData(pictures []Shown) [][]any {
	data := make([][]any, 0, len(pictures))
	for _, p := range pictures {
		one := []any{p.Picture, p.Title}
		if p.Note != "" {
			one = append(one, p.Note)
		}
		data = append(data, one)
	}
	return data
}

// level is the strength of a colour for the style sheet; empty for none.
func level(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
