package modulo

import (
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"stegomq/internal/dct"
	"stegomq/internal/rotation"
)

// The block of a host and its numbers.
const (
	side        = 8
	frequencies = 3 * side * side
)

// Profile is a set of parameters: which noise the stego image has to survive, and how the loss is shared between it and the secret. Both sides
// need the same profile. The values were chosen on training photographs (tune_test.go).
type Profile struct {
	Name string

	noise    float64 // standard deviation of white noise that the samples meet
	jpeg     bool    // whether the noise of jpeg.txt is met as well, which leaves only luma to use
	bands    int     // of the rotation, at most
	gain     float64 // c: amplitude^2 = c t^power noise
	power    float64
	exchange float64 // what a unit of the secret's squared error counts in units of the stego image's
	guard    float64 // how far from the ends of their range samples are put that have left it, before coefficients move again
	weakest  float64 // power of the weakest coefficient that is sent, in units of the noise's
	refined  int     // host frequencies at the front whose values get a second one
	strength float64 // step of the header in host coefficients; 0: the header lies in the lowest bits of samples
}

var profiles = []Profile{
	{Name: "lossless", bands: 192, gain: 1, power: 0.4, exchange: 0.7, guard: 2, weakest: 4},
	{Name: "noise", noise: 1, bands: 192, gain: 0.4, power: 1.2, exchange: 6, guard: 1, weakest: 1, refined: 12, strength: 30},
	{Name: "jpeg", jpeg: true, bands: 96, gain: 2, power: 0.8, exchange: 5, guard: 2, weakest: 0.2, refined: 4, strength: 28},
}

// Profiles are the names of all.
func Profiles() (names []string) {
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return names
}

// ProfileOf is the profile of a name.
func ProfileOf(name string) (Profile, error) {
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("modulo: no profile %q; there are %q", name, Profiles())
}

// jpegNoise is the variance that JPEG of quality 90 with halved chroma adds to each of the 64 luma coefficients, in raster order.
// tune_test.go measured it on training photographs.
//
//go:embed jpeg.txt
var jpegTable string

var jpegNoise = func() (v [side * side]float64) {
	lines := strings.Fields(jpegTable)
	if len(lines) != len(v) {
		panic(fmt.Sprintf("modulo: jpeg.txt has %d numbers, want %d", len(lines), len(v)))
	}
	for i, line := range lines {
		var err error
		if v[i], err = strconv.ParseFloat(line, 64); err != nil {
			panic(fmt.Sprintf("modulo: jpeg.txt, number %d: %v", i+1, err))
		}
	}
	return v
}()

// rounding is the variance of rounding to whole samples.
const rounding = 1. / 12

// channel is the variance of the noise that a host frequency meets, and whether the frequency can be used.
func (p Profile) channel(f int) (variance float64, usable bool) {
	variance = p.noise * p.noise
	if p.jpeg {
		if f%3 != 0 {
			return 0, false
		}
		variance += jpegNoise[f/3]
	}
	return variance, true
}

// plan says what each host frequency of images of one size holds.
type plan struct {
	host     dct.Grid
	rotation rotation.Rotation
	header   []int  // host frequencies that hold the header, if any
	slots    []slot // those that hold the payload, the strongest of it first
	feedback [][]float64
}

// slot is a host frequency with a share of the payload: one value in each block. Where a value is worth two, a second slot holds it
// times detail, modulo twice the square root of 3, and the first says which of the numbers that this leaves it is.
type slot struct {
	f         int
	share     int     // of the payload: blocks values
	detail    float64 // 0 for the first slot of a value
	rough     bool    // a second one follows
	sent      bool
	amplitude float64 // of a value of the payload of mean square 1
	limit     float64 // of what is sent
	step      float64
	noise     float64 // variance of what the receiver meets
}

// plans of the last sizes: a plan takes some 20 ms.
var plans = struct {
	sync.Mutex
	made map[planKey]*plan
}{made: map[planKey]*plan{}}

type planKey struct {
	profile       Profile
	width, height int
}

const keptPlans = 8

