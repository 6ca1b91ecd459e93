package schemas

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func expectScores(t *testing.T, got []*Score, want ...*Score) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d scores, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		sameMessage(t, "score", got[i], want[i])
	}
}

func TestJobsOfAnEvaluationAreValid(t *testing.T) {
	t.Parallel()
	for name, j := range map[string]*Job{"embed": testEmbed(), "recover": testRecover(), "purify": testPurify()} {
		if err := j.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !j.GetScore() || j.GetRun() != "run-1" || j.GetAttempt() != 3 || j.GetModel() != sha("model") || !proto.Equal(j.GetGeometry(), testSpec().GetGeometry()) {
			t.Errorf("%s: %v", name, j)
		}
	}
	var decode []string
	for _, k := range testEmbed().GetDecodeKeys() {
		decode = append(decode, k.GetId())
	}
	if want := []string{"alice", "bob", "random-1-0"}; !slices.Equal(decode, want) {
		t.Errorf("decode keys %v, want %v", decode, want)
	}
	if j := testPurify(); j.GetNoiseSigma() != 20 || j.GetItems()[1].GetImage().GetDigest() != sha("cover 2") {
		t.Errorf("purify takes the covers with the run's noise: %v", j)
	}
	// The specification is not the job's: a job that grows must leave the next one alone.
	s := testSpec()
	list := FollowUps(s, s.GetKeys()[0])
	EmbedJob(s, 1, s.GetKeys()[0], list, s.GetPairs()).DecodeKeys[0] = testKey("eve")
	if s.GetKeys()[0].GetId() != "alice" || list[0].Key.GetId() != "alice" {
		t.Error("a change of a job's decode keys changed the run")
	}
}

