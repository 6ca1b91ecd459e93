package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// Items is a table of many rows, thousands of them, that readers sort, filter and open. It starts with the worst
// rows first.
type Items struct {
	Columns []Column
	Rows    []ItemRow
	// Worst is the Name of the column whose worst values come first: a Number with a Better. Empty: the first such column;
	// where there is none, the rows keep their order.
	Worst string
	// Elsewhere says where a reader without JavaScript finds all rows: "items.csv".
	Elsewhere string
}

// Column is a column of Items.
type Column struct {
	// Name stands for the column in links; it is written as Section.ID is, and not "text", "sort" or "page".
	Name  string
	Title string
	Kind  Kind
	// Decimals is how many digits of a Number after the point are shown, 0 to 9; it is sorted by all of them.
	Decimals int
	Better   Better
}

// Kind says what the values of a column are.
type Kind uint8

// The kinds.
const (
	Text   Kind = iota
	Choice      // text with few values, which can be filtered by a drop-down list
	Number
)

// Better says which values of a Number are good ones.
type Better int8

// The directions.
const (
	Lower   Better = -1
	Neither Better = 0
	Higher  Better = +1
)

// ItemRow is a row of Items.
type ItemRow struct {
	Values   []Value // one for each column
	Pictures []Picture
}

// Value is the value of a row in a column: Text, or Number where the column is one. NaN is a value that is missing:
// it is shown as the Text, which says why, or as a dash, and stands last in every order. Infinities are values.
type Value struct {
	Text   string
	Number float64
}

// worst is the column of the first order, -1 for none.
func (it *Items) worst() int {
	return slices.IndexFunc(it.Columns, func(c Column) bool {
		return c.Kind == Number && c.Better != Neither && (it.Worst == "" || it.Worst == c.Name)
	})
}

// ordered are the rows, worst first and those without a value last.
func (it *Items) ordered() []ItemRow {
	column := it.worst()
	if column < 0 {
		return it.Rows
	}
	better := float64(it.Columns[column].Better)
	rows := slices.Clone(it.Rows)
	slices.SortStableFunc(rows, func(a, b ItemRow) int {
		x, y := better*a.Values[column].Number, better*b.Values[column].Number
		switch nx, ny := math.IsNaN(x), math.IsNaN(y); {
		case nx && ny:
			return 0
		case nx:
			return 1
		case ny:
			return -1
		}
		return cmp.Compare(x, y)
	})
	return rows
}

// text is a value as it is shown.
func (c *Column) text(v Value) string {
	switch {
	case c.Kind != Number:
		return v.Text
	case math.IsNaN(v.Number):
		return cmp.Or(v.Text, "–")
	case math.IsInf(v.Number, 1):
		return "∞"
	case math.IsInf(v.Number, -1):
		return "-∞"
	}
	return strconv.FormatFloat(v.Number, 'f', c.Decimals, 64)
}
