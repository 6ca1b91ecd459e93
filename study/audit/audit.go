// Package audit owns the report on a model's isolation: the tests, the verdict of each from the scores and images of runs, and the files.
//
// Invariants. Nothing here embeds or recovers: every figure comes from the scores and images of runs that the queue made. A
// verdict follows from numbers and a threshold, and names both. Every test has a verdict; a test that was not made says why. Equal runs give
// equal reports. The package uses no queue and no cache.
package audit

import (
	"stegomq/report/figure"
	"stegomq/schemas"
	"stegomq/study"
)

// Run is a run of the audit.
type Run struct {
	Name    string // its folder below runs/
	Summary *study.Summary
	Spec    *schemas.RunSpec
	Scores  []*schemas.Score
}

// Evidence is what an audit is made of.
type Evidence struct {
	// Attempts has near, swapped and partial keys, no key, and attacks, as far as the model allows them. It is needed.
	Attempts *Run
	// Random has the random keys; nil without any.
	Random *Run
	// Guess shows the best guess; nil without.
	Guess *figure.Grid
	// Detected is nil where it could not be tested.
	Detected *Detectability
	// Reports of the trainer; nil where there is none.
	Attacker *Attacker // trains the model's weights on leaked pairs
	Decoder  *Decoder  // trains another network on leaked pairs
	Detector *Detector // tells stego images from covers
	// Runs are all that were made, in their order.
	Runs []*Run
	// LeftOut says by the name of a test why it was not made.
	LeftOut map[string]string
}

// Audit is audit.json. What is null was left out; its verdict says why.
type Audit struct {
	Model    study.Model    `json:"model"`
	Dataset  study.Dataset  `json:"dataset"`
	Geometry study.Geometry `json:"geometry"`
	Keys     []string       `json:"keys"`
	// UntrainedKeys are those of them that the model was not trained with, though it needs to be.
	UntrainedKeys []string   `json:"untrained_keys,omitempty"`
	Thresholds    Thresholds `json:"thresholds"`
	// Provenance is that of the run of the attempts; the other runs have theirs in their own summaries.
	Provenance *study.Provenance `json:"provenance,omitempty"`
	// Verdicts are in the order of the report: one of each test.
	Verdicts []Verdict `json:"verdicts"`

	// What the verdicts are compared with, of the pairs of the tests.
	Imperceptibility study.Group `json:"imperceptibility"`
	Recoverability   study.Group `json:"recoverability"`
	Baseline         study.Group `json:"baseline_cover_secret"`

	RandomKeys     *RandomKeys    `json:"random_keys"`
	MismatchedKeys *WrongKeys     `json:"mismatched_keys"`
	NearKeys       *WrongKeys     `json:"near_keys"`
	SwappedKeys    *WrongKeys     `json:"swapped_keys"`
	NoKey          *WrongKeys     `json:"no_key"`
	PartialKeys    []Partial      `json:"partial_keys"`
	Attacker       *Attacker      `json:"attacker"`
	Decoder        *Decoder       `json:"decoder"`
	Detectability  *Detectability `json:"detectability"`
	Detector       *Detector      `json:"detector"`
	Robustness     []Survival     `json:"robustness"`

	Runs []Made `json:"runs"`

	guess *figure.Grid
	items *study.Items
}

// Made counts what a run of the audit had.
type Made struct {
	Name       string         `json:"name"`
	Run        string         `json:"run"`
	Pairs      int            `json:"pairs"`
	Keys       int            `json:"keys"`
	RandomKeys int            `json:"random_keys"`
	Failed     int            `json:"failed"` // comparisons that could not be made
	Cache      study.CacheUse `json:"cache"`
	Seconds    float64        `json:"seconds"`
}

// New makes the audit of what was found.
func New(e Evidence) *Audit {
	sum := e.Attempts.Summary
	a := &Audit{
		Model: sum.Model, Dataset: sum.Dataset, Geometry: sum.Geometry, Keys: sum.Keys, UntrainedKeys: sum.UntrainedKeys, Thresholds: thresholds, Provenance: sum.Provenance,
		Imperceptibility: sum.Imperceptibility, Recoverability: sum.Recoverability, Baseline: sum.BaselineCoverSecret,
		MismatchedKeys: wrongKeys(e.Attempts, sum.LeakageMismatched, sum.LeakageMismatchedCover, schemas.Leakage(schemas.Reader_READER_MISMATCHED)),
		NearKeys:       wrongKeys(e.Attempts, sum.LeakageNear, sum.LeakageNearCover, schemas.Leakage(schemas.Reader_READER_NEAR)),
		SwappedKeys:    wrongKeys(e.Attempts, sum.LeakageSwapped, sum.LeakageSwappedCover, schemas.Leakage(schemas.Reader_READER_SWAPPED)),
		NoKey:          wrongKeys(e.Attempts, sum.LeakageUnkeyed, sum.LeakageUnkeyedCover, schemas.Leakage(schemas.Reader_READER_UNKEYED)),
		PartialKeys:    partials(sum), Robustness: survivals(sum), Detectability: e.Detected, Attacker: e.Attacker,
		Decoder: e.Decoder, Detector: e.Detector, guess: e.Guess,
	}
	if e.Random != nil {
		a.RandomKeys = randomKeys(e.Random)
	}
	for _, r := range e.Runs {
		s := r.Summary
		a.Runs = append(a.Runs, Made{
			Name: r.Name, Run: s.Run, Pairs: s.Dataset.Pairs, Keys: len(s.Keys), RandomKeys: len(s.RandomKeys),
			Failed: len(s.FailedItems), Cache: s.Cache, Seconds: s.ElapsedSeconds,
		})
	}
	a.items = study.NewItems(e.Attempts.Scores)
	a.items.Elsewhere = "runs/" + e.Attempts.Name + "/items.csv"
	a.items.Add(e.Attempts.Scores, "")
	a.judge(e.LeftOut)
	return a
}
