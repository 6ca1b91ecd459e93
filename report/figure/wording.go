package figure

import (
	"math"
	"sort"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// write puts text at a point. gonum centres the box of the font, and letters lie low in it: they are moved to the middle.
func write(c draw.Canvas, s text.Style, at vg.Point, words string) {
	sin, cos := math.Sincos(s.Rotation)
	up := 0.12 * s.Font.Size
	c.FillText(s, vg.Point{X: at.X - up*vg.Length(sin), Y: at.Y + up*vg.Length(cos)}, words)
}

// fit shortens a line to a width, with an ellipsis in place of its end.
func fit(s text.Style, line string, width vg.Length) string {
	if s.Width(line) <= width {
		return line
	}
	runes := []rune(line)
	cut := func(n int) string { return strings.TrimRight(string(runes[:n]), " ") + "…" }
	return cut(sort.Search(len(runes)-1, func(n int) bool { return s.Width(cut(n+1)) > width }))
}

// wrapAll wraps several texts in one size: the largest one, not below smallest, in which none has to be shortened.
func wrapAll(s text.Style, texts []string, width vg.Length, lines int, smallest vg.Length) (text.Style, []string) {
	for {
		wrapped := make([]string, len(texts))
		short := false
		for i, t := range texts {
			wrapped[i] = wrap(s, t, width, lines)
			short = short || strings.Contains(wrapped[i], "…")
		}
		if !short || s.Font.Size-0.5 < smallest {
			return s, wrapped
		}
		s.Font.Size -= 0.5
	}
}

// wrap breaks words into at most so many lines of a width. The last line is shortened where it is too long, and so is a word
// that is longer than a line.
func wrap(s text.Style, words string, width vg.Length, lines int) string {
	var done []string
	line, rest := "", words
	for rest != "" && len(done) < lines-1 {
		word := rest
		// Names are long and have few spaces: they break after hyphens and the like too.
		if end := strings.IndexAny(rest, " -_/,"); end >= 0 {
			word = rest[:end+1]
		}
		if line != "" && s.Width(strings.TrimRight(line+word, " ")) > width {
			done, line = append(done, line), ""
			continue
		}
		line, rest = line+word, rest[len(word):]
	}
	done = append(done, line+rest)
	for i := range done {
		done[i] = fit(s, strings.TrimRight(done[i], " "), width)
	}
	return strings.Join(done, "\n")
}

// heightOf is the height of the highest of some texts and a gap; 0 where all are empty.
func heightOf(s text.Style, texts []string, gap vg.Length) (height vg.Length) {
	for _, t := range texts {
		if t != "" {
			height = max(height, s.Height(t)+gap)
		}
	}
	return height
}
