package quality

import (
	"image"
	"math/rand/v2"
	"testing"
)

// random is a pair of images of pixels that differ by less than spread levels, with any alpha. Their rows do not lie back to back.
func random(rnd *rand.Rand, w, h, spread int) (a, b *image.NRGBA) {
	a = image.NewNRGBA(image.Rect(0, 0, w+3, h+1)).SubImage(image.Rect(2, 1, w+2, h+1)).(*image.NRGBA)
	b = image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range 4 * w {
			v := rnd.IntN(256)
			a.Pix[y*a.Stride+x] = uint8(v)
			b.Pix[y*b.Stride+x] = uint8(min(max(v+rnd.IntN(2*spread-1)-spread+1, 0), 255))
		}
	}
	return a, b
}

// TestVersion holds SSIM to the bits that Version has stood for from the first: a score that was kept is what would be measured now.
func TestVersion(t *testing.T) {
	if Version != "1" {
		t.Fatalf("version %s: its bits belong here", Version)
	}
	check := func(name string, a, b *image.NRGBA, want float64) {
		t.Helper()
		if plain, assembly := bothWays(t, a, b); plain.SSIM != want || assembly != plain {
			t.Errorf("%q: SSIM %x, want %x; by assembly %+v, without %+v", name, plain.SSIM, want, assembly, plain)
		}
	}
	for name, want := range map[string]float64{
		"noise":        0x1.b301c28b806d9p-01,
		"one-sample":   0x1.ffffffbe0effap-01,
		"shift":        0x1.ea18b61ad1d7bp-01,
		"inverse":      -0x1.4fd532f5b94abp-01,
		"unrelated":    0x1.1b20a48265718p-07,
		"black-white":  0x1.a3637230b17e1p-14,
		"flat-one-off": 0x1.fffe5eb1fc7fcp-01,
		"one-window":   0x1.d6fcc2e38eab7p-01,
		"channels":     0x1.79bd765561b19p-02,
		"identical":    0x1p+00,
		"odd":          0x1.f6aeb64ffda2dp-06,
		"lowest":       0x1.f111b4517d244p-01,
		"narrowest":    0x1.eb82b7f132b5cp-01,
		"fourteen":     0x1.eaa0c9e72cbb7p-09,
		"white":        0x1.fffefcfcc7fd4p-01,
		"black":        0x1.bbc18e8b63617p-01,
		"extremes":     -0x1.053d6755e0d93p-06,
		"bright":       0x1.fb4899626f387p-01,
		"wide":         0x1.eb4311bb31df7p-01,
	} {
		a, b := readPair(t, name)
		check(name, a, b, want)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		w, h, spread int
		want         float64
	}{
		{11, 11, 256, 0x1.40c4e8daddf0ep-02},
		{12, 13, 9, 0x1.fec57cc4aa2bbp-01},
		{67, 129, 40, 0x1.e8bc094a3c12bp-01},
		{512, 24, 20, 0x1.fa159bdd6a29ep-01},
		{513, 31, 256, 0x1.4e16140d6a693p-02},
		{1003, 17, 3, 0x1.ffe72ce771207p-01},
		{350, 350, 60, 0x1.cf6af2e505031p-01},
	} {
		a, b := random(rnd, c.w, c.h, c.spread)
		check("random", a, b, c.want)
	}
}
