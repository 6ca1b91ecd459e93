package gpuworker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/gpuworker"
	"stegomq/internal/blob"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// outputs are the digests of a result's images; a failure is an error of the test.
func outputs(t *testing.T, res *schemas.Result) []string {
	t.Helper()
	var digests []string
	for _, o := range res.GetOutcomes() {
		if o.GetFailure() != nil {
			t.Fatalf("item %s failed: %v", o.GetItem(), o.GetFailure())
		}
		digests = append(digests, o.GetOutput().GetImage())
	}
	return digests
}

// expectPNG wants an 8-bit RGB PNG file of a size.
func expectPNG(t *testing.T, data []byte, w, h int) *image.NRGBA {
	t.Helper()
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Fatalf("not a PNG file: %v", err)
	}
	const depth, colour = 24, 25 // offsets in the file's first chunk
	if data[depth] != 8 || data[colour] != 2 {
		t.Errorf("bit depth %d, colour type %d, want 8-bit RGB", data[depth], data[colour])
	}
	img, _, err := pixel.Decode(data, pixel.Limits{MinSide: 1})
	if err != nil {
		t.Fatal(err)
	}
	if img.Rect != image.Rect(0, 0, w, h) {
		t.Errorf("the image is %v, want %dx%d", img.Rect, w, h)
	}
	return img
}

// directly computes what an item's output must be from the definition: decode, bring to size, run, quantise.
func (r *rig) directly(op schemas.Operation, key *schemas.KeyRef, g *schemas.Geometry, refs ...*schemas.ImageRef) string {
	r.t.Helper()
	var in []pixel.Tensor
	geometry := source.PixelGeometry(g)
	for _, ref := range refs {
		img, _, err := pixel.Decode(r.get(ref.GetDigest()), pixel.Limits{})
		if err != nil {
			r.t.Fatal(err)
		}
		if geometry.Native() {
			geometry.Width, geometry.Height = img.Rect.Dx(), img.Rect.Dy()
		}
		if img, err = pixel.Fit(img, geometry); err != nil {
			r.t.Fatal(err)
		}
		tensor, err := pixel.FromImages([]*image.NRGBA{img})
		if err != nil {
			r.t.Fatal(err)
		}
		in = append(in, tensor)
	}
	out, _, err := tiny.Network().Run(testrig.Context(r.t), tiny.Digest, op, key, in...)
	if err != nil {
		r.t.Fatal(err)
	}
	img, err := pixel.ToImage(out, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		r.t.Fatal(err)
	}
	return sha(data)
}

func TestEmbedAndWhatFollows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, image.Pt(50, 36), image.Pt(64, 64))
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-1"), keyRef(t, "demo-2"), keyRef(t, "random-5-0")}
	job.Score, job.Attempt = true, 7
	seal(job)
	r.publish(job)
	r.work(gpuworker.Config{})

	results, dead := r.await("run", 4)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	if !proto.Equal(results[0].GetJob(), job) || results[0].GetWorker() != "worker" {
		t.Errorf("the first result is of %v by %q", results[0].GetJob(), results[0].GetWorker())
	}
	stego := outputs(t, results[0])
	for i, digest := range stego {
		item := job.GetItems()[i]
		expectPNG(t, r.get(digest), 32, 32)
		if want := r.directly(job.GetOperation(), job.GetKey(), square, item.GetCover(), item.GetSecret()); digest != want {
			t.Errorf("item %d: the stego image is %s, computed directly it is %s", i, digest, want)
		}
	}
	decoded := make(map[string]*schemas.Job)
	seen := make(map[string]bool)
	for _, res := range results[1:] {
		next := res.GetJob()
		decoded[next.GetKey().GetId()] = next
		for i, digest := range outputs(t, res) {
			expectPNG(t, r.get(digest), 32, 32)
			if want := r.directly(next.GetOperation(), next.GetKey(), square, schemas.BlobRef(stego[i], "")); digest != want {
				t.Errorf("key %s, item %d: other pixels than computed directly", next.GetKey().GetId(), i)
			}
			if seen[digest] {
				t.Error("two keys or two items gave the same image")
			}
			seen[digest] = true
		}
	}
	for _, want := range schemas.FollowUpJobs(job, map[string]string{"item-0": stego[0], "item-1": stego[1]}) {
		if key := want.GetKey().GetId(); !proto.Equal(decoded[key], want) {
			t.Errorf("key %s: the recover job is\n%v, want\n%v", key, decoded[key], want)
		}
	}
}

