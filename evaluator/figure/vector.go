package figure

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// vectorCanvas is an SVG canvas that knows which characters of which face were drawn. vgsvg can embed whole fonts
// only, of 400 kB each.
type vectorCanvas struct {
	*vgsvg.Canvas
	used map[font.Font]usedFace // by fonts without size
}

type usedFace struct {
	face  font.Face
	runes map[rune]bool
}

func newVectorCanvas(c *vgsvg.Canvas) vectorCanvas {
	return vectorCanvas{c, map[font.Font]usedFace{}}
}

// FillString implements vg.Canvas. What XML cannot hold is replaced.
func (c vectorCanvas) FillString(f font.Face, at vg.Point, line string) {
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xfffe || r == 0xffff {
			return unicode.ReplacementChar
		}
		return r
	}, line)
	key := font.From(f.Font, 0)
	if _, known := c.used[key]; !known {
		c.used[key] = usedFace{f, map[rune]bool{}}
	}
	for _, r := range line {
		c.used[key].runes[r] = true
	}
	c.Canvas.FillString(f, at, line)
}

// writeFonts writes a style element with the glyphs in use. Each face names its characters, so that the figures of
// one page complement each other.
func (c vectorCanvas) writeFonts(out io.Writer) error {
	var rules strings.Builder
	byName := func(a, b font.Font) int { return strings.Compare(a.Name(), b.Name()) }
	for _, key := range slices.SortedFunc(maps.Keys(c.used), byName) {
		used := c.used[key]
		var source bytes.Buffer
		if _, err := used.face.Face.WriteSourceTo(nil, &source); err != nil {
			return fmt.Errorf("embed %s: %w", key.Name(), err)
		}
		data, runes := subset(source.Bytes(), used.face.Face, slices.Sorted(maps.Keys(used.runes)))
		if len(runes) == 0 {
			continue
		}
		weight := "normal"
		if key.Weight == xfont.WeightBold {
			weight = "bold"
		}
		var ranges []string
		for _, r := range runes {
			ranges = append(ranges, fmt.Sprintf("U+%X", r))
		}
		fmt.Fprintf(&rules, "@font-face{font-family:'Liberation Sans';font-weight:%s;unicode-range:%s;"+
			"src:url(data:font/ttf;base64,%s) format('truetype')}\n",
			weight, strings.Join(ranges, ","), base64.StdEncoding.EncodeToString(data))
	}
	_, err := fmt.Fprintf(out, "<style>\n%s</style>\n", &rules)
	return err
}
