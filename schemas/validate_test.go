package schemas

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// problems are the broken rules that an error of Validate joins.
func problems(err error) []error {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	return []error{err}
}

// expectBroken wants exactly the rules in want, each named by a part of its text.
func expectBroken(t *testing.T, err error, want ...string) {
	t.Helper()
	got := problems(err)
	if len(got) != len(want) {
		t.Errorf("%d rules are broken, want %d:\n%v", len(got), len(want), err)
	}
	for _, e := range got {
		if !errors.Is(e, ErrInvalid) {
			t.Errorf("%q is not ErrInvalid", e)
		}
	}
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("nothing says %q:\n%v", w, err)
		}
	}
}

// rule is one change to a valid message and the one rule that it breaks; want "" says that it breaks none.
type rule[M any] struct {
	name   string
	base   func() M
	change func(M)
	want   string
}

func repeat(n int) string { return strings.Repeat("x", n) }

// jobRules break each rule of a job. The id is computed anew after the change.
func jobRules() []rule[*Job] {
	embed, rec, purify, inline := testEmbed, testRecover, testPurify, testInline
	uri := func(s string) func(*Job) {
		return func(j *Job) { j.Items[1].Cover.Uri = s }
	}
	const badURI = "items[1].cover.uri must be blob://<sha256> or file:///absolute/path"
	return []rule[*Job]{
		{"no run", embed, func(j *Job) { j.Run = "" }, "run must be 1 to 63"},
		{"run with a dot", embed, func(j *Job) { j.Run = "a.b" }, "run must be"},
		{"run with a wildcard", embed, func(j *Job) { j.Run = "*" }, "run must be"},
		{"run with a newline", embed, func(j *Job) { j.Run = "a\n" }, "run must be"},
		{"long run", embed, func(j *Job) { j.Run = repeat(64) }, "run must be"},
		{"longest run", embed, func(j *Job) { j.Run = repeat(63) }, ""},
		{"no model", embed, func(j *Job) { j.Model = "" }, "model must be a manifest digest"},
		{"model in upper case", embed, func(j *Job) { j.Model = strings.ToUpper(j.Model) }, "model must be"},
		{"no geometry", embed, func(j *Job) { j.Geometry = nil }, "geometry.resize must be squash or crop"},
		{"unknown resize", embed, func(j *Job) { j.Geometry.Resize = 9 }, "geometry.resize"},
		{"only a width", embed, func(j *Job) { j.Geometry.Height = 0 }, "geometry needs both sides or none, got 128x0"},
		{"too wide", embed, func(j *Job) { j.Geometry.Width = MaxSide + 1 }, "geometry must be at most 8192x8192"},
		{"largest", embed, func(j *Job) { j.Geometry.Width, j.Geometry.Height = MaxSide, MaxSide }, ""},
		{"own sizes", embed, func(j *Job) { j.Geometry.Width, j.Geometry.Height = 0, 0 }, ""},
		{"negative attempt", embed, func(j *Job) { j.Attempt = -1 }, "attempt must not be negative"},

		{"negative sigma", purify, func(j *Job) { j.NoiseSigma = -1 }, "noise_sigma must lie in 0..255"},
		{"large sigma", purify, func(j *Job) { j.NoiseSigma = 255.5 }, "noise_sigma must lie"},
		{"sigma NaN", purify, func(j *Job) { j.NoiseSigma = math.NaN() }, "noise_sigma must lie"},
		{"infinite sigma", purify, func(j *Job) { j.NoiseSigma = math.Inf(1) }, "noise_sigma must lie"},
		{"no noise", purify, func(j *Job) { j.NoiseSigma = 0 }, ""},
		{"noise for embed", embed, func(j *Job) { j.NoiseSigma = 20 }, "noise_sigma belongs to purify"},
		{"no operation", purify, func(j *Job) { j.Operation = 0 }, "operation 0 is unknown"},
		{"unknown operation", purify, func(j *Job) { j.Operation = 9 }, "operation 9 is unknown"},

		{"key id in upper case", embed, func(j *Job) { j.Key = testKey("Alice") }, "key.id must be"},
		{"key id with a dot", embed, func(j *Job) { j.Key = testKey("a.b") }, "key.id must be"},
		{"long key id", embed, func(j *Job) { j.Key = testKey(repeat(64)) }, "key.id must be"},
		{"short fingerprint", embed, func(j *Job) { j.Key = &KeyRef{Id: "alice", Fingerprint: "ab"} }, "key.fingerprint must be 32"},
		{"embed with a random key", embed, func(j *Job) { j.Key = testKey("random-1-0") }, "embed with a random key"},
		{"recover with a random key", rec, func(j *Job) { j.Key = testKey("random-1-0") }, ""},
		{"purify with a key", purify, func(j *Job) { j.Key = testKey("alice") }, "purify takes no key"},
		{"embed with a near key", embed, func(j *Job) { j.Key = testKey("near-1-alice") }, "embed with a derived key"},
		{"embed with a swapped key", embed, func(j *Job) { j.Key = testKey("swapped-alice") }, "embed with a derived key"},
		{"embed with a partial key", embed, func(j *Job) { j.Key = testKey("partial-1000-alice") }, "embed with a derived key"},
		{"recover with a swapped key", rec, func(j *Job) { j.Key = testKey("swapped-alice") }, ""},
		{"recover with a near key", rec, func(j *Job) { j.Key = testKey("near-1-alice") }, ""},
		{"most decode keys", embed, func(j *Job) { j.DecodeKeys = manyKeys(128) }, ""},
		{"too many decode keys", embed, func(j *Job) { j.DecodeKeys = manyKeys(129) }, "at most 128 jobs follow a job, for its decode keys, attacks and unkeyed, got 129"},
		{"most follow-ups", embed, func(j *Job) { j.DecodeKeys, j.Attacks, j.Unkeyed = manyKeys(126), []string{"jpeg-75"}, true }, ""},
		{"too many with attacks", embed, func(j *Job) { j.DecodeKeys, j.Attacks = manyKeys(127), []string{"jpeg-75", "jpeg-50"} }, "at most 128 jobs follow a job"},
		{"too many with unkeyed", embed, func(j *Job) { j.DecodeKeys, j.Unkeyed = manyKeys(128), true }, "at most 128 jobs follow a job"},
		{"features and no decode keys", embed, func(j *Job) { j.DecodeKeys, j.Features = nil, true }, ""},
		{"features of purify", purify, func(j *Job) { j.Features = true }, "features belong to recover and embed"},
		{"attacks of recover", rec, func(j *Job) { j.Attacks = []string{"jpeg-75"} }, "attacks belong to embed"},
		{"attack twice", embed, func(j *Job) { j.Attacks = []string{"jpeg-75", "crop-5", "jpeg-75"} }, `attacks[2] "jpeg-75" is there twice`},
		{"attacks of no form", embed, func(j *Job) { j.Attacks = []string{"jpeg-75", "a|b"} }, `attacks[1] must be a word and a number, as jpeg-75, got "a|b"`},
		{"unkeyed recover", rec, func(j *Job) { j.Unkeyed = true }, "unkeyed belongs to embed"},
		{"attack of embed", embed, func(j *Job) { j.Attack = "jpeg-75" }, "attack belongs to recover"},
		{"attack and another key", rec, func(j *Job) { j.Attack = "jpeg-75" }, "attack: a job that is scored decodes with its embed_key"},
		{"attack and the matched key", rec, func(j *Job) { j.Attack, j.Key = "jpeg-75", j.GetEmbedKey() }, ""},
		{"attack and another key, not scored", rec, func(j *Job) { j.Attack, j.Score = "jpeg-75", false }, ""},
		{"attack of no form", testAttacked, func(j *Job) { j.Attack = "jpeg" }, "attack must be a word and a number"},
		{"no cover to score without a key", testUnkeyed, func(j *Job) { j.Items[0].Cover = nil }, "items[0].cover is missing"},
		{"no secret to score without a key", testUnkeyed, func(j *Job) { j.Items[1].Secret = nil }, "items[1].secret is missing"},
		{"noise on a stego image", testUnkeyed, func(j *Job) { j.NoiseSigma = 1 }, "noise_sigma is not for stego images"},
		{"bad decode key", embed, func(j *Job) { j.DecodeKeys[1] = testKey("Bob") }, "decode_keys[1].id"},
		{"no decode keys", embed, func(j *Job) { j.DecodeKeys = nil }, ""},
		{"decode keys of recover", rec, func(j *Job) { j.DecodeKeys = []*KeyRef{testKey("bob")} }, "decode_keys belong to embed"},
		{"decode keys of purify", purify, func(j *Job) { j.DecodeKeys = []*KeyRef{testKey("bob")} }, "decode_keys belong to embed"},
		{"embed key of embed", embed, func(j *Job) { j.EmbedKey = testKey("bob") }, "embed_key belongs to recover"},
		{"bad embed key", rec, func(j *Job) { j.EmbedKey = testKey("-") }, "embed_key.id"},
		{"embed key not known", rec, func(j *Job) { j.EmbedKey = nil }, ""},

		{"no items", embed, func(j *Job) { j.Items = nil }, "a job has 1 to 64 items, got 0"},
		{"65 items", embed, func(j *Job) { j.Items = manyItems(65) }, "a job has 1 to 64 items, got 65"},
		{"64 items", embed, func(j *Job) { j.Items = manyItems(64) }, ""},
		{"item without an id", embed, func(j *Job) { j.Items[1].Id = "" }, "items[1].id must be 1 to 128 letters"},
		{"item with a long id", embed, func(j *Job) { j.Items[1].Id = repeat(129) }, "items[1].id must be"},
		{"item with the longest id", embed, func(j *Job) { j.Items[1].Id = repeat(128) }, ""},
		{"item that leads out", embed, func(j *Job) { j.Items[1].Id = "../../evil" }, "items[1].id must be"},
		{"item twice", embed, func(j *Job) { j.Items[1].Id = "item-1" }, `items[1].id "item-1" is there twice`},

		{"no cover", embed, func(j *Job) { j.Items[1].Cover = nil }, "items[1].cover is missing"},
		{"no secret", embed, func(j *Job) { j.Items[0].Secret = nil }, "items[0].secret is missing"},
		{"no stego", rec, func(j *Job) { j.Items[0].Stego = nil }, "items[0].stego is missing"},
		{"no cover to score", rec, func(j *Job) { j.Items[0].Cover = nil }, "items[0].cover is missing"},
		{"no secret to score", rec, func(j *Job) { j.Items[0].Secret = nil }, "items[0].secret is missing"},
		{"nothing to score", rec, func(j *Job) {
			j.Score = false
			for _, item := range j.Items {
				item.Cover, item.Secret = nil, nil
			}
		}, ""},
		{"no image", purify, func(j *Job) { j.Items[0].Image = nil }, "items[0].image is missing"},
		{"bad digest", embed, func(j *Job) {
			j.Items[1].Cover = &ImageRef{Digest: "abc", Uri: "file:///a.png"}
		}, "items[1].cover.digest must be 64"},
		{"neither uri nor bytes", inline, func(j *Job) { j.Items[0].Cover.Inline = nil }, "items[0].cover needs either a uri or inline bytes"},
		{"uri and bytes", inline, func(j *Job) { j.Items[0].Cover.Uri = "file:///a.png" }, "items[0].cover needs either"},
		{"another digest", embed, uri(BlobURI(sha("another"))), "items[1].cover.uri names another digest"},
		{"file", embed, uri("file:///photos/a%20b.png"), ""},
		{"http", embed, uri("http://example.org/a.png"), badURI},
		{"file of a host", embed, uri("file://host/a.png"), badURI},
		{"relative file", embed, uri("file:a.png"), badURI},
		{"climbing file", embed, uri("file:///photos/../a.png"), badURI},
		{"hidden climbing file", embed, uri("file:///photos/%2e%2e/a.png"), badURI},
		{"short blob", embed, uri("blob://abc"), badURI},
		{"no uri at all", embed, uri("%"), badURI},
		{"long name", inline, func(j *Job) { j.Items[0].Cover.Name = strings.Repeat("n", 4097) }, "items[0].cover.name has 4097 bytes, more than 4096"},
		{"longest name", inline, func(j *Job) { j.Items[0].Cover.Name = strings.Repeat("n", 4096) }, ""},
		{"much inline", inline, func(j *Job) {
			j.Items[0].Cover.Inline, j.Items[0].Secret.Inline = make([]byte, MaxInline), make([]byte, 1)
		}, "at most 524288 inline bytes, got 524289"},
		{"most inline", inline, func(j *Job) {
			j.Items[0].Cover.Inline, j.Items[0].Secret.Inline = make([]byte, MaxInline-1), make([]byte, 1)
		}, ""},
		{"inline to score", inline, func(j *Job) { j.Score = true }, "a job that is scored refers to its images by uri"},
	}
}