// TestDurations: a result says how long its parts took, what only the engine knows among them, and the parts do not overlap.
func TestDurations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(seal(r.embedJob(square, image.Pt(32, 32))))
	r.work(gpuworker.Config{})
	results, dead := r.await("run", 1)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	d := results[0].GetDurations()
	if min(d.GetFetch(), d.GetWait(), d.GetPatch(), d.GetInfer(), d.GetStore()) <= 0 {
		t.Errorf("a part took no time: %v", d)
	}
	if d.GetFetch()+d.GetWait()+d.GetPatch()+d.GetInfer()+d.GetStore() > d.GetTotal() {
		t.Errorf("the parts are longer than the whole: %v", d)
	}
}

// fetched notes which blobs are fetched.
type fetched struct {
	blob.Store
	mu      sync.Mutex
	digests map[string]bool
}

func (f *fetched) Get(ctx context.Context, digest string) ([]byte, error) {
	f.mu.Lock()
	f.digests[digest] = true
	f.mu.Unlock()
	return f.Store.Get(ctx, digest)
}

// TestWhatWasMadeHereIsNotFetched: what follows, and who scores in this process, has the pixels of the files that were stored, without those.
func TestWhatWasMadeHereIsNotFetched(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	watched := &fetched{Store: r.blobs, digests: make(map[string]bool)}
	r.useBlobs(watched)
	job := r.embedJob(square, image.Pt(50, 36), image.Pt(32, 32))
	job.DecodeKeys, job.Score = []*schemas.KeyRef{keyRef(t, "demo-1")}, true
	pure := &schemas.Job{Run: "pure", Operation: schemas.Operation_OPERATION_PURIFY, Model: tiny.Digest, Geometry: square, NoiseSigma: 20}
	pure.Items = []*schemas.Item{{Id: "pure", Image: job.GetItems()[0].GetCover()}}
	r.publish(seal(job), seal(pure))
	r.work(gpuworker.Config{})
	results, dead := r.await("run", 2)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	made := slices.Concat(outputs(t, results[0]), outputs(t, results[1]), outputs(t, r.result("pure")))
	made = append(made, r.result("pure").GetOutcomes()[0].GetOutput().GetNoisy())
	for _, digest := range made {
		got, err := r.parts.Images.Image(testrig.Context(t), schemas.BlobRef(digest, ""), square)
		if err != nil {
			t.Fatal(err)
		}
		watched.mu.Lock()
		if watched.digests[digest] {
			t.Errorf("%s was fetched", digest)
		}
		watched.mu.Unlock()
		want, _, err := pixel.Decode(r.get(digest), pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Rect != want.Rect || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s has other pixels than its file", digest)
		}
	}
	if len(made) != 6 {
		t.Errorf("%d images were made, want 6", len(made))
	}
}

// TestOutputsAreTheSameAgain runs a job on two pipelines that share nothing but the model.
func TestOutputsAreTheSameAgain(t *testing.T) {
	t.Parallel()
	var embedded, noisy [2][]string
	for i := range 2 {
		r := newRig(t)
		job := r.embedJob(own, squares(3)...)
		purify := &schemas.Job{Run: "pure", Operation: schemas.Operation_OPERATION_PURIFY, Model: tiny.Digest, Geometry: own, NoiseSigma: 20}
		for _, item := range job.GetItems() {
			purify.Items = append(purify.Items, &schemas.Item{Id: item.GetId(), Image: item.GetCover()})
		}
		r.publish(job, seal(purify))
		// Batches of another size must not matter.
		r.work(gpuworker.Config{BatchPixels: (1 + 2*i) * 32 * 32})
		embedded[i] = outputs(t, r.result("run"))
		pure := r.result("pure")
		noisy[i] = outputs(t, pure)
		for _, o := range pure.GetOutcomes() {
			noisy[i] = append(noisy[i], o.GetOutput().GetNoisy())
		}
	}
	if !slices.Equal(embedded[0], embedded[1]) {
		t.Errorf("stego images %v and %v", embedded[0], embedded[1])
	}
	if !slices.Equal(noisy[0], noisy[1]) {
		t.Errorf("purified and noisy images %v and %v", noisy[0], noisy[1])
	}
	if all := slices.Compact(slices.Sorted(slices.Values(noisy[0]))); len(all) != 6 {
		t.Errorf("%d different images, want 3 purified and 3 noisy", len(all))
	}
}