// plan finds the plan for images of a size, or ErrTooSmall.
func (p Profile) plan(width, height int) (*plan, error) {
	if width < MinSide || height < MinSide {
		return nil, fmt.Errorf("%w: %dx%d, the sides must be at least %d", ErrTooSmall, width, height, MinSide)
	}
	plans.Lock()
	defer plans.Unlock()
	key := planKey{p, width, height}
	if made, ok := plans.made[key]; ok {
		return made, nil
	}
	made, err := p.makePlan(width, height)
	if err != nil {
		return nil, err
	}
	if len(plans.made) >= keptPlans {
		clear(plans.made)
	}
	plans.made[key] = made
	return made, nil
}

// Copies of a coded bit of the header that a robust profile aims for, and the frequencies that it takes for that at most.
const (
	copies = 3
	most   = 20
)

func (p Profile) makePlan(width, height int) (*plan, error) {
	made := &plan{host: dct.Within(width, height, side), rotation: rotation.New(width, height, p.bands)}
	free := p.ranking()
	if p.strength > 0 {
		blocks, bits := made.host.Blocks(), coded(8*made.headerSize())
		ceil := func(a, b int) int { return (a + b - 1) / b }
		need := max(ceil(bits, blocks), min(ceil(copies*bits, blocks), most))
		middle := p.forHeader()
		if need > len(middle) {
			return nil, fmt.Errorf("%w: %dx%d does not hold the header of the profile %s, which needs %d bits", ErrTooSmall, width, height, p.Name, bits)
		}
		made.header = middle[:need]
		free = slices.DeleteFunc(free, func(f int) bool { return slices.Contains(made.header, f) })
	} else if bits := 8 * made.headerSize(); bits > 3*width*height {
		return nil, fmt.Errorf("%w: %dx%d", ErrTooSmall, width, height)
	}
	p.fill(made, free)
	return made, nil
}

// headerSize in bytes: the encapsulation and the scales.
func (p *plan) headerSize() int { return encapsulation + p.rotation.Bands() }

// ranking is the order in which the payload fills the usable host frequencies: the least noise first, and with equal noise the highest
// frequency, where photographs have least to move.
func (p Profile) ranking() (order []int) {
	for f := range frequencies {
		if _, usable := p.channel(f); usable {
			order = append(order, f)
		}
	}
	slices.SortStableFunc(order, func(f, g int) int {
		a, _ := p.channel(f)
		b, _ := p.channel(g)
		return cmp.Or(cmp.Compare(a, b), radius(g)-radius(f))
	})
	return order
}

// radius orders host frequencies from low to high.
func radius(f int) int {
	u, v := f/3/side, f/3%side
	return u*u + v*v
}

// forHeader are the luma frequencies that can hold a header. Frequencies whose noise is so large that the two lattices cannot be told apart are
// left out. First come those with so much noise that they are worth little to the payload; among equals, low ones come before high ones. The
// mean of a block is left out too, because some decoders of JPEG shift it.
func (p Profile) forHeader() (order []int) {
	byRadius := func(f, g int) int { return radius(f) - radius(g) }
	var quiet []int
	for f := 3; f < frequencies; f += 3 {
		variance, _ := p.channel(f)
		switch noise := variance / (p.strength * p.strength); {
		case noise < 1./256:
			quiet = append(quiet, f)
		case noise <= 1./36:
			order = append(order, f)
		}
	}
	slices.SortStableFunc(order, byRadius)
	slices.SortStableFunc(quiet, byRadius)
	return append(order, quiet...)
}

