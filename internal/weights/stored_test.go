package weights_test

import (
	"slices"
	"testing"

	"stegomq/internal/weights"
)

// bitsOf writes a mask as it is stored.
func bitsOf(m *weights.Mask) []byte {
	bits := make([]byte, (m.Len()+7)/8)
	for i := range m.Len() {
		if m.Shared(i) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

func TestStoredMaskIsTheMask(t *testing.T) {
	t.Parallel()
	r := source(t)
	layers := awkward()
	for _, alpha := range []float64{0, 0.5, 0.9, 1} {
		want := weights.NewMask(layers, key(r), alpha)
		bits := bitsOf(want)
		got, err := weights.StoredMask(layers, bits)
		if err != nil {
			t.Fatal(err)
		}
		clear(bits) // the mask has its own copy
		if got.Len() != want.Len() || got.Kept() != want.Kept() {
			t.Fatalf("alpha %v: %d of %d shared, want %d of %d", alpha, got.Kept(), got.Len(), want.Kept(), want.Len())
		}
		for i := range want.Len() {
			if got.Shared(i) != want.Shared(i) {
				t.Fatalf("alpha %v: weight %d: shared %v, want %v", alpha, i, got.Shared(i), want.Shared(i))
			}
		}
	}
}

func TestStoredMaskMustFit(t *testing.T) {
	t.Parallel()
	layers := table([4]int{3, 1, 1, 1}, [4]int{8, 1, 1, 1}) // 11 weights
	for name, c := range map[string]struct {
		bits []byte
		ok   bool
	}{
		"fits":       {[]byte{0xff, 0x07}, true},
		"none":       {nil, false},
		"short":      {[]byte{0xff}, false},
		"long":       {[]byte{0xff, 0x07, 0}, false},
		"bit beyond": {[]byte{0, 0x08}, false},
	} {
		if _, err := weights.StoredMask(layers, c.bits); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The keyed ones of the weights of a key, which Put puts back, give the same as Apply.
func TestPut(t *testing.T) {
	t.Parallel()
	r := source(t)
	layers := awkward()
	mask := weights.NewMask(layers, key(r), 0.7)
	base := normal(r, mask.Len())
	want, got := make([]float32, mask.Len()), make([]float32, mask.Len())
	mask.Apply(want, base, weights.RoleRecover, key(r))
	var values []float32
	for i, w := range want {
		if !mask.Shared(i) {
			values = append(values, w)
		}
	}
	if len(values) != mask.Len()-mask.Kept() {
		t.Fatalf("%d values for %d keyed weights", len(values), mask.Len()-mask.Kept())
	}
	mask.Put(got, base, values)
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d weights differ", difference(got, want), len(want))
	}
	mask.Put(base, base, values)
	if !slices.Equal(base, want) {
		t.Error("in place, the weights are others")
	}
}

func TestStoredMisusePanics(t *testing.T) {
	t.Parallel()
	layers := table([4]int{4, 1, 1, 1})
	mask, err := weights.StoredMask(layers, []byte{0x05})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(){
		"few values":     func() { mask.Put(make([]float32, 4), make([]float32, 4), make([]float32, 1)) },
		"many values":    func() { mask.Put(make([]float32, 4), make([]float32, 4), make([]float32, 3)) },
		"base too short": func() { mask.Put(make([]float32, 4), make([]float32, 3), make([]float32, 2)) },
		"dst too short":  func() { mask.Put(make([]float32, 3), make([]float32, 4), make([]float32, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}
