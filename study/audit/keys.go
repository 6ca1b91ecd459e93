package audit

import (
	"math"

	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

// WrongKeys is what wrong keys of one kind, or no key, show of secrets. Refused images show nothing.
type WrongKeys struct {
	// Secret has the excess over the baseline of the same pair: what an unrelated image, the cover, measures. It has none where
	// every comparison was refused.
	Secret study.Group `json:"secret"`
	Cover  study.Group `json:"cover"`
	Above  []Above     `json:"above"`
	// Keys are the keys that decode; Showing counts them as Above counts comparisons. Without a key there are none.
	Keys    int       `json:"keys"`
	Showing []Showing `json:"showing"`

	found []excess
}

// Above counts the comparisons whose excess in SSIM lies above a threshold.
type Above struct {
	SSIM  float64 `json:"ssim"`
	Count int     `json:"count"`
	Of    int     `json:"of"`
	Share float64 `json:"share"`
}

// Showing counts the keys that show more than a threshold of at least one of the stego images.
type Showing struct {
	SSIM  float64 `json:"ssim"`
	Keys  int     `json:"keys"`
	Of    int     `json:"of"`
	Share float64 `json:"share"`
	// Low and High bound the share among all such keys at 95 % (Clopper and Pearson 1934). They are exact where the keys are independent draws, as
	// random keys and keys one bit off are. They say what other keys would show of these stego images, not what other images would show.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// wrongKeys gives nil where there are no scores with an excess, and none that were refused.
func wrongKeys(r *Run, secret, cover study.Group, role schemas.Role) *WrongKeys {
	if secret.Excess == nil && secret.Refused == 0 {
		return nil
	}
	found := excesses(r.Scores, role)
	w := &WrongKeys{Secret: secret, Cover: cover, Showing: []Showing{}, found: found}
	largest := make(map[string]float64) // in SSIM, by key
	for _, s := range r.Scores {
		if s.Role() == role && s.End() == schemas.EndRefused && s.GetDecodeKey() != "" {
			largest[s.GetDecodeKey()] = math.Inf(-1)
		}
	}
	for _, e := range found {
		key := e.score.GetDecodeKey()
		if so, there := largest[key]; key != "" && (!there || e.ssim > so) {
			largest[key] = e.ssim
		}
	}
	w.Keys = len(largest)
	for _, t := range []float64{thresholds.Shows, thresholds.Clearly} {
		a := Above{SSIM: t, Of: len(found) + secret.Refused}
		for _, e := range found {
			if e.ssim > t {
				a.Count++
			}
		}
		a.Share = float64(a.Count) / float64(a.Of)
		w.Above = append(w.Above, a)
		if w.Keys == 0 {
			continue
		}
		s := Showing{SSIM: t, Of: w.Keys}
		for _, v := range largest {
			if v > t {
				s.Keys++
			}
		}
		s.Share = float64(s.Keys) / float64(s.Of)
		s.Low, s.High = stats.ShareBounds(s.Keys, s.Of)
		w.Showing = append(w.Showing, s)
	}
	return w
}

// excess is what a comparison with a secret has more than the baseline of the same pair.
type excess struct {
	score      *schemas.Score
	psnr, ssim float64
}

// refused says whether recovery refused every comparison.
func (w *WrongKeys) refused() bool { return w.Secret.N == 0 && w.Secret.Refused > 0 }

// excesses are those of a role, in the order of the scores. A score that was refused has none, and so has one whose pair has no baseline.
func excesses(scores []*schemas.Score, role schemas.Role) []excess {
	baselines := study.Baselines(scores)
	var found []excess
	for _, s := range scores {
		if b := baselines[s.GetItem()]; s.Role() == role && b != nil && s.End() == schemas.EndDone {
			found = append(found, excess{s, s.GetMetrics().GetPsnr() - b.GetPsnr(), s.GetMetrics().GetSsim() - b.GetSsim()})
		}
	}
	return found
}

// Partial is what keys show of which a share of the fill is right.
type Partial struct {
	Right  float64     `json:"right"` // 0 to 1
	Secret study.Group `json:"secret"`
}

// partials ends with the whole key, which is the matched one. It gives nil without partial keys.
func partials(sum *study.Summary) []Partial {
	var all []Partial
	for _, g := range sum.LeakagePartial {
		all = append(all, Partial{Right: float64(g.Permille) / 1000, Secret: g.Group})
	}
	if all == nil {
		return nil
	}
	return append(all, Partial{Right: 1, Secret: sum.Recoverability})
}

// over is the mean SSIM of a group less that of the baseline.
func (a *Audit) over(g study.Group) float64 { return g.SSIM.Mean - a.Baseline.SSIM.Mean }

// Survival is what the matched key recovers after an attack on the stego image.
type Survival struct {
	Attack string      `json:"attack"`
	Secret study.Group `json:"secret"`
	// Kept is the share that is left of the matched key's excess: its mean SSIM less that of the baseline. Nothing is left of a refused image.
	Kept float64 `json:"kept"`
}

// survivals gives nil without attacks.
func survivals(sum *study.Summary) []Survival {
	var all []Survival
	base := sum.BaselineCoverSecret.SSIM.Mean
	for _, g := range sum.Robustness {
		s := Survival{Attack: g.Attack, Secret: g.Group}
		if whole := sum.Recoverability.SSIM.Mean - base; whole > 0 && g.N > 0 {
			s.Kept = (g.SSIM.Mean - base) / whole * float64(g.N) / float64(g.Of())
		}
		all = append(all, s)
	}
	return all
}
