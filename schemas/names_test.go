package schemas

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestNames pins what other processes, of this version or another, agree on. A change of a line here is a
// change of the protocol.
func TestNames(t *testing.T) {
	t.Parallel()
	embed, rec, purify := testEmbed(), testRecover(), testPurify()
	for _, c := range []struct{ what, got, want string }{
		{"stream of jobs", StreamJobs, "JOBS"},
		{"stream of results", StreamResults, "RESULTS"},
		{"stream of dead letters", StreamDead, "DEAD"},
		{"stream of advisories", StreamAdvisories, "ADVISORIES"},
		{"embed job", JobSubject(embed), "job.embed.39.alice"},
		{"recover job", JobSubject(rec), "job.recover.20.bob"},
		{"purify job", JobSubject(purify), "job.purify.54.none"},
		{"job of a key in a low partition", JobSubject(&Job{Operation: Operation_OPERATION_EMBED, Key: testKey("demo-2")}), "job.embed.09.demo-2"},
		{"jobs", JobsFilter(), "job.>"},
		{"partition", PartitionFilter(7), "job.*.07.>"},
		{"last partition", PartitionFilter(63), "job.*.63.>"},
		{"consumer", WorkerConsumer(7), "worker-07"},
		{"wake", WakeSubject(7), "wake.07"},
		{"result", ResultSubject(testResult()), "result.purify.run-1"},
		{"results", ResultsFilter(), "result.>"},
		{"results of a run", RunResultsFilter("run-1"), "result.*.run-1"},
		{"dead letter", DeadSubject(ReasonUnknownKey), "dead.unknown_key"},
		{"dead letters", DeadFilter(), "dead.>"},
		{"message id", MsgID(embed), "260342a6bb2d585e4100637af030ccff-3"},
		{"message id of a result", ResultMsgID(&Result{Job: embed}), "result-260342a6bb2d585e4100637af030ccff-3"},
		{"blob", BlobURI("abc"), "blob://abc"},
		{"score", ScoreKey(testScore()), "item-1|leakage_mismatched|alice|bob"},
		{"score without keys", ScoreKey(&Score{Item: "i", Role: Role_ROLE_BASELINE}), "i|baseline_cover_secret||"},
		{"score after an attack", ScoreKey(testAttackedScore()), "item-1|robustness|alice|alice|jpeg-75"},
		{"job without a key on a stego image", JobSubject(testUnkeyed()), "job.purify.06.none"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	operations := []string{"unknown", "embed", "recover", "purify", "unknown"}
	for i, want := range operations {
		if got := Operation(i).Token(); got != want {
			t.Errorf("operation %d is %q, want %q", i, got, want)
		}
	}
	roles := []string{
		"unknown", "imperceptibility", "recoverability", "leakage_mismatched", "leakage_random", "leakage_mismatched_cover",
		"leakage_random_cover", "baseline_cover_secret", "purification", "noise", "leakage_near", "leakage_near_cover",
		"leakage_swapped", "leakage_swapped_cover", "leakage_partial", "leakage_partial_cover", "leakage_unkeyed", "leakage_unkeyed_cover",
		"robustness", "unknown",
	}
	for i, want := range roles {
		if got := Role(i).Token(); got != want {
			t.Errorf("role %d is %q, want %q", i, got, want)
		}
	}
	// A new value of an enumeration needs a word.
	for i := range Operation_name {
		if i != 0 && Operation(i).Token() == "unknown" {
			t.Errorf("operation %s has no token", Operation(i))
		}
	}
	for i := range Role_name {
		if i != 0 && Role(i).Token() == "unknown" {
			t.Errorf("role %s has no token", Role(i))
		}
	}
}

// The values are computed by another implementation of FNV-1a.
func TestPartition(t *testing.T) {
	t.Parallel()
	if Partitions != 64 {
		t.Errorf("there are %d partitions, want 64", Partitions)
	}
	for key, want := range map[string]int{"": 5, "alice": 39, "bob": 20, "demo-1": 16, "demo-2": 9, "random-1-0": 33, "none": 27} {
		if got := Partition(key); got != want {
			t.Errorf("partition of %q is %d, want %d", key, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		want := Partition(j.GetId())
		if j.GetKey() != nil {
			want = Partition(j.GetKey().GetId())
		}
		if got := JobPartition(j); got != want || got < 0 || got >= Partitions {
			t.Fatalf("partition %d, want %d", got, want)
		}
		if tokens := strings.Split(JobSubject(j), "."); len(tokens) != 4 {
			t.Fatalf("the subject %q has %d tokens", JobSubject(j), len(tokens))
		}
	})
}

func TestBlobURIs(t *testing.T) {
	t.Parallel()
	d := sha("x")
	for uri, want := range map[string]string{
		"blob://" + d: d, "": "", "blob://": "", d: "", "blob:" + d: "", "blob://" + d + "0": "", "blob://" + strings.ToUpper(d): "",
		"file:///" + d: "", "BLOB://" + d: "", "blob:///" + d: "",
	} {
		digest, ok := ParseBlobURI(uri)
		if ok != (want != "") || ok && digest != want {
			t.Errorf("%q gives %q, %v", uri, digest, ok)
		}
	}
	ref := BlobRef(d, "a.png")
	if got, ok := ParseBlobURI(ref.GetUri()); !ok || got != d || ref.GetDigest() != d || ref.GetName() != "a.png" {
		t.Errorf("reference %v", ref)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	if err := Permanent(ReasonBadImage, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	err := Permanent(ReasonMissingBlob, fs.ErrNotExist)
	var f *Fault
	if !errors.As(err, &f) || f.Reason != ReasonMissingBlob || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%#v", err)
	}
	if want := "missing_blob: file does not exist"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	for _, r := range []Reason{
		ReasonBadMessage, ReasonUnknownKey, ReasonKeyMismatch, ReasonUnknownModel, ReasonBadImage, ReasonTooLarge,
		ReasonMissingBlob, ReasonForbidden, ReasonRetriesExhausted, ReasonBadOutput, ReasonBadKey, ReasonBadModel,
	} {
		l := testLetter()
		l.Reason = string(r)
		if err := l.Validate(); err != nil {
			t.Errorf("%s cannot be the reason of a dead letter: %v", r, err)
		}
	}
}
