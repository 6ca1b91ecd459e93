package evaluator

import (
	"time"

	"stegomq/internal/quality"
	"stegomq/schemas"
)

// Group summarises the scores of one role. PSNR is in dB and at most 100, MAE and RMSE are on [0,1].
type Group struct {
	N    int          `json:"n"`
	PSNR Distribution `json:"psnr"`
	SSIM Distribution `json:"ssim"`
	MAE  Moments      `json:"mae"`
	RMSE Moments      `json:"rmse"`
	// Excess is there for wrong keys against the secret alone.
	Excess *Excess `json:"excess,omitempty"`
}

// Confusion holds mean recoverability: row = the key that embedded, column = the key that decoded, in
// the order of the run's keys. A cell without a score is null.
type Confusion struct {
	PSNR [][]*float64 `json:"psnr"`
	SSIM [][]*float64 `json:"ssim"`
}

// Failed names something that could not be used or scored, and why.
type Failed struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Model names the model of a run.
type Model struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"`
	Trained bool   `json:"trained"`
}

// Dataset says what a run was measured on.
type Dataset struct {
	Path   string   `json:"path"`
	Covers string   `json:"covers,omitempty"`
	Images int      `json:"images"`
	Pairs  int      `json:"pairs"`
	Failed []Failed `json:"failed"`
}

// Geometry is the size that every image was brought to.
type Geometry struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Resize string `json:"resize"`
}

// CacheUse counts the comparisons of an invocation that were found and those that were made.
type CacheUse struct {
	Hits   int `json:"hits"`
	Misses int `json:"misses"`
}

// Invocation is what a summary says about the command rather than about the scores.
type Invocation struct {
	Hits, Misses int
	Elapsed      time.Duration
}

// Summary is summary.json.
type Summary struct {
	Run        string   `json:"run"`
	Model      Model    `json:"model"`
	Dataset    Dataset  `json:"dataset"`
	Geometry   Geometry `json:"geometry"`
	Keys       []string `json:"keys"`
	RandomKeys []string `json:"random_keys"`
	NearKeys   []string `json:"near_keys"`
	NoiseSigma float64  `json:"noise_sigma"`

	Imperceptibility       Group     `json:"imperceptibility"`
	Recoverability         Group     `json:"recoverability"`
	LeakageMismatched      Group     `json:"leakage_mismatched"`
	LeakageRandom          Group     `json:"leakage_random"`
	LeakageNear            Group     `json:"leakage_near"`
	LeakageMismatchedCover Group     `json:"leakage_mismatched_cover"`
	LeakageRandomCover     Group     `json:"leakage_random_cover"`
	LeakageNearCover       Group     `json:"leakage_near_cover"`
	BaselineCoverSecret    Group     `json:"baseline_cover_secret"`
	Purification           Group     `json:"purification"`
	Noise                  Group     `json:"noise"`
	Confusion              Confusion `json:"confusion"`

	// FailedItems names the comparisons that could not be made.
	FailedItems []Failed `json:"failed_items"`

	Cache          CacheUse `json:"cache"`
	ElapsedSeconds float64  `json:"elapsed_seconds"`
	// ItemsPerSecond counts comparisons.
	ItemsPerSecond float64 `json:"items_per_second"`
}

