package audit

import (
	"math"
	"strconv"
	"strings"

	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/report/stats"
)

// randomFigures are what random keys show over unrelated images.
func (a *Audit) randomFigures() []report.Figure {
	psnr, ssim := ascending(a.RandomKeys.found)
	histogram := func(sorted []float64, width float64, label string, marks ...figure.Mark) figure.Chart {
		bins := figure.Bars(stats.BinsOf(sorted, width))
		return figure.Chart{Panels: []figure.Panel{{XLabel: label, YLabel: "random keys", Bars: &bins, Marks: marks}}}
	}
	return []report.Figure{
		draw("random-keys-ssim", histogram(ssim, 0.01, "SSIM over that of an unrelated image", figure.Mark{Name: "shows", At: thresholds.Shows},
			figure.Mark{Name: "clearly", At: thresholds.Clearly}, figure.Mark{Name: "matched key", At: a.over(a.Recoverability)})),
		draw("random-keys-psnr", histogram(psnr, 0.2, "PSNR over that of an unrelated image, dB",
			figure.Mark{Name: "matched key", At: a.Recoverability.PSNR.Mean - a.Baseline.PSNR.Mean})),
	}
}

func (r *RandomKeys) curve() figure.Chart {
	s := figure.Series{Name: "expected largest excess"}
	for _, b := range r.BestOf {
		s.Points = append(s.Points, [2]float64{float64(b.Keys), b.SSIM.Mean})
	}
	return figure.Chart{Panels: []figure.Panel{{
		XLabel: "random keys tried on one stego image", YLabel: "SSIM over an unrelated image", LogX: true, Series: []figure.Series{s},
		Levels: []figure.Mark{{Name: "shows", At: thresholds.Shows}, {Name: "clearly", At: thresholds.Clearly}},
	}}}
}

// add appends a mean with its interval to a series.
func add(s *figure.Series, x float64, m stats.Moments) {
	bounds := [2]float64{math.NaN(), math.NaN()} // there is no interval
	if m.CI95 != nil {
		bounds = [2]float64{m.CI95.Low, m.CI95.High}
	}
	s.Points, s.Intervals = append(s.Points, [2]float64{x, m.Mean}), append(s.Intervals, bounds)
}

func (a *Audit) partialCurve() figure.Chart {
	ssim := figure.Series{Name: "SSIM with the secret"}
	psnr := figure.Series{Name: "PSNR with the secret"}
	for _, p := range a.PartialKeys {
		if p.Secret.N == 0 {
			continue // all of it was refused
		}
		add(&ssim, 100*p.Right, p.Secret.SSIM.Moments)
		add(&psnr, 100*p.Right, p.Secret.PSNR.Moments)
	}
	const label = "share of the key's values that is right, %"
	return figure.Chart{Width: figure.Page, Panels: []figure.Panel{
		{XLabel: label, YLabel: "SSIM", Series: []figure.Series{ssim}, Levels: []figure.Mark{{Name: "unrelated image", At: a.Baseline.SSIM.Mean}}},
		{XLabel: label, YLabel: "PSNR, dB", Series: []figure.Series{psnr}, Levels: []figure.Mark{{Name: "unrelated image", At: a.Baseline.PSNR.Mean}}},
	}}
}

// robustnessCurves has a panel for each kind of attack.
func (a *Audit) robustnessCurves() figure.Chart {
	out := figure.Chart{Width: figure.Page}
	for _, kind := range []struct{ name, title, label string }{
		{"jpeg", "JPEG", "quality"}, {"noise", "Gaussian noise", "sigma, of 255"},
		{"resize", "resize and back", "% of each side"}, {"crop", "crop and pad", "% of each side cut"},
	} {
		s := figure.Series{Name: "matched key"}
		for _, v := range a.Robustness {
			if rest, ok := strings.CutPrefix(v.Attack, kind.name+"-"); ok && v.Secret.N > 0 { // or all of it was refused
				if x, err := strconv.ParseFloat(rest, 64); err == nil {
					add(&s, x, v.Secret.SSIM.Moments)
				}
			}
		}
		if len(s.Points) == 0 {
			continue
		}
		out.Panels = append(out.Panels, figure.Panel{
			Title: kind.title, XLabel: kind.label, YLabel: "SSIM with the secret", Series: []figure.Series{s},
			Levels: []figure.Mark{{Name: "no attack", At: a.Recoverability.SSIM.Mean}, {Name: "unrelated image", At: a.Baseline.SSIM.Mean}},
		})
	}
	return out
}
