package schemas

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// scoreKeys draws ids of keys, or none.
var scoreKeys = rapid.StringMatching(`([a-z0-9][a-z0-9_-]{0,62})?`)

// itemIDs draws ids of items.
var itemIDs = rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9_-]|\.[A-Za-z0-9_-]){0,60}\.?`)

func sha(text string) string { return Digest([]byte(text)) }

func testKey(id string) *KeyRef { return &KeyRef{Id: id, Fingerprint: sha(id)[:32]} }

// testPairs are n pairs of images that no file has.
func testPairs(n int) []*Pair {
	var pairs []*Pair
	for i := 1; i <= n; i++ {
		ref := func(what string) *ImageRef {
			return BlobRef(sha(fmt.Sprintf("%s %d", what, i)), fmt.Sprintf("%s-%d.png", what, i))
		}
		pairs = append(pairs, &Pair{Item: fmt.Sprintf("item-%d", i), Cover: ref("cover"), Secret: ref("secret")})
	}
	return pairs
}

// testReaders are so many readers with the keys of ids.
func testReaders(r Reader, count int, ids ...string) *Readers {
	of := &Readers{Reader: r, Count: uint32(count)}
	for _, id := range ids {
		of.Keys = append(of.Keys, testKey(id))
	}
	return of
}

func testSpec() *RunSpec {
	return &RunSpec{
		Id: "run-1", Model: sha("model"), ModelName: "tiny", ModelTrained: true,
		Keys:       []*KeyRef{testKey("alice"), testKey("bob")},
		Readers:    []*Readers{testReaders(Reader_READER_MISMATCHED, 1), testReaders(Reader_READER_RANDOM, 1, "random-1-0")},
		Geometry:   &Geometry{Width: 128, Height: 96, Resize: ResizePolicy_RESIZE_POLICY_SQUASH},
		NoiseSigma: 20, Pairs: testPairs(2), Dataset: "photos", Covers: "covers", Images: 5,
		Bad: []*BadImage{{Name: "broken.png", Reason: "truncated image"}}, MetricsVersion: "1",
	}
}

// nearSpec is testSpec with keys one bit off each of its keys.
func nearSpec() *RunSpec {
	s := testSpec()
	s.Readers = append(s.Readers, testReaders(Reader_READER_NEAR, 2, "near-0-alice", "near-128-alice", "near-0-bob", "near-128-bob"))
	return s
}

// fullSpec is nearSpec with readers of every kind and all that can follow an embed job.
func fullSpec() *RunSpec {
	s := nearSpec()
	s.Readers = append(s.Readers,
		testReaders(Reader_READER_SWAPPED, 1, "swapped-alice", "swapped-bob"),
		testReaders(Reader_READER_PARTIAL, 2, "partial-250-alice", "partial-1000-alice", "partial-250-bob", "partial-1000-bob"),
		testReaders(Reader_READER_UNKEYED, 1))
	s.Features, s.Attacks = true, []string{"jpeg-75", "noise-2.5"}
	s.DecoderVersion, s.Runtime = 2, testRuntime
	return s
}

// testRuntime is what computes in fullSpec.
const testRuntime = "onnxruntime 1.24.1 cpu"

// sampledSpec is testSpec with pairs that were drawn from more.
func sampledSpec() *RunSpec {
	s := testSpec()
	s.Sample = &Sample{Pairs: 2, Of: 25000, Seed: 7}
	return s
}

// drawingSpec is testSpec with so many keys; so many of the others read what each embeds.
func drawingSpec(keys, wrong int) *RunSpec {
	s := testSpec()
	s.Keys = nil
	for i := range keys {
		s.Keys = append(s.Keys, testKey(fmt.Sprintf("user-%d", i)))
	}
	s.Readers[0].Count, s.Readers[0].Seed = uint32(wrong), 1
	return s
}

// The jobs of an evaluation: an embed job, a recover job that follows from it, a purify job.
func testEmbed() *Job {
	s := testSpec()
	return EmbedJob(s, 3, s.GetKeys()[0], FollowUps(s, s.GetKeys()[0]), s.GetPairs())
}

// recoverJob is the job that follows an embed job with one decode key; nil where none does.
func recoverJob(embed *Job, key *KeyRef, stego map[string]string) *Job {
	one := proto.CloneOf(embed)
	one.DecodeKeys, one.Attacks, one.Unkeyed = []*KeyRef{key}, nil, false
	for _, j := range FollowUpJobs(one, stego) {
		return j
	}
	return nil
}

func testRecover() *Job {
	return recoverJob(testEmbed(), testKey("bob"), map[string]string{"item-1": sha("stego 1"), "item-2": sha("stego 2")})
}

// The jobs of fullSpec: an embed job of alice, and of those that follow it the recover job with her key, that after the
// second attack, and the one without a key.
func fullEmbed() *Job {
	s := fullSpec()
	return EmbedJob(s, 3, s.GetKeys()[0], FollowUps(s, s.GetKeys()[0]), s.GetPairs())
}
func fullFollowUps() []*Job {
	return FollowUpJobs(fullEmbed(), map[string]string{"item-1": sha("stego 1"), "item-2": sha("stego 2")})
}
func testFeatures() *Job { return fullFollowUps()[0] }
func testAttacked() *Job { all := fullFollowUps(); return all[len(all)-2] }
func testUnkeyed() *Job  { all := fullFollowUps(); return all[len(all)-1] }
func testPurify() *Job   { s := testSpec(); return PurifyJob(s, 3, s.GetPairs()) }

// testInline is a streaming job: its images are inside it, and nobody scores it.
func testInline() *Job {
	j := &Job{
		Run: "stream-1", Operation: Operation_OPERATION_EMBED, Model: sha("model"), Key: testKey("alice"),
		Geometry: &Geometry{Resize: ResizePolicy_RESIZE_POLICY_CROP},
		Items: []*Item{{
			Id:     "1",
			Cover:  &ImageRef{Digest: sha("a cover"), Inline: []byte("a cover"), Name: "c.png"},
			Secret: &ImageRef{Digest: sha("a secret"), Inline: []byte("a secret"), Name: "s.png"},
		}},
	}
	j.Id = JobID(j)
	return j
}

func testResult() *Result {
	return &Result{Job: testPurify(), Worker: "host-1", Outcomes: []*Outcome{
		{Item: "item-1", Output: &Output{Image: sha("purified 1"), Noisy: sha("noisy 1")}, Cached: true},
		{Item: "item-2", Failure: &Failure{Reason: "bad_image", Detail: "image cover-2.png: truncated image"}},
	}}
}

func testLetter() *DeadLetter {
	return &DeadLetter{
		Reason: "unknown_key", Detail: "no such key", Stream: "JOBS", Subject: "job.embed.39.alice",
		Deliveries: 1, DiedAt: 1763856000000, Message: []byte{1, 2, 3},
	}
}

func testScore() *Score {
	return &Score{
		Item: "item-1", Reader: Reader_READER_MISMATCHED, Against: Against_AGAINST_SECRET, EmbedKey: "alice", DecodeKey: "bob",
		Reference: sha("secret 1"), Test: sha("recovered 1"),
		Metrics: &Metrics{Psnr: 9.25, Ssim: -0.125, Mae: 0.5, Rmse: 0.625},
	}
}

// testFeaturedResult has the features of its only item.
func testFeaturedResult() *Result {
	j := recoverJob(fullEmbed(), testKey("alice"), map[string]string{"item-1": sha("stego 1")})
	return &Result{Job: j, Worker: "host-1", Outcomes: []*Outcome{
		{Item: "item-1", Output: &Output{Image: sha("recovered 1"), Features: []float32{0.5, -1.25, 0}}},
	}}
}

// testMeasuredScore has a metric that its run asked for.
func testMeasuredScore() *Score {
	s := testScore()
	s.Metrics.Set("ms_ssim", 0.75)
	return s
}

func testFeaturedScore() *Score {
	s := testScore()
	s.Features = []float32{0.5, -1.25, 0}
	return s
}

func testAttackedScore() *Score {
	s := testScore()
	s.Reader, s.DecodeKey, s.Attack = Reader_READER_MATCHED, "alice", "jpeg-75"
	return s
}

func testFailedScore() *Score {
	s := testScore()
	s.Metrics, s.Failure = nil, &Failure{Reason: "missing_blob", Detail: "gone"}
	return s
}

// testRefusedResult is of a key that is not the one that embedded: one stego image was refused, the other found refused.
func testRefusedResult() *Result {
	return &Result{Job: testRecover(), Worker: "host-1", Outcomes: []*Outcome{
		{Item: "item-1", Refusal: &Refusal{Detail: "authentication failed"}},
		{Item: "item-2", Refusal: &Refusal{}, Cached: true},
	}}
}

func testRefusedScore() *Score {
	s := testScore()
	s.Metrics, s.Test, s.Refusal = nil, "", &Refusal{Detail: "authentication failed"}
	return s
}

// kind is a type of message with its decoder.
type kind struct {
	name   string
	sample func() message
	random *rapid.Generator[message]
	decode func([]byte) (message, error)
}

func decoder[M message](f func([]byte) (M, error)) func([]byte) (message, error) {
	return func(data []byte) (message, error) {
		m, err := f(data)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}

// testTenant is a job of a tenant: interactive, with nothing that follows.
func testTenant() *Job {
	j := testRecover()
	j.EmbedKey, j.Score, j.Tenant = nil, false, "carol"
	for _, item := range j.GetItems() {
		item.Cover, item.Secret = nil, nil
	}
	j.Id = JobID(j)
	return j
}

func kinds() []kind {
	return []kind{
		{"job-embed", func() message { return testEmbed() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-recover", func() message { return testRecover() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-purify", func() message { return testPurify() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-embed-full", func() message { return fullEmbed() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-recover-features", func() message { return testFeatures() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-recover-attacked", func() message { return testAttacked() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-purify-unkeyed", func() message { return testUnkeyed() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-inline", func() message { return testInline() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"job-tenant", func() message { return testTenant() }, anyMessage(anyJob), decoder(DecodeJob)},
		{"result", func() message { return testResult() }, anyMessage(anyResult), decoder(DecodeResult)},
		{"result-features", func() message { return testFeaturedResult() }, anyMessage(anyResult), decoder(DecodeResult)},
		{"result-refused", func() message { return testRefusedResult() }, anyMessage(anyResult), decoder(DecodeResult)},
		{"dead-letter", func() message { return testLetter() }, anyMessage(anyLetter), decoder(DecodeDeadLetter)},
		{"run-spec", func() message { return testSpec() }, anyMessage(anySpec), decoder(DecodeRunSpec)},
		{"run-spec-near", func() message { return nearSpec() }, anyMessage(anySpec), decoder(DecodeRunSpec)},
		{"run-spec-sample", func() message { return sampledSpec() }, anyMessage(anySpec), decoder(DecodeRunSpec)},
		{"run-spec-full", func() message { return fullSpec() }, anyMessage(anySpec), decoder(DecodeRunSpec)},
		{"score", func() message { return testScore() }, anyMessage(anyScore), decoder(DecodeScore)},
		{"score-more-metrics", func() message { return testMeasuredScore() }, anyMessage(anyScore), decoder(DecodeScore)},
		{"score-features", func() message { return testFeaturedScore() }, anyMessage(anyScore), decoder(DecodeScore)},
		{"score-attacked", func() message { return testAttackedScore() }, anyMessage(anyScore), decoder(DecodeScore)},
		{"score-failed", func() message { return testFailedScore() }, anyMessage(anyScore), decoder(DecodeScore)},
		{"score-refused", func() message { return testRefusedScore() }, anyMessage(anyScore), decoder(DecodeScore)},
	}
}

func anyMessage[M message](draw func(*rapid.T) M) *rapid.Generator[message] {
	return rapid.Custom(func(t *rapid.T) message { return draw(t) })
}

func anyHex(t *rapid.T, label string, bytes int) string {
	return hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), bytes, bytes).Draw(t, label))
}

func anyKey(t *rapid.T, label string, random bool) *KeyRef {
	form := rapid.StringMatching(`[a-q][a-z0-9_-]{0,62}`)
	if random {
		form = rapid.StringMatching(`random-[0-9]{1,20}-[0-9]{1,20}`)
	}
	return &KeyRef{Id: form.Draw(t, label), Fingerprint: anyHex(t, label+" fingerprint", 16)}
}

// anyRef is a reference to a blob or a file, or with room for inline bytes perhaps an image in itself.
func anyRef(t *rapid.T, label string, room int) *ImageRef {
	ref := &ImageRef{Digest: anyHex(t, label, 32), Name: rapid.StringN(0, 20, -1).Draw(t, label+" name")}
	forms := []string{"blob", "file"}
	if room > 0 {
		forms = append(forms, "inline")
	}
	switch rapid.SampledFrom(forms).Draw(t, label+" form") {
	case "blob":
		ref.Uri = BlobURI(ref.GetDigest())
	case "file":
		ref.Uri = "file:///" + rapid.StringMatching(`[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}`).Draw(t, label+" path")
	default:
		ref.Inline = rapid.SliceOfN(rapid.Byte(), 1, room).Draw(t, label+" bytes")
	}
	return ref
}

func anyGeometry(t *rapid.T, native bool) *Geometry {
	g := &Geometry{Resize: rapid.SampledFrom([]ResizePolicy{ResizePolicy_RESIZE_POLICY_SQUASH, ResizePolicy_RESIZE_POLICY_CROP}).Draw(t, "resize")}
	if !native || rapid.Bool().Draw(t, "sized") {
		g.Width, g.Height = rapid.Uint32Range(1, MaxSide).Draw(t, "width"), rapid.Uint32Range(1, MaxSide).Draw(t, "height")
	}
	return g
}

var attackNames = rapid.StringMatching(`[a-z]{1,16}-[0-9]{1,4}(\.[0-9]{1,4})?`)

func anyAttacks(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(attackNames, 0, 3, rapid.ID).Draw(t, "attacks")
}

func anyFeatures(t *rapid.T) []float32 {
	return rapid.SliceOfN(rapid.Float32Range(-1e30, 1e30), 0, 4).Draw(t, "features")
}

// anyJob draws a valid job.
func anyJob(t *rapid.T) *Job {
	j := &Job{
		Run:       rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_-]{0,62}`).Draw(t, "run"),
		Operation: Operation(rapid.Int32Range(1, 3).Draw(t, "operation")),
		Model:     anyHex(t, "model", 32), Geometry: anyGeometry(t, true),
		Score:   rapid.Bool().Draw(t, "score"),
		Attempt: rapid.Int64Min(0).Draw(t, "attempt"),
	}
	switch j.GetOperation() {
	case Operation_OPERATION_EMBED:
		j.Key = anyKey(t, "key", false)
		for range rapid.IntRange(0, 3).Draw(t, "decode keys") {
			j.DecodeKeys = append(j.DecodeKeys, anyKey(t, "decode key", rapid.Bool().Draw(t, "unregistered")))
		}
		j.Features, j.Attacks, j.Unkeyed = rapid.Bool().Draw(t, "features"), anyAttacks(t), rapid.Bool().Draw(t, "unkeyed")
	case Operation_OPERATION_RECOVER:
		j.Key = anyKey(t, "key", rapid.Bool().Draw(t, "unregistered"))
		if rapid.Bool().Draw(t, "embed key is known") {
			j.EmbedKey = anyKey(t, "embed key", false)
		}
		j.Features = rapid.Bool().Draw(t, "features")
		if rapid.Bool().Draw(t, "attacked") {
			j.Attack, j.EmbedKey = attackNames.Draw(t, "attack"), j.GetKey()
		}
	case Operation_OPERATION_PURIFY:
		if rapid.Bool().Draw(t, "stego") {
			j.EmbedKey = anyKey(t, "embed key", false)
			break
		}
		j.NoiseSigma = rapid.Float64Range(0, 255).Draw(t, "sigma")
	}
	room := 100
	if j.GetScore() {
		room = 0
	}
	for _, id := range rapid.SliceOfNDistinct(itemIDs, 1, 5, rapid.ID).Draw(t, "items") {
		item := &Item{Id: id}
		switch j.GetOperation() {
		case Operation_OPERATION_EMBED:
			item.Cover, item.Secret = anyRef(t, "cover", room), anyRef(t, "secret", room)
		case Operation_OPERATION_RECOVER:
			item.Stego = anyRef(t, "stego", room)
		case Operation_OPERATION_PURIFY:
			item.Image = anyRef(t, "image", room)
		}
		if j.GetScore() && item.GetCover() == nil {
			item.Cover, item.Secret = anyRef(t, "cover", room), anyRef(t, "secret", room)
		}
		j.Items = append(j.Items, item)
	}
	j.Id = JobID(j)
	return j
}

