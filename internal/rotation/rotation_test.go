package rotation

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// source is a random source whose seed is in the test's log.
func source(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func anyKey(r *rand.Rand) (key [KeySize]byte) {
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return key
}

// scene is an image with areas, edges and noise, of random colours.
func scene(r *rand.Rand, width, height int) []byte {
	image := make([]byte, 3*width*height)
	for c := range 3 {
		base, slope, edge := 255*r.Float64(), r.Float64()-0.5, 1+r.IntN(width)
		for i := range width * height {
			v := base + slope*float64(i/width) + 4*r.NormFloat64()
			if i%width > edge {
				v = 200 - v
			}
			image[c*width*height+i] = byte(min(max(v, 0), 255))
		}
	}
	return image
}

func rms(a, b []byte) float64 {
	sum := 0.
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}

var sizes = [][2]int{{16, 16}, {17, 16}, {31, 33}, {64, 48}, {100, 75}, {128, 128}, {256, 256}}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := source(t)
	for _, size := range sizes {
		for _, most := range []int{768, 32, 1} {
			t.Run(fmt.Sprintf("%dx%d/%d", size[0], size[1], most), func(t *testing.T) {
				// Half a step of a scale is 1.5 %: 1.9 of 128 levels. Then samples are rounded.
				image, key := scene(r, size[0], size[1]), anyKey(r)
				rotation := New(size[0], size[1], most)
				payload, scales := rotation.Rotate(image, key)
				if got := rms(image, rotation.Restore(payload, scales, key)); got > 2.5 {
					t.Errorf("the image comes back with a root mean square error of %v", got)
				}
			})
		}
	}
}

// A flat image comes back, but a grey whose scale is below the least code comes back as 128: the smaller the image, the more greys.
func TestFlat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ side, most int }{{1, 29}, {16, 29}, {32, 14}, {64, 7}, {128, 4}, {256, 2}} {
		rotation := New(c.side, c.side, 768)
		for _, off := range []int{-128, -64, -c.most - 1, -c.most, c.most, c.most + 1, 64, 127} {
			image := bytes.Repeat([]byte{byte(128 + off)}, 3*c.side*c.side)
			payload, scales := rotation.Rotate(image, [KeySize]byte{1})
			got := rms(image, rotation.Restore(payload, scales, [KeySize]byte{1}))
			if far := max(off, -off) > c.most; far && got > 2 || got > float64(c.most) {
				t.Errorf("%d x %d of grey %d come back %v levels off", c.side, c.side, 128+off, got)
			}
		}
	}
}

// Nothing of the image shows in the power of any band, flat images included.
func TestUnitPower(t *testing.T) {
	t.Parallel()
	r := source(t)
	for _, size := range sizes {
		for name, image := range map[string][]byte{"scene": scene(r, size[0], size[1]), "flat": bytes.Repeat([]byte{77}, 3*size[0]*size[1])} {
			rotation := New(size[0], size[1], 768)
			payload, scales := rotation.Rotate(image, anyKey(r))
			length := len(payload) / len(scales)
			for band := range scales {
				power := 0.
				for _, v := range payload[band*length:][:length] {
					power += v * v
				}
				if math.Abs(power/float64(length)-1) > 1e-9 {
					t.Fatalf("%v %s: band %d has power %v", size, name, band, power/float64(length))
				}
			}
		}
	}
}

func TestBands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ width, height, most, want int }{
		{256, 256, 768, 768}, {512, 512, 768, 768}, {128, 128, 768, 192}, {64, 64, 768, 48}, {32, 32, 768, 12}, {16, 16, 768, 3},
		{48, 48, 768, 24}, {256, 256, 32, 32}, {256, 256, 33, 32}, {16, 16, 32, 3}, {4000, 3000, 1, 1},
	} {
		if got := New(c.width, c.height, c.most).Bands(); got != c.want {
			t.Errorf("%dx%d in at most %d bands: %d, want %d", c.width, c.height, c.most, got, c.want)
		}
	}
}

// A code is within half a step of what it stands for.
func TestScales(t *testing.T) {
	t.Parallel()
	for g := 0.0312; g < 47; g *= 1.003 {
		if got := scale(code(g)) / g; math.Abs(math.Log2(got)) > 0.5/steps+1e-12 {
			t.Fatalf("%v comes back as %v", g, got*g)
		}
	}
	for c := range 256 {
		if got := code(scale(byte(c))); int(got) != c {
			t.Errorf("code %d comes back as %d", c, got)
		}
	}
	if code(0) != 0 || code(1e-300) != 0 || code(1e300) != 255 {
		t.Error("what is out of range is not at the ends")
	}
}

