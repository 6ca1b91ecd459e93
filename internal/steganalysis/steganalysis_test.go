package steganalysis

import (
	"bytes"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// natural is an image that is smooth but for noise of a standard deviation, as a camera's.
func natural(r *rand.Rand, width, height int, noise float64) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	a, b, phase := 0.02+0.1*r.Float64(), 0.02+0.1*r.Float64(), 6*r.Float64()
	for y := range height {
		for x := range width {
			for c := range 3 {
				v := 128 + 60*math.Sin(a*float64(x)+b*float64(y)+phase+float64(c)) + noise*r.NormFloat64()
				m.Pix[y*m.Stride+4*x+c] = uint8(min(255, max(0, math.Round(v))))
			}
			m.Pix[y*m.Stride+4*x+3] = 255
		}
	}
	return m
}

// definition counts conditional probabilities in a map, one direction after another, in three planes of 19 x 11.
func definition(planes [3]func(x, y int) int) []float64 {
	want := make([]float64, Features)
	clip := func(v int) int { return max(-3, min(3, v)) }
	for _, at := range planes {
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				if dx == 0 && dy == 0 {
					continue
				}
				count, after := map[[3]int]int{}, map[[2]int]int{}
				for y := range 11 {
					for x := range 19 {
						if ex, ey := x+3*dx, y+3*dy; ex < 0 || ey < 0 || ex >= 19 || ey >= 11 {
							continue
						}
						var d [3]int
						for i := range d {
							d[i] = clip(at(x+i*dx, y+i*dy) - at(x+(i+1)*dx, y+(i+1)*dy))
						}
						count[d]++
						after[[2]int{d[0], d[1]}]++
					}
				}
				half := 0
				if dx != 0 && dy != 0 {
					half = 343
				}
				for d, n := range count {
					p := float64(n) / float64(after[[2]int{d[0], d[1]}])
					want[half+49*(d[0]+3)+7*(d[1]+3)+d[2]+3] += p / 12
				}
			}
		}
	}
	return want
}

// plain are the features of the channels.
func plain(m *image.NRGBA) []float64 { return ColourSPAM(m)[:Features] }

func TestFeaturesAreTheirDefinition(t *testing.T) {
	t.Parallel()
	m := natural(random(t), 19, 11, 4)
	sample := func(c, x, y int) int { return int(m.Pix[y*m.Stride+4*x+c]) }
	var channels, differences [3]func(x, y int) int
	for i, pair := range [3][2]int{{0, 1}, {1, 2}, {0, 2}} {
		channels[i] = func(x, y int) int { return sample(i, x, y) }
		differences[i] = func(x, y int) int { return sample(pair[0], x, y) - sample(pair[1], x, y) }
	}
	want := append(definition(channels), definition(differences)...)
	for name, c := range map[string]struct{ got, want []float64 }{
		"channels": {ColourSPAM(m)[:Features], want[:Features]}, "differences": {ColourSPAM(m)[Features:], want[Features:]},
	} {
		if len(c.got) != len(c.want) {
			t.Fatalf("%s has %d features, want %d", name, len(c.got), len(c.want))
		}
		for i, v := range c.got {
			if math.Abs(v-c.want[i]) > 1e-12 {
				t.Fatalf("%s: feature %d is %v, want %v", name, i, v, c.want[i])
			}
		}
	}
}

func TestSPAMOfFlatAndTinyImages(t *testing.T) {
	t.Parallel()
	flat := plain(image.NewNRGBA(image.Rect(0, 0, 8, 8)))
	const same = 3*49 + 3*7 + 3
	for i, v := range flat {
		want := 0.0
		if i == same || i == 343+same {
			want = 1
		}
		if math.Abs(v-want) > 1e-12 {
			t.Errorf("feature %d of a flat image is %v, want %v", i, v, want)
		}
	}
	for _, r := range []image.Rectangle{image.Rect(0, 0, 3, 3), image.Rect(0, 0, 1, 1), {}} {
		for i, v := range ColourSPAM(image.NewNRGBA(r)) {
			if v != 0 {
				t.Errorf("feature %d of an image of %v is %v", i, r, v)
			}
		}
	}
}

