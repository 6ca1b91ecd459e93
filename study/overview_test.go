package study

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/report/stats"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	network, cipher := &Summary{Model: Model{Name: "net"}, Geometry: Geometry{Width: 256, Height: 128}}, &Summary{Model: Model{Name: "box", Keying: "cipher"}}
	network.Dataset = Dataset{Path: "/some/where/photos", Pairs: 3}
	network.Imperceptibility = Group{N: 3, ByMetric: ByMetric[Distribution]{PSNR: Distribution{Moments: stats.Moments{Mean: 35.126}, Min: 31, MinOf: Comparison{Item: "1-w"}}, SSIM: Distribution{Moments: stats.Moments{Mean: 0.9}}}}
	network.Recoverability = Group{N: 3, ByMetric: ByMetric[Distribution]{PSNR: Distribution{Moments: stats.Moments{Mean: 30}, Min: 24.5, MinOf: Comparison{Item: "2-x"}}}}
	network.LeakageMismatched = Group{N: 3, Excess: &Excess{}}
	cipher.LeakageMismatched = Group{Refused: 6}
	var paths []string
	for name, s := range map[string]*Summary{"a": network, "b": cipher} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name, "summary.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paths = append(paths, filepath.Join(folder, "a"), filepath.Join(folder, "b", "summary.json"))
	o, err := ReadOverview(paths...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| net | weights | photos | 256x128 | 3 | 35.13 | 0.900 | 31.00 (1-w) | 30.00 | 0.000 | 24.50 (2-x) | 0.00 | 0.000 | +0.000 | - |",
		"| box | cipher | . | 0x0 | 0 | - | - | - | - | - | - | refused 6 of 6 | refused 6 of 6 | - | - |",
	} {
		if got := o.Table().Markdown(); !strings.Contains(got, want) {
			t.Errorf("the table lacks\n%s\nit is\n%s", want, got)
		}
	}
	if !strings.Contains(o.Table().Text(), "35.13") {
		t.Error("the text lacks a figure")
	}
	if _, err := ReadOverview(filepath.Join(folder, "none")); err == nil || !strings.Contains(err.Error(), "evaluate --out") {
		t.Errorf("no such file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "bad"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadOverview(filepath.Join(folder, "bad")); err == nil || !strings.Contains(err.Error(), "is not a summary.json") {
		t.Errorf("not a summary: %v", err)
	}
}
