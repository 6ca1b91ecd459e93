package schemas

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestIDsArePinned holds ids to values that another implementation computed from the description of the
// hashes. Memos, scores and messages are found by them: a change makes all earlier work unknown.
func TestIDsArePinned(t *testing.T) {
	t.Parallel()
	embed, rec, purify := testEmbed(), testRecover(), testPurify()
	for _, c := range []struct{ what, got, want string }{
		{"work of embed", ItemWorkID(embed, embed.GetItems()[0]), "06774a2ae0e6a4f6b7cf11180c10517d"},
		{"work of recover", ItemWorkID(rec, rec.GetItems()[0]), "19a81fba39630117f667ec6783c96635"},
		{"work of purify", ItemWorkID(purify, purify.GetItems()[0]), "d16d188be05d24f041bf1d8bc699d177"},
		{"embed job", JobID(embed), "e453fd0fb293a6c56c27346c8d43611a"},
		{"recover job", JobID(rec), "8e7fa261db4f19da6acfe4376f844d7f"},
		{"purify job", JobID(purify), "7e85b92fd42ed9d5b19282b78887c1bb"},
		{"memo of embed on a runtime", MemoID("06774a2ae0e6a4f6b7cf11180c10517d", testRuntime), "4c7faf1e250a8d3bc03fd0704cfe3d31"},
		{"memo of embed without a network", MemoID("06774a2ae0e6a4f6b7cf11180c10517d", ""), "06774a2ae0e6a4f6b7cf11180c10517d"},
		{"metrics", MetricsID("1", sha("secret 1"), sha("recovered 1"), testSpec().GetGeometry()), "edf4dc49f9da31bbb775a2acb2fcca7e"},
		{"run", RunID(testSpec()), "run-ba798309ab08e2c4"},
		{"sampled run", RunID(sampledSpec()), "run-34a73f955060e17e"},
		{"run with near keys", RunID(nearSpec()), "run-025405e24d717e87"},

		{"work of embed, whatever follows", ItemWorkID(fullEmbed(), fullEmbed().GetItems()[0]), "06774a2ae0e6a4f6b7cf11180c10517d"},
		{"work of recover with features", ItemWorkID(testFeatures(), testFeatures().GetItems()[0]), "d56a7363721541a47af7bc379e07b5ce"},
		{"work of recover after an attack", ItemWorkID(testAttacked(), testAttacked().GetItems()[0]), "476d7f3eafa7c20db24157de16add523"},
		{"work of purify of a stego image", ItemWorkID(testUnkeyed(), testUnkeyed().GetItems()[0]), "fb2914670ef8fb39d71bc440a9b45d66"},
		{"embed job with all that can follow", JobID(fullEmbed()), "ed1f5663eb0b9ea83afd1e08ee6b496c"},
		{"recover job with features", JobID(testFeatures()), "7555ebbab3a052dca6169b3c6c41d139"},
		{"recover job after an attack", JobID(testAttacked()), "4bc1de04b3c5e56ce5732d4f3f063273"},
		{"purify job of a stego image", JobID(testUnkeyed()), "bd549772bcc36824250088521cff1a65"},
		{"run with all that can follow", RunID(fullSpec()), "run-c13e5e4cc2c1141a"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, want %s", c.what, c.got, c.want)
		}
	}
	if id := RunID(testSpec()); !ValidRunID(id) {
		t.Errorf("%q cannot name a run", id)
	}
}

// dependence is one change to a message, and whether an id must follow it.
type dependence[M any] struct {
	field  string
	change func(M)
	counts bool
}

func checkDependence[M proto.Message](t *testing.T, base func() M, id func(M) string, list []dependence[M]) {
	t.Helper()
	seen := map[string]string{id(base()): "nothing"}
	for _, d := range list {
		m := base()
		d.change(m)
		got := id(m)
		if same := got == id(base()); same == d.counts {
			t.Errorf("%s changed: the id is the same: %v", d.field, same)
		}
		if other, twice := seen[got]; d.counts && twice {
			t.Errorf("a change of %s gives the same id as one of %s", d.field, other)
		}
		seen[got] = d.field
	}
}

