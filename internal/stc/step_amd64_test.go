package stc

import (
	"slices"
	"testing"
)

// The vector code and the plain code take the same ways.
func TestVectors(t *testing.T) {
	if !vectors {
		t.Log("this processor has no AVX2: there is nothing to compare")
		return
	}
	s := random(t)
	from := make([]uint16, states)
	for round := range 300 {
		for i := range from {
			from[i] = uint16(s.Uint32())
			if s.IntN(4) == 0 {
				from[i] = infinite
			}
		}
		c, zero, one := s.Uint32()&(states-1), uint16(s.IntN(1<<16)), uint16(s.IntN(1200))
		wantTo, wantWays := make([]uint16, states), make([]uint32, words)
		gotTo, gotWays := make([]uint16, states), make([]uint32, words)
		stepGo(wantTo, from, wantWays, c, zero, one)
		step(gotTo, from, gotWays, c, zero, one)
		if !slices.Equal(gotTo, wantTo) || !slices.Equal(gotWays, wantWays) {
			t.Fatalf("round %d: a step with column %#x, costs %d and %d differs", round, c, zero, one)
		}
		for b := range byte(2) {
			shiftGo(wantTo, from, b)
			if shift(gotTo, from, b); !slices.Equal(gotTo, wantTo) {
				t.Fatalf("round %d: a shift by %d differs", round, b)
			}
		}
	}
}