func anyEnd(t *rapid.T, refusable bool) End {
	ends := []End{EndDone, EndFailed}
	if refusable {
		ends = append(ends, EndRefused)
	}
	return rapid.SampledFrom(ends).Draw(t, "end")
}

func anyResult(t *rapid.T) *Result {
	r := &Result{Job: anyJob(t), Worker: rapid.String().Draw(t, "worker")}
	for _, item := range r.GetJob().GetItems() {
		o := &Outcome{Item: item.GetId(), Cached: rapid.Bool().Draw(t, "cached")}
		switch anyEnd(t, r.GetJob().GetOperation() == Operation_OPERATION_RECOVER) {
		case EndFailed:
			o.Failure = &Failure{Reason: rapid.StringN(1, 10, -1).Draw(t, "reason"), Detail: rapid.String().Draw(t, "detail")}
		case EndRefused:
			o.Refusal = &Refusal{Detail: rapid.String().Draw(t, "detail")}
		default:
			o.Output = &Output{Image: anyHex(t, "image", 32)}
			if rapid.Bool().Draw(t, "noisy") {
				o.Output.Noisy = anyHex(t, "noisy", 32)
			}
			o.Output.Features = anyFeatures(t)
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	return r
}

func anyLetter(t *rapid.T) *DeadLetter {
	return &DeadLetter{
		Reason: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_-]{0,62}`).Draw(t, "reason"), Detail: rapid.String().Draw(t, "detail"),
		Stream: rapid.String().Draw(t, "stream"), Subject: rapid.StringN(1, 50, -1).Draw(t, "subject"),
		Deliveries: rapid.Uint64().Draw(t, "deliveries"), DiedAt: rapid.Int64Min(1).Draw(t, "died at"),
		Message: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "message"),
	}
}

func anySpec(t *rapid.T) *RunSpec {
	s := &RunSpec{
		Id:    rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_-]{0,62}`).Draw(t, "id"),
		Model: anyHex(t, "model", 32), ModelName: rapid.String().Draw(t, "name"), ModelTrained: rapid.Bool().Draw(t, "trained"),
		Geometry: anyGeometry(t, false), NoiseSigma: rapid.Float64Range(0, 255).Draw(t, "sigma"),
		Dataset: rapid.String().Draw(t, "dataset"), Images: rapid.Uint32().Draw(t, "images"), MetricsVersion: "1",
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "keys") {
		s.Keys = append(s.Keys, testKey(fmt.Sprintf("key-%d", i)))
	}
	kinds := []Reader{Reader_READER_MISMATCHED, Reader_READER_RANDOM, Reader_READER_NEAR, Reader_READER_SWAPPED, Reader_READER_PARTIAL, Reader_READER_UNKEYED}
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom(kinds), 0, len(kinds), rapid.ID).Draw(t, "readers") {
		most := map[Reader]int{Reader_READER_MISMATCHED: len(s.GetKeys()) - 1, Reader_READER_SWAPPED: 1}
		r := testReaders(kind, rapid.IntRange(1, max(1, cmp.Or(most[kind], 3))).Draw(t, "count"))
		if kind == Reader_READER_MISMATCHED && len(s.GetKeys()) == 1 {
			continue
		}
		r.Seed = rapid.Uint64().Draw(t, "seed")
		form := map[Reader]string{Reader_READER_NEAR: "near-%d-key-%d", Reader_READER_SWAPPED: "swapped-key-%[2]d", Reader_READER_PARTIAL: "partial-%d-key-%d"}[kind]
		for owner := range s.GetKeys() {
			for n := range r.GetCount() {
				if kind.derived() {
					r.Keys = append(r.Keys, testKey(fmt.Sprintf(form, n, owner)))
				} else if kind == Reader_READER_RANDOM && owner == 0 {
					r.Keys = append(r.Keys, testKey(fmt.Sprintf("random-1-%d", n)))
				}
			}
		}
		s.Readers = append(s.Readers, r)
	}
	s.Features, s.Attacks = rapid.Bool().Draw(t, "features"), anyAttacks(t)
	for _, item := range rapid.SliceOfNDistinct(itemIDs, 0, 4, rapid.ID).Draw(t, "items") {
		s.Pairs = append(s.Pairs, &Pair{Item: item, Cover: anyRef(t, "cover", 0), Secret: anyRef(t, "secret", 0)})
	}
	if rapid.Bool().Draw(t, "sampled") {
		s.Sample = &Sample{
			Pairs: rapid.Uint32Range(4, 1<<31).Draw(t, "asked for"), Of: rapid.Uint32Range(4, 1<<31).Draw(t, "of"), Seed: rapid.Uint64().Draw(t, "seed"),
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "bad") {
		s.Bad = append(s.Bad, &BadImage{Name: rapid.String().Draw(t, "bad name"), Reason: rapid.String().Draw(t, "bad reason")})
	}
	return s
}

