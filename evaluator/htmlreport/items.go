package htmlreport

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
	// Worst is the Name of the column whose worst values come first: a Number with a Better. Where it is empty it is
	// the first such column; where there is none the rows stay as they are.
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
type Better uint8

// The directions.
const (
	Neither Better = iota
	Higher
	Lower
)

// ItemRow is a row of Items.
type ItemRow struct {
	// Values has one for each column.
	Values []Value
	// Reversed turns every Better round: higher is worse for what a wrong key recovers.
	Reversed bool
	Pictures []Shown
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

// ordered are the rows, worst first. The reversed ones come before the others, with which they cannot be compared.
func (it *Items) ordered() []ItemRow {
	column := it.worst()
	if column < 0 {
		return it.Rows
	}
	goodness := func(r ItemRow) (missing, last int, value float64) {
		value = r.Values[column].Number
		if (it.Columns[column].Better == Lower) != r.Reversed {
			value = -value
		}
		return truth(math.IsNaN(value)), truth(!r.Reversed), value
	}
	rows := slices.Clone(it.Rows)
	slices.SortStableFunc(rows, func(a, b ItemRow) int {
		missingA, lastA, valueA := goodness(a)
		missingB, lastB, valueB := goodness(b)
		return cmp.Or(cmp.Compare(missingA, missingB), cmp.Compare(lastA, lastB), cmp.Compare(valueA, valueB))
	})
	return rows
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// direction is the aria-sort of the column of the first order.
func (it *Items) direction() string {
	reversed := 0
	for _, r := range it.Rows {
		reversed += truth(r.Reversed)
	}
	lower := it.Columns[it.worst()].Better == Lower
	switch {
	case reversed != 0 && reversed != len(it.Rows):
		return "other"
	case lower != (reversed > 0):
		return "descending"
	}
	return "ascending"
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
