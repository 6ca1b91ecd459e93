package pytorch_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stegomq/internal/pytorch"
)

// What PyTorch draws, both versions to the bit: whole blocks of 16, rests, and a second draw from one generator.
func TestNormalMatchesPyTorch(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "normal.json"))
	if err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	var golden struct {
		Draws []struct {
			Seed      uint64
			Deviation float64
			Counts    []int
			FirstBits []string `json:"first_bits"`
			SHA256    string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Draws) == 0 {
		t.Fatalf("golden vectors: %d draws, %v", len(golden.Draws), err)
	}
	for _, v := range golden.Draws {
		t.Run(fmt.Sprint(v.Seed, v.Counts), func(t *testing.T) {
			t.Parallel()
			g := pytorch.NewGenerator(v.Seed)
			var first []string
			var all []byte
			for i, count := range v.Counts {
				values := make([]float32, count)
				g.Normal(values, v.Deviation)
				for j, x := range values {
					all = binary.LittleEndian.AppendUint32(all, math.Float32bits(x))
					if i == 0 && j < 16 {
						first = append(first, fmt.Sprintf("%08x", math.Float32bits(x)))
					}
				}
			}
			if !slices.Equal(first, v.FirstBits) {
				t.Errorf("first values\n got %v\nwant %v", first, v.FirstBits)
			}
			if sum := sha256.Sum256(all); hex.EncodeToString(sum[:]) != v.SHA256 {
				t.Errorf("digest of all values %x, want %s", sum, v.SHA256)
			}
		})
	}
}

func TestXavierNormal(t *testing.T) {
	t.Parallel()
	shape := [4]int{5, 7, 3, 3}
	got, want := make([]float32, 315), make([]float32, 315)
	pytorch.NewGenerator(4).XavierNormal(got, shape)
	pytorch.NewGenerator(4).Normal(want, math.Sqrt(2.0/(9*(5+7))))
	if !slices.Equal(got, want) {
		t.Error("the deviation is not sqrt(2 / (fan_in + fan_out))")
	}
}

// Fewer values are drawn in a way that is not implemented, and must not pass for it.
func TestNormalRefusesAFew(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("15 values were drawn")
		}
	}()
	pytorch.NewGenerator(1).Normal(make([]float32, pytorch.MinNormal-1), 1)
}

func BenchmarkNormal(b *testing.B) {
	values := make([]float32, 1<<16)
	b.SetBytes(int64(4 * len(values)))
	g := pytorch.NewGenerator(1)
	for b.Loop() {
		g.Normal(values, 0.1)
	}
}
