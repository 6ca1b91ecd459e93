package paper

import (
	"fmt"
	"math"
	"slices"

	"stegomq/report"
	"stegomq/schemas"
)

// Separation says how far apart the recovery features of the right and of the wrong keys lie: Fig. 1 as numbers. Features are
// standardised over all of a model's points (mean 0, deviation 1; those that never change are left out), each model by itself,
// because the features of two networks have nothing in common.
type Separation struct {
	Method  string `json:"method"`
	DataSet string `json:"data_set,omitempty"`
	// Why says why there are no features.
	Why string `json:"why,omitempty"`
	// Dimensions counts the features that are left.
	Dimensions int        `json:"dimensions"`
	Matched    int        `json:"matched"` // points of each kind
	Mismatched Separated  `json:"mismatched"`
	Random     *Separated `json:"random"` // null in a run without random keys

	points [3][][]float64 // standardised: matched, mismatched, random
}

// Separated says how far a kind of wrong keys lies from the right ones.
type Separated struct {
	Points int `json:"points"`
	// Distance is that between the two groups' centroids in units of the spread within them (the root of the mean squared
	// distance of a point from its group's centroid, both groups alike).
	Distance float64 `json:"distance"`
	// Silhouette is the mean of (b - a) / max(a, b) over the points, where a is a point's mean distance to its own group and b
	// that to the other (Rousseeuw 1987): 1 where the groups lie far apart, 0 where they are one.
	Silhouette float64 `json:"silhouette"`
}

// featureKinds are the roles whose features are shown, with their names.
var featureKinds = [3]struct {
	role schemas.Role
	name string
}{
	{schemas.Recoverability, "matched"},
	{schemas.Leakage(schemas.Reader_READER_MISMATCHED), "mismatched"},
	{schemas.Leakage(schemas.Reader_READER_RANDOM), "random"},
}

// maxPoints bounds the points of a kind: the silhouette takes their square.
const maxPoints = 600

// separations are those of PUSNet and of the reference, each on the first data set on which it has features.
func (s *Study) separations() []Separation {
	var all []Separation
	for _, method := range []string{MethodPUSNet, reference} {
		sep := Separation{Method: method, Why: whyNotRun}
		for _, set := range s.dataSets() {
			if run := s.run(method, set.Name); run.Made() && sep.Why != "" {
				sep = separation(method, set.Name, run)
			}
		}
		all = append(all, sep)
	}
	return all
}

func separation(method, set string, run Run) Separation {
	sep := Separation{Method: method, DataSet: set}
	var dimensions int
	for _, score := range run.Scores {
		for kind, k := range featureKinds {
			f := score.GetFeatures()
			if score.Role() != k.role || len(f) == 0 {
				continue
			}
			if dimensions == 0 {
				dimensions = len(f)
			}
			if len(f) != dimensions || slices.ContainsFunc(f, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
				sep.Why = "its features are not finite, or not all of one length"
				return sep
			}
			point := make([]float64, dimensions)
			for i, v := range f {
				point[i] = float64(v)
			}
			sep.points[kind] = append(sep.points[kind], point)
		}
	}
	for kind := range sep.points {
		sep.points[kind] = thin(sep.points[kind])
	}
	switch {
	case dimensions == 0:
		sep.Why = "the run has no features"
	case len(sep.points[0]) < 2 || len(sep.points[1]) < 2:
		sep.Why = "fewer than two features with the right key, or with a wrong one"
	default:
		sep.Dimensions = standardise(&sep.points)
		if sep.Dimensions == 0 {
			sep.Why = "its features never change"
		}
	}
	if sep.Why != "" {
		return sep
	}
	sep.Matched = len(sep.points[0])
	sep.Mismatched = separated(sep.points[0], sep.points[1])
	if len(sep.points[2]) >= 2 {
		random := separated(sep.points[0], sep.points[2])
		sep.Random = &random
	}
	return sep
}