// Summarise makes the summary of a run from its specification and scores.
func Summarise(spec *schemas.RunSpec, scores, failures []*schemas.Score, inv Invocation) *Summary {
	groups := make(tallies[schemas.Role])
	cells := make(tallies[[2]string])
	baselines := make(map[string]*schemas.Metrics) // by item
	for _, s := range scores {
		if s.GetRole() == schemas.Role_ROLE_BASELINE {
			baselines[s.GetItem()] = s.GetMetrics()
		}
	}
	for _, s := range scores {
		group := groups.of(s.GetRole())
		group.add(s)
		switch s.GetRole() {
		case schemas.Role_ROLE_LEAKAGE_MISMATCHED, schemas.Role_ROLE_LEAKAGE_RANDOM, schemas.Role_ROLE_LEAKAGE_NEAR:
			group.excess.add(s, baselines[s.GetItem()])
		}
		switch s.GetRole() {
		case schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_LEAKAGE_MISMATCHED:
			cells.of([2]string{s.GetEmbedKey(), s.GetDecodeKey()}).add(s)
		}
	}
	g := spec.GetGeometry()
	sum := &Summary{
		Run:   spec.GetId(),
		Model: Model{Name: spec.GetModelName(), Digest: spec.GetModel(), Trained: spec.GetModelTrained()},
		Dataset: Dataset{
			Path: spec.GetDataset(), Covers: spec.GetCovers(), Images: int(spec.GetImages()),
			Pairs: len(spec.GetPairs()), Failed: []Failed{},
		},
		Geometry:   Geometry{Width: int(g.GetWidth()), Height: int(g.GetHeight()), Resize: resizeWord(g.GetResize())},
		Keys:       keyIDs(spec.GetKeys()),
		RandomKeys: keyIDs(spec.GetRandomKeys()),
		NearKeys:   keyIDs(spec.GetNearKeys()),
		NoiseSigma: spec.GetNoiseSigma(),

		Imperceptibility:       groups[schemas.Role_ROLE_IMPERCEPTIBILITY].group(),
		Recoverability:         groups[schemas.Role_ROLE_RECOVERABILITY].group(),
		LeakageMismatched:      groups[schemas.Role_ROLE_LEAKAGE_MISMATCHED].group(),
		LeakageRandom:          groups[schemas.Role_ROLE_LEAKAGE_RANDOM].group(),
		LeakageNear:            groups[schemas.Role_ROLE_LEAKAGE_NEAR].group(),
		LeakageMismatchedCover: groups[schemas.Role_ROLE_LEAKAGE_MISMATCHED_COVER].group(),
		LeakageRandomCover:     groups[schemas.Role_ROLE_LEAKAGE_RANDOM_COVER].group(),
		LeakageNearCover:       groups[schemas.Role_ROLE_LEAKAGE_NEAR_COVER].group(),
		BaselineCoverSecret:    groups[schemas.Role_ROLE_BASELINE].group(),
		Purification:           groups[schemas.Role_ROLE_PURIFICATION].group(),
		Noise:                  groups[schemas.Role_ROLE_NOISE].group(),

		FailedItems:    []Failed{},
		Cache:          CacheUse{Hits: inv.Hits, Misses: inv.Misses},
		ElapsedSeconds: inv.Elapsed.Seconds(),
	}
	for _, b := range spec.GetBad() {
		sum.Dataset.Failed = append(sum.Dataset.Failed, Failed{Name: b.GetName(), Reason: b.GetReason()})
	}
	for _, f := range failures {
		sum.FailedItems = append(sum.FailedItems, Failed{
			Name:   schemas.ScoreKey(f),
			Reason: f.GetFailure().GetReason() + ": " + f.GetFailure().GetDetail(),
		})
	}
	for _, embed := range sum.Keys {
		var psnr, ssim []*float64
		for _, decode := range sum.Keys {
			cell := cells[[2]string{embed, decode}].group()
			if cell.N == 0 {
				psnr, ssim = append(psnr, nil), append(ssim, nil)
				continue
			}
			psnr, ssim = append(psnr, &cell.PSNR.Mean), append(ssim, &cell.SSIM.Mean)
		}
		sum.Confusion.PSNR = append(sum.Confusion.PSNR, psnr)
		sum.Confusion.SSIM = append(sum.Confusion.SSIM, ssim)
	}
	if inv.Elapsed > 0 {
		sum.ItemsPerSecond = float64(inv.Hits+inv.Misses) / inv.Elapsed.Seconds()
	}
	return sum
}

func resizeWord(p schemas.ResizePolicy) string {
	if p == schemas.ResizePolicy_RESIZE_POLICY_CROP {
		return "crop"
	}
	return "squash"
}

func keyIDs(keys []*schemas.KeyRef) []string {
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		ids = append(ids, k.GetId())
	}
	return ids
}

// tally collects the metrics of a group of scores.
type tally struct {
	psnr, ssim series
	mae, rmse  quality.Summary
	excess     excess // of wrong keys against the secret
}

type tallies[K comparable] map[K]*tally

// of gives the tally of a key, at first an empty one.
func (t tallies[K]) of(key K) *tally {
	if t[key] == nil {
		t[key] = &tally{}
	}
	return t[key]
}

func (t *tally) add(s *schemas.Score) {
	m := s.GetMetrics()
	t.psnr.add(m.GetPsnr(), s)
	t.ssim.add(m.GetSsim(), s)
	t.mae.Add(m.GetMae())
	t.rmse.Add(m.GetRmse())
}

func (t *tally) group() Group {
	if t == nil {
		return Group{}
	}
	g := Group{
		N: t.psnr.N, PSNR: t.psnr.distribution(), SSIM: t.ssim.distribution(),
		MAE: Moments{t.mae.Mean, t.mae.Std()}, RMSE: Moments{t.rmse.Mean, t.rmse.Std()},
	}
	if e := t.excess; e.psnr.N > 0 {
		g.Excess = &Excess{N: e.psnr.N, PSNR: e.psnr.tail(), SSIM: e.ssim.tail()}
	}
	return g
}

// excess collects what scores have more than the baseline of their item.
type excess struct{ psnr, ssim series }

// add leaves a score out whose baseline could not be measured.
func (e *excess) add(s *schemas.Score, baseline *schemas.Metrics) {
	if baseline == nil {
		return
	}
	e.psnr.add(s.GetMetrics().GetPsnr()-baseline.GetPsnr(), s)
	e.ssim.add(s.GetMetrics().GetSsim()-baseline.GetSsim(), s)
}