func TestPurify(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	clean := r.put(picture(t, 3, 48, 40))
	for _, sigma := range []float64{0, 20} {
		r.publish(seal(&schemas.Job{
			Run: fmt.Sprintf("sigma-%v", sigma), Operation: schemas.Operation_OPERATION_PURIFY, Model: tiny.Digest, Geometry: own,
			NoiseSigma: sigma, Items: []*schemas.Item{{Id: "a", Image: clean}},
		}))
	}
	r.work(gpuworker.Config{})
	plain := r.result("sigma-0").GetOutcomes()[0].GetOutput()
	if plain.GetNoisy() != "" {
		t.Error("a noisy image without noise")
	}
	if want := r.directly(schemas.Operation_OPERATION_PURIFY, nil, own, clean); plain.GetImage() != want {
		t.Error("purified without noise: other pixels than computed directly")
	}
	noisy := r.result("sigma-20").GetOutcomes()[0].GetOutput()
	img := expectPNG(t, r.get(noisy.GetNoisy()), 48, 40)
	expectPNG(t, r.get(noisy.GetImage()), 48, 40)
	if want := r.directly(schemas.Operation_OPERATION_PURIFY, nil, own, schemas.BlobRef(noisy.GetNoisy(), "")); noisy.GetImage() != want {
		t.Error("what was purified is not the noisy image")
	}
	ref, _, err := pixel.Decode(r.get(clean.GetDigest()), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var sum, n float64
	for i := range ref.Pix {
		if i%4 != 3 {
			d := float64(img.Pix[i]) - float64(ref.Pix[i])
			sum, n = sum+d*d, n+1
		}
	}
	if got := math.Sqrt(sum / n); got < 18.5 || got > 21.5 {
		t.Errorf("the noise has a standard deviation of %.2f levels, want 20", got)
	}
}

// deafJobs loses the acknowledgement of the first job: the handler has done it, and it comes again.
type deafJobs struct {
	gpuworker.Jobs
	once sync.Once
}

func (d *deafJobs) Consume(ctx context.Context, slots int, handle func(context.Context, *schemas.Job) error) error {
	return d.Jobs.Consume(ctx, slots, func(ctx context.Context, j *schemas.Job) error {
		err := handle(ctx, j)
		d.once.Do(func() { err = errors.Join(err, errors.New("the worker died before it acknowledged")) })
		return err
	})
}

func TestJobThatComesTwiceIsDoneOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.parts.Jobs = &deafJobs{Jobs: r.parts.Jobs}
	job := r.embedJob(square, squares(2)...)
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-2")}
	seal(job)
	r.publish(job)
	counts := newCounts()
	r.work(gpuworker.Config{Observer: counts})
	results, dead := r.await("run", 2)
	counts.wait(t, 2, "embed done")
	counts.wait(t, 1, "recover done")
	if len(dead) > 0 || results[0].GetJob().GetId() != job.GetId() || results[1].GetJob().GetOperation() != schemas.Operation_OPERATION_RECOVER {
		t.Errorf("results %v, dead letters %v", results, dead)
	}
	if got, want := r.engine.runs(), 2; len(got) != want {
		t.Errorf("the network ran %v, want once to embed and once to recover", got)
	}
}

// counts notes how jobs ended.
type counts struct {
	mu      sync.Mutex
	started int
	items   map[string]int
	ended   map[string]int
	changed chan struct{}
}

func newCounts() *counts {
	return &counts{items: make(map[string]int), ended: make(map[string]int), changed: make(chan struct{}, 1000)}
}

func (c *counts) JobStarted(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
}

func (c *counts) JobDone(_ context.Context, operation, outcome string, items, refused int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took <= 0 {
		c.ended["in no time"]++
	}
	c.ended[operation+" "+outcome]++
	c.items[operation+" "+outcome] += items
	c.items[operation+" refused"] += refused
	c.changed <- struct{}{}
}

// wait returns once n jobs have ended in a way.
func (c *counts) wait(t *testing.T, n int, way string) {
	t.Helper()
	end := time.After(testrig.Patience)
	for {
		c.mu.Lock()
		got := c.ended[way]
		c.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-c.changed:
		case <-end:
			t.Fatalf("%d jobs were %s, want %d", got, way, n)
		}
	}
}

func TestWorkIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(3)...)
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-1")}
	seal(job)
	again, other := proto.CloneOf(job), proto.CloneOf(job)
	again.Attempt = 1
	other.Run = "other"
	other.Items = append(other.Items[1:2], r.embedJob(square, squares(4)...).GetItems()[3])
	seal(other)
	r.publish(job)
	r.work(gpuworker.Config{})
	first, _ := r.await("run", 2)
	ran := len(r.engine.runs())

	r.publish(again)
	all, _ := r.await("run", 4)
	if !slices.Equal(outputs(t, first[0]), outputs(t, all[2])) || !slices.Equal(outputs(t, first[1]), outputs(t, all[3])) {
		t.Error("the second attempt gave other images")
	}
	for i, res := range all {
		for _, o := range res.GetOutcomes() {
			if o.GetCached() != (i >= 2) {
				t.Errorf("result %d says that cached is %v", i, o.GetCached())
			}
		}
	}
	if got := r.engine.runs(); len(got) != ran {
		t.Errorf("the network ran again: %v", got[ran:])
	}
	// Another run gets the item that is known and has the new one made.
	r.publish(other)
	res, _ := r.await("other", 1)
	if o := res[0].GetOutcomes(); !o[0].GetCached() || o[1].GetCached() || o[0].GetOutput().GetImage() != outputs(t, first[0])[1] {
		t.Errorf("outcomes %v, want the first from the memo", o)
	}
	if got := r.engine.runs()[ran]; got.n != 1 {
		t.Errorf("the network ran on %d images, want the one that is new", got.n)
	}
}

func TestLostOutputIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dir := t.TempDir()
	folder, err := blob.OpenDirectory(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.useBlobs(folder)
	job := &schemas.Job{
		Run: "run", Operation: schemas.Operation_OPERATION_PURIFY, Model: tiny.Digest, Geometry: square, NoiseSigma: 10,
		Items: []*schemas.Item{
			{Id: "a", Image: r.put(picture(t, 1, 32, 32))}, {Id: "b", Image: r.put(picture(t, 2, 32, 32))}, {Id: "c", Image: r.put(picture(t, 3, 32, 32))},
		},
	}
	r.publish(seal(job))
	r.work(gpuworker.Config{})
	first := r.result("run")
	// One purified image is lost, and another's noisy one.
	for _, digest := range []string{first.GetOutcomes()[0].GetOutput().GetImage(), first.GetOutcomes()[1].GetOutput().GetNoisy()} {
		if err := os.Remove(filepath.Join(dir, digest[:2], digest)); err != nil {
			t.Fatal(err)
		}
	}
	again := proto.CloneOf(job)
	again.Attempt = 1
	r.publish(again)
	results, _ := r.await("run", 2)
	for i, o := range results[1].GetOutcomes() {
		if want := i == 2; o.GetCached() != want {
			t.Errorf("item %s: cached is %v, want %v", o.GetItem(), o.GetCached(), want)
		}
		if !proto.Equal(o.GetOutput(), first.GetOutcomes()[i].GetOutput()) {
			t.Errorf("item %s became %v, before it was %v", o.GetItem(), o.GetOutput(), first.GetOutcomes()[i].GetOutput())
		}
		r.get(o.GetOutput().GetImage())
		r.get(o.GetOutput().GetNoisy())
	}
}

// expectFailure wants a failure with a reason whose detail holds says.
func expectFailure(t *testing.T, o *schemas.Outcome, reason schemas.Reason, says ...string) {
	t.Helper()
	f := o.GetFailure()
	if f.GetReason() != string(reason) || o.GetOutput() != nil {
		t.Errorf("item %s: %v, want the failure %s", o.GetItem(), o, reason)
	}
	for _, w := range says {
		if !strings.Contains(f.GetDetail(), w) {
			t.Errorf("item %s: %q does not say %q", o.GetItem(), f.GetDetail(), w)
		}
	}
}

func TestBadItemsFailAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(own, image.Pt(32, 32), image.Pt(32, 32), image.Pt(41, 41), image.Pt(32, 32), image.Pt(32, 32), image.Pt(12, 40))
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-1")}
	whole := picture(t, 99, 32, 32)
	broken := r.put(whole[:len(whole)-9])
	broken.Name = "broken.png"
	job.Items[1].Secret = broken
	job.Items[3].Cover = schemas.BlobRef(sha([]byte("never stored")), "gone.png")
	job.Items[4].Cover = &schemas.ImageRef{Digest: sha(whole), Uri: "file:///etc/hostname", Name: "hostname"}
	r.publish(seal(job))
	r.work(gpuworker.Config{MaxPixels: 40 * 40})
	results, dead := r.await("run", 2)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	o := results[0].GetOutcomes()
	if o[0].GetOutput() == nil {
		t.Errorf("the good item failed: %v", o[0])
	}
	expectFailure(t, o[1], schemas.ReasonBadImage, "secret", "broken.png", "truncated")
	expectFailure(t, o[2], schemas.ReasonTooLarge, "41x41", "1600 pixels", "--size")
	expectFailure(t, o[3], schemas.ReasonMissingBlob, "cover", "gone.png")
	expectFailure(t, o[4], schemas.ReasonForbidden, "hostname", "--allow")
	expectFailure(t, o[5], schemas.ReasonBadImage, "12x40", "below 16") // smaller than the model takes
	if items := results[1].GetJob().GetItems(); len(items) != 1 || items[0].GetId() != "item-0" {
		t.Errorf("the recover job has the items %v, want the good one", items)
	}
}

func TestNothingFollowsFromFailuresAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(1)...)
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-1")}
	job.Items[0].Cover = schemas.BlobRef(sha([]byte("never stored")), "")
	r.publish(seal(job))
	counts := newCounts()
	stop := r.work(gpuworker.Config{Observer: counts})
	expectFailure(t, r.result("run").GetOutcomes()[0], schemas.ReasonMissingBlob)
	counts.wait(t, 1, "embed done")
	if err := stop(); err != nil { // the job is acknowledged after it is counted
		t.Fatal(err)
	}
	if runs := r.engine.runs(); len(runs) != 0 {
		t.Errorf("the network ran %v", runs)
	}
	if s, err := r.bus.Admin.Status(testrig.Context(t)); err != nil || s.JobsWaiting+s.JobsInFlight != 0 {
		t.Errorf("%d jobs wait and %d are in flight (%v), want none", s.JobsWaiting, s.JobsInFlight, err)
	}
}

func TestEverySizeIsServed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sizes := []image.Point{{24, 20}, {24, 20}, {33, 17}, {24, 20}, {20, 24}, {20, 24}, {48, 31}}
	job := r.embedJob(own, sizes...)
	r.publish(job)
	r.work(gpuworker.Config{})
	res := r.result("run")
	for i, digest := range outputs(t, res) {
		expectPNG(t, r.get(digest), sizes[i].X, sizes[i].Y)
		item := job.GetItems()[i]
		if want := r.directly(job.GetOperation(), job.GetKey(), own, item.GetCover(), item.GetSecret()); digest != want {
			t.Errorf("item %d: other pixels than computed directly", i)
		}
	}
	embed := schemas.Operation_OPERATION_EMBED
	want := []call{{embed, 2, 20, 24}, {embed, 1, 17, 33}, {embed, 1, 20, 24}, {embed, 2, 24, 20}, {embed, 1, 31, 48}}
	if got := r.engine.runs(); !slices.Equal(got, want) {
		t.Errorf("runs %v, want %v: neighbours of one size together", got, want)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bound int
		want  []int
	}{
		"three at once":        {3*32*32 + 32, []int{3, 3, 2}},
		"exactly all":          {8 * 32 * 32, []int{8}},
		"one pixel less":       {8*32*32 - 1, []int{7, 1}},
		"each over it by self": {100, []int{1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.publish(r.embedJob(square, squares(8)...))
			r.work(gpuworker.Config{BatchPixels: c.bound})
			outputs(t, r.result("run"))
			var got []int
			for _, run := range r.engine.runs() {
				got = append(got, run.n)
				if run.n > 1 && run.n*run.h*run.w > c.bound {
					t.Errorf("a run of %d pixels, the bound is %d", run.n*run.h*run.w, c.bound)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("batches %v, want %v", got, c.want)
			}
		})
	}
}

// memoID is what the worker remembers an item under.
func memoID(job *schemas.Job, i int) string {
	return schemas.MemoID(schemas.ItemWorkID(job, job.GetItems()[i]), tiny.Network().Runtime(tiny.Digest))
}

// elsewhere is the engine of a worker with another runtime.
type elsewhere struct {
	gpuworker.Engine
	runtime string
}

func (e elsewhere) Runtime(string) string { return e.runtime }

