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
	N    int              `json:"n"`
	PSNR study.Difference `json:"psnr"`
	SSIM study.Difference `json:"ssim"`
	MAE  study.Difference `json:"mae"`
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
			line.Why, line.N, line.PSNR, line.SSIM, line.MAE = "", role.N, role.PSNR, role.SSIM, role.MAE
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// allRefused says whether recovery refused every image of a role.
func allRefused(run study.Measured, role schemas.Role) bool {
	refused := false
	for _, s := range run.Scores {
		if s.Role() == role {
			if s.End() == schemas.EndDone {
				return false
			}
			refused = true
		}
	}
	return refused
}