// Noise that red, green and blue share hides changes from SPAM, but not from the differences of colours. Changes that they share
// are hidden from those.
func TestColourDifferencesSeeWhatTheChannelsDoNotShare(t *testing.T) {
	t.Parallel()
	r := random(t)
	var covers, stegos, shared [2][][]float64
	for range 60 {
		m := natural(r, 64, 64, 0)
		light := natural(r, 64, 64, 3)
		for i := range m.Pix {
			if i%4 != 3 {
				m.Pix[i] = uint8(max(1, min(254, int(m.Pix[i])/2+int(light.Pix[i/4*4])/2)))
			}
		}
		seed := r.Uint64()
		one, all := Matching(m, 0.2, seed), image.NewNRGBA(m.Rect)
		for i := range m.Pix {
			all.Pix[i] = m.Pix[i]
			if i%4 != 3 {
				all.Pix[i] += one.Pix[i/4*4] - m.Pix[i/4*4]
			}
		}
		for i, features := range []func(*image.NRGBA) []float64{plain, ColourSPAM} {
			covers[i] = append(covers[i], features(m))
			stegos[i] = append(stegos[i], features(one))
			shared[i] = append(shared[i], features(all))
		}
	}
	auc := func(of [2][][]float64, kind int) float64 {
		d, err := Detect(covers[kind], of[kind], []uint64{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		return d.AUC.Mean
	}
	plain, colour, hidden := auc(stegos, 0), auc(stegos, 1), auc(shared, 1)
	t.Logf("AUC of SPAM %.2f, with colour differences %.2f, of changes that the channels share %.2f", plain, colour, hidden)
	if colour < 0.9 || colour < plain+0.05 || hidden > colour-0.1 {
		t.Errorf("AUC of SPAM %.2f, with colour differences %.2f, of changes that the channels share %.2f", plain, colour, hidden)
	}
}

// A known method is found, and where there is nothing to find, nothing is.
func TestDetectFindsLSBMatchingAndNothingElse(t *testing.T) {
	t.Parallel()
	r := random(t)
	var covers, stegos [][]float64
	for range 40 {
		m := natural(r, 64, 64, 0.7)
		covers, stegos = append(covers, plain(m)), append(stegos, plain(Matching(m, 1, r.Uint64())))
	}
	seeds := []uint64{1, 2, 3, 4, 5}
	found, err := Detect(covers, stegos, seeds)
	if err != nil {
		t.Fatal(err)
	}
	if found.Pairs != 20 || found.AUC.Mean < 0.95 || found.PE.Mean > 0.1 || found.PE.N != 5 {
		t.Errorf("LSB matching: %+v", found)
	}
	for name, e := range map[string]Estimate{"P_E": found.PE, "AUC": found.AUC} {
		if !(e.Low <= e.Mean && e.Mean <= e.High && e.High <= 1 && e.Low >= 0) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	// Of 20 pairs the AUC has a deviation of 0.07 and P_E one of 0.04: the means over eight sets are a tenth of what is allowed.
	const sets = 8
	auc, pe := 0.0, 0.0
	for range sets {
		var some, others [][]float64
		for range 40 {
			some, others = append(some, plain(natural(r, 64, 64, 0.7))), append(others, plain(natural(r, 64, 64, 0.7)))
		}
		nothing, err := Detect(some, others, seeds)
		if err != nil {
			t.Fatal(err)
		}
		auc, pe = auc+nothing.AUC.Mean/sets, pe+nothing.PE.Mean/sets
	}
	if auc < 0.25 || auc > 0.75 || pe < 0.25 {
		t.Errorf("covers and covers: AUC %v, P_E %v", auc, pe)
	}
	// However well two kinds of images can be told apart, a coin takes it away.
	var many []uint64
	for i := range uint64(20) {
		many = append(many, i)
	}
	null, err := Null(covers, stegos, many)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(null.AUC.Mean-0.5) > 0.15 || math.Abs(null.PE.Mean-null.Guessing) > 0.1 || null.Pairs != 20 {
		t.Errorf("a coin: %+v", null)
	}
	again, err := Detect(covers, stegos, seeds)
	if err != nil || again != found {
		t.Errorf("the same again: %+v, %v", again, err)
	}
}

func TestErrorsOfKnownScores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		negative, positive []float64
		pe, auc            float64
	}{
		{"apart", []float64{1, 2}, []float64{3, 4}, 0, 1},
		{"the wrong way round", []float64{3, 4}, []float64{1, 2}, 0.5, 0},
		{"equal", []float64{1, 1}, []float64{1, 1}, 0.5, 0.5},
		{"one of four wrong", []float64{1, 3}, []float64{2, 4}, 0.25, 0.75},
		{"ties between", []float64{1, 2}, []float64{2, 3}, 0.25, 0.875},
	} {
		s := newSplit([]int{0, 1}, c.negative, c.positive)
		once := []float64{1, 1}
		if math.Abs(s.least-c.pe) > 1e-12 || math.Abs(s.errorAtCut(once)-c.pe) > 1e-12 {
			t.Errorf("%s: P_E %v, at its cut %v, want %v", c.name, s.least, s.errorAtCut(once), c.pe)
		}
		if got := s.area(once); math.Abs(got-c.auc) > 1e-12 {
			t.Errorf("%s: AUC %v, want %v", c.name, got, c.auc)
		}
	}
	// A pair that counts twice is as good as two pairs; but each of the two is compared with one of the covers alone.
	two := newSplit([]int{0, 1}, []float64{1, 3}, []float64{2, 4})
	times := []float64{1, 2}
	if got := two.area(times); math.Abs(got-5.0/7) > 1e-12 {
		t.Errorf("a pair twice: AUC %v, want 5 of 7", got)
	}
	if got := two.errorAtCut(times); math.Abs(got-1.0/3) > 1e-12 {
		t.Errorf("a pair twice: error %v, want one of three", got)
	}
	if none := []float64{0, 0}; two.area(none) != 0.5 || two.errorAtCut(none) != 0.5 {
		t.Error("no pair tells something")
	}
}

// The P_E of guessing is the mean over all orders of covers and stego images.
func TestGuessingIsTheMeanOverAllOrders(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 6; n++ {
		sum, orders := 0.0, 0.0
		for order := range 1 << (2 * n) {
			var negative, positive []float64
			for place := range 2 * n {
				if order>>place&1 == 1 {
					positive = append(positive, float64(place))
				} else {
					negative = append(negative, float64(place))
				}
			}
			if len(positive) == n {
				sum += newSplit(make([]int, n), negative, positive).least
				orders++
			}
		}
		if got := guessing(n); math.Abs(got-sum/orders) > 1e-12 {
			t.Errorf("%d pairs: %v, want %v", n, got, sum/orders)
		}
	}
}

func TestMatchingMovesHalfOfWhatItUses(t *testing.T) {
	t.Parallel()
	r := random(t)
	m := natural(r, 64, 64, 100) // clipped at both ends
	for _, rate := range []float64{0, 0.25, 1} {
		out := Matching(m, rate, 7)
		moved := 0.0
		for i, v := range out.Pix {
			switch d := int(v) - int(m.Pix[i]); {
			case d == 0:
			case i%4 == 3 || d < -1 || d > 1:
				t.Fatalf("byte %d went from %d to %d", i, m.Pix[i], v)
			default:
				moved++
			}
		}
		if share := moved / (3 * 64 * 64); math.Abs(share-rate/2) > 0.03 {
			t.Errorf("rate %v moves a share of %v", rate, share)
		}
		if !bytes.Equal(out.Pix, Matching(m, rate, 7).Pix) || rate > 0 && bytes.Equal(out.Pix, Matching(m, rate, 8).Pix) {
			t.Errorf("rate %v: a seed hides in one way", rate)
		}
	}
}

// The discriminant solves its system although it is solved in the space of the rows.
func TestDiscriminantSolvesItsSystem(t *testing.T) {
	t.Parallel()
	r := random(t)
	rows := func(n int, shift float64) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = []float64{r.NormFloat64() + shift, 3 * r.NormFloat64(), r.NormFloat64() - shift, r.NormFloat64()}
		}
		return out
	}
	covers, stegos := rows(9, 0), rows(9, 1)
	w, err := discriminant(covers, stegos)
	if err != nil {
		t.Fatal(err)
	}
	var scatter [4][4]float64
	var difference [4]float64
	for class, rows := range [][][]float64{covers, stegos} {
		var mean [4]float64
		for _, row := range rows {
			for i, v := range row {
				mean[i] += v / 9
			}
		}
		for i, v := range mean {
			difference[i] += float64(2*class-1) * v
		}
		for _, row := range rows {
			for i := range 4 {
				for j := range 4 {
					scatter[i][j] += (row[i] - mean[i]) * (row[j] - mean[j])
				}
			}
		}
	}
	trace := scatter[0][0] + scatter[1][1] + scatter[2][2] + scatter[3][3]
	var left [4]float64
	for i := range 4 {
		scatter[i][i] += ridge * trace / 4
		for j := range 4 {
			left[i] += scatter[i][j] * w[j]
		}
	}
	scale := left[0] / difference[0]
	for i := range 4 {
		if math.Abs(left[i]-scale*difference[i]) > 1e-6*math.Abs(scale) {
			t.Errorf("row %d: %v, want %v", i, left[i], scale*difference[i])
		}
	}
}

func TestDetectNeedsPairs(t *testing.T) {
	t.Parallel()
	few := make([][]float64, 5)
	if _, err := Detect(few, few, []uint64{1}); !errors.Is(err, ErrPairs) {
		t.Errorf("five pairs: %v", err)
	}
	if _, err := Null(make([][]float64, 8), make([][]float64, 8), nil); !errors.Is(err, ErrPairs) {
		t.Errorf("no seeds: %v", err)
	}
	ragged := make([][]float64, 8)
	for i := range ragged {
		ragged[i] = make([]float64, 1+i%2)
	}
	if _, err := Detect(ragged, ragged, []uint64{1}); !errors.Is(err, ErrPairs) {
		t.Errorf("rows of different lengths: %v", err)
	}
}
