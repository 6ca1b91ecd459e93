package schemas

import (
	"errors"
	"io/fs"
	"slices"
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
		{"stream of interactive jobs", JobStream(Interactive), "JOBS_INTERACTIVE"},
		{"stream of jobs that follow", JobStream(FollowUpClass), "JOBS_FOLLOWUP"},
		{"stream of bulk jobs", JobStream(Bulk), "JOBS_BULK"},
		{"stream of results to score", StreamScoring, "SCORING"},
		{"stream of results", ResultStream("main"), "RESULTS_main"},
		{"stream of blobs", BlobStream("alice"), "BLOBS_alice"},
		{"stream of dead letters", StreamDead, "DEAD"},
		{"embed job", JobSubject(embed), "job.bulk.main." + embed.GetModel() + ".embed.alice.run-1"},
		{"recover job", JobSubject(rec), "job.followup.main." + rec.GetModel() + ".recover.bob.run-1"},
		{"purify job", JobSubject(purify), "job.bulk.main." + purify.GetModel() + ".purify.none.run-1"},
		{"job of a tenant", JobSubject(&Job{Tenant: "bob", Model: "m", Operation: Operation_OPERATION_EMBED, Key: testKey("k"), Run: "r"}), "job.interactive.bob.m.embed.k.r"},
		{"jobs", JobsFilter(), "job.>"},
		{"jobs of a class", ClassFilter(Interactive), "job.interactive.>"},
		{"jobs of a model", ModelFilter(Bulk, "m"), "job.bulk.*.m.>"},
		{"jobs of a run", RunFilter(FollowUpClass, "*", "run-1"), "job.followup.*.*.*.*.run-1"},
		{"jobs of the operator's run", RunJobs(FollowUpClass, "run-1"), "job.followup.main.*.*.*.run-1"},
		{"result", ResultSubject(&Result{Job: &Job{Run: "run-1"}}), "result.main.run-1"},
		{"result of a tenant", ResultSubject(&Result{Job: &Job{Run: "run-1", Tenant: "bob"}}), "result.bob.run-1"},
		{"result to score", ResultSubject(&Result{Job: &Job{Run: "run-1", Score: true}}), "score.main.run-1"},
		{"results to score", ScoringFilter(), "score.>"},
		{"results of a tenant", TenantResults("bob"), "result.bob.>"},
		{"results of a run", RunResults("", "run-1"), "result.main.run-1"},
		{"results to score of a run", RunScoring("run-1"), "score.*.run-1"},
		{"blob of a tenant", BlobSubject("bob", "abc"), "blob.bob.abc"},
		{"blob of the operator", BlobSubject("", "abc"), "blob.main.abc"},
		{"dead letter", DeadSubject(ReasonUnknownKey), "dead.unknown_key"},
		{"dead letters", DeadFilter(), "dead.>"},
		{"message id", MsgID(embed), "e453fd0fb293a6c56c27346c8d43611a-3"},
		{"message id of a result", ResultMsgID(&Result{Job: embed}), "result-e453fd0fb293a6c56c27346c8d43611a-3"},
		{"blob", BlobURI("abc"), "blob://abc"},
		{"score", ScoreKey(testScore()), "item-1|leakage_mismatched|alice|bob"},
		{"score without keys", ScoreKey(&Score{Item: "i", Reader: Baseline.Reader, Against: Baseline.Against}), "i|baseline_cover_secret||"},
		{"score after an attack", ScoreKey(testAttackedScore()), "item-1|robustness|alice|alice|jpeg-75"},
		{"job without a key on a stego image", JobSubject(testUnkeyed()), "job.followup.main." + testUnkeyed().GetModel() + ".purify.none." + testUnkeyed().GetRun()},
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
	// A new value of an enumeration needs a word.
	for i := range Operation_name {
		if i != 0 && Operation(i).Token() == "unknown" {
			t.Errorf("operation %s has no token", Operation(i))
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	var tokens []string
	for _, r := range roleTokens {
		tokens = append(tokens, r.role.Token())
		if r.role.Attack == "" {
			if got, ok := ParseRole(r.role.Token()); !ok || got != r.role {
				t.Errorf("%s is read as %v", r.role.Token(), got)
			}
		}
	}
	want := []string{
		"imperceptibility", "recoverability", "robustness", "leakage_mismatched", "leakage_mismatched_cover", "leakage_random", "leakage_random_cover",
		"leakage_near", "leakage_near_cover", "leakage_swapped", "leakage_swapped_cover", "leakage_partial", "leakage_partial_cover",
		"leakage_unkeyed", "leakage_unkeyed_cover", "baseline_cover_secret", "purification", "noise",
	}
	if !slices.Equal(tokens, want) {
		t.Errorf("the roles are\n%q, want\n%q", tokens, want)
	}
	for _, none := range []Role{{}, {Reader: Reader_READER_MATCHED, Against: Against_AGAINST_COVER}, LeakageCover(Reader_READER_MATCHED), {Reader: Reader_READER_NEAR, Against: Against_AGAINST_SECRET, Attack: "jpeg-75"}} {
		if none.Token() != "unknown" {
			t.Errorf("%v is %s", none, none.Token())
		}
	}
	if r, ok := ParseRole("unknown"); ok {
		t.Errorf("unknown is %v", r)
	}
	quarter := Leakage(Reader_READER_PARTIAL)
	quarter.Permille = 250
	sorted := []Role{Imperceptibility, Robustness("jpeg-50"), Robustness("jpeg-75"), Leakage(Reader_READER_PARTIAL), quarter, Noise}
	if !slices.IsSortedFunc(sorted, Role.Compare) || quarter.Compare(quarter) != 0 {
		t.Error("roles are not in the order of files")
	}
	s := &Score{Reader: Reader_READER_PARTIAL, Against: Against_AGAINST_SECRET, DecodeKey: "partial-250-alice"}
	if s.Role() != quarter {
		t.Errorf("the role of a partial key is %v", s.Role())
	}
}

// TestJobSubjects holds the tokens of a subject to the job.
func TestJobSubjects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		tokens := strings.Split(JobSubject(j), ".")
		if len(tokens) != 7 {
			t.Fatalf("the subject %q has %d tokens", JobSubject(j), len(tokens))
		}
		if class := JobClass(j); tokens[1] != string(class) || (class == Bulk) != (j.GetScore() && j.GetEmbedKey() == nil) {
			t.Fatalf("class %s of %v", class, j)
		}
		if got := SubjectModel(JobSubject(j)); got != j.GetModel() {
			t.Fatalf("model %q in the subject, want %q", got, j.GetModel())
		}
	})
	for _, subject := range []string{"", "job", "job.bulk.main.abc.embed.k.r", "result.main." + sha("m"), "job.bulk.main." + sha("m") + ".embed.k"} {
		if got := SubjectModel(subject); got != "" {
			t.Errorf("%q has the model %q", subject, got)
		}
	}
}

