package producer_test

import (
	"context"
	"errors"
	"testing"

	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// TestCalls embeds several images by one job, inline and as blobs, and then recovers them, beside requests that have replies.
func TestCalls(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	key, err := r.parts.Key("demo-1")
	if err != nil {
		t.Fatal(err)
	}
	images := [][][]byte{{picture(t, 1, 24, 24), picture(t, 2, 24, 24)}, {picture(t, 3, 24, 24), picture(t, 4, 24, 24)}}
	var stegos [][][]byte
	stream := r.stream()
	err = stream.Serve(testrig.Context(t), func(ctx context.Context) error {
		for _, blobs := range []bool{false, true} {
			a, err := stream.Call(ctx, producer.Call{Key: key, Images: images, Blobs: blobs})
			if err != nil {
				return err
			}
			if len(a.Outputs) != 2 || len(a.Result.GetOutcomes()) != 2 {
				t.Fatalf("%d outputs and %d outcomes", len(a.Outputs), len(a.Result.GetOutcomes()))
			}
			for i, o := range a.Result.GetOutcomes() {
				if sha(a.Outputs[i]) != o.GetOutput().GetImage() {
					t.Errorf("output %d is another image", i)
				}
				// The same work again, whichever way the images went.
				if o.GetCached() != blobs {
					t.Errorf("output %d was made before: %v, want %v", i, o.GetCached(), blobs)
				}
			}
			inline := a.Result.GetJob().GetItems()[0].GetCover().GetUri() == ""
			if inline == blobs {
				t.Errorf("inline: %v, blobs: %v", inline, blobs)
			}
			if a.Wait <= 0 || a.Collect <= 0 {
				t.Errorf("it took %v and %v", a.Wait, a.Collect)
			}
			stegos = [][][]byte{{a.Outputs[0]}, {a.Outputs[1]}}
		}
		// An item that fails has no output.
		a, err := stream.Call(ctx, producer.Call{Key: key, Images: [][][]byte{images[0], {images[0][0], []byte("no image")}}})
		if err != nil {
			return err
		}
		if a.Outputs[0] == nil || a.Outputs[1] != nil || a.Result.GetOutcomes()[1].End() != schemas.EndFailed {
			t.Errorf("outcomes are %v", a.Result.GetOutcomes())
		}
		for _, bad := range []producer.Call{{Key: key}, {Images: images}, {Key: key, Images: stegos}} {
			if _, err := stream.Call(ctx, bad); err == nil {
				t.Errorf("a call of %d items with key %v was made", len(bad.Images), bad.Key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if replies := r.replies.all(); len(replies) > 0 {
		t.Errorf("calls have replies: %v", replies)
	}

	r.cfg.Operation, r.cfg.Run = schemas.Operation_OPERATION_RECOVER, "back"
	back := r.stream()
	err = back.Serve(testrig.Context(t), func(ctx context.Context) error {
		a, err := back.Call(ctx, producer.Call{Key: key, Images: stegos})
		if err == nil {
			mustDecode(t, a.Outputs[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCallsEnd: a call without a worker ends with its context, and with what ends the stream.
func TestCallsEnd(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_RECOVER)
	key, err := r.parts.Key("demo-1")
	if err != nil {
		t.Fatal(err)
	}
	call := producer.Call{Key: key, Images: [][][]byte{{picture(t, 1, 24, 24)}}}
	stream := r.stream()
	err = stream.Serve(testrig.Context(t), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := stream.Call(ctx, call)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is interrupted ends with %v", err)
	}
	end := make(chan struct{})
	close(end)
	r.parts.Results = deaf{end}
	stream = r.stream()
	err = stream.Serve(testrig.Context(t), func(ctx context.Context) error {
		_, err := stream.Call(ctx, call)
		return err
	})
	if !errors.Is(err, errBroken) {
		t.Errorf("without results the stream ends with %v", err)
	}
}
