package weights_test

import (
	"math"
	"testing"

	"stegomq/internal/weights"
)

// A partial key has, of the keyed weights, about its share from the key and the others from the wrong key; a larger share
// has all that a smaller one has; shared weights stay.
func TestSpoil(t *testing.T) {
	t.Parallel()
	r := source(t)
	layers := awkward()
	mask := weights.NewMask(layers, key(r), 0.5)
	base := normal(r, mask.Len())
	owner, wrong := key(r), key(r)
	for _, role := range []weights.Role{weights.RoleEmbed, weights.RoleRecover} {
		whole, other := make([]float32, mask.Len()), make([]float32, mask.Len())
		mask.Apply(whole, base, role, owner)
		mask.Apply(other, base, role, wrong)
		last := make([]bool, mask.Len())
		for _, permille := range []int{0, 1, 250, 500, 900, 999, 1000} {
			got := make([]float32, mask.Len())
			copy(got, whole)
			mask.Spoil(got, role, permille, wrong)
			right := 0
			for i := range got {
				switch {
				case mask.Shared(i):
					if got[i] != base[i] {
						t.Fatalf("%s, %d permille: shared weight %d is %v, not %v", role, permille, i, got[i], base[i])
					}
				case got[i] == whole[i]:
					right++
					last[i] = true
				case got[i] != other[i]:
					t.Fatalf("%s, %d permille: weight %d is neither key's", role, permille, i)
				case last[i]:
					t.Fatalf("%s, %d permille: weight %d was right at a smaller share", role, permille, i)
				}
			}
			keyed, share := float64(mask.Len()-mask.Kept()), float64(permille)/1000
			// A permille of the keyed weights is six, so that five deviations above are one in 10^5, and eight one in 10^9.
			if deviation := math.Sqrt(keyed * share * (1 - share)); math.Abs(float64(right)-keyed*share) > 8*deviation+1 {
				t.Errorf("%s: %d of %v weights are right at %d permille", role, right, keyed, permille)
			}
		}
	}
}

func TestSpoilMisusePanics(t *testing.T) {
	t.Parallel()
	mask := weights.NewMask(table([4]int{4, 1, 1, 1}), make([]byte, keySize), 0.5)
	for name, call := range map[string]func(){
		"short": func() { mask.Spoil(make([]float32, 3), weights.RoleEmbed, 500, make([]byte, keySize)) },
		"above": func() { mask.Spoil(make([]float32, 4), weights.RoleEmbed, 1001, make([]byte, keySize)) },
		"below": func() { mask.Spoil(make([]float32, 4), weights.RoleEmbed, -1, make([]byte, keySize)) },
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

func BenchmarkSpoil(b *testing.B) {
	for name, layers := range sizes() {
		b.Run(name, func(b *testing.B) {
			mask := weights.NewMask(layers, make([]byte, keySize), 0.9)
			dst, k := make([]float32, mask.Len()), make([]byte, keySize)
			mask.Kept()
			b.SetBytes(int64(4 * mask.Len()))
			b.ReportAllocs()
			for b.Loop() {
				mask.Spoil(dst, weights.RoleEmbed, 500, k)
			}
		})
	}
}
