package rotation

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"stegomq/internal/dct"
)

// Somebody has the secrets and the payloads of some images, and the payload of one more. The rotation is linear, so that he writes
// that payload as a sum of those that he has, and takes the same sum of the secrets. Under a key that all of them share, k pairs
// show him the part of the secret that lies in the space of k dimensions that theirs span, a share of about k/L of its power, and L
// pairs everything, L the length of a band. Under keys of their own they show him nothing, however many they are.
func TestKnownPlaintext(t *testing.T) {
	t.Parallel()
	r := source(t)
	const width, height, band = 32, 16, 3
	rotation := New(width, height, Frequencies)
	length := rotation.Len() / rotation.Bands()
	picture := func() []byte {
		m := make([]byte, 3*width*height)
		for i := range m {
			m[i] = byte(r.Uint32())
		}
		return m
	}
	// One band as it is and rotated.
	both := func(image []byte, key [KeySize]byte) (plain, payload []float64) {
		all, _ := rotation.Rotate(image, key)
		return rotation.band(image, band), all[band*length:][:length]
	}
	for _, c := range []struct {
		name   string
		pairs  int
		reused bool
	}{
		{"fresh keys, L pairs", length, false},
		{"one key, L/4 pairs", length / 4, true},
		{"one key, L/2 pairs", length / 2, true},
		{"one key, L pairs", length, true},
	} {
		shared := anyKey(r)
		key := func() [KeySize]byte {
			if c.reused {
				return shared
			}
			return anyKey(r)
		}
		plains, payloads := mat.NewDense(length, c.pairs, nil), mat.NewDense(length, c.pairs, nil)
		for j := range c.pairs {
			plain, payload := both(picture(), key())
			plains.SetCol(j, plain)
			payloads.SetCol(j, payload)
		}
		plain, payload := both(picture(), key())
		var share, guess mat.VecDense
		var qr mat.QR
		qr.Factorize(payloads)
		if err := qr.SolveVecTo(&share, false, mat.NewVecDense(length, payload)); err != nil {
			t.Logf("%s: %v", c.name, err) // an ill-conditioned system is solved as well as it can be
		}
		guess.MulVec(plains, &share)
		got := correlated(guess.RawVector().Data, plain)
		t.Logf("%s, L = %d: correlation with the secret %.3f", c.name, length, got)
		want, tolerance := 0.0, 8/math.Sqrt(float64(length)) // eight times the standard deviation of chance, which no seed reaches
		if c.reused {
			want, tolerance = math.Sqrt(float64(c.pairs)/float64(length)), 6/math.Sqrt(float64(length)) // ten times, for it has the half
		}
		if c.pairs == length && c.reused {
			tolerance = 1e-6
		}
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: correlation with the secret %.3f, want %.3f", c.name, got, want)
		}
	}
}

// band is one band of an image before it is rotated.
func (r Rotation) band(image []byte, band int) []float64 {
	planes := make([]float64, len(image))
	for i, v := range image {
		planes[i] = float64(v)
	}
	coefficients := make([]float64, r.Len())
	r.grid.Analyse(coefficients, planes, dct.Opponent)
	n := r.Blocks()
	values := make([]float64, 0, r.per*n)
	for _, f := range order[band*r.per:][:r.per] {
		for _, v := range coefficients[f*n:][:n] {
			values = append(values, v/deviations[f])
		}
	}
	normalise(values)
	return values
}

func correlated(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}
