package schemas

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// allOf makes every job of a run, and the scores that they give.
func allOf(spec *RunSpec) (jobs []*Job, scores map[string]*Score) {
	stego := make(map[string]string)
	for _, p := range spec.GetPairs() {
		stego[p.GetItem()] = sha("stego of " + p.GetItem())
	}
	if len(spec.GetPairs()) == 0 {
		return nil, nil
	}
	for _, key := range spec.GetKeys() {
		for follow := range slices.Chunk(FollowUps(spec, key), MaxFollowUps) {
			embed := EmbedJob(spec, 3, key, follow, spec.GetPairs())
			jobs = append(append(jobs, embed), FollowUpJobs(embed, stego)...)
		}
	}
	if Purifies(spec) {
		jobs = append(jobs, PurifyJob(spec, 3, spec.GetPairs()))
	}
	scores = make(map[string]*Score)
	for _, j := range jobs {
		for _, item := range j.GetItems() {
			for _, s := range Comparisons(j, item, &Outcome{Output: &Output{Image: sha("made"), Noisy: sha("noisy")}}) {
				s.Metrics = &Metrics{Psnr: 30}
				scores[ScoreKey(s)] = s
			}
		}
	}
	return jobs, scores
}

// Everything that a run makes is expected, and what is expected is as much as it makes.
func TestRunsExpectWhatTheyMake(t *testing.T) {
	t.Parallel()
	check := func(t rapid.TB, spec *RunSpec) {
		t.Helper()
		e := NewExpected(spec)
		jobs, scores := allOf(spec)
		for _, j := range jobs {
			if err := e.Job(j); err != nil {
				t.Errorf("%s job with key %s: %v", j.GetOperation().Token(), j.GetKey().GetId(), err)
			}
			for _, item := range j.GetItems() {
				for _, s := range Lost(j, item, &Failure{Reason: "bad_image"}) {
					if err := e.Score(s); err != nil || scores[ScoreKey(s)] == nil {
						t.Errorf("lost: %v", err)
					}
				}
			}
		}
		for _, s := range scores {
			if err := e.Score(s); err != nil {
				t.Error(err)
			}
		}
		if comparisonsOf(spec) != len(scores) {
			t.Errorf("%d comparisons are expected, %d are made", comparisonsOf(spec), len(scores))
		}
	}
	variant := fullSpec()
	variant.ModelOperations, variant.NoiseSigma = []Operation{Operation_OPERATION_EMBED, Operation_OPERATION_RECOVER}, 0
	without(Reader_READER_UNKEYED)(variant)
	for _, spec := range []*RunSpec{testSpec(), fullSpec(), variant} {
		check(t, spec)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, anySpec(t)) })
}

// comparisonsOf counts the comparisons of a run by themselves, from what the specification says.
func comparisonsOf(spec *RunSpec) int {
	n := 1 // cover and secret
	if Purifies(spec) {
		n++
		if spec.GetNoiseSigma() > 0 {
			n++
		}
	}
	for _, key := range spec.GetKeys() {
		n++ // the stego image
		for _, decode := range DecodeKeys(spec, key) {
			n += 2 // with the secret and the cover
			if decode.GetId() == key.GetId() {
				n--
			}
		}
		n += len(spec.GetAttacks())
		if spec.ReadersOf(Reader_READER_UNKEYED) != nil {
			n += 2
		}
	}
	return n * len(spec.GetPairs())
}

// without takes readers out of a run.
func without(r Reader) func(*RunSpec) {
	return func(s *RunSpec) {
		s.Readers = slices.DeleteFunc(s.Readers, func(of *Readers) bool { return of.GetReader() == r })
	}
}