// fill chooses amplitude, limit and step of every slot, and how rounding is shaped.
func (p Profile) fill(made *plan, free []int) {
	deviations := rotation.Deviations()
	blocks, rows := made.host.Blocks(), made.rotation.Blocks()
	weight := make([]float64, frequencies) // of an error in each host frequency
	for f := range weight {
		weight[f] = 1
	}
	for _, f := range made.header {
		weight[f] = headerWeight
	}
	made.slots = make([]slot, len(free))
	worth := make([]float64, len(free)) // t^2: what a unit of the payload's squared error costs the secret
	for k, f := range free {
		s := slot{f: f, share: k, rough: k < p.refined}
		if k >= p.refined {
			s.share -= p.refined
		}
		first, last := s.share*blocks/rows, min(((s.share+1)*blocks-1)/rows, rotation.Frequencies-1)
		for r := first; r <= last; r++ {
			worth[k] += deviations[r] * deviations[r] / float64(last-first+1)
		}
		variance, _ := p.channel(f)
		variance += rounding
		t := math.Pow(worth[k], p.power/2)
		power := p.gain * t * math.Sqrt(variance)
		detail := 1.
		if s.share < p.refined {
			// Both slots have one amplitude, at which what either gains is what it costs.
			power = math.Pow(p.gain*t*variance*certain/math.Sqrt(3), 2./3)
			detail = math.Sqrt(3*power/variance) / certain
			if !s.rough {
				s.detail = detail
			}
		}
		s.amplitude, s.sent = math.Sqrt(power), power >= p.weakest*variance
		made.slots[k] = s
		weight[f] += p.exchange * worth[k] / (detail * detail) / (power + variance)
	}
	feedback, shaped := shape(weight)
	made.feedback = feedback
	for k := range made.slots {
		s := &made.slots[k]
		variance, _ := p.channel(s.f)
		s.noise = variance + shaped[s.f]
		if s.limit, s.step = p.cut(s.amplitude, worth[k], s.noise); s.detail > 0 {
			s.limit = math.Sqrt(3) * s.amplitude
			s.step = 2 * (s.limit + certain*math.Sqrt(s.noise))
		}
	}
}

// certain is how many standard deviations of noise the first slot of a value must be off to mislead the second.
const certain = 4

// fine is what the second slot holds of a value: uniform between -sqrt(3) and sqrt(3), of mean square 1.
func (s slot) fine(value float64) float64 {
	value *= s.detail
	return value - 2*math.Sqrt(3)*math.Round(value/(2*math.Sqrt(3)))
}

// refine is the number nearest to a rough value of which the second slot holds fine.
func (s slot) refine(rough, fine float64) float64 {
	return (fine + 2*math.Sqrt(3)*math.Round((rough*s.detail-fine)/(2*math.Sqrt(3)))) / s.detail
}

// headerWeight makes rounding careful of the header.
const headerWeight = 30

// tail is what the upper end of the normal distribution holds beyond x: its share, its density there, and the mean of what
// is above x, squared, on both sides together.
type tail struct{ x, share, density, square float64 }

// tails on a grid.
var tails = func() (grid []tail) {
	for x := 0.7; x < 6; x += 0.05 {
		share, density := math.Erfc(x/math.Sqrt2)/2, math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		grid = append(grid, tail{x, share, density, 2 * ((1+x*x)*share - x*density)})
	}
	return grid
}()

// cut finds the limit of what is sent and the step, so that the sum of the errors is least. With values cut at T amplitudes and M
// standard deviations of noise from there to half a step D, the stego image errs by D^2/12. The secret errs, in units of t^2, by what was cut,
// 2 ((1 + T^2) Q(T) - T phi(T)), and by (D/amplitude)^2 where noise carries a value beyond half a step: 2 Q(T) Q(M) of those that were
// cut and 2 phi(T) (phi(M) - M Q(M)) noise/amplitude of those just below.
func (p Profile) cut(amplitude, worth, noise float64) (limit, step float64) {
	sigma := math.Sqrt(noise)
	least := math.Inf(1)
	for _, t := range tails {
		for _, m := range tails {
			d := 2 * (t.x*amplitude + m.x*sigma)
			beyond := 2 * (t.share*m.share + t.density*(m.density-m.x*m.share)*sigma/amplitude)
			if cost := d*d/12 + p.exchange*worth*(t.square+d*d/(amplitude*amplitude)*beyond); cost < least {
				least, limit, step = cost, t.x*amplitude, d
			}
		}
	}
	return limit, step
}