func manyKeys(n int) (keys []*KeyRef) {
	for i := range n {
		keys = append(keys, testKey(fmt.Sprintf("random-1-%d", i)))
	}
	return keys
}

func manyItems(n int) []*Item {
	var items []*Item
	for _, p := range testPairs(n) {
		items = append(items, &Item{Id: p.GetItem(), Cover: p.GetCover(), Secret: p.GetSecret()})
	}
	return items
}

func TestJobRules(t *testing.T) {
	t.Parallel()
	for _, r := range jobRules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			j := r.base()
			expectBroken(t, j.Validate())
			r.change(j)
			j.Id = JobID(j)
			if r.want == "" {
				expectBroken(t, j.Validate())
			} else {
				expectBroken(t, j.Validate(), r.want)
			}
		})
	}
	t.Run("wrong id", func(t *testing.T) {
		t.Parallel()
		j := testEmbed()
		j.Id = testRecover().GetId()
		expectBroken(t, j.Validate(), "id must be the hash of the job's content")
	})
	t.Run("nothing at all", func(t *testing.T) {
		t.Parallel()
		expectBroken(t, (&Job{}).Validate(), "run must", "model must", "geometry.resize", "operation 0", "1 to 64 items", "id must be")
	})
}

func TestAllBrokenRulesOfAJobAtOnce(t *testing.T) {
	t.Parallel()
	j := testEmbed()
	j.Run, j.Model, j.Attempt, j.NoiseSigma = "a.b", "", -1, 20
	j.Geometry.Height, j.Geometry.Resize = 0, 0
	j.Key, j.EmbedKey = testKey("random-1-0"), &KeyRef{Id: "A"}
	j.DecodeKeys[1] = nil
	j.Items[0].Id, j.Items[1].Id = "", ""
	j.Items[0].Cover = nil
	j.Items[1].Secret = &ImageRef{Uri: "ftp://x", Inline: []byte("y")}
	expectBroken(t, j.Validate(),
		"run must", "model must", "attempt must", "noise_sigma belongs", "geometry needs both", "geometry.resize",
		"embed with a random key", "embed_key belongs", "embed_key.id", "embed_key.fingerprint",
		"decode_keys[1].id", "decode_keys[1].fingerprint", "items[0].id must", "items[1].id must", `items[1].id "" is there twice`,
		"items[0].cover is missing", "items[1].secret.digest", "items[1].secret needs either", "items[1].secret.uri must",
		"a job that is scored", "id must be the hash")
}