// A worker of another runtime does not give what this one made; one of the same does.
func TestRuntimesDoNotShareOutputs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i, c := range []struct {
		runtime string
		cached  bool
	}{{"onnxruntime 1 cpu", false}, {"onnxruntime 1 cuda", false}, {"onnxruntime 2 cpu", false}, {"onnxruntime 1 cpu", true}} {
		r.parts.Engine = elsewhere{r.engine, c.runtime}
		job := r.embedJob(square, squares(1)...)
		job.Run = fmt.Sprint("run-", i)
		seal(job)
		r.publish(job)
		stop := r.work(gpuworker.Config{})
		if o := r.result(job.GetRun()).GetOutcomes()[0]; o.GetOutput() == nil || o.GetCached() != c.cached {
			t.Errorf("%s: %v, want it from the memo: %v", c.runtime, o, c.cached)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if name := tiny.Network().Runtime(tiny.Digest); !strings.HasPrefix(name, "onnxruntime ") || !strings.HasSuffix(name, " cpu") {
		t.Errorf("the runtime is called %q", name)
	}
}

// overtaken has another worker do the same work a moment earlier.
type overtaken struct {
	gpuworker.Memo
	first func(ids []string) map[string]*schemas.Outcome
}

func (o overtaken) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (map[string]*schemas.Outcome, error) {
	if _, err := o.Memo.FirstOutcomes(ctx, o.first(slices.Sorted(maps.Keys(outcomes)))); err != nil {
		return nil, err
	}
	return o.Memo.FirstOutcomes(ctx, outcomes)
}

// Where a cipher makes another stego image each time, and two workers had the same job, the first one's is in both results; and
// where that one is gone from the store, the second one's takes its place.
func TestTheFirstOutputWins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(3)...)
	theirs := r.put(picture(t, 77, 32, 32)).GetDigest()
	lost := strings.Repeat("0", 64)
	r.parts.Memo = overtaken{Memo: r.cache, first: func(ids []string) map[string]*schemas.Outcome {
		first := map[string]*schemas.Outcome{}
		for _, id := range ids {
			switch id {
			case memoID(job, 0):
				first[id] = &schemas.Outcome{Output: &schemas.Output{Image: theirs}}
			case memoID(job, 1):
				first[id] = &schemas.Outcome{Output: &schemas.Output{Image: lost}}
			}
		}
		return first
	}}
	r.publish(job)
	r.work(gpuworker.Config{})
	o := r.result("run").GetOutcomes()
	if o[0].GetOutput().GetImage() != theirs || !o[0].GetCached() {
		t.Errorf("the first output was %s, the result has %v", theirs, o[0])
	}
	if image := o[1].GetOutput().GetImage(); image == lost || o[1].GetCached() {
		t.Errorf("the result has an image that is not there: %v", o[1])
	}
	if o[2].GetOutput() == nil || o[2].GetCached() {
		t.Errorf("nobody was first, and the result has %v", o[2])
	}
	var ids []string
	for i := range job.GetItems() {
		ids = append(ids, memoID(job, i))
	}
	known, err := r.cache.Outcomes(testrig.Context(t), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i := range o {
		if !proto.Equal(known[i].GetOutput(), o[i].GetOutput()) {
			t.Errorf("item %d: the memo has %v, the result %v", i, known[i], o[i])
		}
	}
}

// Of a batch that is not taken each image is tried alone, so that those that are good end well.
func TestOneImageIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(3)...)
	runs := 0
	r.engine.before = func(context.Context) error {
		if runs++; runs == 1 || runs == 3 { // all together, and then the second
			return schemas.Permanent(schemas.ReasonBadImage, errors.New("too rough"))
		}
		return nil
	}
	r.publish(job)
	r.work(gpuworker.Config{})
	o := r.result("run").GetOutcomes()
	if o[0].GetOutput() == nil || o[2].GetOutput() == nil {
		t.Errorf("good images failed with a bad one: %v, %v", o[0], o[2])
	}
	expectFailure(t, o[1], schemas.ReasonBadImage, "too rough")
}

func TestOutputThatIsNotAnImage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(3)...)
	r.engine.after = func(out *pixel.Tensor) {
		out.Data[1*3*32*32+100] = float32(math.NaN())
		out.Data[2*3*32*32+5] = float32(math.Inf(1))
	}
	r.publish(job)
	r.work(gpuworker.Config{})
	o := r.result("run").GetOutcomes()
	if o[0].GetOutput() == nil {
		t.Errorf("%v failed with its neighbours", o[0])
	}
	expectFailure(t, o[1], schemas.ReasonBadOutput, "not finite")
	expectFailure(t, o[2], schemas.ReasonBadOutput, "not finite")
	known, err := r.cache.Outcomes(testrig.Context(t), []string{memoID(job, 0), memoID(job, 1), memoID(job, 2)})
	if err != nil || known[0] == nil || known[1] != nil || known[2] != nil {
		t.Errorf("the memo has %v (%v), want the good output alone", known, err)
	}
}

