package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/producer"
	"stegomq/schemas"
)

// MaxRandomKeys bounds the specification of a run, which names every key, to half a megabyte.
const MaxRandomKeys = 10000

// Request is a run that is asked for.
type Request struct {
	Model *model.Model
	// Keys are the registered pairs: each embeds, and each decodes what each embedded. At least one.
	Keys []keyring.Pair
	// Dataset is where the images are; its Limits are those of Options. DatasetName is what the run calls it; empty: where it is.
	Dataset     producer.DatasetOptions
	DatasetName string
	// Geometry is what every image is brought to; its sides are at least the model's least.
	Geometry *schemas.Geometry
	// RandomKeys is the number of unregistered keys that try to decode, 0 to MaxRandomKeys. RandomSeed draws them, and the first one has the
	// number FirstRandom. NearKeys is the number of keys one bit off each key that try too, 0 to keyring.KeyBits. Models with a network for
	// each key have neither.
	RandomKeys, NearKeys    int
	RandomSeed, FirstRandom uint64
	// WrongKeys is the largest number of other registered keys that decode what a key embeds; where there are more, WrongSeed draws them.
	// 0: all of them, so that the runs of the network grow with the square of the keys.
	WrongKeys int
	WrongSeed uint64
	// Noise is the standard deviation of the noise for purification, 0 to 255.
	Noise float64
	Trials
	// Run is the name of the run. Empty: one that follows from its content, so that the same request resumes it.
	Run string
	// Batch is the number of pairs in one job, 1 to schemas.MaxItems.
	Batch int
	// Images says that the images are wanted too: an output that the blob store lost is made again.
	Images bool
	// Detach leaves the waiting jobs in the queue when the run is interrupted.
	Detach bool
}

// Trials are what a run tries with every stego image beyond other keys; by default nothing.
type Trials struct {
	// Swapped decodes with each key's halves exchanged, NoKey with the network that needs no key.
	Swapped, NoKey bool
	// Features keeps with every score what recovery's last layer was fed.
	Features bool
	// Partial decodes with keys of whose fill so much is right, in percent, with at most one decimal.
	Partial []float64
	// Attacks are what happens to stego images before the matched key recovers once more (pixel.ParseAttack).
	Attacks []string
	// MoreMetrics are measured beyond those of every run (quality.Optional).
	MoreMetrics []string
}

// metrics is the version of the metrics that is asked for; checked before.
func (t *Trials) metrics() string {
	version, _ := quality.VersionWith(t.MoreMetrics)
	return version
}

// Defaults of requests that commands make.
const (
	DefaultBatch = 8
	DefaultNoise = 20
	DefaultSide  = 256
	// DefaultWrongKeys bounds what evaluating many users costs.
	DefaultWrongKeys = 8
)

// NewRequest asks for a run with one random key, where the model can have one, and else what the defaults are.
func NewRequest(m *model.Model, keys []keyring.Pair, data string) *Request {
	r := &Request{
		Model: m, Keys: keys, Dataset: producer.DatasetOptions{Data: data, Seed: 1}, Geometry: Square(DefaultSide, schemas.ResizePolicy_RESIZE_POLICY_SQUASH),
		RandomKeys: 1, RandomSeed: 1, WrongKeys: DefaultWrongKeys, WrongSeed: 1, Noise: DefaultNoise, Batch: DefaultBatch,
	}
	if HasVariants(m) {
		r.RandomKeys = 0
	}
	return r
}

// Square is the geometry of images with one side, in pixels; 0: their own.
func Square(side int, resize schemas.ResizePolicy) *schemas.Geometry {
	n := uint32(min(max(side, 0), math.MaxInt32))
	return &schemas.Geometry{Width: n, Height: n, Resize: resize}
}

// Geometry is what images are brought to: a side, in pixels, 0: their own, and how ("squash" or "crop").
func Geometry(side int, resize string) (*schemas.Geometry, error) {
	if side < 0 || side > schemas.MaxSide {
		return nil, wrong("size %d: choose 0 to %d", side, schemas.MaxSide)
	}
	policy, ok := schemas.ParseResize(resize)
	if !ok {
		return nil, wrong("resize %s: choose squash or crop", resize)
	}
	return Square(side, policy), nil
}

// FieldError says what is wrong with one field of a request. The field is spelt as users of commands spell it: its text begins with
// it, so that a command puts its two dashes before it.
type FieldError struct{ text string }

func (e *FieldError) Error() string { return e.text }

func wrong(format string, args ...any) error { return &FieldError{fmt.Sprintf(format, args...)} }

