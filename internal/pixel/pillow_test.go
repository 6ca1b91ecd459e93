//go:build pillow

package pixel

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var references = flag.String("references", "", "the folder that testdata/references.py wrote")

// TestPillow compares photographs with what Pillow makes of them: within 4 levels at every sample, and 0.5 on average.
// `make pixels` runs it.
func TestPillow(t *testing.T) {
	const most, onAverage = 4, 0.5
	sets, err := os.ReadDir(*references)
	if err != nil || len(sets) == 0 {
		t.Fatalf("no references in %q (%v): run make pixels", *references, err)
	}
	fmt.Println("| photographs | files | largest difference | mean | largest mean of a file | samples that are equal |\n|---|---|---|---|---|---|")
	for _, set := range sets {
		pixels, err := filepath.Glob(filepath.Join(*references, set.Name(), "*.ppm"))
		if err != nil || len(pixels) == 0 {
			t.Fatalf("%s has no references (%v)", set.Name(), err)
		}
		var largest int
		var sum, equal, samples, worstMean float64
		for _, name := range pixels {
			differences, err := compare(strings.TrimSuffix(name, ".ppm"), name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			worst, n, total := 0, 0.0, 0.0
			for d, count := range differences {
				if count > 0 {
					worst = d
				}
				n += float64(count)
				total += float64(d) * float64(count)
			}
			if worst > most || total/n > onAverage {
				t.Errorf("%s: up to %d levels, %.3f on average", name, worst, total/n)
			}
			largest, worstMean = max(largest, worst), max(worstMean, total/n)
			sum, samples, equal = sum+total, samples+n, equal+float64(differences[0])
		}
		fmt.Printf("| %s | %d | %d | %.3f | %.3f | %.2f %% |\n", set.Name(), len(pixels), largest, sum/samples, worstMean, 100*equal/samples)
	}
}

// compare counts the samples of a file by how far they are from those of its reference, a binary PPM.
func compare(name, reference string) (differences [256]int, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return differences, err
	}
	m, info, err := Decode(data, Limits{})
	if err != nil {
		return differences, err
	}
	ppm, err := os.ReadFile(reference)
	if err != nil {
		return differences, err
	}
	head := fmt.Appendf(nil, "P6\n%d %d\n255\n", info.Width, info.Height)
	want, ok := bytes.CutPrefix(ppm, head)
	if !ok || len(want) != 3*info.Width*info.Height {
		return differences, fmt.Errorf("the reference is no PPM of %dx%d", info.Width, info.Height)
	}
	for i, v := range want {
		d := int(m.Pix[i/3*4+i%3]) - int(v)
		differences[max(d, -d)]++
	}
	return differences, nil
}