func TestWhatWorkIDsDependOn(t *testing.T) {
	t.Parallel()
	first := func(j *Job) string { return ItemWorkID(j, j.GetItems()[0]) }
	t.Run("embed", func(t *testing.T) {
		t.Parallel()
		checkDependence(t, testEmbed, first, []dependence[*Job]{
			{"operation", func(j *Job) { j.Operation = Operation_OPERATION_PURIFY }, true},
			{"model", func(j *Job) { j.Model = sha("other") }, true},
			{"fingerprint", func(j *Job) { j.Key = &KeyRef{Id: "alice", Fingerprint: sha("x")[:32]} }, true},
			{"width", func(j *Job) { j.Geometry.Width = 127 }, true},
			{"height", func(j *Job) { j.Geometry.Height = 127 }, true},
			{"resize", func(j *Job) { j.Geometry.Resize = ResizePolicy_RESIZE_POLICY_CROP }, true},
			{"noise", func(j *Job) { j.NoiseSigma = 1 }, true},
			{"cover", func(j *Job) { j.Items[0].Cover.Digest = sha("x") }, true},
			{"secret", func(j *Job) { j.Items[0].Secret.Digest = sha("x") }, true},
			{"cover and secret", func(j *Job) { i := j.Items[0]; i.Cover, i.Secret = i.Secret, i.Cover }, true},

			{"key id", func(j *Job) { j.Key = &KeyRef{Id: "other", Fingerprint: j.GetKey().GetFingerprint()} }, false},
			{"run", func(j *Job) { j.Run = "other" }, false},
			{"attempt", func(j *Job) { j.Attempt = 9 }, false},
			{"score", func(j *Job) { j.Score = false }, false},
			{"decode keys", func(j *Job) { j.DecodeKeys = nil }, false},
			{"item id", func(j *Job) { j.Items[0].Id = "other" }, false},
			{"name", func(j *Job) { j.Items[0].Cover.Name = "other" }, false},
			{"where the bytes are", func(j *Job) { j.Items[0].Cover.Uri = "file:///a.png" }, false},
			{"other images", func(j *Job) { j.Items[0].Stego, j.Items[0].Image = BlobRef(sha("x"), ""), BlobRef(sha("y"), "") }, false},
			{"other items", func(j *Job) { j.Items = j.Items[:1] }, false},
			{"features", func(j *Job) { j.Features = true }, false},
			{"attacks", func(j *Job) { j.Attacks = []string{"jpeg-75"} }, false},
			{"unkeyed", func(j *Job) { j.Unkeyed = true }, false},
		})
	})
	t.Run("recover", func(t *testing.T) {
		t.Parallel()
		checkDependence(t, testRecover, first, []dependence[*Job]{
			{"stego", func(j *Job) { j.Items[0].Stego.Digest = sha("x") }, true},
			{"fingerprint", func(j *Job) { j.Key.Fingerprint = sha("x")[:32] }, true},
			{"features", func(j *Job) { j.Features = true }, true},
			{"attack", func(j *Job) { j.Attack = "jpeg-75" }, true},
			{"another attack", func(j *Job) { j.Attack = "jpeg-7" }, true},
			{"attack and features", func(j *Job) { j.Attack, j.Features = "jpeg-75", true }, true},
			{"references of the score", func(j *Job) { j.Items[0].Cover, j.Items[0].Secret = nil, nil }, false},
			{"embed key", func(j *Job) { j.EmbedKey = testKey("other") }, false},
		})
	})
	t.Run("purify", func(t *testing.T) {
		t.Parallel()
		checkDependence(t, testPurify, first, []dependence[*Job]{
			{"image", func(j *Job) { j.Items[0].Image.Digest = sha("x") }, true},
			{"noise", func(j *Job) { j.NoiseSigma = 21 }, true},
			{"no noise", func(j *Job) { j.NoiseSigma = 0 }, true},
			{"embed key", func(j *Job) { j.EmbedKey = testKey("alice") }, false},
		})
	})
}

