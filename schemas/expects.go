package schemas

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
)

// ErrUnexpected is the class of jobs and scores that a run does not ask for.
var ErrUnexpected = errors.New("the run does not expect this")

// Expected is what a run asks for: the jobs that it may have, and the comparisons that it ends with. It does not change and is safe for
// concurrent use.
type Expected struct {
	spec  *RunSpec
	pairs map[string]*Pair
	keys  map[string]*KeyRef   // all of the run, by id
	own   map[string][]*KeyRef // of those that embed, the keys of the run that read what they embed
}

// NewExpected reads a valid specification.
func NewExpected(spec *RunSpec) *Expected {
	e := &Expected{spec: spec, pairs: make(map[string]*Pair), keys: make(map[string]*KeyRef), own: make(map[string][]*KeyRef)}
	for _, p := range spec.GetPairs() {
		e.pairs[p.GetItem()] = p
	}
	for _, k := range spec.GetKeys() {
		e.keys[k.GetId()] = k
		e.own[k.GetId()] = RegisteredKeys(spec, k)
	}
	for _, r := range spec.GetReaders() {
		for _, k := range r.GetKeys() {
			e.keys[k.GetId()] = k
		}
	}
	return e
}

// MetricsVersion names the metrics that the run is measured with.
func (e *Expected) MetricsVersion() string { return e.spec.GetMetricsVersion() }

// Job says whether a job, of any attempt, can be one of the run's. Its run, model, geometry and noise, the fingerprints of its keys and the
// digests of its images must be those of the specification. Score checks what the job makes. The error wraps ErrUnexpected and names the first
// thing that differs.
func (e *Expected) Job(j *Job) error {
	switch {
	case j.GetRun() != e.spec.GetId():
		return unexpected("run %q", j.GetRun())
	case !j.GetScore():
		return unexpected("a job that is not scored")
	case j.GetModel() != e.spec.GetModel():
		return unexpected("model %.12s", j.GetModel())
	case !proto.Equal(j.GetGeometry(), e.spec.GetGeometry()):
		return unexpected("geometry %v", j.GetGeometry())
	case j.GetFeatures() && !e.spec.GetFeatures():
		return unexpected("features")
	}
	for _, k := range append([]*KeyRef{j.GetKey(), j.GetEmbedKey()}, j.GetDecodeKeys()...) {
		if k != nil && !proto.Equal(k, e.keys[k.GetId()]) {
			return unexpected("key %s, fingerprint %s", k.GetId(), k.GetFingerprint())
		}
	}
	if j.GetOperation() == Operation_OPERATION_PURIFY && j.GetEmbedKey() == nil && j.GetNoiseSigma() != e.spec.GetNoiseSigma() {
		return unexpected("noise of sigma %v", j.GetNoiseSigma())
	}
	for _, item := range j.GetItems() {
		if err := e.item(j, item); err != nil {
			return err
		}
	}
	return nil
}

// item compares the images of an item, as far as the specification has them, with those of its pair.
func (e *Expected) item(j *Job, item *Item) error {
	p, ok := e.pairs[item.GetId()]
	if !ok {
		return unexpected("item %q", item.GetId())
	}
	cover, secret := item.GetCover(), item.GetSecret()
	if j.GetOperation() == Operation_OPERATION_PURIFY && j.GetEmbedKey() == nil {
		cover, secret = item.GetImage(), p.GetSecret()
	}
	if cover.GetDigest() != p.GetCover().GetDigest() || secret.GetDigest() != p.GetSecret().GetDigest() {
		return unexpected("item %s with other images", item.GetId())
	}
	return nil
}

// Score says whether a score is one of the comparisons of the run: the run has a comparison of its item, role, keys and attack, and its
// reference is the right image of the pair. The error wraps ErrUnexpected. Nobody can tell from a score whether its output is the network's.
func (e *Expected) Score(s *Score) error {
	p, ok := e.pairs[s.GetItem()]
	if !ok {
		return unexpected("item %q", s.GetItem())
	}
	j, err := e.jobOf(s)
	if err != nil {
		return err
	}
	// The images that the job is about take no part in what it is compared with, but the cover that is purified.
	item := &Item{Id: p.GetItem(), Cover: p.GetCover(), Secret: p.GetSecret(), Image: p.GetCover()}
	for _, want := range comparisons(j, item, nil) {
		if ScoreKey(want) != ScoreKey(s) || want.GetReference() != s.GetReference() {
			continue
		}
		if s.Role() == Baseline && s.GetTest() != want.GetTest() {
			break
		}
		if s.End() == EndDone && !ValidDigest(s.GetTest()) {
			return unexpected("%s of no image", ScoreKey(s))
		}
		return nil
	}
	return unexpected("%s, of the reference %.12s", ScoreKey(s), s.GetReference())
}

// jobOf makes the part of a job of the run that its comparisons depend on: of the one that gives a score.
func (e *Expected) jobOf(s *Score) (*Job, error) {
	embed, decode, role := e.keys[s.GetEmbedKey()], e.keys[s.GetDecodeKey()], s.Role()
	registered, embeds := e.own[s.GetEmbedKey()]
	switch {
	case s.GetDecodeKey() != "" && decode == nil, s.GetEmbedKey() != "" && !embeds:
		return nil, unexpected("keys %q and %q", s.GetEmbedKey(), s.GetDecodeKey())
	case role == Baseline, role == Imperceptibility && embeds:
		return &Job{Operation: Operation_OPERATION_EMBED, Key: embed}, nil
	case role.Against == Against_AGAINST_CLEAN && Purifies(e.spec):
		return &Job{Operation: Operation_OPERATION_PURIFY, NoiseSigma: e.spec.GetNoiseSigma()}, nil
	case role.Reader == Reader_READER_UNKEYED && embeds && e.spec.ReadersOf(role.Reader) != nil:
		return &Job{Operation: Operation_OPERATION_PURIFY, EmbedKey: embed}, nil
	case !role.Reader.keyed(), !embeds, decode == nil:
	case role.Attack != "" && !slices.Contains(e.spec.GetAttacks(), role.Attack):
	case readerOf(embed.GetId(), decode.GetId()) == Reader_READER_MISMATCHED && !slices.Contains(registered, decode):
		// It was not drawn, or is derived from another key than the one that embedded.
	default:
		return &Job{Operation: Operation_OPERATION_RECOVER, Key: decode, EmbedKey: embed, Attack: role.Attack}, nil
	}
	return nil, unexpected("%s", ScoreKey(s))
}

func unexpected(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnexpected}, args...)...)
}