// TestTenants keeps a tenant to jobs for himself, and his work apart from everybody's.
func TestTenants(t *testing.T) {
	t.Parallel()
	mine := func(change func(*Job)) *Job {
		j := testRecover()
		j.EmbedKey, j.Score, j.Tenant = nil, false, "bob"
		change(j)
		j.Id = JobID(j)
		return j
	}
	if err := mine(func(*Job) {}).Validate(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Job){
		"score":        func(j *Job) { j.Score = true },
		"embed key":    func(j *Job) { j.EmbedKey = testKey("alice") },
		"features":     func(j *Job) { j.Features = true },
		"attack":       func(j *Job) { j.Attack = "jpeg-50" },
		"decode keys":  func(j *Job) { *j = *testEmbed(); j.Score, j.Tenant = false, "bob" },
		"file":         func(j *Job) { j.Items[0].Stego.Uri = "file:///etc/shadow" },
		"FILE":         func(j *Job) { j.Items[0].Stego.Uri = "FILE:///etc/shadow" },
		"unused file":  func(j *Job) { j.Items[0].Secret = &ImageRef{Digest: sha("x"), Uri: "File:///etc/shadow"} },
		"main by name": func(j *Job) { j.Tenant = MainTenant },
		"form":         func(j *Job) { j.Tenant = "bob.x" },
		"wildcard":     func(j *Job) { j.Tenant = "*" },
	} {
		if err := mine(change).Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	bob, main := mine(func(*Job) {}), mine(func(j *Job) { j.Tenant = "" })
	if bob.GetId() == main.GetId() || ItemWorkID(bob, bob.GetItems()[0]) == ItemWorkID(main, main.GetItems()[0]) {
		t.Error("a tenant's work has the id of another's")
	}
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
		ReasonMissingBlob, ReasonForbidden, ReasonStuck, ReasonRetriesExhausted, ReasonBadOutput, ReasonBadKey, ReasonBadModel,
	} {
		l := testLetter()
		l.Reason = string(r)
		if err := l.Validate(); err != nil {
			t.Errorf("%s cannot be the reason of a dead letter: %v", r, err)
		}
	}
}
