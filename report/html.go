package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrDocument is the class of documents whose parts do not fit together. It is the caller's fault.
var ErrDocument = errors.New("document is not valid")

// pageRows is how many rows of the items the page holds at a time.
const pageRows = 50

// maxColumnWidth is the width in characters beyond which values of items are wrapped.
const maxColumnWidth = 28

// defaultRoom keeps a page of 500 items below 10 MB.
const defaultRoom = 6 << 20

var (
	//go:embed page.tmpl
	markup string
	//go:embed report.css
	style string
	//go:embed report.js
	script string
)

// page is what the template is given.
type page struct {
	*Document
	Style  template.CSS
	Script template.JS
	Digest string // of the script, as a content security policy names it
	Left   int    // thumbnails that there was no room for
}

// HTML writes the document as one HTML file. Pictures are got from load, which may be nil where there are none; those of matrices and
// of the worst items get the room first. Nothing is written of a document that is not valid: the error wraps ErrDocument. Other errors
// are the loader's and the writer's.
func (d *Document) HTML(w io.Writer, load Loader) error {
	if err := d.validate(); err != nil {
		return err
	}
	album, err := newAlbum(d.pictures(), load, cmp.Or(d.Room, defaultRoom))
	if err != nil {
		return fmt.Errorf("make the page's pictures: %w", err)
	}
	digest := sha256.Sum256([]byte(script))
	p := page{
		Document: d, Left: album.left,
		Style:  template.CSS(style), //nolint:gosec // our own file
		Script: template.JS(script), //nolint:gosec // our own file
		Digest: base64.StdEncoding.EncodeToString(digest[:]),
	}
	templates, err := template.New("page").Funcs(template.FuncMap{
		"json": jsonText, "level": level, "shown": album.shown, "numeric": Table.numeric, "class": Table.class, "drawn": drawn, "items": album.items,
	}).Parse(markup)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	err = templates.ExecuteTemplate(out, "content", p)
	// The pictures are data blocks: text to the browser until the script shows it. Base64 has no "<", so that nothing in one can end it.
	for number, picture := range album.pictures {
		if err == nil {
			_, err = fmt.Fprintf(out, "<script type=\"text/plain\" id=\"picture-%d\" data-width=\"%d\" data-height=\"%d\">%s</script>\n", number, picture.width, picture.height, picture.uri())
		}
	}
	if err == nil {
		err = templates.ExecuteTemplate(out, "end", p)
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// pictures are all that the document shows, in the order in which they get room: of matrices, and then of items, the worst first.
func (d *Document) pictures() (all []Picture) {
	for _, s := range d.Sections {
		for _, m := range s.Matrices {
			for _, row := range m.Cells {
				for _, c := range row {
					all = append(all, c.Pictures...)
				}
			}
		}
	}
	for _, s := range d.Sections {
		if s.Items != nil {
			for _, r := range s.Items.ordered() {
				all = append(all, r.Pictures...)
			}
		}
	}
	return all
}

// figureView is a figure with its image.
type figureView struct {
	Figure
	URI           template.URL
	Width, Height int
}

func drawn(f Figure) (figureView, error) {
	if f.Why != "" {
		return figureView{Figure: f}, nil
	}
	d, err := f.drawing()
	if err != nil {
		return figureView{}, fmt.Errorf("figure %q: %w", f.Name, err)
	}
	uri := template.URL(d.uri()) //nolint:gosec // the data URI of an image, made here
	return figureView{f, uri, d.width, d.height}, nil
}

// itemsView is the items for the template: their head and the first page. As JSON it is all of them, for the script.
type itemsView struct {
	Columns  []columnView `json:"columns"`
	All      [][2]any     `json:"rows"` // of each row its values and its pictures
	PageRows int          `json:"pageRows"`

	Section   string    `json:"-"` // its ID
	Rows      []rowView `json:"-"`
	Worst     string    `json:"-"` // the title of the column of the first order; empty without one
	Elsewhere string    `json:"-"`
}

type columnView struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Number   bool     `json:"number,omitempty"`
	Decimals int      `json:"decimals,omitempty"`
	Lower    bool     `json:"lower,omitempty"` // is better
	Width    int      `json:"-"`               // in characters: as wide as its widest value, so that no page moves the columns
	Choices  []string `json:"-"`               // in order of appearance
	Sort     string   `json:"-"`               // aria-sort at the start
}

type rowView struct {
	Texts []string
	Opens bool
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

func (a *album) items(section string, it *Items) *itemsView {
	v := &itemsView{PageRows: pageRows, All: make([][2]any, 0, len(it.Rows)), Section: section, Elsewhere: it.Elsewhere}
	worst := it.worst()
	for i, c := range it.Columns {
		column := columnView{Name: c.Name, Title: c.Title, Number: c.Kind == Number, Decimals: c.Decimals, Lower: c.Better == Lower}
		for _, r := range it.Rows {
			text := c.text(r.Values[i])
			column.Width = max(column.Width, min(maxColumnWidth, utf8.RuneCountInString(text)))
			if c.Kind == Choice && text != "" && !slices.Contains(column.Choices, text) {
				column.Choices = append(column.Choices, text)
			}
		}
		if i == worst {
			v.Worst, column.Sort = c.Title, "ascending"
			if column.Lower {
				column.Sort = "descending"
			}
		}
		v.Columns = append(v.Columns, column)
	}
	for n, r := range it.ordered() {
		shown := a.shown(r.Pictures)
		row := rowView{Opens: len(shown) > 0}
		values := make([]any, len(it.Columns))
		for i, c := range it.Columns {
			row.Texts = append(row.Texts, c.text(r.Values[i]))
			values[i] = r.Values[i].Text
			if c.Kind == Number && !(math.IsNaN(r.Values[i].Number) && r.Values[i].Text != "") {
				values[i] = number(r.Values[i].Number)
			}
		}
		v.All = append(v.All, [2]any{values, shown})
		if n < pageRows {
			v.Rows = append(v.Rows, row)
		}
	}
	return v
}

// level is the strength of a colour for the style sheet; empty for none.
func level(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// jsonText is JSON for an attribute, which the template escapes.
func jsonText(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

var anchor = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// usable says whether a name can be an anchor or stand in a link: it is none that the page itself uses.
func usable(name string) bool {
	own := []string{"viewer", "viewer-title", "text", "sort", "page"}
	return anchor.MatchString(name) && !slices.Contains(own, name) && !strings.HasPrefix(name, "picture-")
}

// validate names everything that is wrong, not only the first.
func (d *Document) validate() error {
	var wrong []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrDocument}, args...)...))
		}
	}
	names := func() func(what, name string) {
		seen := make(map[string]bool)
		return func(what, name string) {
			fail(!usable(name) || seen[name], "a %s cannot be named %q, or two are", what, name)
			seen[name] = true
		}
	}
	anchor := names()
	for _, s := range d.Sections {
		anchor("section", s.ID)
		for _, f := range s.Figures {
			anchor("figure", f.Name)
		}
		for _, t := range s.Tables {
			for i, row := range t.Rows {
				fail(len(row) != len(t.Head), "table %q: row %d has %d cells for %d columns", t.Title, i, len(row), len(t.Head))
			}
		}
		for _, m := range s.Matrices {
			fail(len(m.Cells) != len(m.Rows), "matrix %q has %d rows and names %d", m.Title, len(m.Cells), len(m.Rows))
			for i, row := range m.Cells {
				fail(len(row) != len(m.Columns), "matrix %q: row %d has %d cells for %d columns", m.Title, i, len(row), len(m.Columns))
			}
		}
		if it := s.Items; it != nil {
			fail(it.Worst != "" && it.worst() < 0, "items: the worst of %q cannot come first: it is no Number with a Better", it.Worst)
			column := names()
			for _, c := range it.Columns {
				column("column", c.Name)
			}
			for i, r := range it.Rows {
				fail(len(r.Values) != len(it.Columns), "items: row %d has %d values for %d columns", i, len(r.Values), len(it.Columns))
			}
		}
	}
	return errors.Join(wrong...)
}