func TestWhatJobIDsDependOn(t *testing.T) {
	t.Parallel()
	checkDependence(t, testEmbed, JobID, []dependence[*Job]{
		{"run", func(j *Job) { j.Run = "other" }, true},
		{"item id", func(j *Job) { j.Items[0].Id = "other" }, true},
		{"item left out", func(j *Job) { j.Items = j.Items[:1] }, true},
		{"order of items", func(j *Job) { j.Items[0], j.Items[1] = j.Items[1], j.Items[0] }, true},
		{"model", func(j *Job) { j.Model = sha("other") }, true},
		{"key id", func(j *Job) { j.Key = &KeyRef{Id: "alias", Fingerprint: j.GetKey().GetFingerprint()} }, true},
		{"fingerprint", func(j *Job) { j.Key = &KeyRef{Id: "alice", Fingerprint: sha("x")[:32]} }, true},
		{"decode key left out", func(j *Job) { j.DecodeKeys = j.DecodeKeys[:1] }, true},
		{"score", func(j *Job) { j.Score = false }, true},
		{"features", func(j *Job) { j.Features = true }, true},
		{"attack", func(j *Job) { j.Attacks = []string{"jpeg-75"} }, true},
		{"attacks", func(j *Job) { j.Attacks = []string{"jpeg-7", "5"} }, true},
		{"unkeyed", func(j *Job) { j.Unkeyed = true }, true},
		{"all that can follow", func(j *Job) { j.Features, j.Attacks, j.Unkeyed = true, []string{"jpeg-75"}, true }, true},

		{"id", func(j *Job) { j.Id = "other" }, false},
		{"attempt", func(j *Job) { j.Attempt = 9 }, false},
		{"name", func(j *Job) { j.Items[0].Cover.Name = "other" }, false},
	})
	// Two keys that make the same stego image: what one of them recovers is a score of its own.
	checkDependence(t, testRecover, JobID, []dependence[*Job]{
		{"embed key", func(j *Job) { j.EmbedKey = testKey("other") }, true},
		{"no embed key", func(j *Job) { j.EmbedKey = nil }, true},
		{"stego", func(j *Job) { j.Items[0].Stego.Digest = sha("x") }, true},
	})
	// Two keys that make the same stego image again.
	checkDependence(t, testUnkeyed, JobID, []dependence[*Job]{
		{"embed key", func(j *Job) { j.EmbedKey = testKey("other") }, true},
		{"no embed key", func(j *Job) { j.EmbedKey = nil }, true},
	})
}

func TestWhatMetricsIDsDependOn(t *testing.T) {
	t.Parallel()
	type args struct {
		version, reference, test string
		g                        *Geometry
	}
	base := args{"1", sha("a"), sha("b"), &Geometry{Width: 8, Height: 9, Resize: 1}}
	id := func(a args) string { return MetricsID(a.version, a.reference, a.test, a.g) }
	seen := map[string]int{id(base): -1}
	for i, a := range []args{
		{"2", base.reference, base.test, base.g},
		{"1", base.test, base.reference, base.g},
		{"1", base.reference, base.reference, base.g},
		{"1", base.test, base.test, base.g},
		{"1", base.reference, base.test, &Geometry{Width: 9, Height: 8, Resize: 1}},
		{"1", base.reference, base.test, &Geometry{Width: 8, Height: 9, Resize: 2}},
		{"1", base.reference, base.test, nil},
		{"1" + base.reference[:1], base.reference[1:], base.test, base.g}, // fields do not run together
	} {
		if other, twice := seen[id(a)]; twice {
			t.Errorf("case %d has the id of case %d", i, other)
		}
		seen[id(a)] = i
	}
}

