package figure

import (
	"fmt"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Group is a cloud of points. Groups of one name look the same in all panels of a figure.
type Group struct {
	Name   string
	Points [][2]float64
}

// ScatterPanel is one plane. Its axes follow from its points: the planes of two models have nothing in common.
type ScatterPanel struct {
	Title, XLabel, YLabel string
	Groups                []Group // later ones are drawn over earlier ones
}

// Scatter shows groups of points, such as the recovery features under matched and mismatched keys in the paper's
// Fig. 1, in one or more panels side by side above one legend.
type Scatter struct {
	Panels []ScatterPanel
	Width  Width
}

// SVG implements Figure. Every point is an element of about 150 bytes.
func (s Scatter) SVG() ([]byte, error) { return svg(s.layout()) }

// PNG implements Figure.
func (s Scatter) PNG() ([]byte, error) { return png(s.layout()) }

func (s Scatter) layout() (sheet, error) {
	if len(s.Panels) == 0 {
		return sheet{}, fmt.Errorf("scatter: %w: there are no panels", ErrEmpty)
	}
	var looks looks
	var panels []chart
	for i, p := range s.Panels {
		x, y, n := nothing, nothing, 0
		for _, g := range p.Groups {
			looks.of(g.Name)
			for _, pt := range g.Points {
				if finite(pt[0]) && finite(pt[1]) {
					x, y, n = x.with(pt[0]), y.with(pt[1]), n+1
				}
			}
		}
		if n == 0 {
			return sheet{}, fmt.Errorf("scatter: %w: %s has no points", ErrEmpty, nth("panel", i, p.Title))
		}
		x, y = x.padded(0.06), y.padded(0.06)
		radius := vg.Length(2)
		if n > 400 {
			radius = 1.4
		}
		panels = append(panels, chart{
			title: p.Title, xLabel: p.XLabel, yLabel: p.YLabel,
			x: x, y: y, xTicks: linearTicks(x, 5), yTicks: linearTicks(y, 6),
			draw: func(c draw.Canvas, on func(x, y float64) vg.Point) {
				for _, g := range p.Groups {
					look := looks.of(g.Name)
					for _, pt := range g.Points {
						if finite(pt[0]) && finite(pt[1]) {
							look.shape.draw(c, on(pt[0], pt[1]), radius, faded(look.color, 0xc8), nil)
						}
					}
				}
			},
		})
	}
	var legend []entry
	for _, name := range looks.names {
		if name == "" {
			continue
		}
		look := looks.of(name)
		legend = append(legend, entry{name, 6, func(c draw.Canvas, at vg.Point) {
			look.shape.draw(c, at, 2.6, look.color, nil)
		}})
	}
	return charts(s.Width, panels, 0.9, legend), nil
}
