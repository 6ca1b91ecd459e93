package htmlreport

import "strings"

// Table is a table of text.
type Table struct {
	Caption string
	// Groups are headings over several columns each; they cover Head, or there are none. One with an empty text covers
	// columns that belong to none.
	Groups []Group
	Head   []string
	// Rows have a cell for each of Head. A row of a single cell in a table of several columns is a heading of the rows
	// below it.
	Rows [][]Cell
	// Notes are lines below the table.
	Notes []string
}

// Group is a heading over adjacent columns.
type Group struct {
	Text    string
	Columns int
}

// Cell is a cell of a Table.
type Cell struct {
	Text string
	// Note is a second, smaller line: an interval, the paper's figure.
	Note string
	// Title is shown where the pointer rests.
	Title string
	Class Class
}

// Class says what a cell is to look like.
type Class string

// The classes.
const (
	Plain   Class = ""
	Best    Class = "best"    // bold: the best of its column
	Second  Class = "second"  // underlined
	Paper   Class = "paper"   // italic: printed in the paper, not measured here
	Worse   Class = "worse"   // red: not what it should be
	Missing Class = "missing" // grey: there is no such figure
)

var classes = []Class{Plain, Best, Second, Paper, Worse, Missing}

// columnName is a column's heading with that of its group before it, for copies of the table.
func (t Table) columnName(column int) string {
	from := 0
	for _, g := range t.Groups {
		if column < from+g.Columns {
			return strings.TrimSpace(g.Text + " " + t.Head[column])
		}
		from += g.Columns
	}
	return t.Head[column]
}

// numeric says for each column whether its cells are set flush right: the first never, others where every cell begins
// as a number does, or is a dash.
func (t Table) numeric() []bool {
	numeric := make([]bool, len(t.Head))
	for column := 1; column < len(t.Head); column++ {
		numeric[column] = true
		for _, row := range t.Rows {
			if len(row) == len(t.Head) && !startsAsNumber(row[column].Text) {
				numeric[column] = false
			}
		}
	}
	return numeric
}

func startsAsNumber(s string) bool {
	return s == "" || strings.ContainsRune("0123456789.+-−–—±∞<>~≈(", []rune(s)[0])
}
