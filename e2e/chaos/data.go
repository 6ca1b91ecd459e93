package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The work of a run: small pictures, the tiny model of the tests with its two keys, one random key, one pair a job.
const (
	model       = "tiny"
	side        = 32
	jobsPerPair = 2 + 2*3 + 1 // two keys embed, three decode what each embedded, and the cover is purified
)

// pictures writes n pairs of pictures, all different, and gives their folder.
func pictures(dir string, pairs int, seed uint64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 2 * pairs {
		data, err := picture(random)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.png", i)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// picture is a slope of colours with some noise.
func picture(random *rand.Rand) ([]byte, error) {
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	var base, dx, dy [3]float64
	for c := range 3 {
		base[c], dx[c], dy[c] = 40+100*random.Float64(), 3*random.Float64(), 3*random.Float64()
	}
	for y := range side {
		for x := range side {
			i := img.PixOffset(x, y)
			for c := range 3 {
				img.Pix[i+c] = uint8(base[c] + dx[c]*float64(x)/2 + dy[c]*float64(y)/2 + 8*random.Float64())
			}
			img.Pix[i+3] = 255
		}
	}
	var buf bytes.Buffer
	err := png.Encode(&buf, img)
	return buf.Bytes(), err
}

// comparisons are the rows of an items.csv: the comparison and its outcome.
type comparisons map[string][]string

// outcomesOf are the columns with outcomes; the others identify the comparison.
var outcomesOf = []string{"psnr", "ssim", "mae", "rmse", "outcome"}

func readComparisons(file string) (comparisons, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	all := make(comparisons)
	for _, row := range rows[1:] {
		var what, came []string
		for i, v := range row {
			if slices.Contains(outcomesOf, rows[0][i]) {
				came = append(came, v)
			} else {
				what = append(what, v)
			}
		}
		key := strings.Join(what, " ")
		all[key] = append(all[key], strings.Join(came, " "))
	}
	return all, nil
}

// against counts the differences from the expected comparisons: missing ones, repeated ones, those with another outcome, and
// unexpected ones.
func (got comparisons) against(want comparisons) (lost, doubled, differing, unexpected int) {
	for key, outcomes := range want {
		switch have := got[key]; {
		case len(have) == 0:
			lost++
		case have[0] != outcomes[0]:
			differing++
		}
	}
	for key, have := range got {
		if len(have) > 1 {
			doubled++
		}
		if _, asked := want[key]; !asked {
			unexpected++
		}
	}
	return lost, doubled, differing, unexpected
}
