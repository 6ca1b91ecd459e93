package evaluator_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/evaluator"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// warned hands out the warnings of a refusal.
type warned struct {
	slog.Handler
	said chan string
}

func (w warned) Enabled(context.Context, slog.Level) bool { return true }

func (w warned) Handle(_ context.Context, rec slog.Record) error {
	if rec.Level == slog.LevelWarn {
		w.said <- rec.Message
	}
	return nil
}

// forge makes another job of one of the run's, each in another way, and its result.
func (r *rig) forge(job *schemas.Job, n int, rnd *rand.Rand) *schemas.Result {
	j := proto.CloneOf(job)
	mallory := key("mallory")
	item := j.GetItems()[rnd.IntN(len(j.GetItems()))]
	switch n % 8 {
	case 0:
		item.Id = "item-" + sha("an item")[:8]
	case 1:
		j.Key = mallory
	case 2:
		j.Key = &schemas.KeyRef{Id: "alice", Fingerprint: mallory.GetFingerprint()}
	case 3:
		j.DecodeKeys = append(j.DecodeKeys, mallory)
	case 4:
		j.Model = sha("another model")
	case 5:
		j.Geometry = &schemas.Geometry{Width: 33, Height: 24, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH}
	case 6:
		item.Cover = schemas.BlobRef(sha("another cover"), "")
	case 7:
		j.Attacks = append(j.Attacks, "jpeg-1")
	}
	j.Attempt = int64(10 + n)
	j.Id = schemas.JobID(j)
	res := &schemas.Result{Job: j, Worker: "mallory"}
	for _, item := range j.GetItems() {
		o := &schemas.Outcome{Item: item.GetId(), Output: &schemas.Output{Image: sha("forged")}}
		// What fails takes with it what would have followed.
		if n%8 == 3 || n%8 == 7 || n%2 == 1 {
			o = &schemas.Outcome{Item: item.GetId(), Failure: &schemas.Failure{Reason: "bad_image"}}
		}
		res.Outcomes = append(res.Outcomes, o)
	}
	return res
}

// TestForgedResultsChangeNothing sends 700 results that a run does not expect, one by one each forged in one place, before and after those that
// it does.
func TestForgedResultsChangeNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t)
	// The run is in Redis, as a command leaves it.
	if _, err := r.parts.StartRun(testrig.Context(t), r.spec); err != nil {
		t.Fatal(err)
	}
	seen, log := &written{}, warned{slog.DiscardHandler, make(chan string, 1000)}
	r.start(evaluator.Config{Slots: 1, Observer: seen, Logger: slog.New(log)})
	embed := r.embed()
	for n := range 350 {
		r.publish(r.forge(embed, n, rnd))
	}
	r.publish(r.answer(embed, 100))
	if got := r.wrote(1); got[0] != 4 {
		t.Errorf("%d scores were added, want 4", got[0])
	}
	r.expectCounts(4, 0)
	for n := 350; n < 700; n++ {
		r.publish(r.forge(embed, n, rnd))
	}
	last := schemas.PurifyJob(r.spec, 1, r.spec.GetPairs())
	r.publish(r.answer(last, 400))
	if got := r.wrote(1); got[0] != 4 {
		t.Errorf("%d scores were added, want 4", got[0])
	}
	r.expectCounts(8, 0)
	if scores, failures, err := r.parts.Progress(testrig.Context(t), "run"); scores != 8 || failures != 0 || err != nil {
		t.Errorf("%d and %d (%v) are done, want 8 and 0", scores, failures, err)
	}
	if n := seen.unexpected.Load(); n != 700 {
		t.Errorf("%d refusals were counted, want 700", n)
	}
	if n := len(log.said); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

// TestForgedDeadLetters: what dies and was never asked for has no failures either.
func TestForgedDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.know()
	rnd := rand.New(rand.NewPCG(1, 1))
	l := letters{done: make(chan error, 20)}
	letter := func(j *schemas.Job) *schemas.DeadLetter {
		data, err := schemas.Encode(j)
		if err != nil {
			t.Fatal(err)
		}
		return &schemas.DeadLetter{Reason: "unknown_key", Stream: schemas.JobStream(schemas.Bulk), Subject: schemas.JobSubject(j), Message: data, DiedAt: 1}
	}
	for n := range 16 {
		l.list = append(l.list, letter(r.forge(r.embed(), n, rnd).GetJob()))
	}
	elsewhere := r.embed()
	elsewhere.Run = "nowhere"
	elsewhere.Id = schemas.JobID(elsewhere)
	// A job that the run does expect, but a tenant sent it, on the subject that the tenant may use.
	stolen := letter(schemas.PurifyJob(r.spec, 1, r.spec.GetPairs()))
	stolen.Reason, stolen.Stream = "bad_message", schemas.JobStream(schemas.Interactive)
	stolen.Subject = "job.interactive.mallory." + r.spec.GetModel() + ".embed.mallory.r"
	l.list = append(l.list, letter(elsewhere), stolen, letter(r.embed()))
	seen := &written{}
	e := evaluator.New(evaluator.Config{Observer: seen}, evaluator.Parts{
		Results: r.bus.ResultSource(nil), DeadLetters: l, Images: r.parts, Runs: r.parts, Scores: r.parts, Memo: r.parts,
	})
	ctx, cancel := context.WithCancel(testrig.Context(t))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for range l.list {
		if err := <-l.done; err != nil {
			t.Errorf("a dead letter was not taken: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.expectCounts(0, 14)
	if s, f, err := r.parts.Progress(testrig.Context(t), "nowhere"); s+f != 0 || err != nil {
		t.Errorf("a run that is not there has %d scores and %d failures (%v)", s, f, err)
	}
	if n := seen.unexpected.Load(); n != 17 {
		t.Errorf("%d refusals, want 17", n)
	}
}

// TestSpecificationIsReadOnce, and again where it may be that of a run that was lost and begun anew.
func TestSpecificationIsReadOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(evaluator.Config{Slots: 1})
	for i := range 5 {
		res := r.answer(r.embed(), uint64(100+i))
		res.Job.Attempt = int64(i)
		r.publish(res)
		r.wrote(1)
	}
	if n := r.parts.asks.Load(); n != 1 {
		t.Errorf("the specification was read %d times", n)
	}
	r.spec.Geometry.Width++
	r.know()
	end := time.After(testrig.Patience)
	for attempt := int64(10); ; attempt++ {
		res := r.answer(r.embed(), 100)
		res.Job.Attempt = attempt
		r.publish(res)
		select {
		case <-r.parts.put:
			return
		case <-end:
			t.Fatal("the run's new specification is not read")
		case <-time.After(50 * time.Millisecond): // refused for the first second
		}
	}
}