// Recovery refuses one image of a batch: the others have their outputs, nothing is stored for it, and it is refused again
// without a run, whoever asks.
func TestRefusedItems(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.engine.refuse = func(n int) bool { return n == 1 }
	job, _, _ := r.recoverJobs(3)
	again := proto.CloneOf(job)
	again.Run = "again"
	r.publish(seal(job))
	counts := newCounts()
	r.work(gpuworker.Config{Observer: counts})
	counts.wait(t, 1, "recover done")
	first := r.result("plain").GetOutcomes()
	r.publish(seal(again))
	second := r.result("again").GetOutcomes()
	for i, want := range []schemas.End{schemas.EndDone, schemas.EndRefused, schemas.EndDone} {
		if first[i].End() != want || second[i].End() != want || first[i].GetCached() || !second[i].GetCached() {
			t.Errorf("item %d: %v, and again %v; want both %s and the second from the memo", i, first[i], second[i], want)
		}
		if first[i].GetRefusal().GetDetail() != second[i].GetRefusal().GetDetail() || first[i].GetOutput().GetImage() != second[i].GetOutput().GetImage() {
			t.Errorf("item %d: %v, and again %v", i, first[i], second[i])
		}
	}
	if got := first[1].GetRefusal().GetDetail(); got != "authentication failed" {
		t.Errorf("the refusal says %q", got)
	}
	if got := r.engine.runs(); len(got) != 1 {
		t.Errorf("the network ran %v, want once", got)
	}
	counts.wait(t, 2, "recover done")
	counts.mu.Lock()
	defer counts.mu.Unlock()
	if counts.items["recover done"] != 6 || counts.items["recover refused"] != 2 {
		t.Errorf("counted the items %v", counts.items)
	}
}

func TestJobsThatDie(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.work(gpuworker.Config{})
	for name, c := range map[string]struct {
		change func(*schemas.Job)
		reason schemas.Reason
		says   string
	}{
		"unknown-key": {func(j *schemas.Job) { j.Key = &schemas.KeyRef{Id: "eve", Fingerprint: sha(nil)[:32]} }, schemas.ReasonUnknownKey, "eve"},
		"mismatch":    {func(j *schemas.Job) { j.Key = &schemas.KeyRef{Id: "demo-1", Fingerprint: sha(nil)[:32]} }, schemas.ReasonKeyMismatch, "demo-1"},
		"model":       {func(j *schemas.Job) { j.Model = sha(nil) }, schemas.ReasonUnknownModel, "does not have the model"},
	} {
		t.Run(name, func(t *testing.T) {
			job := r.embedJob(square, squares(2)...)
			job.Run = name
			c.change(job)
			r.publish(seal(job))
			results, dead := r.await(name, 1)
			if len(results) > 0 {
				t.Fatalf("a result came: %v", results[0])
			}
			d := dead[0]
			// What another worker may have, others are given a chance at, as long as it is young.
			atOnce := c.reason == schemas.ReasonKeyMismatch
			if d.GetReason() != string(c.reason) || !strings.Contains(d.GetDetail(), c.says) || atOnce && d.GetDeliveries() != 1 {
				t.Errorf("dead letter %s after %d deliveries: %q; want %s that says %q", d.GetReason(), d.GetDeliveries(), d.GetDetail(), c.reason, c.says)
			}
			if j, err := schemas.DecodeJob(d.GetMessage()); err != nil || !proto.Equal(j, job) {
				t.Errorf("it holds %v (%v)", j, err)
			}
		})
	}
}

// trip fails the first call of each of its places.
type trip struct {
	mu   sync.Mutex
	seen []string
}

func (f *trip) at(place string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.seen, place) {
		return nil
	}
	f.seen = append(f.seen, place)
	return fmt.Errorf("%s is away for a moment", place)
}

// shaky is every part of a worker, each of whose functions fails at its first call.
type shaky struct {
	trip
	gpuworker.Parts
}

func (s *shaky) Put(ctx context.Context, data []byte) (string, error) {
	if err := s.at("put"); err != nil {
		return "", err
	}
	return s.Blobs.Put(ctx, data)
}

func (s *shaky) Has(ctx context.Context, digests ...string) ([]bool, error) {
	if err := s.at("has"); err != nil {
		return nil, err
	}
	return s.Blobs.Has(ctx, digests...)
}

func (s *shaky) Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error) {
	if err := s.at("image"); err != nil {
		return nil, err
	}
	return s.Images.Image(ctx, ref, g)
}

func (s *shaky) Keep(ctx context.Context, digest string, file []byte, img *image.NRGBA) {
	s.Images.Keep(ctx, digest, file, img)
}

func (s *shaky) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	if err := s.at("outputs"); err != nil {
		return nil, err
	}
	return s.Memo.Outcomes(ctx, ids)
}

func (s *shaky) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (map[string]*schemas.Outcome, error) {
	if err := s.at("first"); err != nil {
		return nil, err
	}
	return s.Memo.FirstOutcomes(ctx, outcomes)
}

func (s *shaky) RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error {
	if err := s.at("remember"); err != nil {
		return err
	}
	return s.Memo.RememberOutcomes(ctx, outcomes)
}

func (s *shaky) PublishResult(ctx context.Context, r *schemas.Result) error {
	if err := s.at("result"); err != nil {
		return err
	}
	return s.Publisher.PublishResult(ctx, r)
}