// checkRules tries each rule, and at the end that valid messages have none broken.
func checkRules[M message](t *testing.T, rules []rule[M]) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			m := r.base()
			expectBroken(t, m.Validate())
			r.change(m)
			if r.want == "" {
				expectBroken(t, m.Validate())
			} else {
				expectBroken(t, m.Validate(), r.want)
			}
		})
	}
}

func TestResultRules(t *testing.T) {
	t.Parallel()
	checkRules(t, []rule[*Result]{
		{"job without an id", testResult, func(r *Result) { r.Job.Id = "" }, "job must have an id and a run"},
		{"job without a run", testResult, func(r *Result) { r.Job.Run = "" }, "job must have an id and a run"},
		{"no operation", testResult, func(r *Result) { r.Job.Operation = 0 }, "job.operation 0 is unknown"},
		{"one outcome less", testResult, func(r *Result) { r.Outcomes = r.Outcomes[:1] }, "one outcome per item: 2 items, 1 outcomes"},
		{"one outcome more", testResult, func(r *Result) { r.Outcomes = append(r.Outcomes, r.Outcomes[0]) }, "2 items, 3 outcomes"},
		{"another item", testResult, func(r *Result) { r.Outcomes[1].Item = "item-1" }, `outcomes[1].item must be "item-2", got "item-1"`},
		{"neither", testResult, func(r *Result) { r.Outcomes[0].Output = nil }, "outcomes[0] needs one of output, failure and refusal"},
		{"both", testResult, func(r *Result) { r.Outcomes[0].Failure = &Failure{Reason: "x"} }, "outcomes[0] needs one of"},
		{"an output and a refusal", testFeaturedResult, func(r *Result) { r.Outcomes[0].Refusal = &Refusal{} }, "outcomes[0] needs one of"},
		{"a failure and a refusal", testRefusedResult, func(r *Result) { r.Outcomes[1].Failure = &Failure{Reason: "x"} }, "outcomes[1] needs one of"},
		{"all three", testRefusedResult, func(r *Result) {
			r.Outcomes[1].Failure, r.Outcomes[1].Output = &Failure{Reason: "x"}, &Output{Image: sha("x")}
		}, "outcomes[1] needs one of"},
		{"a refusal alone", testRefusedResult, func(r *Result) { r.Outcomes[0].Refusal.Detail = "" }, ""},
		{"a refusal of what is not recovered", testResult, func(r *Result) {
			r.Outcomes[1].Failure, r.Outcomes[1].Refusal = nil, &Refusal{}
		}, "outcomes[1].refusal belongs to recover"},
		{"bad output", testResult, func(r *Result) { r.Outcomes[0].Output.Image = "x" }, "outcomes[0].output.image must be a digest"},
		{"bad noisy output", testResult, func(r *Result) { r.Outcomes[0].Output.Noisy = "x" }, "outcomes[0].output.noisy must be a digest"},
		{"features", testFeaturedResult, func(r *Result) { r.Outcomes[0].Output.Features[1] = float32(math.NaN()) }, "outcomes[0].output.features[1] must be finite"},
		{"infinite features", testFeaturedResult, func(r *Result) { r.Outcomes[0].Output.Features[2] = float32(math.Inf(-1)) }, "outcomes[0].output.features[2] must be finite"},
		{"no noisy output", testResult, func(r *Result) { r.Outcomes[0].Output.Noisy = "" }, ""},
		{"no reason", testResult, func(r *Result) { r.Outcomes[1].Failure.Reason = "" }, "outcomes[1].failure.reason is missing"},
		{"no worker", testResult, func(r *Result) { r.Worker = "" }, ""},
		{"durations", testResult, func(r *Result) { r.Durations = &Durations{Total: 3, Fetch: 1, Infer: 2} }, ""},
		{"a negative duration", testResult, func(r *Result) { r.Durations = &Durations{Total: 3, Patch: -1} }, "durations must not be negative"},
	})
	r := testResult()
	r.Job.Id, r.Job.Operation = "", 0
	r.Outcomes[0].Output.Image, r.Outcomes[0].Item, r.Outcomes[1].Failure.Reason = "", "x", ""
	expectBroken(t, r.Validate(), "job must", "job.operation", "outcomes[0].item", "outcomes[0].output.image", "outcomes[1].failure.reason")
	expectBroken(t, (&Result{}).Validate(), "job must", "job.operation")
}

