package rotation

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

	"stegomq/internal/dct"
)

// golden is rotation.json, which the trainer writes (python -m trainer vectors).
type golden struct {
	Version int
	Bands   []struct {
		Frequencies, Blocks, Band int
		Key                       string
		FirstBits                 []string `json:"first_bits"`
		SHA256                    string
	}
	Images []struct {
		Height, Width, Most int
		Kind, Key           string
		Scales              string
		Payload             []float64
		Restored            string
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "schemas", "testdata", "rotation.json"))
	if err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	if g.Version != Version || len(g.Bands) == 0 || len(g.Images) == 0 {
		t.Fatalf("golden vectors: version %d with %d bands and %d images; this package is version %d", g.Version, len(g.Bands), len(g.Images), Version)
	}
	return g
}

func unhex(t *testing.T, s string) [KeySize]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != KeySize {
		t.Fatalf("key %q: %v", s, err)
	}
	return [KeySize]byte(b)
}

func TestBandsMatchTrainer(t *testing.T) {
	t.Parallel()
	for _, v := range readGolden(t).Bands {
		t.Run(fmt.Sprintf("%dx%d", v.Frequencies, v.Blocks), func(t *testing.T) {
			values := make([]float64, v.Frequencies*v.Blocks)
			for i := range values {
				values[i] = float64((7*i*i+3*i)%31 - 15)
			}
			want := slices.Clone(values)
			s := newStream(len(values))
			s.start(Rotation{dct.Covering(side*v.Blocks, side, side), v.Frequencies}, v.Band, unhex(t, v.Key))
			rotate(values, s.words)

			var packed []byte
			for i, x := range values {
				packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(x))
				if i < len(v.FirstBits) && fmt.Sprintf("%016x", math.Float64bits(x)) != v.FirstBits[i] {
					t.Errorf("value %d is %v, its bits should be %s", i, x, v.FirstBits[i])
				}
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(packed)); got != v.SHA256 {
				t.Errorf("digest of the values %s, want %s", got, v.SHA256)
			}
			restore(values, s.words)
			for i := range want {
				if math.Abs(values[i]-want[i]) > 1e-11 {
					t.Fatalf("value %d comes back as %v, was %v", i, values[i], want[i])
				}
			}
		})
	}
}

func TestImagesMatchTrainer(t *testing.T) {
	t.Parallel()
	for _, v := range readGolden(t).Images {
		t.Run(fmt.Sprintf("%dx%d/%d/%s", v.Width, v.Height, v.Most, v.Kind), func(t *testing.T) {
			image := make([]byte, 3*v.Height*v.Width)
			for i := range image {
				c, y, x := i/(v.Height*v.Width), i/v.Width%v.Height, i%v.Width
				image[i] = 128
				if v.Kind == "texture" {
					image[i] = byte(37*y + 91*x*(c+1) + x*y%97 + (y/8+x/5)*29)
				}
			}
			r := New(v.Width, v.Height, v.Most)
			payload, scales := r.Rotate(image, unhex(t, v.Key))
			if got := hex.EncodeToString(scales); got != v.Scales {
				t.Errorf("scales\n got %s\nwant %s", got, v.Scales)
			}
			step := max(1, len(payload)/61)
			for i, want := range v.Payload {
				if got := payload[i*step]; math.Abs(got-want) > 1e-9 {
					t.Fatalf("value %d is %v, want %v", i*step, got, want)
				}
			}
			restored := r.Restore(payload, scales, unhex(t, v.Key))
			if got := fmt.Sprintf("%x", sha256.Sum256(restored)); got != v.Restored {
				t.Errorf("digest of the restored image %s, want %s", got, v.Restored)
			}
		})
	}
}
