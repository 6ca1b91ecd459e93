package quality

import (
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"strings"
	"testing"
)

// patterns are the two images that testdata/msssim.py makes.
func patterns(width, height, noise int) (a, b *image.NRGBA) {
	a, b = image.NewNRGBA(image.Rect(0, 0, width, height)), image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			for c := range 3 {
				v := (128 + 90*((x/9+y/7+c)%2) - 60*((x*x+3*y*y+50*c)%97)/97) % 256
				i := y*a.Stride + 4*x + c
				a.Pix[i], b.Pix[i] = uint8(v), uint8(min(max(v+(x*y*3+x*7+c)%noise-noise/2, 0), 255))
			}
		}
	}
	return a, b
}

// TestMSSSIM holds MS-SSIM to pytorch-msssim, whose Gaussian has the digits of a float32; testdata/msssim.py says how the values were made.
func TestMSSSIM(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/msssim.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d golden values", len(lines))
	}
	for _, line := range lines {
		var w, h, noise int
		var want float64
		if _, err := fmt.Sscan(line, &w, &h, &noise, &want); err != nil {
			t.Fatal(err)
		}
		a, b := patterns(w, h, noise)
		if got, defined := msssim(a, b); !defined || math.Abs(got-want) > 2e-6 {
			t.Errorf("%s: %v, %v", line, got, defined)
		}
		if same, _ := msssim(a, a); math.Abs(same-1) > 1e-12 {
			t.Errorf("%s: an image and itself have %v", line, same)
		}
		if back, _ := msssim(b, a); math.Abs(back-want) > 2e-6 {
			t.Errorf("%s: turned round it is %v", line, back)
		}
	}
}

// A metric that is not asked for, or not defined for images of this size, is absent and not zero.
func TestMeasure(t *testing.T) {
	t.Parallel()
	version, err := VersionWith([]string{"ms_ssim", "ms_ssim"})
	if err != nil || version != Version+"+ms_ssim" || Definitions(version) != Version {
		t.Fatalf("%q, %v", version, err)
	}
	for _, c := range []struct {
		version string
		side    int
		want    int
	}{{Version, 176, 4}, {version, 176, 5}, {version, 175, 4}} {
		found := make(map[string]float64)
		a, b := patterns(c.side, 176, 23)
		if err := Measure(c.version, a, b, func(name string, v float64) { found[name] = v }); err != nil || len(found) != c.want {
			t.Errorf("%+v: %v, %v", c, found, err)
		}
		for _, m := range Metrics {
			if v, has := found[m.Name]; has && (v < m.Low || v > m.High) {
				t.Errorf("%s is %v, which is not on [%v, %v]", m.Name, v, m.Low, m.High)
			}
		}
	}
	for _, bad := range []string{"psnr", "vif", ""} {
		if _, err := VersionWith([]string{bad}); !errors.Is(err, ErrMetric) {
			t.Errorf("%q can be asked for: %v", bad, err)
		}
	}
	a, b := patterns(176, 176, 3)
	if err := Measure("2", a, b, nil); !errors.Is(err, ErrMetric) {
		t.Errorf("definitions of another version: %v", err)
	}
}

// The table in docs/statistics.md has every metric as the list has it.
func TestMetricsInTheDocs(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/statistics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Metrics {
		better, asked := "higher", "always"
		if m.More < 0 {
			better = "lower"
		}
		if m.Optional() {
			asked = "`--more-metrics " + m.Name + "`"
		}
		row := fmt.Sprintf("| `%s` | %s | %g to %g | %s | %s | %s |\n", m.Name, m.Heading(), m.Low, m.High, better, asked, m.About)
		if !strings.Contains(string(docs), row) {
			t.Errorf("docs/statistics.md lacks the row\n%s", row)
		}
	}
}