func TestDeadLetterRules(t *testing.T) {
	t.Parallel()
	checkRules(t, []rule[*DeadLetter]{
		{"no reason", testLetter, func(d *DeadLetter) { d.Reason = "" }, "reason must be one word"},
		{"two words", testLetter, func(d *DeadLetter) { d.Reason = "bad image" }, "reason must be one word"},
		{"token separator", testLetter, func(d *DeadLetter) { d.Reason = "a.b" }, "reason must be one word"},
		{"no subject", testLetter, func(d *DeadLetter) { d.Subject = "" }, "subject is missing"},
		{"no time", testLetter, func(d *DeadLetter) { d.DiedAt = 0 }, "died_at is missing"},
		{"no message", testLetter, func(d *DeadLetter) { d.Message = nil }, ""},
	})
	expectBroken(t, (&DeadLetter{}).Validate(), "reason must", "subject is", "died_at is")
}

func TestRunSpecRules(t *testing.T) {
	t.Parallel()
	checkRules(t, []rule[*RunSpec]{
		{"no id", testSpec, func(s *RunSpec) { s.Id = "" }, "id must be 1 to 63"},
		{"no model", testSpec, func(s *RunSpec) { s.Model = "" }, "model must be"},
		{"no keys", testSpec, func(s *RunSpec) { s.Keys, s.Readers = nil, nil }, "at least one key"},
		{"no random keys", testSpec, func(s *RunSpec) { s.Readers = s.Readers[:1] }, ""},
		{"key twice", testSpec, func(s *RunSpec) { s.Keys[1] = testKey("alice") }, `key "alice" is there twice`},
		{"bad random key", testSpec, func(s *RunSpec) { s.Readers[1].Keys[0] = testKey("carol") }, `readers[1].keys[0] must be a random key, got "carol"`},
		{"near keys", testSpec, func(s *RunSpec) { s.Readers = nearSpec().GetReaders() }, ""},
		{"near key twice", nearSpec, func(s *RunSpec) { s.Readers[2].Keys[1] = s.Readers[2].Keys[0] }, `key "near-0-alice" is there twice`},
		{"near key of a stranger", nearSpec, func(s *RunSpec) { s.Readers[2].Keys[1] = testKey("near-1-eve") }, `readers[2].keys[1] must be a near key, derived from alice, got "near-1-eve"`},
		{"near key of a random one", nearSpec, func(s *RunSpec) { s.Readers[2].Keys[0] = testKey("near-1-random-1-0") }, "readers[2].keys[0] must be"},
		{"near key that is none", nearSpec, func(s *RunSpec) { s.Readers[2].Keys[3] = testKey("carol") }, "readers[2].keys[3] must be"},
		{"everything", fullSpec, func(*RunSpec) {}, ""},
		{"swapped key of a stranger", fullSpec, func(s *RunSpec) { s.Readers[3].Keys[0] = testKey("swapped-eve") }, `readers[3].keys[0] must be a swapped key, derived from alice, got "swapped-eve"`},
		{"partial key of a partial one", fullSpec, func(s *RunSpec) { s.Readers[4].Keys[0] = testKey("partial-5-partial-250-alice") }, "readers[4].keys[0] must be"},
		{"partial key of a cipher", fullSpec, func(s *RunSpec) { s.ModelKeying = KeyingCipher }, "readers[4]: a key of this model fills no weights"},
		{"swapped key of a cipher", fullSpec, func(s *RunSpec) { s.ModelKeying, s.Readers = KeyingCipher, s.Readers[:4] }, ""},
		{"no key and nothing without one", fullSpec, func(s *RunSpec) { s.ModelOperations = variantSpec().GetModelOperations() }, "readers[5]: the model has no network without a key"},
		{"some of the other keys", testSpec, func(s *RunSpec) { s.Keys = append(s.Keys, testKey("carol")) }, ""},
		{"more than the other keys", testSpec, func(s *RunSpec) { s.Readers[0].Count = 2 }, "readers[0]: a key has 1 others in the run, not 2"},
		{"no readers", testSpec, func(s *RunSpec) { s.Readers = nil }, ""},
		{"readers without a number", testSpec, func(s *RunSpec) { s.Readers[0].Count = 0 }, "readers[0].count must be positive"},
		{"readers twice", testSpec, func(s *RunSpec) { s.Readers[1] = s.Readers[0] }, "readers[1]: READER_MISMATCHED is there twice"},
		{"the matched key among the readers", testSpec, func(s *RunSpec) { s.Readers[0].Reader = Reader_READER_MATCHED }, "readers[0].reader READER_MATCHED is none of a run"},
		{"readers with a key less", nearSpec, func(s *RunSpec) { s.Readers[2].Keys = s.Readers[2].Keys[:3] }, "readers[2] needs 4 keys, got 3"},
		{"keys of other users with their keys", testSpec, func(s *RunSpec) { s.Readers[0].Keys = []*KeyRef{testKey("carol")} }, "readers[0] needs 0 keys, got 1"},
		{"untrained key", fullSpec, func(s *RunSpec) { s.UntrainedKeys = []string{s.GetKeys()[0].GetId()} }, ""},
		{"untrained key of another run", fullSpec, func(s *RunSpec) { s.UntrainedKeys = []string{"nobody"} }, `untrained_keys[0] must be a key of the run, got "nobody"`},
		{"attack of no form", fullSpec, func(s *RunSpec) { s.Attacks[1] = "rotate" }, `attacks[1] must be a word and a number, as jpeg-75, got "rotate"`},
		{"attack twice", fullSpec, func(s *RunSpec) { s.Attacks[1] = "jpeg-75" }, `attacks[1] "jpeg-75" is there twice`},
		{"own sizes", testSpec, func(s *RunSpec) { s.Geometry.Width, s.Geometry.Height = 0, 0 }, "a run needs a geometry"},
		{"too wide", testSpec, func(s *RunSpec) { s.Geometry.Width = 9000 }, "geometry must be at most"},
		{"bad sigma", testSpec, func(s *RunSpec) { s.NoiseSigma = -1 }, "noise_sigma must lie"},
		{"sample", sampledSpec, func(*RunSpec) {}, ""},
		{"sample with a bad pair", sampledSpec, func(s *RunSpec) { s.Pairs = s.Pairs[:1] }, ""},
		{"sample of nothing", sampledSpec, func(s *RunSpec) { s.Sample.Pairs = 0 }, "sample.pairs must be positive"},
		{"sample that is too large", sampledSpec, func(s *RunSpec) { s.Sample.Pairs = 1 }, "a sample of 1 of 25000 pairs cannot have 2"},
		{"sample of too few", sampledSpec, func(s *RunSpec) { s.Sample.Of = 1 }, "a sample of 2 of 1 pairs cannot have 2"},
		{"no pairs", testSpec, func(s *RunSpec) { s.Pairs = nil }, ""},
		{"pair without a name", testSpec, func(s *RunSpec) { s.Pairs[1].Item = "" }, "pairs[1].item must be"},
		{"pair twice", testSpec, func(s *RunSpec) { s.Pairs[1].Item = "item-1" }, `pairs[1].item "item-1" is there twice`},
		{"no cover", testSpec, func(s *RunSpec) { s.Pairs[0].Cover = nil }, "pairs[0].cover is missing"},
		{"no secret", testSpec, func(s *RunSpec) { s.Pairs[1].Secret = nil }, "pairs[1].secret is missing"},
		{"inline image", testSpec, func(s *RunSpec) {
			s.Pairs[0].Cover.Uri, s.Pairs[0].Cover.Inline = "", []byte("x")
		}, "a run refers to its images by uri"},
	})
	s := testSpec()
	s.Id, s.Model, s.Keys, s.Readers, s.Geometry, s.NoiseSigma = "", "", nil, nil, nil, math.NaN()
	s.Pairs[0].Cover.Digest, s.Pairs[1].Item = "", ""
	expectBroken(t, s.Validate(), "id must", "model must", "at least one key", "geometry.resize", "a run needs a geometry",
		"noise_sigma", "pairs[0].cover.digest", "pairs[0].cover.uri names another digest", "pairs[1].item must")
}

