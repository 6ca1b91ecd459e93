package gpuworker_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"stegomq/gpuworker"
	"stegomq/internal/pixel"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// attacked puts the stego image of a digest into the blob store as it is after an attack.
func (r *rig) attacked(digest, name string) *schemas.ImageRef {
	r.t.Helper()
	attack, err := pixel.ParseAttack(name)
	if err != nil {
		r.t.Fatal(err)
	}
	img, _, err := pixel.Decode(r.get(digest), pixel.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		r.t.Fatal(err)
	}
	if img, err = attack.Apply(img, binary.LittleEndian.Uint64(raw)); err != nil {
		r.t.Fatal(err)
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.put(data)
}

// TestAllThatCanFollow asks an embed job for every kind of job that can follow it, and computes what each must make.
func TestAllThatCanFollow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.embedJob(square, squares(2)...)
	for _, id := range []string{"demo-1", "swapped-demo-1", "partial-500-demo-1"} {
		job.DecodeKeys = append(job.DecodeKeys, keyRef(t, id))
	}
	job.Score, job.Features, job.Unkeyed, job.Attacks = true, true, true, []string{"jpeg-50", "noise-5", "resize-50", "crop-10"}
	r.publish(seal(job))
	r.work(gpuworker.Config{})

	results, dead := r.await("run", 1+3+4+1)
	if len(dead) > 0 {
		t.Fatalf("dead letter %v", dead[0])
	}
	stego := outputs(t, results[0])
	made := make(map[string]bool)
	var came []string
	for _, res := range results[1:] {
		next := res.GetJob()
		name := next.GetOperation().Token() + " " + next.GetKey().GetId() + " " + next.GetAttack()
		came = append(came, name)
		for i, digest := range outputs(t, res) {
			expectPNG(t, r.get(digest), 32, 32)
			from := schemas.BlobRef(stego[i], "")
			if next.GetAttack() != "" {
				from = r.attacked(stego[i], next.GetAttack())
			}
			if want := r.directly(next.GetOperation(), next.GetKey(), square, from); digest != want {
				t.Errorf("%s, item %d: other pixels than computed directly", name, i)
			}
			if made[digest] {
				t.Errorf("%s, item %d: the same image as before", name, i)
			}
			made[digest] = true
			r.expectFeatures(name, next, from, res.GetOutcomes()[i].GetOutput().GetFeatures())
		}
	}
	slices.Sort(came)
	want := []string{
		"purify  ", "recover demo-1 ", "recover demo-1 crop-10", "recover demo-1 jpeg-50", "recover demo-1 noise-5",
		"recover demo-1 resize-50", "recover partial-500-demo-1 ", "recover swapped-demo-1 ",
	}
	if !slices.Equal(came, want) {
		t.Errorf("jobs %q, want %q", came, want)
	}
}

// expectFeatures wants those that the network gives, or none where a job asks for none.
func (r *rig) expectFeatures(name string, j *schemas.Job, stego *schemas.ImageRef, got []float32) {
	r.t.Helper()
	if !j.GetFeatures() {
		if len(got) > 0 {
			r.t.Errorf("%s has features that nobody asked for", name)
		}
		return
	}
	img, _, err := pixel.Decode(r.get(stego.GetDigest()), pixel.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	in, err := pixel.FromImages([]*image.NRGBA{img})
	if err != nil {
		r.t.Fatal(err)
	}
	_, want, err := tiny.Network().Features(testrig.Context(r.t), tiny.Digest, j.GetKey(), in)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(got) == 0 || !slices.Equal(got, want[0]) {
		r.t.Errorf("%s has the features %v, want %v", name, got, want[0])
	}
}

// recoverJobs decode the same stego images: plainly, with features, and after an attack.
func (r *rig) recoverJobs(n int) (plain, features, attacked *schemas.Job) {
	r.t.Helper()
	var items []*schemas.Item
	for i := range n {
		items = append(items, &schemas.Item{Id: fmt.Sprint(i), Stego: r.put(picture(r.t, uint64(i), 32, 32))})
	}
	job := func(run string) *schemas.Job {
		return &schemas.Job{
			Run: run, Operation: schemas.Operation_OPERATION_RECOVER, Model: tiny.Digest, Key: keyRef(r.t, "demo-1"), Geometry: square, Items: items,
		}
	}
	plain, features, attacked = job("plain"), job("features"), job("attacked")
	features.Features, attacked.Attack = true, "jpeg-30"
	return seal(plain), seal(features), seal(attacked)
}

// TestFeaturesAndAttacksAreWorkOfTheirOwn remembers each, and takes none for another.
func TestFeaturesAndAttacksAreWorkOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	plain, features, attacked := r.recoverJobs(2)
	r.work(gpuworker.Config{})
	var images [][]string
	for i, job := range []*schemas.Job{plain, features, attacked} {
		for attempt := range 2 {
			job.Attempt = int64(attempt)
			r.publish(job)
			results, dead := r.await(job.GetRun(), attempt+1)
			if len(dead) > 0 {
				t.Fatalf("dead letter %v", dead[0])
			}
			res := results[attempt]
			if ran := len(r.engine.runs()); ran != i+1 {
				t.Errorf("%s, attempt %d: the network ran %d times, want %d", job.GetRun(), attempt, ran, i+1)
			}
			for _, o := range res.GetOutcomes() {
				if o.GetCached() != (attempt == 1) {
					t.Errorf("%s, attempt %d: found again: %v", job.GetRun(), attempt, o.GetCached())
				}
				if got := len(o.GetOutput().GetFeatures()) > 0; got != job.GetFeatures() {
					t.Errorf("%s, attempt %d: features: %v", job.GetRun(), attempt, got)
				}
			}
			images = append(images, outputs(t, res))
		}
	}
	if !slices.Equal(images[0], images[2]) {
		t.Error("with features other images are recovered")
	}
	if slices.Equal(images[0], images[4]) {
		t.Error("an attack changes nothing")
	}
	for i := 0; i < len(images); i += 2 {
		if !slices.Equal(images[i], images[i+1]) {
			t.Errorf("%q again is %q", images[i], images[i+1])
		}
	}
}

func TestUnknownAttackFailsItsItems(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, _, job := r.recoverJobs(1)
	job.Attack = "rotate-5"
	r.publish(seal(job))
	r.work(gpuworker.Config{})
	f := r.result("attacked").GetOutcomes()[0].GetFailure()
	if f.GetReason() != string(schemas.ReasonBadMessage) || !strings.Contains(f.GetDetail(), "jpeg-N") {
		t.Errorf("the failure is %v, want bad_message with what there is", f)
	}
}

// TestFeaturesThatAreNoNumbers ends the item, as an image of no numbers does.
func TestFeaturesThatAreNoNumbers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.engine.saw = func(features [][]float32) { features[1][2] = float32(math.NaN()) }
	_, job, _ := r.recoverJobs(2)
	r.publish(job)
	r.work(gpuworker.Config{})
	outcomes := r.result("features").GetOutcomes()
	if f := outcomes[0].GetFailure(); f != nil {
		t.Errorf("the first item failed: %v", f)
	}
	if f := outcomes[1].GetFailure(); f.GetReason() != string(schemas.ReasonBadOutput) || !strings.Contains(f.GetDetail(), "feature 2") {
		t.Errorf("the failure is %v, want bad_output", f)
	}
}