func (s *shaky) PublishJob(ctx context.Context, j *schemas.Job) error {
	if err := s.at("follow-up"); err != nil {
		return err
	}
	return s.Publisher.PublishJob(ctx, j)
}

func (s *shaky) Check(ctx context.Context, digest string, op schemas.Operation, key *schemas.KeyRef) error {
	if err := s.at("check"); err != nil {
		return err
	}
	return s.Engine.Check(ctx, digest, op, key)
}

func (s *shaky) Run(ctx context.Context, digest string, op schemas.Operation, key *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	if err := s.at("engine"); err != nil {
		return pixel.Tensor{}, nil, err
	}
	return s.Engine.Run(ctx, digest, op, key, in...)
}

func (s *shaky) Runtime(digest string) string { return s.Engine.Runtime(digest) }

func (s *shaky) Features(ctx context.Context, digest string, key *schemas.KeyRef, stego pixel.Tensor) (pixel.Tensor, [][]float32, error) {
	return s.Engine.Features(ctx, digest, key, stego)
}

func TestEveryPartMayFailForAMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := &shaky{Parts: r.parts}
	r.parts.Publisher, r.parts.Blobs, r.parts.Images, r.parts.Memo, r.parts.Engine = s, s, s, s, s
	job := r.embedJob(square, squares(2)...)
	job.DecodeKeys = []*schemas.KeyRef{keyRef(t, "demo-1"), keyRef(t, "demo-2")}
	seal(job)
	r.publish(job)
	counts := newCounts()
	r.work(gpuworker.Config{Observer: counts})
	results, dead := r.await("run", 3)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	for _, res := range results {
		for i, digest := range outputs(t, res) {
			item := res.GetJob().GetItems()[i]
			refs := []*schemas.ImageRef{item.GetStego()}
			if res.GetJob().GetOperation() == schemas.Operation_OPERATION_EMBED {
				refs = []*schemas.ImageRef{item.GetCover(), item.GetSecret()}
			}
			if want := r.directly(res.GetJob().GetOperation(), res.GetJob().GetKey(), square, refs...); digest != want {
				t.Errorf("%s: other pixels than computed directly", res.GetJob().GetOperation().Token())
			}
		}
	}
	counts.wait(t, 1, "embed done")
	counts.wait(t, 2, "recover done")
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.seen)
	if want := []string{"check", "engine", "first", "follow-up", "has", "image", "outputs", "put", "result"}; !slices.Equal(s.seen, want) {
		t.Errorf("%q failed, want %q", s.seen, want)
	}
	counts.mu.Lock()
	defer counts.mu.Unlock()
	if n := counts.ended["embed retried"]; n != len(s.seen) {
		t.Errorf("the job was retried %d times, want %d", n, len(s.seen))
	}
	if counts.ended["embed done"] != 1 || counts.items["embed done"] != 2 || counts.ended["in no time"] > 0 {
		t.Errorf("counted %v with items %v", counts.ended, counts.items)
	}
}

func TestInlineImages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(own, squares(1)...)
	for _, ref := range []**schemas.ImageRef{&job.Items[0].Cover, &job.Items[0].Secret} {
		*ref = &schemas.ImageRef{Digest: (*ref).GetDigest(), Inline: r.get((*ref).GetDigest()), Name: "inline.png"}
	}
	r.publish(seal(job))
	r.work(gpuworker.Config{})
	res := r.result("run")
	outputs(t, res)
	item := res.GetJob().GetItems()[0]
	for _, ref := range []*schemas.ImageRef{item.GetCover(), item.GetSecret()} {
		if len(ref.GetInline()) > 0 || ref.GetDigest() == "" || ref.GetName() != "inline.png" {
			t.Errorf("the result has the reference %v, want it without bytes", ref)
		}
	}
	if res.GetJob().GetId() != job.GetId() {
		t.Error("the result has another job id")
	}
}

// TestSoftStop stops a worker while the network runs: the job in hand is finished.
func TestSoftStop(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	started, release := make(chan struct{}), make(chan struct{})
	r.engine.before = func(ctx context.Context) error {
		started <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.publish(r.embedJob(square, squares(1)...))
	stop := r.work(gpuworker.Config{Slots: 1})
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if err := <-stopped; err != nil {
		t.Errorf("Run returned %v", err)
	}
	outputs(t, r.result("run"))
	if s, err := r.bus.Admin.Status(testrig.Context(t)); err != nil || s.JobsWaiting+s.JobsInFlight != 0 {
		t.Errorf("%d jobs wait and %d are in flight (%v), want none", s.JobsWaiting, s.JobsInFlight, err)
	}
}
