package htmlreport

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// drawing is the file of a figure. An SVG becomes an image as a PNG does: what is in it cannot run, nor mix with the page.
func (f *Figure) drawing() (picture, error) {
	if len(f.SVG) == 0 {
		return readPicture(f.PNG)
	}
	width, height, err := svgSize(f.SVG)
	if err != nil {
		return picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return picture{f.SVG, "image/svg+xml", width, height}, nil
}

// pointsToPixels is CSS's ratio: 96 pixels and 72 points an inch.
const pointsToPixels = 96.0 / 72

// svgSize reads the size of an SVG in CSS pixels from its root: width and height in pixels or points, or the viewBox.
func svgSize(svg []byte) (width, height int, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := decoder.Token()
		if err != nil {
			return 0, 0, fmt.Errorf("read the root of an SVG: %w", err)
		}
		root, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attr := make(map[string]string)
		for _, a := range root.Attr {
			attr[a.Name.Local] = a.Value
		}
		w, h := length(attr["width"]), length(attr["height"])
		if box := strings.Fields(strings.ReplaceAll(attr["viewBox"], ",", " ")); (w == 0 || h == 0) && len(box) == 4 {
			w, h = length(box[2]), length(box[3])
		}
		if root.Name.Local != "svg" || w == 0 || h == 0 {
			return 0, 0, fmt.Errorf("the root <%s> has neither width and height in pixels or points nor a viewBox", root.Name.Local)
		}
		return int(math.Ceil(w)), int(math.Ceil(h)), nil
	}
}

// length is a length in pixels, 0 where it is none that a page can be laid out by.
func length(s string) float64 {
	scale := 1.0
	if points, ok := strings.CutSuffix(s, "pt"); ok {
		s, scale = points, pointsToPixels
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "px"), 64)
	if v *= scale; err != nil || !(v > 0 && v < 1e5) {
		return 0
	}
	return v
}