func TestWhatRunIDsDependOn(t *testing.T) {
	t.Parallel()
	checkDependence(t, testSpec, RunID, []dependence[*RunSpec]{
		{"model", func(s *RunSpec) { s.Model = sha("x") }, true},
		{"model name", func(s *RunSpec) { s.ModelName = "other" }, true},
		{"keys", func(s *RunSpec) { s.Keys = s.Keys[:1] }, true},
		{"order of keys", func(s *RunSpec) { s.Keys[0], s.Keys[1] = s.Keys[1], s.Keys[0] }, true},
		{"key that is random", func(s *RunSpec) { s.Keys, s.Readers = append(s.Keys, s.Readers[1].GetKeys()...), s.Readers[:1] }, true},
		{"fingerprint", func(s *RunSpec) { s.Readers[1].Keys[0].Fingerprint = sha("x")[:32] }, true},
		{"geometry", func(s *RunSpec) { s.Geometry.Height = 128 }, true},
		{"noise", func(s *RunSpec) { s.NoiseSigma = 10 }, true},
		{"pairs", func(s *RunSpec) { s.Pairs = s.Pairs[:1] }, true},
		{"cover", func(s *RunSpec) { s.Pairs[0].Cover.Digest = sha("x") }, true},
		{"name of a secret", func(s *RunSpec) { s.Pairs[0].Secret.Name = "x" }, true},
		{"item", func(s *RunSpec) { s.Pairs[0].Item = "x" }, true},
		{"dataset", func(s *RunSpec) { s.Dataset = "x" }, true},
		{"covers", func(s *RunSpec) { s.Covers = "x" }, true},
		{"images", func(s *RunSpec) { s.Images = 6 }, true},
		{"bad image", func(s *RunSpec) { s.Bad = nil }, true},
		{"reason", func(s *RunSpec) { s.Bad[0].Reason = "x" }, true},
		{"metrics version", func(s *RunSpec) { s.MetricsVersion = "2" }, true},
		{"near keys", func(s *RunSpec) { s.Readers = nearSpec().GetReaders() }, true},
		{"sample", func(s *RunSpec) { s.Sample = &Sample{Pairs: 2, Of: 9, Seed: 1} }, true},
		{"size of the sample", func(s *RunSpec) { s.Sample = &Sample{Pairs: 3, Of: 9, Seed: 1} }, true},
		{"what is sampled", func(s *RunSpec) { s.Sample = &Sample{Pairs: 2, Of: 8, Seed: 1} }, true},
		{"seed", func(s *RunSpec) { s.Sample = &Sample{Pairs: 2, Of: 9, Seed: 2} }, true},
		{"near keys and a sample", func(s *RunSpec) {
			s.Readers, s.Sample = nearSpec().GetReaders(), &Sample{Pairs: 2, Of: 9, Seed: 1}
		}, true},
		{"other readers", func(s *RunSpec) { s.Readers[1].Reader = Reader_READER_NEAR }, true},
		{"order of readers", func(s *RunSpec) { slices.Reverse(s.Readers) }, true},
		{"no readers", func(s *RunSpec) { s.Readers = nil }, true},
		{"features", func(s *RunSpec) { s.Features = true }, true},
		{"attack", func(s *RunSpec) { s.Attacks = []string{"jpeg-75"} }, true},
		{"order of attacks", func(s *RunSpec) { s.Attacks = []string{"jpeg-75", "noise-1"} }, true},
		{"another order", func(s *RunSpec) { s.Attacks = []string{"noise-1", "jpeg-75"} }, true},
		{"unkeyed", func(s *RunSpec) { s.Readers = append(s.Readers, testReaders(Reader_READER_UNKEYED, 1)) }, true},
		{"decoder", func(s *RunSpec) { s.DecoderVersion++ }, true},
		{"runtime", func(s *RunSpec) { s.Runtime = "onnxruntime 1.24.1 cuda" }, true},
		{"number of readers", func(s *RunSpec) { s.Readers[0].Count = 2 }, true},
		{"readers by another seed", func(s *RunSpec) { s.Readers[0].Seed = 2 }, true},
		{"untrained keys", func(s *RunSpec) { s.UntrainedKeys = []string{s.GetKeys()[0].GetId()} }, true},
		{"id", func(s *RunSpec) { s.Id = "other" }, false},
	})
}

