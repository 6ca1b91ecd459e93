package reports

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/steganalysis"
	"stegomq/pipeline"
	"stegomq/study/audit"
)

// attacks are what stego images go through, from mild to harsh.
var attacks = []string{
	"jpeg-95", "jpeg-90", "jpeg-85", "jpeg-75", "jpeg-65", "jpeg-50", "resize-75", "resize-50",
	"noise-1", "noise-2", "noise-5", "noise-10", "crop-5", "crop-10",
}

// partialShares are the shares of a key that are right, in percent; the whole key is the matched one.
var partialShares = []float64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99}

// Audit tries to break a model.
type Audit struct {
	// Request is everything that is tried; TryAll puts in what the model allows.
	Request *pipeline.Request
	// RandomPairs is the number of pairs that the random keys try, the first ones; at least 1.
	RandomPairs int
	// Attackers and Detector are files that the trainer's attackers wrote about the model; both may be empty.
	Attackers []string
	Detector  string
	// Out is the folder of the runs.
	Out string
	// Say is told of each run before it is made.
	Say   func(name, what string)
	Watch pipeline.Watch
	By    Program

	services *pipeline.Services
	evidence audit.Evidence
	failed   []error
}

// TryAll adds to a request, which has its random and near keys, every trial of an audit that the model allows. A model with a network
// for each key knows no other keys.
func TryAll(req *pipeline.Request) {
	m := req.Model
	req.Trials = pipeline.Trials{Attacks: attacks, NoKey: m.Manifest.Does(model.OpPurify)}
	switch m.Manifest.Keying {
	case model.KeyingVariant:
		req.RandomKeys, req.NearKeys = 0, 0
	case model.KeyingCipher, model.KeyingRotation:
		req.Swapped = true
	default:
		req.Swapped, req.Partial = true, partialShares
	}
}

// Read reads the trainer's reports, before anything is opened.
func (a *Audit) Read() error {
	if a.RandomPairs < 1 {
		return fmt.Errorf("--random-pairs %d: give 1 or more, or leave the random keys out with --random-keys 0", a.RandomPairs)
	}
	e := &a.evidence
	for _, path := range a.Attackers {
		err := a.readReport("--attacker", path, func(data []byte) (about *audit.Head, err error) {
			name, twice := "attack", e.Attacker != nil
			if audit.ReportKind(data) == audit.KindDecoder {
				name, twice = "decode", e.Decoder != nil
			}
			switch {
			case twice:
				return nil, fmt.Errorf("there is another report of `python -m trainer %s`: give one, of all numbers of pairs", name)
			case name == "decode":
				if e.Decoder, err = audit.ReadDecoder(data); err == nil {
					about = &e.Decoder.Head
				}
			default:
				if e.Attacker, err = audit.ReadAttacker(data); err == nil {
					about = &e.Attacker.Head
				}
			}
			return about, err
		})
		if err != nil {
			return err
		}
	}
	if a.Detector == "" {
		return nil
	}
	return a.readReport("--detector", a.Detector, func(data []byte) (about *audit.Head, err error) {
		if e.Detector, err = audit.ReadDetector(data); err == nil {
			about = &e.Detector.Head
		}
		return about, err
	})
}

// readReport reads a file of a flag, which must be about this audit's model.
func (a *Audit) readReport(flag, path string, read func(data []byte) (*audit.Head, error)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	about, err := read(data)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, path, err)
	}
	if m := a.Request.Model; about.Digest != m.Digest {
		return fmt.Errorf("%s %s: it is about model %s (%.12s), and this audit about %s (%.12s): attack this one", flag, path, about.Model, about.Digest, m.Name, m.Digest)
	}
	return nil
}

// Make makes the runs, the quick ones first, and the report of them. What failed in a run is an ErrSomeFailed beside the report.
func (a *Audit) Make(ctx context.Context, s *pipeline.Services) (*audit.Audit, error) {
	a.services = s
	a.evidence.LeftOut = a.leftOut()
	if err := a.makeRuns(ctx); err != nil {
		return nil, err
	}
	return audit.New(a.evidence), errors.Join(a.failed...)
}

