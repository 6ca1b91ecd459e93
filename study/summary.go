package study

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"stegomq/internal/quality"
	"stegomq/report/stats"
	"stegomq/schemas"
)

// Group summarises the scores of one role. PSNR is in dB and at most 100, MAE and RMSE are on [0,1].
type Group struct {
	// N counts the scores with metrics, Items the image pairs that they are of.
	N     int `json:"n"`
	Items int `json:"items"`
	// Refused counts the images that recovery refused, of N + Refused. They have no metrics: with N = 0 what follows means nothing.
	Refused int `json:"refused"`
	ByMetric[Distribution]
	// Excess is there for wrong keys, and no key, against the secret alone.
	Excess *Excess `json:"excess,omitempty"`
}

// Of counts all images of the group, those that were refused too.
func (g Group) Of() int { return g.N + g.Refused }

// RefusedText is "refused 3 of 48"; nothing where nothing was refused.
func (g Group) RefusedText() string { return refusedText(g.Refused, g.Of()) }

func refusedText(refused, of int) string {
	if refused == 0 {
		return ""
	}
	return fmt.Sprintf("%s %d of %d", schemas.EndRefused, refused, of)
}

// PartialGroup summarises what keys show of which only a share is right.
type PartialGroup struct {
	Permille int `json:"permille"`
	Group
}

// AttackGroup summarises what the matched key recovers after an attack on the stego images.
type AttackGroup struct {
	Attack string `json:"attack"`
	Group
}

// Confusion holds mean recoverability: row = the key that embedded, column = the key that decoded, in
// the order of the run's keys. A cell without a score is null, and so is the mean of one of which every image was refused.
type Confusion struct {
	PSNR [][]*float64 `json:"psnr"`
	SSIM [][]*float64 `json:"ssim"`
	// Cells are the same means with what belongs to them.
	Cells [][]*Cell `json:"cells"`
	// Drawn takes the place of the matrix in a run that draws its wrong keys: a matrix of 1,000 keys would be almost empty.
	Drawn *Drawn `json:"drawn,omitempty"`
}

// Drawn holds what the keys recovered that a run drew, WrongKeys for each key that embedded. It grows with the keys, not with their square.
type Drawn struct {
	WrongKeys int        `json:"wrong_keys"`
	Seed      uint64     `json:"seed"`
	Rows      []DrawnRow `json:"rows"`
}

// DrawnRow is what the keys that decode recovered of the images that one key embedded, itself among them.
type DrawnRow struct {
	EmbedKey   string   `json:"embed_key"`
	DecodeKeys []string `json:"decode_keys"`
	Cells      []*Cell  `json:"cells"`
}

// Matched is what the key that embedded recovers, nil where there is no score.
func (r DrawnRow) Matched() *Cell {
	if i := slices.Index(r.DecodeKeys, r.EmbedKey); i >= 0 {
		return r.Cells[i]
	}
	return nil
}

// Cell is what one key recovers of the images that another embedded.
type Cell struct {
	// N counts the scores with metrics, Refused the images that recovery refused beside them.
	N       int           `json:"n"`
	Refused int           `json:"refused"`
	PSNR    stats.Moments `json:"psnr"`
	SSIM    stats.Moments `json:"ssim"`
}

// RefusedText is as that of a Group.
func (c *Cell) RefusedText() string { return refusedText(c.Refused, c.N+c.Refused) }

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
	// Keying is how a key acts, "variant", "cipher" or "rotation"; absent where it fills weights.
	Keying string `json:"keying,omitempty"`
}

// Dataset says what a run was measured on.
type Dataset struct {
	Path   string `json:"path"`
	Covers string `json:"covers,omitempty"`
	// Digest names the images of the pairs (schemas.DatasetDigest), wherever they lie.
	Digest string `json:"digest"`
	Images int    `json:"images"`
	Pairs  int    `json:"pairs"`
	// Sample is there when the pairs were drawn from more.
	Sample *Sample  `json:"sample,omitempty"`
	Failed []Failed `json:"failed"`
}