func TestScoreRules(t *testing.T) {
	t.Parallel()
	rules := []rule[*Score]{
		{"no item", testScore, func(s *Score) { s.Item = "" }, "item must be"},
		{"long item", testScore, func(s *Score) { s.Item = repeat(129) }, "item must be"},
		{"item that leads out", testScore, func(s *Score) { s.Item = "../../evil" }, "item must be"},
		{"key that leads out", testScore, func(s *Score) { s.EmbedKey = "../alice" }, "ids of keys"},
		{"no role", testScore, func(s *Score) { s.Reader = 0 }, "no role has reader 0, against 1"},
		{"unknown role", testScore, func(s *Score) { s.Against = Against_AGAINST_CLEAN }, "no role has reader 3, against 3"},
		{"attack of another role", testScore, func(s *Score) { s.Attack = "jpeg-75" }, `no role has reader 3, against 1 and attack "jpeg-75"`},
		{"attack of no form", testAttackedScore, func(s *Score) { s.Attack = "jpeg|75" }, "attack must be a word and a number"},
		{"features", testFeaturedScore, func(s *Score) { s.Features[2] = float32(math.NaN()) }, "features[2] must be finite"},
		{"neither", testFailedScore, func(s *Score) { s.Failure = nil }, "one of metrics, failure and refusal"},
		{"both", testScore, func(s *Score) { s.Failure = &Failure{} }, "one of metrics, failure and refusal"},
		{"metrics and a refusal", testRefusedScore, func(s *Score) { s.Metrics = &Metrics{} }, "one of metrics, failure and refusal"},
		{"a failure and a refusal", testRefusedScore, func(s *Score) { s.Failure = &Failure{} }, "one of metrics, failure and refusal"},
		{"refused after an attack", testRefusedScore, func(s *Score) { s.Reader, s.Attack = Reader_READER_MATCHED, "jpeg-75" }, ""},
		{"refused with an image", testRefusedScore, func(s *Score) { s.Test = sha("x") }, "a score with a refusal has no test image"},
		{"refused to embed", testRefusedScore, func(s *Score) { s.Reader, s.Against = Imperceptibility.Reader, Imperceptibility.Against }, "refusal belongs to what is recovered, not to role imperceptibility"},
		{"refused to purify", testRefusedScore, func(s *Score) { s.Reader = Reader_READER_UNKEYED }, "not to role leakage_unkeyed"},
	}
	for name, field := range map[string]func(*Metrics) *float64{
		"psnr": func(m *Metrics) *float64 { return &m.Psnr }, "ssim": func(m *Metrics) *float64 { return &m.Ssim },
		"mae": func(m *Metrics) *float64 { return &m.Mae }, "rmse": func(m *Metrics) *float64 { return &m.Rmse },
	} {
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			rules = append(rules, rule[*Score]{
				fmt.Sprintf("%s %v", name, v), testScore, func(s *Score) { *field(s.Metrics) = v }, "metrics." + name + " must be finite",
			})
		}
	}
	checkRules(t, rules)
	s := testScore()
	s.Item, s.Reader, s.Metrics.Psnr, s.Failure = "", 0, math.NaN(), &Failure{}
	expectBroken(t, s.Validate(), "item must", "no role", "one of metrics", "metrics.psnr")
}

func TestItemIDs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "7", "00001-cover", "A.b_c-D.png", "a.", "a-", repeat(maxItemID)} {
		if !ValidItemID(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{
		"", ".", "..", ".a", "-a", "_a", "a..b", "a/b", "/a", "../evil", "a\\b", "a b", "a\n", "a\x00", "ä", "a|b", "a*", "a>", repeat(maxItemID + 1),
	} {
		if ValidItemID(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}
