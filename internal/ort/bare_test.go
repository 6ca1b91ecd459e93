package ort

import (
	"errors"
	"slices"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/stopwatch"
)

// TestBare: the bare graph computes what Run does, bit for bit, and leaves nothing behind.
func TestBare(t *testing.T) {
	t.Parallel()
	e, m := start(t, Config{}), tiny(t)
	add(t, e, m)
	for _, op := range model.Operations() {
		key, in := testKey(op, 1), images(t, op, 2, 24, 20)
		want := mustRun(t, e, m, op, key, in)
		sessions := e.Stats().Sessions
		b, err := e.Bare(m.Digest, op, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Run(t.Context(), in...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Data, want.Data) {
			t.Errorf("%s: the bare graph makes other pixels", op)
		}
		if _, err := b.Run(t.Context()); !errors.Is(err, ErrInput) {
			t.Errorf("%s: a run of nothing: %v", op, err)
		}
		if n := e.Stats().Sessions; n != sessions+1 {
			t.Errorf("%s: %d sessions, want %d", op, n, sessions+1)
		}
		if err := b.Close(); err != nil || e.Stats().Sessions != sessions {
			t.Errorf("%s: closed with %v, %d sessions, want %d", op, err, e.Stats().Sessions, sessions)
		}
	}
	if _, err := e.Bare("nothing", model.OpEmbed, testKey(model.OpEmbed, 1)); !errors.Is(err, ErrUnknownModel) {
		t.Error(err)
	}
	if _, err := e.Bare(m.Digest, model.OpEmbed, nil); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

// TestBareVariant is of a model that has a network for each key: its session is bare already.
func TestBareVariant(t *testing.T) {
	t.Parallel()
	e, m := start(t, Config{}), variants(t)
	add(t, e, m)
	key, in := variantKey(t, m, model.OpEmbed, 0), images(t, model.OpEmbed, 1, 16, 16)
	want := mustRun(t, e, m, model.OpEmbed, key, in)
	b, err := e.Bare(m.Digest, model.OpEmbed, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Run(t.Context(), in...)
	if err != nil || !slices.Equal(got.Data, want.Data) {
		t.Errorf("other pixels, or %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestStopwatch: who asks is told how long a run waited, and how long the weights of its key took.
func TestStopwatch(t *testing.T) {
	t.Parallel()
	e, m := start(t, Config{}), tiny(t)
	add(t, e, m)
	var w stopwatch.Watch
	if _, err := e.Run(stopwatch.With(t.Context(), &w), m.Digest, model.OpEmbed, testKey(model.OpEmbed, 1), images(t, model.OpEmbed, 1, 16, 16)...); err != nil {
		t.Fatal(err)
	}
	if w.Wait <= 0 || w.Patch <= 0 {
		t.Errorf("the watch says %+v", w)
	}
	if other := stopwatch.Of(t.Context()); *other != (stopwatch.Watch{}) {
		t.Errorf("without a watch it says %+v", other)
	}
}
