package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"io/fs"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/cache"
	"stegomq/internal/queueadmin"
	"stegomq/schemas"
	"stegomq/study"
)

// What a front (Role.Front) asks beside Evaluate, Runs and Ask. The services are connected.

// UnknownRun says whether an error is of a run that is not there.
func UnknownRun(err error) bool { return errors.Is(err, cache.ErrUnknownRun) }

// OtherRun says whether an error is of a run whose images, keys or model differ from those when it began.
func OtherRun(err error) bool { return errors.Is(err, cache.ErrRunDiffers) }

// Gone says whether an error is of an image, or a dead letter, that is not there any more.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, queueadmin.ErrNoDeadLetter)
}

// Results are a run with its scores so far.
type Results struct {
	study.Measured
	Spec     *schemas.RunSpec
	Failures []*schemas.Score
}

// Results gives a run as it stands, or an UnknownRun. Where made is set, the summary says how the run was made, with the command: that is not for
// other users.
func (s *Services) Results(ctx context.Context, id string, made bool) (*Results, error) {
	state, err := s.Cache.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &Results{Spec: state.Spec}
	if r.Scores, r.Failures, err = s.Cache.Scores(ctx, id); err != nil {
		return nil, err
	}
	inv := study.Invocation{Hits: len(r.Scores)}
	if !state.Finished.IsZero() {
		inv.Elapsed = state.Finished.Sub(state.Started)
	}
	if made {
		inv.Provenance = ProvenanceOf(state.Provenance)
	}
	r.Summary = study.Summarise(state.Spec, r.Scores, r.Failures, inv)
	return r, nil
}

// ProvenanceOf reads how a run was made, as it was kept; nil where nothing was, or where another version wrote it and this one cannot read it.
func ProvenanceOf(kept []byte) *study.Provenance {
	p := &study.Provenance{}
	if json.Unmarshal(kept, p) != nil {
		return nil
	}
	return p
}

// ScoredImage gives an image of a comparison of a run as the metrics saw it: the reference, or else the test image. Of the score only its name is
// used (schemas.ScoreKey). Where there is no such image, or not any more, the error is Gone; a refused comparison has no test image.
func (s *Services) ScoredImage(ctx context.Context, id string, of *schemas.Score, reference bool) (*image.NRGBA, error) {
	spec, err := s.Cache.Spec(ctx, id)
	if err != nil {
		return nil, err
	}
	scores, err := s.Cache.Ended(ctx, id, []string{schemas.ScoreKey(of)})
	if err != nil {
		return nil, err
	}
	digest := ""
	if scores[0] != nil {
		if digest = scores[0].GetTest(); reference {
			digest = scores[0].GetReference()
		}
	}
	if spec == nil || digest == "" {
		return nil, fs.ErrNotExist
	}
	// What is compared is brought to the run's geometry first; what the network made has it.
	ref := schemas.BlobRef(digest, "")
	for _, p := range spec.GetPairs() {
		for _, source := range p.Refs() {
			if source.GetDigest() == digest {
				ref = source
			}
		}
	}
	return s.Source.Image(ctx, ref, spec.GetGeometry())
}

// RunProgress counts the comparisons of a run that were made or refused, and those that cannot be made; 0 and 0 of a run that is not there.
func (s *Services) RunProgress(ctx context.Context, id string) (scores, failures int, err error) {
	made, failed, err := s.Cache.Progress(ctx, id)
	return int(made), int(failed), err
}

// Put keeps an image of a tenant as long as its outputs are kept, and gives its digest, by which Output finds it.
func (s *Services) Put(ctx context.Context, tenant string, data []byte) (digest string, err error) {
	return s.Blobs.Put(schemas.WithTenant(ctx, tenant), data)
}

// QueueStatus is the state of the message queue, and who works.
type QueueStatus = queueadmin.Status

// QueueStatus asks for it.
func (s *Services) QueueStatus(ctx context.Context) (*QueueStatus, error) {
	return s.Queue.Status(ctx)
}

// DeadLetters lists dead letters, the oldest first.
func (s *Services) DeadLetters(ctx context.Context, f DeadFilter) ([]DeadRow, error) {
	return DeadRows(ctx, s.Queue, f)
}

// RetryDead sends the message of a dead letter again, in the letter's trace, and deletes the letter; DropDead deletes it. Of one that is not there
// the error is Gone.
func (s *Services) RetryDead(ctx context.Context, number uint64) error {
	return s.Queue.RetryDead(s.opts.Traces.With(ctx), number)
}

// DropDead deletes a dead letter.
func (s *Services) DropDead(ctx context.Context, number uint64) error {
	return s.Queue.DropDead(ctx, number)
}

// TailDead calls f for every dead letter that comes from now on, until the context ends.
func (s *Services) TailDead(ctx context.Context, f func(*schemas.DeadLetter)) error {
	return s.Queue.Tail(ctx, schemas.DeadFilter(), func(_ string, m proto.Message, _ []byte) error {
		if letter, ok := m.(*schemas.DeadLetter); ok {
			f(letter)
		}
		return nil
	})
}