func TestDecodeKeys(t *testing.T) {
	t.Parallel()
	s := nearSpec()
	for owner, want := range map[string][]string{
		"alice": {"alice", "bob", "random-1-0", "near-0-alice", "near-128-alice"},
		"bob":   {"alice", "bob", "random-1-0", "near-0-bob", "near-128-bob"},
	} {
		var got []string
		for _, k := range DecodeKeys(s, testKey(owner)) {
			got = append(got, k.GetId())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", owner, got, want)
		}
		if err := EmbedJob(s, 1, testKey(owner), FollowUps(s, testKey(owner)), s.GetPairs()).Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestDrawnKeys(t *testing.T) {
	t.Parallel()
	names := func(keys []*KeyRef) (names []string) {
		for _, k := range keys {
			names = append(names, k.GetId())
		}
		return names
	}
	spec := drawingSpec(100, 3)
	// Pinned: every program in every language draws the same keys.
	for i, want := range map[int][]string{0: {"user-0", "user-34", "user-66", "user-98"}, 7: {"user-7", "user-60", "user-82", "user-92"}} {
		if got := names(RegisteredKeys(spec, spec.GetKeys()[i])); !slices.Equal(got, want) {
			t.Errorf("key %d is tried by %q, want %q", i, got, want)
		}
	}
	tried := make(map[string]int)
	for _, key := range spec.GetKeys() {
		keys := names(RegisteredKeys(spec, key))
		slices.Sort(keys)
		if len(slices.Compact(keys)) != 4 || !slices.Contains(keys, key.GetId()) {
			t.Errorf("%s is tried by %q: want itself and three others", key.GetId(), keys)
		}
		for _, name := range keys {
			tried[name]++
		}
		if got := len(DecodeKeys(spec, key)); got != 4+1 {
			t.Errorf("%s is decoded with %d keys", key.GetId(), got)
		}
	}
	for name, n := range tried {
		if n > 15 { // the mean is 4; of as good as independent draws none is near this
			t.Errorf("%s is drawn %d times", name, n)
		}
	}
	other := proto.CloneOf(spec)
	other.Readers[0].Seed++
	if slices.Equal(names(RegisteredKeys(spec, spec.GetKeys()[0])), names(RegisteredKeys(other, spec.GetKeys()[0]))) {
		t.Error("another seed draws the same keys")
	}
	if all := drawingSpec(100, 99); len(RegisteredKeys(all, all.GetKeys()[0])) != 100 {
		t.Error("not all keys read what one embeds, though the run says so")
	}
	e := NewExpected(spec)
	for _, key := range spec.GetKeys()[:5] {
		drawn := RegisteredKeys(spec, key)
		for _, decode := range spec.GetKeys() {
			s := &Score{
				Item: "item-1", Reader: Reader_READER_MISMATCHED, Against: Against_AGAINST_SECRET, EmbedKey: key.GetId(), DecodeKey: decode.GetId(),
				Reference: spec.GetPairs()[0].GetSecret().GetDigest(), Test: sha("recovered"), Metrics: &Metrics{Psnr: 8},
			}
			if decode == key {
				s.Reader = Reader_READER_MATCHED
			}
			if err := e.Score(s); (err == nil) != slices.Contains(drawn, decode) {
				t.Errorf("a score of what %s embedded and %s decoded: %v; drawn are %q", key.GetId(), decode.GetId(), err, names(drawn))
			}
		}
	}
}

// TestFollowUps asks for all that can follow an embed job.
func TestFollowUps(t *testing.T) {
	t.Parallel()
	stego := map[string]string{"item-1": sha("stego 1"), "item-2": sha("stego 2")}
	var got []string
	embed := fullEmbed()
	for _, j := range FollowUpJobs(embed, stego) {
		if err := j.Validate(); err != nil {
			t.Error(err)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintln(j.GetOperation().Token(), j.GetKey().GetId(), j.GetAttack(), j.GetFeatures())))
		if j.GetEmbedKey().GetId() != "alice" || !j.GetScore() || j.GetAttempt() != embed.GetAttempt() || j.GetRun() != embed.GetRun() ||
			j.GetModel() != embed.GetModel() || !proto.Equal(j.GetGeometry(), embed.GetGeometry()) {
			t.Errorf("%v", j)
		}
		for i, item := range j.GetItems() {
			from := embed.GetItems()[i]
			want := &Item{Id: from.GetId(), Cover: from.GetCover(), Secret: from.GetSecret()}
			if ref := BlobRef(stego[from.GetId()], ""); j.GetOperation() == Operation_OPERATION_RECOVER {
				want.Stego = ref
			} else {
				want.Image = ref
			}
			sameMessage(t, "item", item, want)
		}
	}
	want := []string{
		"recover alice  true", "recover bob  true", "recover random-1-0  true", "recover near-0-alice  true", "recover near-128-alice  true",
		"recover swapped-alice  true", "recover partial-250-alice  true", "recover partial-1000-alice  true",
		"recover alice jpeg-75 false", "recover alice noise-2.5 false", "purify   false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("what follows is\n%q, want\n%q", got, want)
	}
	if jobs := FollowUpJobs(embed, nil); len(jobs) != 0 {
		t.Errorf("%d jobs follow an embed job that made nothing", len(jobs))
	}
	if jobs := FollowUpJobs(testRecover(), stego); len(jobs) != 0 {
		t.Errorf("%d jobs follow a recover job", len(jobs))
	}
	// A part of what follows is all that its job asks for.
	s := fullSpec()
	all := FollowUps(s, testKey("alice"))
	for i, f := range all {
		j := EmbedJob(s, 3, testKey("alice"), all[i:i+1], s.GetPairs())
		if err := j.Validate(); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		if next := FollowUpJobs(j, stego); len(next) != 1 || !proto.Equal(next[0], FollowUpJobs(embed, stego)[i]) {
			t.Errorf("%v gives %v", f, next)
		}
	}
}

func TestRecoverJob(t *testing.T) {
	t.Parallel()
	embed := testEmbed()
	both := map[string]string{"item-1": sha("stego 1"), "item-2": sha("stego 2")}
	t.Run("of all items", func(t *testing.T) {
		t.Parallel()
		j := recoverJob(embed, testKey("random-1-0"), both)
		if err := j.Validate(); err != nil {
			t.Fatal(err)
		}
		if j.GetKey().GetId() != "random-1-0" || j.GetEmbedKey().GetId() != "alice" || len(j.GetItems()) != 2 {
			t.Errorf("%v", j)
		}
		for i, item := range j.GetItems() {
			from := embed.GetItems()[i]
			sameMessage(t, "item", item, &Item{
				Id: from.GetId(), Cover: from.GetCover(), Secret: from.GetSecret(), Stego: BlobRef(both[from.GetId()], ""),
			})
		}
	})
	t.Run("without the items that failed", func(t *testing.T) {
		t.Parallel()
		j := recoverJob(embed, testKey("bob"), map[string]string{"item-2": sha("stego 2"), "stranger": sha("x")})
		if len(j.GetItems()) != 1 || j.GetItems()[0].GetId() != "item-2" || j.Validate() != nil {
			t.Errorf("%v: %v", j, j.Validate())
		}
	})
	t.Run("of nothing", func(t *testing.T) {
		t.Parallel()
		if j := recoverJob(embed, testKey("bob"), nil); j != nil {
			t.Errorf("%v, want none", j)
		}
	})
	t.Run("not scored", func(t *testing.T) {
		t.Parallel()
		plain := proto.CloneOf(embed)
		plain.Score = false
		j := recoverJob(plain, testKey("bob"), both)
		if item := j.GetItems()[0]; j.GetScore() || item.GetCover() != nil || item.GetSecret() != nil || j.Validate() != nil {
			t.Errorf("%v: %v", j, j.Validate())
		}
	})
	t.Run("one for each embed key", func(t *testing.T) {
		t.Parallel()
		// The stego images are the same: each job must be stored all the same.
		other := proto.CloneOf(embed)
		other.Key = testKey("bob")
		a, b := recoverJob(embed, testKey("bob"), both), recoverJob(other, testKey("bob"), both)
		if MsgID(a) == MsgID(b) {
			t.Error("the queue would take one for a duplicate of the other")
		}
	})
}

func TestComparisons(t *testing.T) {
	t.Parallel()
	cover, secret, stego, out, noisy := sha("cover 1"), sha("secret 1"), sha("stego 1"), sha("out"), sha("noisy")
	decode := func(key string) *Job {
		return recoverJob(testEmbed(), testKey(key), map[string]string{"item-1": stego})
	}
	silent := testPurify()
	silent.NoiseSigma = 0
	features := []float32{1, -2.5}
	row := func(role Role, reference, test, embed, decode string) *Score {
		return &Score{Item: "item-1", Reader: role.Reader, Against: role.Against, Reference: reference, Test: test, EmbedKey: embed, DecodeKey: decode}
	}
	for name, c := range map[string]struct {
		job  *Job
		out  *Output
		want []*Score
	}{
		"embed": {testEmbed(), &Output{Image: out}, []*Score{
			row(Imperceptibility, cover, out, "alice", ""),
			row(Baseline, secret, cover, "", ""),
		}},
		"embed without an output": {testEmbed(), nil, []*Score{
			row(Imperceptibility, cover, "", "alice", ""),
			row(Baseline, secret, cover, "", ""),
		}},
		"matched key": {decode("alice"), &Output{Image: out}, []*Score{
			row(Recoverability, secret, out, "alice", "alice"),
		}},
		"mismatched key": {decode("bob"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_MISMATCHED), secret, out, "alice", "bob"),
			row(LeakageCover(Reader_READER_MISMATCHED), cover, out, "alice", "bob"),
		}},
		"random key": {decode("random-1-0"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_RANDOM), secret, out, "alice", "random-1-0"),
			row(LeakageCover(Reader_READER_RANDOM), cover, out, "alice", "random-1-0"),
		}},
		"key one bit off": {decode("near-255-alice"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_NEAR), secret, out, "alice", "near-255-alice"),
			row(LeakageCover(Reader_READER_NEAR), cover, out, "alice", "near-255-alice"),
		}},
		"key one bit off another": {decode("near-255-bob"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_MISMATCHED), secret, out, "alice", "near-255-bob"),
			row(LeakageCover(Reader_READER_MISMATCHED), cover, out, "alice", "near-255-bob"),
		}},
		"halves exchanged": {decode("swapped-alice"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_SWAPPED), secret, out, "alice", "swapped-alice"),
			row(LeakageCover(Reader_READER_SWAPPED), cover, out, "alice", "swapped-alice"),
		}},
		"halves of another exchanged": {decode("swapped-bob"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_MISMATCHED), secret, out, "alice", "swapped-bob"),
			row(LeakageCover(Reader_READER_MISMATCHED), cover, out, "alice", "swapped-bob"),
		}},
		"half of the key right": {decode("partial-500-alice"), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_PARTIAL), secret, out, "alice", "partial-500-alice"),
			row(LeakageCover(Reader_READER_PARTIAL), cover, out, "alice", "partial-500-alice"),
		}},
		"features": {testFeatures(), &Output{Image: out, Features: features}, []*Score{
			{Item: "item-1", Reader: Reader_READER_MATCHED, Against: Against_AGAINST_SECRET, Reference: secret, Test: out, EmbedKey: "alice", DecodeKey: "alice", Features: features},
		}},
		"features of a wrong key": {fullFollowUps()[1], &Output{Image: out, Features: features}, []*Score{
			{Item: "item-1", Reader: Reader_READER_MISMATCHED, Against: Against_AGAINST_SECRET, Reference: secret, Test: out, EmbedKey: "alice", DecodeKey: "bob", Features: features},
			row(LeakageCover(Reader_READER_MISMATCHED), cover, out, "alice", "bob"),
		}},
		"after an attack": {testAttacked(), &Output{Image: out}, []*Score{
			{Item: "item-1", Reader: Reader_READER_MATCHED, Against: Against_AGAINST_SECRET, Reference: secret, Test: out, EmbedKey: "alice", DecodeKey: "alice", Attack: "noise-2.5"},
		}},
		"without a key": {testUnkeyed(), &Output{Image: out}, []*Score{
			row(Leakage(Reader_READER_UNKEYED), secret, out, "alice", ""),
			row(LeakageCover(Reader_READER_UNKEYED), cover, out, "alice", ""),
		}},
		"purify with noise": {testPurify(), &Output{Image: out, Noisy: noisy}, []*Score{
			row(Purification, cover, out, "", ""),
			row(Noise, cover, noisy, "", ""),
		}},
		"purify without noise": {silent, &Output{Image: out}, []*Score{row(Purification, cover, out, "", "")}},
		"unknown operation":    {&Job{Items: []*Item{{Id: "item-1"}}}, &Output{Image: out}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectScores(t, Comparisons(c.job, c.job.GetItems()[0], &Outcome{Output: c.out}), c.want...)
		})
	}
}

