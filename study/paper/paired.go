package paper

import (
	"errors"
	"fmt"

	"stegomq/schemas"
	"stegomq/study"
)

// Paired is the reference against another method on the same image pairs of a data set, in one of the paper's blocks. The
// scores are those of Table 1: the key pairs a and b.
type Paired struct {
	DataSet   string `json:"data_set"`
	Block     string `json:"block"`
	Reference string `json:"reference"`
	Other     string `json:"other"`
	// Why says why the two cannot be compared; the rest is then empty.
	Why string `json:"why,omitempty"`
	// N counts the image pairs.
	N    int  `json:"n"`
	PSNR Less `json:"psnr"`
	SSIM Less `json:"ssim"`
	MAE  Less `json:"mae"`
}

// Less is a metric of the reference less that of the other method.
type Less struct {
	study.Difference
	// Won is the share of the image pairs on which the reference is the better one, on [0,1]: nearer to the cover, nearer to
	// the secret with the right key, further from it with a wrong one.
	Won float64 `json:"won"`
}

// paired compares the reference with every other row.
func (s *Study) paired() ([]Paired, error) {
	all := []Paired{}
	for _, set := range s.dataSets() {
		reference := s.run(s.reference(), set.Name)
		if !set.AtHand || !reference.Made() {
			continue
		}
		for _, row := range s.rows() {
			if row.Method == s.reference() || !row.Runs[set.Name].Made() {
				continue
			}
			lines, err := comparePairs(set.Name, s.reference(), row.Method, reference, row.Runs[set.Name])
			if err != nil {
				return nil, err
			}
			all = append(all, lines...)
		}
	}
	return all, nil
}

// comparePairs compares two runs in the paper's three blocks. Runs that cannot be compared give one line that says why.
func comparePairs(set, nameA, nameB string, a, b Run) ([]Paired, error) {
	inA := study.Measured{Spec: a.Spec, Scores: a.of(a.pairs()...)}
	inB := study.Measured{Spec: b.Spec, Scores: b.of(b.pairs()...)}
	found, err := study.Compare(inA, inB)
	line := Paired{DataSet: set, Reference: nameA, Other: nameB}
	if errors.Is(err, study.ErrIncomparable) {
		line.Why = err.Error()
		return []Paired{line}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s on %s: %w", nameA, nameB, set, err)
	}
	var lines []Paired
	for _, kind := range paperBlocks {
		line := line
		line.Block = kind.name
		line.Why = whyNoScores
		for _, left := range found.LeftOut {
			if left.Name == kind.role.Token() {
				line.Why = left.Reason
			}
		}
		for _, side := range []struct {
			name string
			run  study.Measured
		}{{nameA, inA}, {nameB, inB}} {
			if allRefused(side.run, kind.role) {
				line.Why = side.name + " refused every image"
			}
		}
		for _, role := range found.Roles {
			if role.Role != kind.role.Token() {
				continue
			}
			line.Why, line.N = "", role.N
			for i, m := range []struct {
				to   *Less
				from study.Difference
			}{{&line.PSNR, role.PSNR}, {&line.SSIM, role.SSIM}, {&line.MAE, role.MAE}} {
				*m.to = Less{Difference: m.from, Won: won(inA, inB, kind.role, i, kind.better*metrics[i].more)}
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// allRefused says whether recovery refused every image of a role.
func allRefused(run study.Measured, role schemas.Role) bool {
	refused := false
	for _, s := range run.Scores {
		if s.GetRole() == role {
			if s.End() == schemas.EndDone {
				return false
			}
			refused = true
		}
	}
	return refused
}

// won is the share of the image pairs on which a is better than b in a metric.
func won(a, b study.Measured, role schemas.Role, metric int, sign float64) float64 {
	inA, inB := itemMeans(a, role, metric), itemMeans(b, role, metric)
	var n, wins float64
	for pair, va := range inA {
		vb, both := inB[pair]
		if !both {
			continue
		}
		n++
		if (va-vb)*sign > 0 {
			wins++
		}
	}
	return wins / max(n, 1)
}

// itemMeans is the mean of a metric over the scores of each image pair. A pair is named by its images, and by its number
// among those of the same ones, as in study.Compare.
func itemMeans(run study.Measured, role schemas.Role, metric int) map[string]float64 {
	names, seen := make(map[string]string), make(map[string]int)
	for _, p := range run.Spec.GetPairs() {
		images := p.GetCover().GetDigest() + " " + p.GetSecret().GetDigest()
		seen[images]++
		names[p.GetItem()] = fmt.Sprintf("%s %d", images, seen[images])
	}
	sums, counts := make(map[string]float64), make(map[string]float64)
	for _, s := range run.Scores {
		if s.GetRole() == role && s.End() == schemas.EndDone {
			name := names[s.GetItem()]
			sums[name] += values(s)[metric]
			counts[name]++
		}
	}
	for name := range sums {
		sums[name] /= counts[name]
	}
	return sums
}

// values are the metrics of a score in the order of metrics.
func values(s *schemas.Score) [3]float64 {
	m := s.GetMetrics()
	return [3]float64{m.GetPsnr(), m.GetSsim(), m.GetMae()}
}
