package htmlreport

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ErrPage is the class of pages that do not hang together. It is the caller's fault.
var ErrPage = errors.New("page is not valid")

var anchor = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// usable says whether a name can be an anchor or stand in a link: it is none that the page itself uses.
func usable(name string) bool {
	own := []string{"viewer", "viewer-title", "text", "sort", "page"}
	return anchor.MatchString(name) && !slices.Contains(own, name) && !strings.HasPrefix(name, "picture-")
}

// validate names everything that is wrong with the page, not only the first; the error wraps ErrPage.
func (p *Page) validate() error {
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	seen := make(map[string]bool)
	name := func(what, id string) {
		if !usable(id) || seen[id] {
			fail("a %s cannot be named %q, or two are", what, id)
		}
		seen[id] = true
	}
	shown := func(what string, pictures []Shown) {
		for _, s := range pictures {
			if s.Picture < 0 || int(s.Picture) >= len(p.pictures) {
				fail("%s shows picture %d: add it to this page first", what, s.Picture)
			}
		}
	}
	for i := range p.Sections {
		s := &p.Sections[i]
		name("section", s.ID)
		for j := range s.Tables {
			s.Tables[j].validate(fail)
		}
		for _, f := range s.Figures {
			if f.Name != "" {
				name("figure", f.Name)
			}
			if _, err := f.drawing(); err != nil {
				fail("figure %q: %w", f.Caption, err)
			}
		}
		for j := range s.Matrices {
			s.Matrices[j].validate(fail, shown)
		}
		if s.Items != nil {
			s.Items.validate(fail, shown)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %w", ErrPage, errors.Join(wrong...))
	}
	return nil
}

func (t *Table) validate(fail func(string, ...any)) {
	covered := 0
	for _, g := range t.Groups {
		if g.Columns < 1 {
			fail("table %q: group %q has no columns", t.Caption, g.Text)
		}
		covered += g.Columns
	}
	if len(t.Groups) > 0 && covered != len(t.Head) {
		fail("table %q: its groups cover %d of %d columns", t.Caption, covered, len(t.Head))
	}
	for i, row := range t.Rows {
		if len(row) != len(t.Head) && len(row) != 1 {
			fail("table %q: row %d has %d cells for %d columns", t.Caption, i, len(row), len(t.Head))
		}
		for _, c := range row {
			if !slices.Contains(classes, c.Class) {
				fail("table %q: row %d: unknown class %q", t.Caption, i, c.Class)
			}
		}
	}
}

func (m *Matrix) validate(fail func(string, ...any), shown func(string, []Shown)) {
	if len(m.Cells) != len(m.Rows) {
		fail("matrix %q has %d rows and names %d", m.Title, len(m.Cells), len(m.Rows))
	}
	for i, row := range m.Cells {
		if len(row) != len(m.Columns) {
			fail("matrix %q: row %d has %d cells for %d columns", m.Title, i, len(row), len(m.Columns))
		}
		for _, c := range row {
			if c.Level < 0 || c.Level > 1 { // NaN is neither
				fail("matrix %q: row %d: level %g is not within 0 and 1", m.Title, i, c.Level)
			}
			shown(fmt.Sprintf("matrix %q", m.Title), c.Pictures)
		}
	}
}

func (it *Items) validate(fail func(string, ...any), shown func(string, []Shown)) {
	if len(it.Columns) == 0 {
		fail("items: there are no columns")
	}
	seen := make(map[string]bool)
	for _, c := range it.Columns {
		if !usable(c.Name) || seen[c.Name] {
			fail("items: a column cannot be named %q, or two are", c.Name)
		}
		seen[c.Name] = true
		if c.Kind > Number || c.Better > Lower || c.Decimals < 0 || c.Decimals > 9 || c.Better != Neither && c.Kind != Number {
			fail("items: column %q: kind %d, better %d and %d decimals do not go together", c.Name, c.Kind, c.Better, c.Decimals)
		}
	}
	if it.Worst != "" && it.worst() < 0 {
		fail("items: the worst of %q cannot come first: it is no Number with a Better", it.Worst)
	}
	for i, r := range it.Rows {
		if len(r.Values) != len(it.Columns) {
			fail("items: row %d has %d values for %d columns", i, len(r.Values), len(it.Columns))
		}
		shown(fmt.Sprintf("items: row %d", i), r.Pictures)
	}
}
