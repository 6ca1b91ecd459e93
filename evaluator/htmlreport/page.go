// Package htmlreport owns the report that is one HTML file: tables, figures, matrices whose cells open their images, and
// a table of thousands of items that can be sorted and filtered.
//
// It knows nothing of runs and metrics: it takes plain structs. Its invariants:
//
//   - The file holds all that it shows. Styles, script and images are inside, and a content security policy in its head
//     has the browser refuse every request, and every script but the one whose digest it names.
//   - What comes from callers is text. It is escaped where it stands; nothing of it becomes markup, style or script.
//   - Every image is in the file once, and those that a dialog shows are decoded only when it does.
//   - Without JavaScript, and on paper, the tables stand as they are; of the items, the first rows do.
//   - The same page gives the same bytes.
package htmlreport

// Page is a report. Make one, register its pictures with AddPicture, and Write it.
type Page struct {
	Title, Subtitle string
	// Generated says when and by what, at the foot of the page.
	Generated string
	// Facts stand below the title: models, keys, geometry, digests.
	Facts    []Fact
	Sections []Section

	pictures []picture
	known    map[[32]byte]Ref
}

// Fact is a name and its value.
type Fact struct{ Name, Value string }

// Section is a part of the page with a heading. What it holds is shown in the order of the fields.
type Section struct {
	// ID is the section's anchor: lowercase letters, digits and hyphens, a letter first; no two are equal.
	ID, Title string
	// Paragraphs are text, one paragraph each; Points are a list below them.
	Paragraphs, Points []string
	Tables             []Table
	Figures            []Figure
	Matrices           []Matrix
	Items              *Items
}

// Figure is a drawing in the page: an SVG or a PNG, the SVG where it has both.
type Figure struct {
	// Name is the figure's anchor, written as Section.ID is; it may be empty.
	Name    string
	Caption string
	// Alt says what there is to see, for those who do not; Caption stands in for it.
	Alt      string
	SVG, PNG []byte
}

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
	Pictures []Shown
}

// Shown is a picture in a dialog.
type Shown struct {
	Picture Ref
	// Title says what it is: "cover", "recovered". It is its alternative text too.
	Title string
	// Note stands below the title: "31.2 dB, SSIM 0.94". It may be empty.
	Note string
}