// One bit of the key, the band, or the size: all is different.
func TestWrongKeyGivesNoise(t *testing.T) {
	t.Parallel()
	r := source(t)
	for _, size := range [][2]int{{32, 32}, {128, 128}} {
		image, key := scene(r, size[0], size[1]), anyKey(r)
		rotation := New(size[0], size[1], 768)
		payload, scales := rotation.Rotate(image, key)
		bit := r.IntN(8 * KeySize)
		key[bit/8] ^= 1 << (bit % 8)
		other, _ := rotation.Rotate(image, key)
		dot := 0.
		for i := range payload {
			dot += payload[i] * other[i]
		}
		if deviation := math.Sqrt(float64(len(payload))); math.Abs(dot) > 10*deviation { // the same payload has 55 or more
			t.Errorf("%v: payloads of two keys correlate: %v deviations", size, dot/deviation)
		}
		if rms(image, rotation.Restore(payload, scales, key)) < 8 { // the right key has 2.5 at most; a scene of greys near 128 is near noise, too
			t.Errorf("%v: a wrong key restores something", size)
		}
	}
}

// Over the keys every value of a payload has mean 0 and variance 1, and two have no correlation, whatever the band is: here one that is
// a single spike, the worst. The fourth moment is that of a point of the sphere, 3 L / (L + 2), up to what 4000 keys show: its deviation
// is 0.004.
func TestMoments(t *testing.T) {
	t.Parallel()
	const draws = 4000
	r := source(t)
	for _, length := range []int{256, 300} {
		first, fourth := make([]float64, length), 0.
		square, cross := 0., 0.
		for range draws {
			values := make([]float64, length)
			values[r.IntN(length)] = math.Sqrt(float64(length))
			words := make([]uint32, rounds*length)
			for i := range words {
				words[i] = r.Uint32()
			}
			rotate(values, words)
			square += values[0] * values[0]
			cross += values[0] * values[length-1]
			for i, v := range values {
				first[i] += v
				fourth += v * v * v * v
			}
		}
		for i, sum := range first {
			if math.Abs(sum) > 7*math.Sqrt(draws) {
				t.Errorf("%d values: the mean of value %d is %v", length, i, sum/draws)
			}
		}
		if math.Abs(square/draws-1) > 7*math.Sqrt(2./draws) || math.Abs(cross/draws) > 7/math.Sqrt(draws) {
			t.Errorf("%d values: variance %v, covariance %v", length, square/draws, cross/draws)
		}
		if got, want := fourth/draws/float64(length), 3*float64(length)/float64(length+2); math.Abs(got-want) > 0.04 {
			t.Errorf("%d values: fourth moment %v, want %v", length, got, want)
		}
	}
}

func TestHadamardIsItsOwnInverse(t *testing.T) {
	t.Parallel()
	r := source(t)
	for k := range 13 {
		values := make([]float64, 1<<k)
		for i := range values {
			values[i] = r.NormFloat64()
		}
		want := slices.Clone(values)
		hadamard(values)
		hadamard(values)
		for i := range values {
			if math.Abs(values[i]-want[i]) > 1e-12 {
				t.Fatalf("2^%d values: %v comes back as %v", k, want[i], values[i])
			}
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(uint8(16), uint8(16), uint16(768), []byte("payload and scales"))
	f.Add(uint8(33), uint8(5), uint16(1), []byte{0, 255, 128})
	f.Fuzz(func(t *testing.T, width, height uint8, most uint16, data []byte) {
		if width == 0 || height == 0 || most == 0 || len(data) == 0 {
			t.Skip()
		}
		rotation := New(int(width), int(height), int(most))
		payload, scales := make([]float64, rotation.Len()), make([]byte, rotation.Bands())
		for i := range payload {
			payload[i] = float64(data[i%len(data)]) - 128
		}
		for i := range scales {
			scales[i] = data[i%len(data)]
		}
		if got := rotation.Restore(payload, scales, [KeySize]byte{data[0]}); len(got) != 3*int(width)*int(height) {
			t.Errorf("%d samples", len(got))
		}
	})
}

func BenchmarkRotate(b *testing.B) {
	for _, size := range []int{256, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			image := scene(rand.New(rand.NewPCG(1, 2)), size, size)
			rotation := New(size, size, 768)
			for b.Loop() {
				rotation.Rotate(image, [KeySize]byte{})
			}
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, size := range []int{256, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			image := scene(rand.New(rand.NewPCG(1, 2)), size, size)
			rotation := New(size, size, 768)
			payload, scales := rotation.Rotate(image, [KeySize]byte{})
			for b.Loop() {
				rotation.Restore(payload, scales, [KeySize]byte{})
			}
		})
	}
}