func TestUnexpectedScores(t *testing.T) {
	t.Parallel()
	spec := fullSpec()
	e := NewExpected(spec)
	_, scores := allOf(spec)
	alice, bob := spec.GetKeys()[0].GetId(), spec.GetKeys()[1].GetId()
	for name, change := range map[string]func(*Score){
		"item":          func(s *Score) { s.Item = "evil" },
		"embed key":     func(s *Score) { s.EmbedKey = "eve" },
		"decode key":    func(s *Score) { s.DecodeKey = "eve" },
		"random embeds": func(s *Score) { s.EmbedKey = "random-1-0" },
		"role": func(s *Score) {
			if s.Reader = s.GetReader()%Reader_READER_UNKEYED + 1; s.GetReader() == Reader_READER_NONE { // as noise has beside purification
				s.Reader = Reader_READER_RANDOM
			}
		},
		"reference": func(s *Score) { s.Reference = sha("evil") },
		"test":      func(s *Score) { s.Test = "../evil" },
		"attack":    func(s *Score) { s.Attack = "jpeg-1" },
	} {
		for key, s := range scores {
			s := proto.CloneOf(s)
			change(s)
			if err := e.Score(s); !errors.Is(err, ErrUnexpected) {
				t.Errorf("another %s of %s: %v", name, key, err)
			}
		}
	}
	cover, secret := spec.GetPairs()[0].GetCover().GetDigest(), spec.GetPairs()[0].GetSecret().GetDigest()
	score := func(role Role, embed, decode, reference, test string) *Score {
		return &Score{Item: spec.GetPairs()[0].GetItem(), Reader: role.Reader, Against: role.Against, Attack: role.Attack, EmbedKey: embed, DecodeKey: decode, Reference: reference, Test: test, Metrics: &Metrics{}}
	}
	for name, s := range map[string]*Score{
		"no key embeds":             score(Imperceptibility, "", "", cover, sha("x")),
		"a baseline of two others":  score(Baseline, "", "", secret, sha("x")),
		"another's near key":        score(Leakage(Reader_READER_MISMATCHED), bob, "swapped-"+alice, secret, sha("x")),
		"robust against another":    score(Robustness("crop-1"), alice, alice, secret, sha("x")),
		"purified by a key":         score(Purification, alice, "", cover, sha("x")),
		"the matched key leaks":     score(Leakage(Reader_READER_MISMATCHED), alice, alice, secret, sha("x")),
		"another key is matched":    score(Recoverability, alice, bob, secret, sha("x")),
		"leakage against the cover": score(Leakage(Reader_READER_MISMATCHED), alice, bob, cover, sha("x")),
	} {
		if err := e.Score(s); !errors.Is(err, ErrUnexpected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*RunSpec){
		"attacks": func(s *RunSpec) { s.Attacks = nil },
		"unkeyed": without(Reader_READER_UNKEYED),
		"noise":   func(s *RunSpec) { s.NoiseSigma = 0 },
		"purifies": func(s *RunSpec) {
			s.ModelOperations = []Operation{Operation_OPERATION_EMBED, Operation_OPERATION_RECOVER}
		},
		"random":     without(Reader_READER_RANDOM),
		"near":       without(Reader_READER_NEAR),
		"mismatched": without(Reader_READER_MISMATCHED),
	} {
		less := proto.CloneOf(spec)
		change(less)
		expected, refused := NewExpected(less), 0
		for _, s := range scores {
			if expected.Score(s) != nil {
				refused++
			}
		}
		if want := len(scores) - comparisonsOf(less); refused != want || want == 0 {
			t.Errorf("a run without %s refuses %d scores of one with, want %d", name, refused, want)
		}
	}
}

func TestUnexpectedJobs(t *testing.T) {
	t.Parallel()
	spec := fullSpec()
	e := NewExpected(spec)
	jobs, _ := allOf(spec)
	for name, change := range map[string]func(*Job){
		"run":         func(j *Job) { j.Run = "other" },
		"model":       func(j *Job) { j.Model = sha("other") },
		"geometry":    func(j *Job) { j.Geometry = &Geometry{Width: 9, Height: 9, Resize: ResizePolicy_RESIZE_POLICY_CROP} },
		"score":       func(j *Job) { j.Score = false },
		"item":        func(j *Job) { j.Items[1].Id = "evil" },
		"key":         func(j *Job) { j.Key = &KeyRef{Id: "alice", Fingerprint: sha("eve")[:32]} },
		"embed key":   func(j *Job) { j.EmbedKey = testKey("eve") },
		"decode keys": func(j *Job) { j.DecodeKeys = append(j.DecodeKeys, testKey("eve")) },
		"images": func(j *Job) {
			for _, ref := range []*ImageRef{j.Items[0].GetCover(), j.Items[0].GetImage()} {
				if ref != nil {
					ref.Digest = sha("evil")
				}
			}
		},
		"noise": func(j *Job) {
			j.NoiseSigma++
			if j.GetOperation() != Operation_OPERATION_PURIFY || j.GetEmbedKey() != nil {
				j.Run = "other" // noise has no meaning there
			}
		},
	} {
		for i, j := range jobs {
			j := proto.CloneOf(j)
			change(j)
			if err := e.Job(j); !errors.Is(err, ErrUnexpected) {
				t.Errorf("job %d with another %s: %v", i, name, err)
			}
		}
	}
	plain := fullSpec()
	plain.Features = false
	if err := NewExpected(plain).Job(testFeatures()); !errors.Is(err, ErrUnexpected) {
		t.Errorf("features that were not asked for: %v", err)
	}
}
