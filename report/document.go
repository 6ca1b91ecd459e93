// Package report owns the model of every report, and its renderers. A Document has sections of tables, findings, matrices,
// figures, lists and text. It is written as text for a terminal, as Markdown, as LaTeX, or as one HTML file whose items can be
// sorted, filtered and opened.
//
// It does not know runs and metrics. Its invariants:
//
//   - What comes from callers is text. It is escaped where it stands; nothing of it becomes markup, style or script.
//   - The same document gives the same bytes.
//   - The HTML file holds all that it shows. Styles, script and images are inside, and a content security policy in its head
//     forbids every request, and every script but the one whose digest it names.
//   - Every image is in it once, and those that a dialog shows are decoded only when it does.
//   - Without JavaScript, and on paper, the tables stand as they are; of the items, the first rows do.
package report

// Document is a report.
type Document struct {
	Title, Subtitle string
	// Generated says when and by what, at the foot of the page.
	Generated string
	// Facts stand below the title: models, keys, geometry, digests.
	Facts []Fact
	// Paragraphs stand below them.
	Paragraphs []string
	Sections   []Section
	// Room bounds the bytes of the page's thumbnails, which stand in it in base64, a third longer; 0: 6 MiB.
	Room int
}

// Fact is a name, which may be empty, and its value.
type Fact struct{ Name, Value string }

// Lines are facts without names.
func Lines(lines []string) []Fact {
	facts := make([]Fact, len(lines))
	for i, line := range lines {
		facts[i].Value = line
	}
	return facts
}

// Section is a part of the report with a heading. What it holds is shown in the order of the fields.
type Section struct {
	// ID is the section's anchor: lowercase letters, digits and hyphens, a letter first; no two are equal.
	ID, Title string
	// Paragraphs are text, one paragraph each; Points are a list below them.
	Paragraphs, Points []string
	Findings           []Finding
	Figures            []Figure
	Tables             []Table
	// Drawings are charts made of characters.
	Drawings []string
	// Matrices and Items are in the HTML file alone, where a reader opens their images.
	Matrices []Matrix
	Items    *Items
}

// Finding is what a test found: its outcome in a word, and a sentence.
type Finding struct{ Title, Outcome, Text string }

// Table is a table of text. A line break in a cell is one on a terminal, and elsewhere a space.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string // a cell for each of Head
	Notes []string   // lines below the table
	// Words is how many of the columns, the first ones, are words and flush left; at least one.
	Words int
	// Class says how a page sets a cell apart; nil: Missing where it is a dash.
	Class func(row []string, column int) Class
}

// Class says what a cell is to look like.
type Class string

// The classes.
const (
	Plain   Class = ""
	Printed Class = "paper"   // italic: printed in a paper, not measured here
	Missing Class = "missing" // grey: there is no such figure
)

// Matrix is a small table of coloured cells, each of which may open images: a confusion matrix.
type Matrix struct {
	Title, Note string
	// RowAxis and ColumnAxis say what Rows and Columns are: "embedded with", "decoded with".
	RowAxis, ColumnAxis string
	Rows, Columns       []string
	// Measures name the lines of the cells where they are opened: "PSNR dB", "SSIM".
	Measures []string
	// Cells has a row for each of Rows, of a cell for each of Columns.
	Cells [][]MatrixCell
}

// MatrixCell is one cell of a Matrix.
type MatrixCell struct {
	// Lines are what it says, the first one larger: PSNR, then SSIM.
	Lines []string
	// Level is the strength of its colour, 0 to 1; NaN leaves it without.
	Level float64
	// Pictures are what it opens; a cell without them is not a button.
	Pictures []Picture
}

// Picture is an image in a dialog of the HTML file.
type Picture struct {
	// File names the image for who loads it; Side is the longer side that it is reduced to, in pixels.
	File string
	Side int
	// Title says what it is: "cover", "recovered". It is its alternative text too.
	Title string
	// Note stands below the title: "31.2 dB, SSIM 0.94". It may be empty.
	Note string
	// Against is the title of the picture beside it that it is compared with, under a slider; empty for none.
	Against string
}
