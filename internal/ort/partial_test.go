package ort

import (
	"errors"
	"slices"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/weights"
)

// part is a partial key of another.
func part(of *Key, permille int) *Key {
	made := *of
	made.Fingerprint += string(rune('a' + permille/100))
	made.Part = &Part{Owner: of.Fingerprint, Right: permille, Wrong: []byte("a wrong key of thirty-two bytes.")}
	return &made
}

// Each share of a key has weights of its own in the cache, and what they give is exact; the whole share is the key itself.
func TestPartialKeys(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	op := model.OpRecover
	whole, in := testKey(op, 1), images(t, op, 1, 20, 22)
	loaded, err := e.models[m.Digest].program(outputsOf(op, m, false))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]float32{}
	for _, permille := range []int{0, 500, 900, 1000} {
		w := make([]float32, len(m.Weights))
		m.Mask.Apply(w, m.Weights, weights.RoleRecover, whole.Bytes())
		key := part(whole, permille)
		m.Mask.Spoil(w, weights.RoleRecover, permille, key.Part.Wrong)
		made, err := loaded.patch(w)
		if err != nil {
			t.Fatal(err)
		}
		out, err := loaded.run(t.Context(), made, in)
		made.destroy()
		if err != nil {
			t.Fatal(err)
		}
		want[permille] = out.image.Data
	}
	if slices.Equal(want[500], want[900]) || slices.Equal(want[900], want[1000]) {
		t.Fatal("two shares give one image")
	}
	for range 2 { // loaded, and then from the cache
		if !slices.Equal(mustRun(t, e, m, op, whole, in).Data, want[1000]) {
			t.Error("the whole share is not the key itself")
		}
		for permille, data := range want {
			if !slices.Equal(mustRun(t, e, m, op, part(whole, permille), in).Data, data) {
				t.Errorf("%d permille: another image than its weights give", permille)
			}
		}
	}
	if s := e.Stats(); s.Misses != 5 || s.Hits != 5 {
		t.Errorf("want one load per share: %+v", s)
	}
}

// The weights that are right are those of the stored fill, where the model stores one for the owner.
func TestPartialOfStoredFill(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	plain := tiny(t)
	op := model.OpRecover
	key, other := testKey(op, 1), testKey(op, 2)
	stored := storing(t, plain, key, other)
	add(t, e, plain)
	add(t, e, stored)
	in := images(t, op, 1, 18, 17)
	got := mustRun(t, e, stored, op, part(key, 500), in)
	if !slices.Equal(got.Data, mustRun(t, e, plain, op, part(other, 500), in).Data) {
		t.Error("the right half is not that of the stored fill")
	}
}

func TestWrongParts(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	in := images(t, model.OpRecover, 1, 16, 16)
	for name, change := range map[string]func(*Part){
		"no owner":     func(p *Part) { p.Owner = "" },
		"no wrong key": func(p *Part) { p.Wrong = nil },
		"below":        func(p *Part) { p.Right = -1 },
		"above":        func(p *Part) { p.Right = weights.Whole + 1 },
	} {
		key := part(testKey(model.OpRecover, 1), 500)
		change(key.Part)
		if _, err := e.Run(t.Context(), m.Digest, model.OpRecover, key, in...); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}