// Sample says how pairs were drawn.
type Sample struct {
	Pairs int    `json:"pairs"` // asked for
	Of    int    `json:"of"`
	Seed  uint64 `json:"seed"`
}

// Pair is an item of a run: a cover and the secret that was hidden in it. Digests are SHA-256 of the files; names are those of the files.
type Pair struct {
	Item         string `json:"item"`
	Cover        string `json:"cover"`
	CoverDigest  string `json:"cover_digest"`
	Secret       string `json:"secret"`
	SecretDigest string `json:"secret_digest"`
}

// WorstPair is a pair on which a model does badly, with its worst score over the keys.
type WorstPair struct {
	// Role is imperceptibility, recoverability or purification.
	Role string `json:"role"`
	Comparison
	// Cover and Secret are the names of the image files.
	Cover  string  `json:"cover"`
	Secret string  `json:"secret"`
	PSNR   float64 `json:"psnr"`
	SSIM   float64 `json:"ssim"`
}

// worstOfRole is how many of its pairs a role names.
const worstOfRole = 3

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

// Invocation is what a summary says about the command rather than about the scores. Where it made nothing, the time is that of the run's
// provenance.
type Invocation struct {
	Hits, Misses int
	Elapsed      time.Duration
	// Provenance is that of the run, from its first command; nil where it is not known.
	Provenance *Provenance
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
	// DerivedKeys are the swapped and the partial ones.
	DerivedKeys []string `json:"derived_keys,omitempty"`
	// UntrainedKeys are those of Keys that the model was not trained with, though it needs to be.
	UntrainedKeys []string `json:"untrained_keys,omitempty"`
	NoiseSigma    float64  `json:"noise_sigma"`
	// MetricsVersion names the definitions of PSNR, SSIM, MAE and RMSE.
	MetricsVersion string `json:"metrics_version"`
	// DecoderVersion says which pixels were made of the image files; absent of runs before there was one.
	DecoderVersion uint32 `json:"decoder_version,omitempty"`

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

	// The following are present when the run asked for them and has scores of them. The partial keys are in ascending
	// order of their share, the attacks in the order of the run.
	LeakageSwapped      Group          `json:"leakage_swapped,omitzero"`
	LeakageSwappedCover Group          `json:"leakage_swapped_cover,omitzero"`
	LeakagePartial      []PartialGroup `json:"leakage_partial,omitempty"`
	LeakagePartialCover []PartialGroup `json:"leakage_partial_cover,omitempty"`
	LeakageUnkeyed      Group          `json:"leakage_unkeyed,omitzero"`
	LeakageUnkeyedCover Group          `json:"leakage_unkeyed_cover,omitzero"`
	Robustness          []AttackGroup  `json:"robustness,omitempty"`

	// WorstPairs are the three of least PSNR in each role, the worst first.
	WorstPairs []WorstPair `json:"worst_pairs"`

	// FailedItems names the comparisons that could not be made.
	FailedItems []Failed `json:"failed_items"`
	// RefusedItems names the images that recovery refused to the key that embedded them, without an attack. Refusals of other keys are
	// no failures; their groups count them.
	RefusedItems []Failed `json:"refused_items,omitempty"`

	// Provenance says what made the run. It is absent where that was not recorded.
	Provenance *Provenance `json:"provenance,omitempty"`

	// Cache is of this command; the times are too, unless it found everything in the cache: then they are of the run's first.
	Cache          CacheUse `json:"cache"`
	ElapsedSeconds float64  `json:"elapsed_seconds"`
	// ItemsPerSecond counts comparisons.
	ItemsPerSecond float64 `json:"items_per_second"`

	// Pairs are in the order of the run.
	Pairs []Pair `json:"pairs"`
}

// Baselines are the metrics of cover against secret by item: what an unrelated image measures.
func Baselines(scores []*schemas.Score) map[string]*schemas.Metrics {
	baselines := make(map[string]*schemas.Metrics)
	for _, s := range scores {
		if s.Role() == schemas.Baseline {
			baselines[s.GetItem()] = s.GetMetrics()
		}
	}
	return baselines
}

