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
	keys  map[string]*KeyRef   // all that decode, by id
	own   map[string]*KeyRef   // those that embed
	wrong map[string][]*KeyRef // of those that embed, the registered ones that decode what they embed; nil where all do
}

// NewExpected reads a valid specification.
func NewExpected(spec *RunSpec) *Expected {
	e := &Expected{spec: spec, pairs: make(map[string]*Pair), keys: make(map[string]*KeyRef), own: make(map[string]*KeyRef)}
	for _, p := range spec.GetPairs() {
		e.pairs[p.GetItem()] = p
	}
	for _, k := range slices.Concat(spec.GetKeys(), spec.GetRandomKeys(), spec.GetNearKeys()) {
		e.keys[k.GetId()] = k
	}
	for _, k := range spec.GetKeys() {
		e.own[k.GetId()] = k
	}
	if spec.GetWrongKeys() > 0 {
		e.wrong = make(map[string][]*KeyRef, len(e.own))
		for id, k := range e.own {
			e.wrong[id] = RegisteredKeys(spec, k)
		}
	}
	return e
}

// MetricsVersion names the metrics that the run is measured with.
func (e *Expected) MetricsVersion() string { return e.spec.GetMetricsVersion() }

// Job says whether a job, of any attempt, can be one of the run's: its run, model and geometry, the fingerprints of its keys, its noise, and the
// digests of its images are those of the specification. What it makes is compared by Score. The error wraps ErrUnexpected and names the first
// thing that is another.
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

// Score says whether a score is one of the comparisons of the run: its item, role, keys and attack are of one, and it compares with
// the digest of the pair that it should. The error wraps ErrUnexpected. Whether an output is what the network gives, nobody can tell from it.
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
		if want.GetRole() != s.GetRole() {
			continue
		}
		if ScoreKey(want) != ScoreKey(s) || want.GetReference() != s.GetReference() {
			break
		}
		if s.GetRole() == Role_ROLE_BASELINE && s.GetTest() != want.GetTest() {
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
	embed, decode := e.keys[s.GetEmbedKey()], e.keys[s.GetDecodeKey()]
	if s.GetEmbedKey() != "" && e.own[s.GetEmbedKey()] == nil || s.GetDecodeKey() != "" && decode == nil {
		return nil, unexpected("keys %q and %q", s.GetEmbedKey(), s.GetDecodeKey())
	}
	switch s.GetRole() {
	case Role_ROLE_IMPERCEPTIBILITY, Role_ROLE_BASELINE:
		if embed == nil && s.GetRole() == Role_ROLE_IMPERCEPTIBILITY {
			break
		}
		return &Job{Operation: Operation_OPERATION_EMBED, Key: embed}, nil
	case Role_ROLE_PURIFICATION, Role_ROLE_NOISE:
		if !Purifies(e.spec) {
			break
		}
		return &Job{Operation: Operation_OPERATION_PURIFY, NoiseSigma: e.spec.GetNoiseSigma()}, nil
	case Role_ROLE_LEAKAGE_UNKEYED, Role_ROLE_LEAKAGE_UNKEYED_COVER:
		if !e.spec.GetUnkeyed() || embed == nil {
			break
		}
		return &Job{Operation: Operation_OPERATION_PURIFY, EmbedKey: embed}, nil
	default:
		owner, _, derived := DerivedKeyOf(s.GetDecodeKey())
		switch {
		case embed == nil || decode == nil:
		case derived && e.own[decode.GetId()] == nil && owner != embed.GetId(): // it tries only what its owner embedded
		case e.wrong != nil && e.own[decode.GetId()] != nil && !slices.Contains(e.wrong[embed.GetId()], decode): // it was not drawn
		case s.GetAttack() != "" && !slices.Contains(e.spec.GetAttacks(), s.GetAttack()):
		default:
			return &Job{Operation: Operation_OPERATION_RECOVER, Key: decode, EmbedKey: embed, Attack: s.GetAttack()}, nil
		}
	}
	return nil, unexpected("%s", ScoreKey(s))
}

func unexpected(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnexpected}, args...)...)
}