func anyScore(t *rapid.T) *Score {
	role := rapid.SampledFrom(roleTokens).Draw(t, "role").role
	s := &Score{
		Item: itemIDs.Draw(t, "item"), Reader: role.Reader, Against: role.Against,
		EmbedKey: scoreKeys.Draw(t, "embed key"), DecodeKey: scoreKeys.Draw(t, "decode key"),
		Reference: anyHex(t, "reference", 32), Test: anyHex(t, "test", 32),
	}
	if role.Attack != "" {
		s.Attack = attackNames.Draw(t, "attack")
	}
	s.Features = anyFeatures(t)
	switch anyEnd(t, role.Reader.keyed()) {
	case EndFailed:
		s.Failure = &Failure{Reason: "bad_image", Detail: rapid.String().Draw(t, "detail")}
		return s
	case EndRefused:
		s.Test, s.Refusal = "", &Refusal{Detail: rapid.String().Draw(t, "detail")}
		return s
	}
	number := rapid.Float64Range(-1e300, 1e300)
	s.Metrics = &Metrics{
		Psnr: number.Draw(t, "psnr"), Ssim: number.Draw(t, "ssim"), Mae: number.Draw(t, "mae"), Rmse: number.Draw(t, "rmse"),
	}
	if rapid.Bool().Draw(t, "more metrics") {
		s.Metrics.Set("ms_ssim", number.Draw(t, "ms_ssim"))
	}
	return s
}

// sameMessage says whether two messages are equal.
func sameMessage(t testing.TB, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}