// thin keeps points at even steps where there are too many.
func thin(points [][]float64) [][]float64 {
	if len(points) <= maxPoints {
		return points
	}
	kept := make([][]float64, maxPoints)
	for i := range kept {
		kept[i] = points[i*len(points)/maxPoints]
	}
	return kept
}

// standardise brings every feature to mean 0 and deviation 1 over all points; it drops those that never change, and says how
// many are left.
func standardise(groups *[3][][]float64) int {
	all := slices.Concat(groups[0], groups[1], groups[2])
	n := float64(len(all))
	mean, scale := make([]float64, len(all[0])), make([]float64, len(all[0]))
	for _, p := range all {
		for i, v := range p {
			mean[i] += v / n
		}
	}
	for _, p := range all {
		for i, v := range p {
			scale[i] += (v - mean[i]) * (v - mean[i]) / n
		}
	}
	var left []int
	for i, variance := range scale {
		scale[i] = math.Sqrt(variance)
		if scale[i] > 1e-9*(1+math.Abs(mean[i])) {
			left = append(left, i)
		}
	}
	for _, points := range groups {
		for k, p := range points {
			scaled := make([]float64, len(left))
			for to, from := range left {
				scaled[to] = (p[from] - mean[from]) / scale[from]
			}
			points[k] = scaled
		}
	}
	return len(left)
}

func separated(a, b [][]float64) Separated {
	ca, cb := centroid(a), centroid(b)
	variance := func(points [][]float64, centre []float64) (squares float64) {
		for _, p := range points {
			d := distance(p, centre)
			squares += d * d
		}
		return squares / float64(len(points)) / 2
	}
	s := Separated{Points: len(b), Silhouette: silhouette(a, b)}
	if within := variance(a, ca) + variance(b, cb); within > 0 {
		s.Distance = distance(ca, cb) / math.Sqrt(within)
	}
	return s
}

func centroid(points [][]float64) []float64 {
	c := make([]float64, len(points[0]))
	for _, p := range points {
		for i, v := range p {
			c[i] += v / float64(len(points))
		}
	}
	return c
}

func distance(a, b []float64) float64 {
	var squares float64
	for i, v := range a {
		squares += (v - b[i]) * (v - b[i])
	}
	return math.Sqrt(squares)
}

// silhouette takes two groups of at least two points each.
func silhouette(a, b [][]float64) float64 {
	total := func(p []float64, group [][]float64) (sum float64) {
		for _, q := range group {
			sum += distance(p, q)
		}
		return sum
	}
	var sum float64
	for _, groups := range [2][2][][]float64{{a, b}, {b, a}} {
		own, other := groups[0], groups[1]
		for _, p := range own {
			near := total(p, own) / float64(len(own)-1)
			far := total(p, other) / float64(len(other))
			if m := max(near, far); m > 0 {
				sum += (far - near) / m
			}
		}
	}
	return sum / float64(len(a)+len(b))
}

// separationTable is Fig. 1 in numbers.
func separationTable(all []Separation) report.Table {
	t := report.Table{
		Title: "Fig. 1 in numbers: recovery features under the right key against those under wrong keys", Words: 2,
		Head: []string{"method", "data set", "points, right key", "points, other key", "distance", "silhouette", "points, random key", "distance", "silhouette", "features"},
		Notes: []string{
			"Distance: between the groups' centroids, in units of the spread within them. Silhouette: 1 far apart, 0 one cloud. Both are taken over all features, standardised per model, and not in the plane of the picture.",
		},
	}
	for _, s := range all {
		row := []string{s.Method, s.DataSet, s.Why, "-", "-", "-", "-", "-", "-", "-"}
		if s.Why == "" {
			random := []string{whyNoRandom, "-", "-"}
			if s.Random != nil {
				random = s.Random.cells()
			}
			row = slices.Concat(row[:2], []string{fmt.Sprint(s.Matched)}, s.Mismatched.cells(), random, []string{fmt.Sprint(s.Dimensions)})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (s Separated) cells() []string {
	return []string{fmt.Sprint(s.Points), fmt.Sprintf("%.2f", s.Distance), fmt.Sprintf("%.3f", s.Silhouette)}
}