// Check finds what is wrong with the request and with its folders, as far as names tell. Image files are at least minSide wide and
// high. It returns a *FieldError, or an error of package producer.
func (r *Request) Check(minSide int) error {
	side := min(r.Geometry.GetWidth(), r.Geometry.GetHeight())
	least := max(r.Model.Manifest.MinSide, minSide)
	switch {
	case int64(side) < int64(least):
		return wrong("size %d: the model %s needs at least %d", side, r.Model.Name, least)
	case max(r.Geometry.GetWidth(), r.Geometry.GetHeight()) > schemas.MaxSide:
		return wrong("size %d: choose 0 to %d", max(r.Geometry.GetWidth(), r.Geometry.GetHeight()), schemas.MaxSide)
	case r.Batch < 1 || r.Batch > schemas.MaxItems:
		return wrong("batch %d: choose 1 to %d", r.Batch, schemas.MaxItems)
	case r.Dataset.Limit < 0:
		return wrong("limit %d: it must not be negative", r.Dataset.Limit)
	case r.Dataset.Sample < 0 || r.Dataset.Sample > 0 && r.Dataset.Limit > 0:
		return wrong("sample must not be negative, and takes the place of --limit: give one of them")
	case r.RandomKeys < 0 || r.RandomKeys > MaxRandomKeys:
		return wrong("random-keys %d: choose 0 to %d", r.RandomKeys, MaxRandomKeys)
	case r.WrongKeys < 0:
		return wrong("wrong-keys %d: choose 0, for all, or more", r.WrongKeys)
	case r.NearKeys < 0 || r.NearKeys > keyring.KeyBits:
		return wrong("near-keys %d: choose 0 to %d", r.NearKeys, keyring.KeyBits)
	case HasVariants(r.Model) && r.NearKeys+r.RandomKeys > 0:
		return wrong("random-keys, --near-keys: model %s has a network for each of its keys and none for other keys; leave them out", r.Model.Name)
	case !(r.Noise >= 0 && r.Noise <= 255): // nor NaN
		return wrong("noise %v: choose 0 to 255", r.Noise)
	case r.Run != "" && !schemas.ValidRunID(r.Run):
		return wrong("run %q: a name has 1 to 63 letters, digits, '_' and '-', and begins with a letter or a digit", r.Run)
	}
	if err := r.Trials.check(r.Model); err != nil {
		return err
	}
	if err := r.checkKeys(); err != nil {
		return err
	}
	return r.Dataset.Check()
}

// check finds what is wrong with the trials, and what the model cannot do.
func (t *Trials) check(m *model.Model) error {
	for i, percent := range t.Partial {
		permille := math.Round(10 * percent)
		if !(percent >= 0 && percent <= 100) || math.Abs(10*percent-permille) > 1e-9 {
			return wrong("partial %v: choose percentages from 0 to 100 with at most one decimal", percent)
		}
		if slices.Contains(t.Partial[:i], percent) {
			return wrong("partial %v is there twice", percent)
		}
	}
	if _, err := quality.VersionWith(t.MoreMetrics); err != nil {
		return wrong("more-metrics: %v", err)
	}
	for i, name := range t.Attacks {
		if _, err := pixel.ParseAttack(name); err != nil {
			return wrong("attacks: %v", err)
		}
		if slices.Contains(t.Attacks[:i], name) {
			return wrong("attacks %s is there twice", name)
		}
	}
	switch {
	case (t.Swapped || len(t.Partial) > 0) && HasVariants(m):
		return wrong("swapped, --partial: model %s has a network for each of its keys and none for other keys; leave them out", m.Name)
	case len(t.Partial) > 0 && !schemas.FillsWeights(m.Manifest.Keying):
		return wrong("partial: the keys of model %s fill no weights, so that no part of them can be right; leave it out", m.Name)
	case t.NoKey && !m.Manifest.Does(model.OpPurify):
		return wrong("no-key: model %s does not purify, so that it has no network without a key; leave it out", m.Name)
	case t.Features && m.Manifest.Features == 0:
		return wrong("features: the recovery of model %s gives none; leave it out, or choose a model that has them", m.Name)
	}
	return nil
}

// checkKeys says which key the run cannot work with, or has an id too long to name the keys derived from its pair.
func (r *Request) checkKeys() error {
	if len(r.Keys) == 0 {
		return wrong("keys: there are none")
	}
	for _, p := range r.Keys {
		switch {
		case p.Recover.IsZero():
			return wrong("keys: %s: %v; a run recovers, too", p.ID, keyring.ErrEmbedOnly)
		case HasVariants(r.Model) && !r.Model.Takes(p.Fingerprint()):
			return wrong("keys: %v", noVariant(r.Model, p.ID))
		case r.Model.Trained() && !r.Model.Takes(p.Fingerprint()):
			return wrong("keys: %v", notTrained(r.Model, p.ID))
		case r.NearKeys > 0 && len(p.ID) > keyring.MaxNearID:
			return wrong("near-keys: the id %s is too long to name the keys near it: choose one of at most %d bytes", p.ID, keyring.MaxNearID)
		case r.Swapped && len(p.ID) > keyring.MaxSwappedID || len(r.Partial) > 0 && len(p.ID) > keyring.MaxPartialID:
			return wrong("swapped, --partial: the id %s is too long to name the keys derived from it: choose one of at most %d bytes",
				p.ID, min(keyring.MaxSwappedID, keyring.MaxPartialID))
		}
	}
	return nil
}

