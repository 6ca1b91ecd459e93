package gpuworker

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/pixel"
	"stegomq/internal/stopwatch"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// batch is a job on its way: one outcome per item, nil while it is open.
type batch struct {
	job      *schemas.Job
	memoIDs  []string
	outcomes []*schemas.Outcome
	took     schemas.Durations
}

// begin fills in what was made before and is still in the blob store.
func (w *Worker) begin(ctx context.Context, job *schemas.Job) (_ *batch, err error) {
	ctx, span := tracing.Start(ctx, "look up")
	defer func() { span.End(err) }()
	b := &batch{job: job, outcomes: make([]*schemas.Outcome, len(job.GetItems()))}
	defer lap(&b.took.Fetch, time.Now())
	runtime := w.Engine.Runtime(job.GetModel())
	for _, item := range job.GetItems() {
		b.memoIDs = append(b.memoIDs, schemas.MemoID(schemas.ItemWorkID(job, item), runtime))
	}
	known, err := w.Memo.Outcomes(ctx, b.memoIDs)
	if err != nil {
		return nil, fmt.Errorf("look up earlier outputs: %w", err)
	}
	for i, o := range known {
		usable, err := w.usable(ctx, o)
		if err != nil {
			return nil, err
		}
		if usable {
			b.settle(i, &schemas.Outcome{Output: o.GetOutput(), Refusal: o.GetRefusal(), Cached: true})
		}
	}
	return b, nil
}

// lap adds the time since a start to a duration.
func lap(to *int64, start time.Time) { *to += time.Since(start).Nanoseconds() }

// refused counts the items that recovery refused.
func (b *batch) refused() (n int) {
	for _, o := range b.outcomes {
		if o.End() == schemas.EndRefused {
			n++
		}
	}
	return n
}

// settle ends an item.
func (b *batch) settle(i int, o *schemas.Outcome) {
	o.Item = b.job.GetItems()[i].GetId()
	b.outcomes[i] = o
}

// fail ends an item with an error, or passes on an error that may pass.
func (b *batch) fail(i int, err error) error {
	var fault *schemas.Fault
	if !errors.As(err, &fault) {
		return err
	}
	b.settle(i, &schemas.Outcome{Failure: &schemas.Failure{Reason: string(fault.Reason), Detail: err.Error()}})
	return nil
}

// input is an item whose images are at hand.
type input struct {
	index  int
	images []*image.NRGBA
	noisy  *image.NRGBA
}

// compute makes what is missing, in runs of one size within the bound on pixels.
func (w *Worker) compute(ctx context.Context, b *batch) error {
	var pending []input
	for i, item := range b.job.GetItems() {
		if b.outcomes[i] != nil {
			continue
		}
		start := time.Now()
		in, err := w.load(ctx, b.job, item)
		lap(&b.took.Fetch, start)
		if err != nil {
			if err := b.fail(i, err); err != nil {
				return err
			}
			continue
		}
		in.index = i
		if len(pending) > 0 && !w.fits(pending, in) {
			if err := w.infer(ctx, b, pending); err != nil {
				return err
			}
			pending = pending[:0]
		}
		pending = append(pending, in)
	}
	return w.infer(ctx, b, pending)
}

// fits says whether in may join the pending items: the same size, and still within the bound.
func (w *Worker) fits(pending []input, in input) bool {
	size := in.images[0].Rect.Size()
	return pending[0].images[0].Rect.Size() == size && (len(pending)+1)*size.X*size.Y <= w.cfg.BatchPixels
}

// load gets the images that the network takes for an item, in its order of inputs.
func (w *Worker) load(ctx context.Context, job *schemas.Job, item *schemas.Item) (in input, err error) {
	ctx, span := tracing.Start(ctx, "fetch and decode")
	defer func() { span.End(err) }()
	g := job.GetGeometry()
	for _, name := range job.GetOperation().Describe().Images {
		ref := item.Ref(name)
		img, err := w.Images.Image(ctx, ref, g)
		if err != nil {
			return in, fmt.Errorf("%s: %w", name, err)
		}
		if img, err = changed(job, img, noiseSeed(ref.GetDigest())); err != nil {
			return in, fmt.Errorf("%s: %w", name, err)
		}
		in.images = append(in.images, img)
		// The others are brought to the size of the first, also where that is its own.
		g = &schemas.Geometry{Width: uint32(img.Rect.Dx()), Height: uint32(img.Rect.Dy()), Resize: g.GetResize()}
	}
	if job.GetNoiseSigma() > 0 {
		in.noisy = in.images[0]
	}
	if size := in.images[0].Rect.Size(); size.X*size.Y > w.cfg.MaxPixels {
		return in, schemas.Permanent(schemas.ReasonTooLarge, fmt.Errorf(
			"%dx%d is over this worker's bound of %d pixels for the network: ask for a smaller size (--size)", size.X, size.Y, w.cfg.MaxPixels))
	}
	return in, nil
}

