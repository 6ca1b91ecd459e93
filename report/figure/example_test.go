package figure_test

import (
	"fmt"
	"strings"

	"stegomq/report/figure"
)

// Recovery features of two keys, as in the paper's Fig. 1.
func Example() {
	features := [][]float64{{0.9, 0.1, 4.0}, {1.1, 0.0, 4.2}, {5.0, 0.1, 0.2}, {5.2, 0.0, 0.1}}
	p, err := figure.PCA(features, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	panel := figure.ScatterPanel{Title: "invertible-mk", XLabel: p.Label(0), YLabel: p.Label(1)}
	for i, name := range []string{"matched key", "mismatched key"} {
		g := figure.Group{Name: name}
		for _, s := range p.Scores[2*i : 2*i+2] {
			g.Points = append(g.Points, [2]float64{s[0], s[1]})
		}
		panel.Groups = append(panel.Groups, g)
	}
	svg, err := figure.Scatter{Panels: []figure.ScatterPanel{panel}}.SVG()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Label(0), strings.Contains(string(svg), "mismatched key"))
	// Output: PC1 (99.8 %) true
}
