package report

import "image"

// Figure is a drawing in two formats, files of its name. One that could not be drawn has Why and no bytes.
type Figure struct {
	// Name is that of the files without the ending, and the figure's anchor, written as Section.ID is.
	Name, Caption, Why string
	SVG, PNG           []byte
	// Small is a PNG for the page where the others are too large for it; nil where they are not.
	Small []byte
}

// Drawer draws a chart, as those of package figure do.
type Drawer interface {
	SVG() ([]byte, error)
	PNG() ([]byte, error)
}

// Draw draws a figure. What cannot be drawn says why.
func Draw(name, caption string, d Drawer) Figure {
	svg, err := d.SVG()
	if err != nil {
		return Figure{Name: name, Why: err.Error()}
	}
	png, err := d.PNG()
	if err != nil {
		return Figure{Name: name, Why: err.Error()}
	}
	return Figure{Name: name, Caption: caption, SVG: svg, PNG: png}
}

// files are the files of the figures of a document, and the names of the files of figures that could not be drawn.
func (d *Document) files() (files []File, gone []string) {
	for _, s := range d.Sections {
		for _, f := range s.Figures {
			if f.Why != "" {
				gone = append(gone, f.Name+".svg", f.Name+".png")
				continue
			}
			files = append(files, File{f.Name + ".svg", f.SVG}, File{f.Name + ".png", f.PNG})
		}
	}
	return files, gone
}

// drawing is what the page shows of the figure. An SVG becomes an image as a PNG does: its contents cannot run, and cannot mix with the page.
func (f *Figure) drawing() (picture, error) {
	switch {
	case f.Small != nil:
		return readPicture(f.Small)
	case len(f.SVG) == 0:
		return readPicture(f.PNG)
	}
	width, height, err := svgSize(f.SVG)
	return picture{f.SVG, "image/svg+xml", width, height}, err
}

// Loader gives the image that a Picture names; the error wraps fs.ErrNotExist where there is none.
type Loader func(file string) (*image.NRGBA, error)