// leftOut says which tests are not made, and why.
func (a *Audit) leftOut() map[string]string {
	req, m := a.Request, a.Request.Model
	why := make(map[string]string)
	switch {
	case pipeline.HasVariants(m):
		for _, test := range []string{audit.TestRandom, audit.TestNear, audit.TestSwapped, audit.TestPartial} {
			why[test] = "the model has a network for each of its keys, and none for other keys"
		}
	case m.Manifest.Keying != model.KeyingWeights:
		why[audit.TestPartial] = "the model's keys fill no weights, so that no part of them can be right"
	}
	asked := func(test string, n int, flag string) {
		if n == 0 && why[test] == "" {
			why[test] = "none were asked for (" + flag + " 0)"
		}
	}
	asked(audit.TestRandom, req.RandomKeys, "--random-keys")
	asked(audit.TestNear, req.NearKeys, "--near-keys")
	if len(req.Keys) == 1 {
		why[audit.TestMismatched] = "there is one key (--keys)"
	}
	if !m.Manifest.Does(model.OpPurify) {
		why[audit.TestNoKey] = "the model does not purify: it has no network without a key"
	}
	why[audit.TestLeaked] = "--attacker names no outcome of `python -m trainer attack`"
	if k := m.Manifest.Keying; k != model.KeyingWeights && k != model.KeyingVariant {
		why[audit.TestLeaked] = "the model's keys are no weights that could be trained; the decoder trained on leaked pairs is another test"
	}
	why[audit.TestDecoder] = "--attacker names no outcome of `python -m trainer decode`"
	why[audit.TestDetector] = "--detector names no outcome of `python -m trainer detect`"
	return why
}

func (a *Audit) makeRuns(ctx context.Context) (err error) {
	e := &a.evidence
	if e.Attempts, err = a.run(ctx, "attempts", "wrong keys, no key, and attacks on the stego images", a.attempts()); err != nil {
		return err
	}
	shown := a.shown()
	images, err := a.run(ctx, "images", "stego images of "+shown.Keys[0].ID+" for steganalysis", shown)
	if err != nil {
		return err
	}
	e.Detected, err = audit.Detect(ctx, images.Spec, images.Scores, a.services.Source)
	if errors.Is(err, steganalysis.ErrPairs) {
		e.LeftOut[audit.TestDetect], e.LeftOut[audit.TestColour], err = err.Error(), err.Error(), nil
	}
	if err != nil || e.LeftOut[audit.TestRandom] != "" {
		return err
	}
	return a.random(ctx)
}

// random makes the run of the random keys, and a run of the best of them for its images: the images of all would be too many.
func (a *Audit) random(ctx context.Context) (err error) {
	e := &a.evidence
	req := a.guesses()
	if e.Random, err = a.run(ctx, "random", fmt.Sprintf("%d random keys", req.RandomKeys), req); err != nil {
		return err
	}
	best := audit.BestGuess(e.Random)
	if best == nil {
		return nil
	}
	req = a.part(a.RandomPairs)
	req.Images, req.RandomKeys = true, 1
	req.RandomSeed, req.FirstRandom, _ = keyring.ParseRandomID(best.DecodeKey)
	const name = "best-guess"
	if _, err := a.run(ctx, name, "the images of "+best.DecodeKey, req); err != nil {
		return err
	}
	e.Guess, err = audit.ShowGuess(*best, filepath.Join(a.Out, "runs", name))
	return err
}

// Forecast says what the audit would do, except for the run of the best guess, which depends on the other runs.
func (a *Audit) Forecast(ctx context.Context, s *pipeline.Services) ([]*pipeline.Forecast, error) {
	requests := []*pipeline.Request{a.attempts(), a.shown()}
	if a.leftOut()[audit.TestRandom] == "" {
		requests = append(requests, a.guesses())
	}
	var all []*pipeline.Forecast
	for _, req := range requests {
		f, err := s.Forecast(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// attempts asks what is recovered with wrong keys that are not random ones, without a key, and after attacks.
func (a *Audit) attempts() *pipeline.Request {
	req := *a.Request
	req.RandomKeys = 0
	return &req
}

// shown asks for the stego images of one key, as files, for the classifier.
func (a *Audit) shown() *pipeline.Request {
	req := a.part(a.Request.Dataset.Limit)
	req.Images = true
	return req
}

// guesses asks what is recovered with random keys.
func (a *Audit) guesses() *pipeline.Request {
	req := a.part(a.RandomPairs)
	req.RandomKeys = a.Request.RandomKeys
	return req
}

// part asks for the first pairs of all, embedded with the first key, and no more than that.
func (a *Audit) part(limit int) *pipeline.Request {
	req := *a.Request
	req.Keys = req.Keys[:1]
	req.Dataset.Limit, req.NearKeys, req.RandomKeys, req.Trials = limit, 0, 0, pipeline.Trials{}
	return &req
}

// run makes one run, whose files are below runs/.
func (a *Audit) run(ctx context.Context, name, what string, req *pipeline.Request) (*audit.Run, error) {
	a.Say(name, what)
	made, err := Make(ctx, a.services, a.By, req, filepath.Join(a.Out, "runs", name), a.Watch)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	if failed := made.Failed(); failed != nil {
		a.failed = append(a.failed, fmt.Errorf("run %s: %w", name, failed))
	}
	run := &audit.Run{Name: name, Summary: made.Summary, Spec: made.Spec, Scores: made.Scores}
	a.evidence.Runs = append(a.evidence.Runs, run)
	return run, nil
}