// Summarise makes the summary of a run from its specification and scores.
func Summarise(spec *schemas.RunSpec, scores, failures []*schemas.Score, inv Invocation) *Summary {
	groups := make(map[schemas.Role]*tally)
	cells := make(map[[2]string]*cell)
	baselines := Baselines(scores)
	var refused []Failed
	for _, s := range scores {
		group := of(groups, s.Role())
		group.add(s)
		if s.Role() == schemas.Recoverability && s.End() == schemas.EndRefused {
			refused = append(refused, Failed{Name: schemas.ScoreKey(s), Reason: s.GetRefusal().GetDetail()})
		}
		if s.Role().Leaks() {
			group.addExcess(s, baselines[s.GetItem()])
		}
		switch s.Role() {
		case schemas.Recoverability, schemas.Leakage(schemas.Reader_READER_MISMATCHED):
			of(cells, [2]string{s.GetEmbedKey(), s.GetDecodeKey()}).add(s)
		}
	}
	role := func(r schemas.Role) Group { return groups[r].group() }
	sum := &Summary{
		Run:   spec.GetId(),
		Model: modelOf(spec),
		Dataset: Dataset{
			Path: spec.GetDataset(), Covers: spec.GetCovers(), Digest: schemas.DatasetDigest(spec),
			Images: int(spec.GetImages()), Pairs: len(spec.GetPairs()), Failed: []Failed{},
		},
		Geometry:   geometryOf(spec),
		Keys:       keyIDs(spec.GetKeys()),
		RandomKeys: keyIDs(spec.ReadersOf(schemas.Reader_READER_RANDOM).GetKeys()),
		NearKeys:   keyIDs(spec.ReadersOf(schemas.Reader_READER_NEAR).GetKeys()),
		NoiseSigma: spec.GetNoiseSigma(),

		UntrainedKeys:  spec.GetUntrainedKeys(),
		MetricsVersion: spec.GetMetricsVersion(), DecoderVersion: spec.GetDecoderVersion(),
		Pairs:      pairsOf(spec),
		WorstPairs: worstPairs(spec, scores),

		Imperceptibility:       role(schemas.Imperceptibility),
		Recoverability:         role(schemas.Recoverability),
		LeakageMismatched:      role(schemas.Leakage(schemas.Reader_READER_MISMATCHED)),
		LeakageRandom:          role(schemas.Leakage(schemas.Reader_READER_RANDOM)),
		LeakageNear:            role(schemas.Leakage(schemas.Reader_READER_NEAR)),
		LeakageMismatchedCover: role(schemas.LeakageCover(schemas.Reader_READER_MISMATCHED)),
		LeakageRandomCover:     role(schemas.LeakageCover(schemas.Reader_READER_RANDOM)),
		LeakageNearCover:       role(schemas.LeakageCover(schemas.Reader_READER_NEAR)),
		BaselineCoverSecret:    role(schemas.Baseline),
		Purification:           role(schemas.Purification),
		Noise:                  role(schemas.Noise),

		LeakageSwapped:      role(schemas.Leakage(schemas.Reader_READER_SWAPPED)),
		LeakageSwappedCover: role(schemas.LeakageCover(schemas.Reader_READER_SWAPPED)),
		LeakageUnkeyed:      role(schemas.Leakage(schemas.Reader_READER_UNKEYED)),
		LeakageUnkeyedCover: role(schemas.LeakageCover(schemas.Reader_READER_UNKEYED)),

		FailedItems:    []Failed{},
		RefusedItems:   refused,
		Provenance:     inv.Provenance,
		Cache:          CacheUse{Hits: inv.Hits, Misses: inv.Misses},
		ElapsedSeconds: inv.Elapsed.Seconds(),
	}
	if s := spec.GetSample(); s != nil {
		sum.Dataset.Sample = &Sample{Pairs: int(s.GetPairs()), Of: int(s.GetOf()), Seed: s.GetSeed()}
	}
	for _, r := range []schemas.Reader{schemas.Reader_READER_SWAPPED, schemas.Reader_READER_PARTIAL} {
		sum.DerivedKeys = append(sum.DerivedKeys, keyIDs(spec.ReadersOf(r).GetKeys())...)
	}
	for _, r := range sortedRoles(groups) {
		group := PartialGroup{r.Permille, groups[r].group()}
		switch {
		case r.Reader != schemas.Reader_READER_PARTIAL:
		case r.Leaks():
			sum.LeakagePartial = append(sum.LeakagePartial, group)
		default:
			sum.LeakagePartialCover = append(sum.LeakagePartialCover, group)
		}
	}
	for _, attack := range spec.GetAttacks() {
		if t := groups[schemas.Robustness(attack)]; t != nil {
			sum.Robustness = append(sum.Robustness, AttackGroup{attack, t.group()})
		}
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
	if r := spec.Drawn(); r != nil {
		sum.Confusion.Drawn = drawn(spec, r, cells)
	} else {
		sum.Confusion.fill(sum.Keys, cells)
	}
	if p := inv.Provenance; p != nil && inv.Misses == 0 {
		sum.ElapsedSeconds = p.ElapsedSeconds
	}
	if sum.ElapsedSeconds > 0 {
		sum.ItemsPerSecond = float64(inv.Hits+inv.Misses) / sum.ElapsedSeconds
	}
	return sum
}

// fill makes the matrix of all keys.
func (x *Confusion) fill(keys []string, cells map[[2]string]*cell) {
	for _, embed := range keys {
		var psnr, ssim []*float64
		var row []*Cell
		for _, decode := range keys {
			c := cells[[2]string{embed, decode}].summary()
			row = append(row, c)
			if c == nil || c.N == 0 {
				psnr, ssim = append(psnr, nil), append(ssim, nil)
				continue
			}
			psnr, ssim = append(psnr, &c.PSNR.Mean), append(ssim, &c.SSIM.Mean)
		}
		x.PSNR = append(x.PSNR, psnr)
		x.SSIM = append(x.SSIM, ssim)
		x.Cells = append(x.Cells, row)
	}
}

// drawn makes the rows of a run that draws its wrong keys.
func drawn(spec *schemas.RunSpec, r *schemas.Readers, cells map[[2]string]*cell) *Drawn {
	d := &Drawn{WrongKeys: int(r.GetCount()), Seed: r.GetSeed()}
	for _, embed := range spec.GetKeys() {
		row := DrawnRow{EmbedKey: embed.GetId()}
		for _, decode := range schemas.RegisteredKeys(spec, embed) {
			row.DecodeKeys = append(row.DecodeKeys, decode.GetId())
			row.Cells = append(row.Cells, cells[[2]string{embed.GetId(), decode.GetId()}].summary())
		}
		d.Rows = append(d.Rows, row)
	}
	return d
}

func modelOf(s *schemas.RunSpec) Model {
	return Model{Name: s.GetModelName(), Digest: s.GetModel(), Trained: s.GetModelTrained(), Keying: s.GetModelKeying()}
}

// worstPairs finds the pairs of least PSNR in each role of the model's own images.
func worstPairs(spec *schemas.RunSpec, scores []*schemas.Score) []WorstPair {
	names := make(map[string]*schemas.Pair)
	for _, p := range spec.GetPairs() {
		names[p.GetItem()] = p
	}
	all := []WorstPair{}
	for _, role := range []schemas.Role{schemas.Imperceptibility, schemas.Recoverability, schemas.Purification} {
		worst := make(map[string]*schemas.Score) // of each item
		for _, s := range scores {
			if s.Role() == role && s.End() == schemas.EndDone {
				if before := worst[s.GetItem()]; before == nil || s.GetMetrics().GetPsnr() < before.GetMetrics().GetPsnr() {
					worst[s.GetItem()] = s
				}
			}
		}
		sorted := slices.SortedFunc(maps.Values(worst), func(a, b *schemas.Score) int {
			return cmp.Or(cmp.Compare(a.GetMetrics().GetPsnr(), b.GetMetrics().GetPsnr()), cmp.Compare(a.GetItem(), b.GetItem()))
		})
		for _, s := range sorted[:min(worstOfRole, len(sorted))] {
			p := names[s.GetItem()]
			all = append(all, WorstPair{
				Role: role.Token(), Comparison: comparisonOf(s), Cover: p.GetCover().GetName(), Secret: p.GetSecret().GetName(),
				PSNR: s.GetMetrics().GetPsnr(), SSIM: s.GetMetrics().GetSsim(),
			})
		}
	}
	return all
}

func pairsOf(s *schemas.RunSpec) []Pair {
	pairs := make([]Pair, 0, len(s.GetPairs()))
	for _, p := range s.GetPairs() {
		pairs = append(pairs, Pair{
			Item: p.GetItem(), Cover: p.GetCover().GetName(), CoverDigest: p.GetCover().GetDigest(),
			Secret: p.GetSecret().GetName(), SecretDigest: p.GetSecret().GetDigest(),
		})
	}
	return pairs
}

func geometryOf(s *schemas.RunSpec) Geometry {
	g := s.GetGeometry()
	return Geometry{Width: int(g.GetWidth()), Height: int(g.GetHeight()), Resize: schemas.ResizeWord(g.GetResize())}
}

// Text is "256x256 (squash)".
func (g Geometry) Text() string { return fmt.Sprintf("%dx%d (%s)", g.Width, g.Height, g.Resize) }

func keyIDs(keys []*schemas.KeyRef) []string {
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		ids = append(ids, k.GetId())
	}
	return ids
}