// ring is a keyring of the request's keys alone.
func (r *Request) ring() (*keyring.Keyring, error) {
	ring := keyring.New()
	for _, p := range r.Keys {
		if err := ring.Add(p); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// spec is the specification of the run on the pairs of a data set, with a runtime that computes, or none.
func (r *Request) spec(d *producer.Dataset, runtime string) *schemas.RunSpec {
	m := r.Model
	spec := &schemas.RunSpec{
		Model: m.Digest, ModelName: m.Name, ModelTrained: m.Trained(), Geometry: r.Geometry, NoiseSigma: r.Noise,
		Pairs: d.Pairs, Dataset: cmp.Or(r.DatasetName, r.Dataset.Data), Covers: r.Dataset.Covers, Images: uint32(d.Images), Bad: d.Bad,
		MetricsVersion: r.metrics(), DecoderVersion: schemas.DecoderVersion, Features: r.Features, Attacks: r.Attacks, Runtime: runtime,
		Readers: r.readers(),
	}
	if n := r.Dataset.Sample; n > 0 {
		spec.Sample = &schemas.Sample{Pairs: uint32(min(n, math.MaxUint32)), Of: uint32(d.Candidates), Seed: r.Dataset.Seed}
	}
	// What the model can do is said where it is not what models of keyed weights do.
	if m.Manifest.Keying != model.KeyingWeights {
		spec.ModelKeying = m.Manifest.Keying
	}
	for _, op := range m.Manifest.Operations {
		spec.ModelOperations = append(spec.ModelOperations, schemas.OperationOf(string(op)))
	}
	if len(spec.GetModelOperations()) == len(schemas.Operations()) {
		spec.ModelOperations = nil
	}
	for _, p := range r.Keys {
		spec.Keys = append(spec.Keys, keyRef(p))
		if !m.Takes(p.Fingerprint()) {
			spec.UntrainedKeys = append(spec.UntrainedKeys, p.ID)
		}
	}
	spec.Id = cmp.Or(r.Run, schemas.RunID(spec))
	return spec
}

// readers are those who read what the keys embed beside the key itself.
func (r *Request) readers() (all []*schemas.Readers) {
	add := func(reader schemas.Reader, count int, keys ...*schemas.KeyRef) *schemas.Readers {
		of := &schemas.Readers{Reader: reader, Count: uint32(count), Keys: keys}
		if count > 0 {
			all = append(all, of)
		}
		return of
	}
	// derive adds so many keys that are derived from each key, by their numbers.
	derive := func(reader schemas.Reader, count int, from func(p keyring.Pair, n int) keyring.Pair) {
		var keys []*schemas.KeyRef
		for _, p := range r.Keys {
			for n := range count {
				keys = append(keys, keyRef(from(p, n)))
			}
		}
		add(reader, count, keys...)
	}
	if others := len(r.Keys) - 1; r.WrongKeys > 0 && r.WrongKeys < others {
		add(schemas.Reader_READER_MISMATCHED, r.WrongKeys).Seed = r.WrongSeed
	} else {
		add(schemas.Reader_READER_MISMATCHED, others)
	}
	var random []*schemas.KeyRef
	for n := range uint64(r.RandomKeys) {
		random = append(random, keyRef(keyring.Random(r.RandomSeed, r.FirstRandom+n)))
	}
	add(schemas.Reader_READER_RANDOM, r.RandomKeys, random...)
	derive(schemas.Reader_READER_NEAR, r.NearKeys, func(p keyring.Pair, n int) keyring.Pair { return keyring.Near(p, n*keyring.KeyBits/r.NearKeys) })
	if r.Swapped {
		derive(schemas.Reader_READER_SWAPPED, 1, func(p keyring.Pair, _ int) keyring.Pair { return keyring.Swapped(p) })
	}
	derive(schemas.Reader_READER_PARTIAL, len(r.Partial), func(p keyring.Pair, n int) keyring.Pair {
		return keyring.Partial(p, int(math.Round(10*r.Partial[n])))
	})
	if r.NoKey {
		add(schemas.Reader_READER_UNKEYED, 1)
	}
	return all
}

// dataset reads images, and makes at least one pair of them.
func (s *Services) dataset(ctx context.Context, opts producer.DatasetOptions, memo producer.Inspections) (*producer.Dataset, error) {
	opts.Limits = s.opts.Limits
	d, err := producer.ReadDataset(ctx, opts, memo)
	if err != nil {
		return nil, err
	}
	if len(d.Pairs) == 0 {
		for _, bad := range d.Bad {
			s.log.Error("file cannot be used", "file", bad.GetName(), "reason", bad.GetReason())
		}
		return nil, fmt.Errorf("%w: %s has %d usable images and no pair: a pair needs two that differ", producer.ErrDataset, opts.Data, d.Images)
	}
	return d, nil
}

// newAttempt is the number of an attempt of a run. The count of attempts in Redis may be lost, while the message queue still remembers
// the jobs and results of an attempt by it. The time is never given twice.
func newAttempt() int64 { return time.Now().UnixMilli() }