// changed is an image with the attack and the noise that a job asks for. Both are on the image as the network would see it.
func changed(job *schemas.Job, img *image.NRGBA, seed uint64) (*image.NRGBA, error) {
	if name := job.GetAttack(); name != "" {
		attack, err := pixel.ParseAttack(name)
		if err != nil {
			return nil, schemas.Permanent(schemas.ReasonBadMessage, err)
		}
		if img, err = attack.Apply(img, seed); err != nil {
			return nil, schemas.Permanent(schemas.ReasonBadImage, err)
		}
	}
	if sigma := job.GetNoiseSigma(); sigma > 0 {
		noisy, err := pixel.AddNoise(img, sigma, seed)
		return noisy, schemas.Permanent(schemas.ReasonBadMessage, err)
	}
	return img, nil
}

// noiseSeed makes the noise depend on the image alone, so that doing the work again gives the same bytes.
func noiseSeed(digest string) uint64 {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(raw)
}

// infer runs the network on items of one size and stores what comes out.
func (w *Worker) infer(ctx context.Context, b *batch, items []input) error {
	if len(items) == 0 {
		return nil
	}
	start := time.Now()
	tensors := make([]pixel.Tensor, len(items[0].images))
	for k := range tensors {
		images := make([]*image.NRGBA, len(items))
		for n, in := range items {
			images[n] = in.images[k]
		}
		t, err := pixel.FromImages(images)
		if err != nil {
			return fmt.Errorf("make a batch: %w", err)
		}
		tensors[k] = t
	}
	lap(&b.took.Fetch, start)
	made, err := w.run(ctx, b, tensors)
	var fault *schemas.Fault
	switch bad := errors.As(err, &fault) && fault.Reason == schemas.ReasonBadImage; {
	case bad && len(items) > 1:
		// It may be one image alone that the network does not take: each by itself.
		for i := range items {
			if err := w.infer(ctx, b, items[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	case err != nil:
		err = fmt.Errorf("%s with key %q: %w", b.job.GetOperation().Token(), b.job.GetKey().GetId(), err)
		if bad {
			return b.fail(items[0].index, err)
		}
		return err // what is wrong with the key or the model would end every item: the job itself dies of it
	}
	defer lap(&b.took.Store, time.Now())
	ended, err := w.keep(ctx, b, made, items)
	if err != nil {
		return err
	}
	return w.remember(ctx, b, items, ended)
}

// keep stores what came out of a run, and ends its items. It gives the outcomes by memo id.
func (w *Worker) keep(ctx context.Context, b *batch, made run, items []input) (ended map[string]*schemas.Outcome, err error) {
	ctx, span := tracing.Start(ctx, "encode and store")
	defer func() { span.End(err) }()
	ended = make(map[string]*schemas.Outcome, len(items))
	for n, in := range items {
		o, err := w.outcome(ctx, made, n, in.noisy)
		if err != nil {
			if err := b.fail(in.index, err); err != nil {
				return nil, err
			}
			continue
		}
		b.settle(in.index, o)
		ended[b.memoIDs[in.index]] = o
	}
	return ended, nil
}

// remember keeps the outcomes of the worker that was first: where another was, this batch takes that one's. Where those are remembered but
// their images are gone, this batch's take their place.
func (w *Worker) remember(ctx context.Context, b *batch, items []input, ended map[string]*schemas.Outcome) (err error) {
	ctx, span := tracing.Start(ctx, "cache write")
	defer func() { span.End(err) }()
	before, err := w.Memo.FirstOutcomes(ctx, ended)
	if err != nil {
		return fmt.Errorf("remember outputs: %w", err)
	}
	renewed := make(map[string]*schemas.Outcome)
	for _, in := range items {
		id := b.memoIDs[in.index]
		o := before[id]
		if o == nil || proto.Equal(o.GetOutput(), ended[id].GetOutput()) {
			continue
		}
		usable, err := w.usable(ctx, o)
		if err != nil {
			return err
		}
		if usable {
			b.settle(in.index, &schemas.Outcome{Output: o.GetOutput(), Refusal: o.GetRefusal(), Cached: true})
		} else {
			renewed[id] = ended[id]
		}
	}
	if len(renewed) == 0 {
		return nil
	}
	if err := w.Memo.RememberOutcomes(ctx, renewed); err != nil {
		return fmt.Errorf("remember outputs: %w", err)
	}
	return nil
}

// usable says whether what is remembered, if anything is, can be a result: it ended, and its images are there.
func (w *Worker) usable(ctx context.Context, o *schemas.Outcome) (bool, error) {
	if o.End() != schemas.EndDone {
		return o.End() == schemas.EndRefused, nil
	}
	digests := []string{o.GetOutput().GetImage()}
	if noisy := o.GetOutput().GetNoisy(); noisy != "" {
		digests = append(digests, noisy)
	}
	has, err := w.Blobs.Has(ctx, digests...)
	if err != nil {
		return false, fmt.Errorf("look for earlier outputs in the blob store: %w", err)
	}
	return !slices.Contains(has, false), nil
}

// run is what the network, or the cipher, made of a batch: the images and, nil where there are none, the refusals and the features
// of each.
type run struct {
	images   pixel.Tensor
	refused  []*schemas.Refusal
	features [][]float32
}

// run runs the network; there are features where the job asks for them.
func (w *Worker) run(ctx context.Context, b *batch, in []pixel.Tensor) (r run, err error) {
	var watch stopwatch.Watch
	ctx = stopwatch.With(ctx, &watch)
	defer func(start time.Time) {
		end := time.Now()
		running := start.Add(watch.Wait + watch.Patch)
		if watch.Wait > 0 {
			tracing.Interval(ctx, "wait for a place", start, start.Add(watch.Wait))
		}
		if watch.Patch > 0 {
			tracing.Interval(ctx, "key patch", start.Add(watch.Wait), running)
		}
		tracing.Interval(ctx, "inference", running, end)
		b.took.Wait += watch.Wait.Nanoseconds()
		b.took.Patch += watch.Patch.Nanoseconds()
		b.took.Infer += max(0, end.Sub(running)).Nanoseconds()
	}(time.Now())
	job := b.job
	if job.GetFeatures() && job.GetOperation().Describe().Reads {
		r.images, r.features, err = w.Engine.Features(ctx, job.GetModel(), job.GetKey(), in[0])
		return r, err
	}
	r.images, r.refused, err = w.Engine.Run(ctx, job.GetModel(), job.GetOperation(), job.GetKey(), in...)
	return r, err
}

// outcome is that of image n of a run; its output is stored.
func (w *Worker) outcome(ctx context.Context, r run, n int, noisy *image.NRGBA) (*schemas.Outcome, error) {
	if r.refused != nil && r.refused[n] != nil {
		return &schemas.Outcome{Refusal: r.refused[n]}, nil
	}
	out, err := w.store(ctx, r.images, n, noisy)
	if err == nil && r.features != nil {
		out.Features, err = finite(r.features[n])
	}
	return &schemas.Outcome{Output: out}, err
}

// finite refuses features that no message can carry.
func finite(features []float32) ([]float32, error) {
	for i, v := range features {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, schemas.Permanent(schemas.ReasonBadOutput, fmt.Errorf("feature %d is %v", i, v))
		}
	}
	return features, nil
}

// store quantises output n to 8 bits and puts it, and the noisy image if there is one, into the blob store.
func (w *Worker) store(ctx context.Context, t pixel.Tensor, n int, noisy *image.NRGBA) (*schemas.Output, error) {
	img, err := pixel.ToImage(t, n)
	if err != nil {
		return nil, schemas.Permanent(schemas.ReasonBadOutput, err)
	}
	out := &schemas.Output{}
	if out.Image, err = w.put(ctx, img); err != nil {
		return nil, err
	}
	if noisy != nil {
		if out.Noisy, err = w.put(ctx, noisy); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *Worker) put(ctx context.Context, img *image.NRGBA) (string, error) {
	data, err := pixel.EncodePNG(img)
	if err != nil {
		return "", fmt.Errorf("encode an output: %w", err)
	}
	digest, err := w.Blobs.Put(ctx, data)
	if err != nil {
		return "", fmt.Errorf("store an output: %w", err)
	}
	w.Images.Keep(ctx, digest, data, img)
	return digest, nil
}
