package audit

import (
	"cmp"
	"maps"
	"slices"

	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

// RandomKeys is what keys show that were drawn at random, as by an attacker who guesses.
type RandomKeys struct {
	WrongKeys
	// Stegos are the stego images, a pair embedded with a key, that each key decodes.
	Stegos int `json:"stegos"`
	// Quantiles are over all comparisons that were not refused, linear between the two nearest: as far out as there is a
	// comparison beyond, and the largest.
	Quantiles []Quantile `json:"quantiles"`
	// BestOf is the expected best outcome of an attacker who tries several keys on one stego image and knows which output is the best.
	// There is none where keys are refused.
	BestOf []BestOf `json:"best_of"`
	// Best has the largest excess in SSIM, the first of equal ones; null where every key was refused.
	Best *Guess `json:"best"`
}

// Quantile are the values that a share of the comparisons does not exceed.
type Quantile struct {
	Share      float64 `json:"share"`
	PSNR       float64 `json:"psnr"`
	PSNRExcess float64 `json:"psnr_excess"`
	SSIM       float64 `json:"ssim"`
	SSIMExcess float64 `json:"ssim_excess"`
}

// BestOf is the expected largest excess of so many of the keys, drawn without replacement: mean and deviation over the
// stego images.
type BestOf struct {
	Keys   int           `json:"keys"`
	Stegos int           `json:"stegos"`
	PSNR   stats.Moments `json:"psnr"`
	SSIM   stats.Moments `json:"ssim"`
}

// Guess is one comparison: a random key's, and what the matched key and the cover measure of the same secret.
type Guess struct {
	study.Comparison
	PSNR         float64 `json:"psnr"`
	SSIM         float64 `json:"ssim"`
	PSNRExcess   float64 `json:"psnr_excess"`
	SSIMExcess   float64 `json:"ssim_excess"`
	MatchedPSNR  float64 `json:"matched_psnr"`
	MatchedSSIM  float64 `json:"matched_ssim"`
	BaselinePSNR float64 `json:"baseline_psnr"`
	BaselineSSIM float64 `json:"baseline_ssim"`
}

// randomKeys gives nil where no random key has a score.
func randomKeys(r *Run) *RandomKeys {
	w := wrongKeys(r, r.Summary.LeakageRandom, r.Summary.LeakageRandomCover, schemas.Leakage(schemas.Reader_READER_RANDOM))
	if w == nil {
		return nil
	}
	stegos := make(map[[2]string][]excess) // by item and embedding key
	at := func(s *schemas.Score) [2]string { return [2]string{s.GetItem(), s.GetEmbedKey()} }
	for _, s := range r.Scores {
		if s.Role() == schemas.Leakage(schemas.Reader_READER_RANDOM) && s.End() == schemas.EndRefused {
			stegos[at(s)] = nil
		}
	}
	for _, e := range w.found {
		stegos[at(e.score)] = append(stegos[at(e.score)], e)
	}
	out := &RandomKeys{WrongKeys: *w, Stegos: len(stegos), Best: bestGuess(r.Scores, w.found)}
	out.Quantiles = quantiles(w.found)
	if w.Secret.Refused == 0 {
		out.BestOf = bestOf(stegos, w.Keys)
	}
	return out
}

func quantiles(found []excess) []Quantile {
	var plain []excess // the scores themselves
	for _, e := range found {
		plain = append(plain, excess{psnr: e.score.GetMetrics().GetPsnr(), ssim: e.score.GetMetrics().GetSsim()})
	}
	psnr, ssim := ascending(plain)
	psnrExcess, ssimExcess := ascending(found)
	var all []Quantile
	if len(found) == 0 {
		return nil
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
		if q < 1 && (1-q)*float64(len(found)) < 1 {
			continue
		}
		all = append(all, Quantile{
			Share: q, PSNR: stats.Quantile(psnr, q), PSNRExcess: stats.Quantile(psnrExcess, q),
			SSIM: stats.Quantile(ssim, q), SSIMExcess: stats.Quantile(ssimExcess, q),
		})
	}
	return all
}

// ascending are the excesses in PSNR and in SSIM, each in ascending order.
func ascending(all []excess) (psnr, ssim []float64) {
	for _, e := range all {
		psnr, ssim = append(psnr, e.psnr), append(ssim, e.ssim)
	}
	slices.Sort(psnr)
	slices.Sort(ssim)
	return psnr, ssim
}

// bestOf tries 1, 10, 100 and so on of the keys, and all of them. Stego images that lack a key take no part where all
// keys are tried.
func bestOf(stegos map[[2]string][]excess, keys int) []BestOf {
	var tried []int
	for n := 1; n < keys; n *= 10 {
		tried = append(tried, n)
	}
	var out []BestOf
	for _, n := range append(tried, keys) {
		var psnr, ssim stats.Summary
		for _, at := range slices.SortedFunc(maps.Keys(stegos), byName) {
			if len(stegos[at]) < n {
				continue
			}
			p, s := ascending(stegos[at])
			psnr.Add(expectedLargest(p, n))
			ssim.Add(expectedLargest(s, n))
		}
		out = append(out, BestOf{
			Keys: n, Stegos: ssim.N,
			PSNR: psnr.Moments(nil), SSIM: ssim.Moments(nil),
		})
	}
	return out
}

// expectedLargest is the mean, over all ways to draw n of the values, of the largest drawn. The i-th of N values in
// ascending order is the largest of C(i-1, n-1) of the C(N, n) draws.
func expectedLargest(sorted []float64, n int) float64 {
	total, mean := len(sorted), 0.0
	weight := float64(n) / float64(total)
	for i := total; i >= n; i-- {
		mean += weight * sorted[i-1]
		if i > 1 {
			weight *= float64(i-n) / float64(i-1)
		}
	}
	return mean
}

// bestGuess is nil where nothing was found.
func bestGuess(scores []*schemas.Score, found []excess) *Guess {
	if len(found) == 0 {
		return nil
	}
	best := slices.MaxFunc(found, func(a, b excess) int { return cmp.Compare(a.ssim, b.ssim) })
	m := best.score.GetMetrics()
	g := &Guess{
		Comparison: study.Comparison{Item: best.score.GetItem(), EmbedKey: best.score.GetEmbedKey(), DecodeKey: best.score.GetDecodeKey()},
		PSNR:       m.GetPsnr(), SSIM: m.GetSsim(), PSNRExcess: best.psnr, SSIMExcess: best.ssim,
		BaselinePSNR: m.GetPsnr() - best.psnr, BaselineSSIM: m.GetSsim() - best.ssim,
	}
	for _, s := range scores {
		if s.Role() == schemas.Recoverability && s.GetItem() == g.Item && s.GetEmbedKey() == g.EmbedKey {
			g.MatchedPSNR, g.MatchedSSIM = s.GetMetrics().GetPsnr(), s.GetMetrics().GetSsim()
		}
	}
	return g
}

func byName(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
