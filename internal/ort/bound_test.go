package ort

import (
	"context"
	"errors"
	"sync"
	"testing"

	"stegomq/internal/model"
)

// The way of the weights on a device, on the CPU: bound once per key, exact for
// several runs of one key and of two at once, and given back.
func TestBinding(t *testing.T) {
	t.Parallel()
	e := start(t, Config{Workers: 3})
	e.bind = true
	m := tiny(t)
	add(t, e, m)
	var wg sync.WaitGroup
	for _, op := range model.Operations() {
		for n := range 2 {
			for _, side := range []int{16, 29} {
				key, in := testKey(op, n), images(t, op, 2, side, side+3)
				want := reference(t, e, m, op, key, in)
				for range 3 {
					wg.Go(func() {
						got, err := e.Run(t.Context(), m.Digest, op, key, in...)
						if err != nil {
							t.Error(err)
							return
						}
						if d := distance(got.Data, want.Data); d != 0 {
							t.Errorf("%s, key %d: off by %g", op, n, d)
						}
					})
				}
			}
		}
	}
	wg.Wait()
	if s := e.Stats(); s.Misses != 5 || s.Bytes < 2*5*int64(4*len(m.Weights)) {
		t.Errorf("want one load per key and its memory counted twice: %+v", s)
	}

	// A run that waits for its key's binding can be cancelled.
	p, err := e.models[m.Digest].program(outputsOf(model.OpPurify, m, false))
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.destroy()
	<-w.bound.turn
	ctx, cancel := context.WithCancel(t.Context())
	waiting := watched{ctx, cancel, func() {}}
	if _, err := p.run(waiting, w, images(t, p.op, 1, 16, 16)); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that waits for its binding: %v", err)
	}
}