// TestDatasetDigest wants what sha256sum, sort and sha256sum again make of the same images.
func TestDatasetDigest(t *testing.T) {
	t.Parallel()
	s := testSpec()
	digests := []string{sha("cover 1"), sha("secret 1"), sha("cover 2"), sha("secret 2")}
	slices.Sort(digests)
	want := sha(strings.Join(digests, "\n") + "\n")
	if got := DatasetDigest(s); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	for what, change := range map[string]func(*RunSpec){
		"order":   func(s *RunSpec) { s.Pairs[0], s.Pairs[1] = s.Pairs[1], s.Pairs[0] },
		"pairing": func(s *RunSpec) { s.Pairs[0].Cover, s.Pairs[1].Secret = s.Pairs[1].GetSecret(), s.Pairs[0].GetCover() },
		"names":   func(s *RunSpec) { s.Pairs[0].Item, s.Pairs[0].Cover.Name, s.Dataset, s.Id = "x", "y", "z", "u" },
		"other use": func(s *RunSpec) {
			s.Pairs = append(s.Pairs, &Pair{Cover: s.Pairs[0].GetCover(), Secret: s.Pairs[1].GetSecret()})
		},
		"other model": func(s *RunSpec) { s.Model, s.Geometry.Width = sha("x"), 64 },
	} {
		other := testSpec()
		if change(other); DatasetDigest(other) != want {
			t.Errorf("%s has a part in the digest", what)
		}
	}
	for what, change := range map[string]func(*RunSpec){
		"an image":  func(s *RunSpec) { s.Pairs[0].Cover.Digest = sha("x") },
		"fewer":     func(s *RunSpec) { s.Pairs = s.Pairs[:1] },
		"no images": func(s *RunSpec) { s.Pairs = nil },
	} {
		other := testSpec()
		if change(other); DatasetDigest(other) == want {
			t.Errorf("%s changes nothing", what)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	derived := func(want Reader) func(string) bool {
		return func(s string) bool {
			r, owner := keyForm(s)
			return r == want && owner == "a-b"
		}
	}
	for name, c := range map[string]struct {
		is        func(string) bool
		good, bad []string
	}{
		"digest": {ValidDigest, []string{sha("x")}, []string{"", "abc", strings.ToUpper(sha("x")), sha("x") + "0", sha("x") + "\n"}},
		"run id": {ValidRunID, []string{"a", "0", "A-b_c", repeat(63)}, []string{"", "-a", "_a", "a.b", "a b", "a*", "a>", repeat(64), "é", "a\n"}},
		"key id": {ValidKeyID, []string{"a", "0", "a-b_c", "random-1-2", repeat(63)}, []string{"", "-a", "A", "a.b", "a>", repeat(64), "a\n"}},
		"random key id": {
			func(s string) bool { r, _ := keyForm(s); return r == Reader_READER_RANDOM }, []string{"random-0-0", "random-18446744073709551615-1"},
			[]string{"", "random", "random-1", "random-a-b", "random-1-2-3", "xrandom-1-2", "random--1-2", "random-1-2\n"},
		},
		"near key id": {
			derived(Reader_READER_NEAR),
			[]string{"near-0-a-b", "near-255-a-b"}, []string{"", "near-1", "near-1-", "near-x-a-b", "near--a-b", "near-1000-a-b", "near-1-a-b\n", "xnear-1-a-b"},
		},
		"long near key id": {
			func(s string) bool { r, _ := keyForm(s); return r == Reader_READER_NEAR },
			[]string{"near-255-" + repeat(54)}, []string{"near-255-" + repeat(55)},
		},
		"swapped key id": {
			derived(Reader_READER_SWAPPED), []string{"swapped-a-b"}, []string{"", "swapped", "swapped-", "swapped--a-b", "swapped-A-b", "swapped-a-b\n", "unswapped-a-b"},
		},
		"partial key id": {
			derived(Reader_READER_PARTIAL), []string{"partial-0-a-b", "partial-50-a-b", "partial-999-a-b", "partial-1000-a-b"},
			[]string{"", "partial-5", "partial-5-", "partial-1001-a-b", "partial-050-a-b", "partial--a-b", "partial-x-a-b", "partial-5-a-b\n", "impartial-5-a-b"},
		},
		"attack": {
			validAttack, []string{"jpeg-75", "noise-0.5", "crop-1", "resize-50"},
			[]string{"", "jpeg", "jpeg-", "-75", "JPEG-75", "jpeg-75-", "jpeg-7a", "noise-.5", "noise-1.", "noise--1", "a/b-1", "a|b-1", "jpeg-75\n", "jpeg-12345"},
		},
	} {
		for _, s := range c.good {
			if !c.is(s) {
				t.Errorf("%q is no %s", s, name)
			}
		}
		for _, s := range c.bad {
			if c.is(s) {
				t.Errorf("%q is a %s", s, name)
			}
		}
	}
}