// of gives the value of a key, at first an empty one.
func of[K comparable, V any](m map[K]*V, key K) *V {
	if m[key] == nil {
		m[key] = new(V)
	}
	return m[key]
}

// tally collects the metrics of a group of scores, and counts those that were refused.
type tally struct {
	refused int
	of      []sample  // in the order of quality.Metrics; nil without scores
	excess  [2]sample // of wrong keys against the secret, in PSNR and SSIM
}

func (t *tally) add(s *schemas.Score) {
	if s.End() == schemas.EndRefused {
		t.refused++
		return
	}
	if t.of == nil {
		t.of = make([]sample, len(quality.Metrics))
	}
	for i, m := range quality.Metrics {
		if v, measured := s.GetMetrics().Value(m.Name); measured {
			t.of[i].add(v, s)
		}
	}
}

// addExcess takes in what a score has more than the baseline of its item, which may not have been measured.
func (t *tally) addExcess(s *schemas.Score, baseline *schemas.Metrics) {
	if baseline != nil && s.End() != schemas.EndRefused {
		t.excess[0].add(s.GetMetrics().GetPsnr()-baseline.GetPsnr(), s)
		t.excess[1].add(s.GetMetrics().GetSsim()-baseline.GetSsim(), s)
	}
}

func (t *tally) group() Group {
	if t == nil {
		return Group{}
	}
	if t.of == nil {
		return Group{Refused: t.refused}
	}
	g := Group{N: t.of[0].N, Items: t.of[0].items.Len(), Refused: t.refused}
	for i, m := range quality.Metrics {
		if t.of[i].N > 0 {
			g.set(m.Name, t.of[i].distribution())
		}
	}
	if e := &t.excess; e[0].N > 0 {
		g.Excess = &Excess{N: e[0].N, Items: e[0].items.Len(), PSNR: e[0].tail(), SSIM: e[1].tail()}
	}
	return g
}

// cell collects what one key recovers of the images that another embedded.
type cell struct {
	refused    int
	psnr, ssim sample
}

func (c *cell) add(s *schemas.Score) {
	if s.End() == schemas.EndRefused {
		c.refused++
		return
	}
	c.psnr.add(s.GetMetrics().GetPsnr(), s)
	c.ssim.add(s.GetMetrics().GetSsim(), s)
}

// summary gives nil without a score.
func (c *cell) summary() *Cell {
	if c == nil {
		return nil
	}
	return &Cell{N: c.psnr.N, Refused: c.refused, PSNR: c.psnr.meanAndInterval(), SSIM: c.ssim.meanAndInterval()}
}
