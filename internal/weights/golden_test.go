package weights_test

import (
	"bytes"
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

	"stegomq/internal/weights"
)

// golden is the part of derivation.json that binds this package. The trainer writes it
// (python -m trainer vectors); the keyring's tests read the rest.
type golden struct {
	Version int
	Fill    []struct {
		Role      weights.Role
		Layer     string
		Shape     [4]int
		Key       string
		FirstBits []string `json:"first_bits"`
		SHA256    string
	}
	Mask []struct {
		Seed   string
		Layer  string
		Shape  [4]int
		Alpha  float64
		Kept   int
		SHA256 string
	}
	Partial []struct {
		Role      weights.Role
		Layer     string
		Shape     [4]int
		Key       string
		Permille  int
		Wrong     string
		Right     int
		FirstBits []string `json:"first_bits"`
		SHA256    string
	}
	Normal []struct {
		Seed      uint64
		Shape     []int
		FirstBits []string `json:"first_bits"`
		SHA256    string
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "schemas", "testdata", "derivation.json"))
	if err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	if g.Version != weights.Version || len(g.Fill) == 0 || len(g.Mask) == 0 || len(g.Partial) == 0 || len(g.Normal) == 0 {
		t.Fatalf("golden vectors: version %d with %d fills, %d masks, %d partial fills and %d of normal values; this package is version %d",
			g.Version, len(g.Fill), len(g.Mask), len(g.Partial), len(g.Normal), weights.Version)
	}
	return g
}

func TestFillMatchesTrainer(t *testing.T) {
	t.Parallel()
	for i, v := range readGolden(t).Fill {
		t.Run(fmt.Sprintf("%d/%s/%s", i, v.Role, v.Layer), func(t *testing.T) {
			layer := weights.Layer{Name: v.Layer, Shape: v.Shape}
			wantBits(t, fill(layer, v.Role, unhex(t, v.Key)), v.FirstBits, v.SHA256)
		})
	}
}

func TestMaskMatchesTrainer(t *testing.T) {
	t.Parallel()
	for i, v := range readGolden(t).Mask {
		t.Run(fmt.Sprintf("%d/%s/%v", i, v.Layer, v.Alpha), func(t *testing.T) {
			layer := weights.Layer{Name: v.Layer, Shape: v.Shape}
			mask := weights.NewMask([]weights.Layer{layer}, unhex(t, v.Seed), v.Alpha)
			if mask.Kept() != v.Kept {
				t.Errorf("%d of %d weights are shared, want %d", mask.Kept(), mask.Len(), v.Kept)
			}
			shared := make([]byte, mask.Len())
			for i := range shared {
				if mask.Shared(i) {
					shared[i] = 1
				}
			}
			if sum := sha256.Sum256(shared); hex.EncodeToString(sum[:]) != v.SHA256 {
				t.Errorf("digest of the mask %x, want %s", sum, v.SHA256)
			}
		})
	}
}

func TestPartialMatchesTrainer(t *testing.T) {
	t.Parallel()
	for i, v := range readGolden(t).Partial {
		t.Run(fmt.Sprintf("%d/%s/%s/%d", i, v.Role, v.Layer, v.Permille), func(t *testing.T) {
			layer := weights.Layer{Name: v.Layer, Shape: v.Shape}
			mask := weights.NewMask([]weights.Layer{layer}, nil, 0) // all are keyed
			whole := fill(layer, v.Role, unhex(t, v.Key))
			w := slices.Clone(whole)
			mask.Spoil(w, v.Role, v.Permille, unhex(t, v.Wrong))

			right := 0
			for i := range w {
				if w[i] == whole[i] {
					right++
				}
			}
			if right != v.Right {
				t.Errorf("%d of %d weights are right, want %d", right, len(w), v.Right)
			}
			wantBits(t, w, v.FirstBits, v.SHA256)
		})
	}
}

func TestNormalMatchesTrainer(t *testing.T) {
	t.Parallel()
	for i, v := range readGolden(t).Normal {
		t.Run(fmt.Sprintf("%d/%v/%d", i, v.Shape, v.Seed), func(t *testing.T) {
			n := 1
			for _, dim := range v.Shape {
				n *= dim
			}
			z := make([]float32, n)
			weights.Normal(z, v.Seed)
			wantBits(t, z, v.FirstBits, v.SHA256)
		})
	}
}

// wantBits compares values with the first of their bits and with the digest of all.
func wantBits(t *testing.T, w []float32, bits []string, sum string) {
	t.Helper()
	var first []string
	for _, x := range w[:min(16, len(w))] {
		first = append(first, fmt.Sprintf("%08x", math.Float32bits(x)))
	}
	if !slices.Equal(first, bits) {
		t.Errorf("first values\n got %v\nwant %v", first, bits)
	}
	if got := digest(t, w); got != sum {
		t.Errorf("digest of the values %s, want %s", got, sum)
	}
}

func digest(t *testing.T, w []float32) string {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, w); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