// A refused item has all scores that an output would have, whole and without an image, whatever its key.
func TestComparisonsOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	refusal := &Refusal{Detail: "authentication failed"}
	recovered := make(map[Reader]bool)
	for _, next := range fullFollowUps() {
		if next.GetOperation() != Operation_OPERATION_RECOVER {
			continue
		}
		item := next.GetItems()[0]
		made := Comparisons(next, item, &Outcome{Output: &Output{Image: sha("out")}})
		refused := Comparisons(next, item, &Outcome{Refusal: refusal})
		if len(refused) != len(made) {
			t.Fatalf("%d scores are refused of %d", len(refused), len(made))
		}
		for i, s := range refused {
			recovered[s.GetReader()] = true
			if ScoreKey(s) != ScoreKey(made[i]) || s.End() != EndRefused || s.GetRefusal().GetDetail() != refusal.GetDetail() || s.GetTest() != "" {
				t.Errorf("refused: %v, made: %v", s, made[i])
			}
			if err := s.Validate(); err != nil {
				t.Errorf("%v: %v", s, err)
			}
		}
	}
	for number := range Reader_name {
		if r := Reader(number); r.keyed() != recovered[r] {
			t.Errorf("%v has a key: %v, and some recover job has it: %v", r, r.keyed(), recovered[r])
		}
	}
	if open := Comparisons(testRecover(), testRecover().GetItems()[0], nil); open[0].End() != EndNone {
		t.Errorf("what is not known has ended: %v", open[0])
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome *Outcome
		score   *Score
		want    End
	}{
		{testResult().GetOutcomes()[0], testScore(), EndDone},
		{testResult().GetOutcomes()[1], testFailedScore(), EndFailed},
		{testRefusedResult().GetOutcomes()[0], testRefusedScore(), EndRefused},
		{nil, nil, EndNone},
		{&Outcome{Output: &Output{}, Refusal: &Refusal{}}, &Score{Metrics: &Metrics{}, Refusal: &Refusal{}}, EndNone},
		{&Outcome{Failure: &Failure{}, Refusal: &Refusal{}}, &Score{Failure: &Failure{}, Refusal: &Refusal{}}, EndNone},
	} {
		if got := c.outcome.End(); got != c.want {
			t.Errorf("%v ended %q, want %q", c.outcome, got, c.want)
		}
		if got := c.score.End(); got != c.want {
			t.Errorf("%v ended %q, want %q", c.score, got, c.want)
		}
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	why := &Failure{Reason: "unknown_key", Detail: "no key"}
	keys := func(scores []*Score) []string {
		var all []string
		for _, s := range scores {
			if !proto.Equal(s.GetFailure(), why) || s.GetMetrics() != nil {
				t.Errorf("%v does not say why it is lost", s)
			}
			if err := s.Validate(); err != nil {
				t.Errorf("%v: %v", s, err)
			}
			all = append(all, ScoreKey(s))
		}
		return all
	}
	for name, c := range map[string]struct {
		job  *Job
		want []string
	}{
		"embed, and what would have followed": {testEmbed(), []string{
			"item-2|imperceptibility|alice|", "item-2|baseline_cover_secret||",
			"item-2|recoverability|alice|alice",
			"item-2|leakage_mismatched|alice|bob", "item-2|leakage_mismatched_cover|alice|bob",
			"item-2|leakage_random|alice|random-1-0", "item-2|leakage_random_cover|alice|random-1-0",
		}},
		"embed, with near keys": {EmbedJob(nearSpec(), 3, testKey("alice"), FollowUps(nearSpec(), testKey("alice"))[3:], testPairs(2)), []string{
			"item-2|imperceptibility|alice|", "item-2|baseline_cover_secret||",
			"item-2|leakage_near|alice|near-0-alice", "item-2|leakage_near_cover|alice|near-0-alice",
			"item-2|leakage_near|alice|near-128-alice", "item-2|leakage_near_cover|alice|near-128-alice",
		}},
		"embed, and all that can follow": {EmbedJob(fullSpec(), 3, testKey("alice"), FollowUps(fullSpec(), testKey("alice"))[5:], testPairs(2)), []string{
			"item-2|imperceptibility|alice|", "item-2|baseline_cover_secret||",
			"item-2|leakage_swapped|alice|swapped-alice", "item-2|leakage_swapped_cover|alice|swapped-alice",
			"item-2|leakage_partial|alice|partial-250-alice", "item-2|leakage_partial_cover|alice|partial-250-alice",
			"item-2|leakage_partial|alice|partial-1000-alice", "item-2|leakage_partial_cover|alice|partial-1000-alice",
			"item-2|robustness|alice|alice|jpeg-75", "item-2|robustness|alice|alice|noise-2.5",
			"item-2|leakage_unkeyed|alice|", "item-2|leakage_unkeyed_cover|alice|",
		}},
		"after an attack": {testAttacked(), []string{"item-2|robustness|alice|alice|noise-2.5"}},
		"without a key":   {testUnkeyed(), []string{"item-2|leakage_unkeyed|alice|", "item-2|leakage_unkeyed_cover|alice|"}},
		"recover":         {testRecover(), []string{"item-2|leakage_mismatched|alice|bob", "item-2|leakage_mismatched_cover|alice|bob"}},
		"purify":          {testPurify(), []string{"item-2|purification||", "item-2|noise||"}},
	} {
		before := proto.CloneOf(c.job)
		if got := keys(Lost(c.job, c.job.GetItems()[1], why)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
		sameMessage(t, name+": the job", c.job, before)
	}
}

// TestLostIsWhatWouldHaveCome follows an embed job to its end and compares with what Lost says of it.
func TestLostIsWhatWouldHaveCome(t *testing.T) {
	t.Parallel()
	j := fullEmbed()
	item := j.GetItems()[0]
	var made, lost []string
	for _, s := range Comparisons(j, item, &Outcome{Output: &Output{Image: sha("stego 1")}}) {
		made = append(made, ScoreKey(s))
	}
	for _, next := range FollowUpJobs(j, map[string]string{item.GetId(): sha("stego 1")}) {
		for _, s := range Comparisons(next, next.GetItems()[0], &Outcome{Output: &Output{Image: sha("out")}}) {
			made = append(made, ScoreKey(s))
		}
	}
	for _, s := range Lost(j, item, &Failure{Reason: "x"}) {
		lost = append(lost, ScoreKey(s))
	}
	if !slices.Equal(made, lost) {
		t.Errorf("made %q\nlost %q", made, lost)
	}
}
