package modulo

import (
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

// Profile is a set of parameters: what the stego image has to survive, and how the loss is shared between it and the secret. Both sides
// need the same one. The values were chosen on training photographs (tune_test.go).
type Profile struct {
	Name string

	noise    float64 // standard deviation of white noise that the samples meet
	jpeg     bool    // whether the noise of jpeg.txt is met as well, which leaves only luma to use
	bands    int     // of the rotation, at most
	gain     float64 // c: amplitude^2 = c t^power noise
	power    float64
	exchange float64 // what a unit of the secret's squared error counts in units of the stego image's
	margin   float64 // standard deviations of noise between the amplitude's limit and half a step
	weakest  float64 // power of the weakest coefficient that is sent, in units of the noise's
	strength float64 // step of the header in host coefficients; 0: the header lies in the lowest bits of samples
}

var profiles = []Profile{
	{Name: "lossless", bands: rotation.Frequencies, gain: 0.3, power: 0.4, exchange: 0.5, margin: 3, weakest: 2},
	{Name: "noise", noise: 1, bands: 64, gain: 0.5, power: 1, exchange: 1, margin: 2.5, weakest: 0.5, strength: 16},
	{Name: "jpeg", jpeg: true, bands: 32, gain: 3, power: 0.8, exchange: 3, margin: 2, weakest: 0.2, strength: 24},
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

// channel is the variance of what a host frequency meets, and whether it can be used.
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

// slot is a host frequency with a share of the payload: one value in each block.
type slot struct {
	f         int
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

// Copies of a coded bit of the header that a robust profile aims for, and the frequencies that it may take for them.
const (
	copies    = 4
	forHeader = 20
)

func (p Profile) makePlan(width, height int) (*plan, error) {
	made := &plan{host: dct.Within(width, height, side), rotation: rotation.New(width, height, p.bands)}
	free := p.ranking()
	if p.strength > 0 {
		blocks, bits := made.host.Blocks(), coded(8*made.headerSize())
		ceil := func(a, b int) int { return (a + b - 1) / b }
		need := max(ceil(bits, blocks), min(ceil(copies*bits, blocks), forHeader))
		middle := lumaByFrequency()[3:] // the lowest are worth most to the payload
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
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return radius(g) - radius(f)
	})
	return order
}

// radius orders host frequencies from low to high.
func radius(f int) int {
	u, v := f/3/side, f/3%side
	return u*u + v*v
}

// lumaByFrequency are the luma frequencies from low to high.
func lumaByFrequency() (order []int) {
	for i := range side * side {
		order = append(order, 3*i)
	}
	slices.SortStableFunc(order, func(f, g int) int { return radius(f) - radius(g) })
	return order
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
		first, last := k*blocks/rows, min(((k+1)*blocks-1)/rows, rotation.Frequencies-1)
		for r := first; r <= last; r++ {
			worth[k] += deviations[r] * deviations[r] / float64(last-first+1)
		}
		variance, _ := p.channel(f)
		variance += rounding
		power := p.gain * math.Pow(worth[k], p.power/2) * math.Sqrt(variance)
		made.slots[k] = slot{f: f, sent: power >= p.weakest*variance, amplitude: math.Sqrt(power)}
		weight[f] += p.exchange * worth[k] / (power + variance)
	}
	feedback, shaped := shape(weight)
	made.feedback = feedback
	for k := range made.slots {
		s := &made.slots[k]
		variance, _ := p.channel(s.f)
		s.noise = variance + shaped[s.f]
		s.limit = s.amplitude * p.cut(s.amplitude, worth[k], s.noise)
		s.step = 2 * (s.limit + p.margin*math.Sqrt(s.noise))
	}
}

// headerWeight makes rounding careful of the header.
const headerWeight = 30

// cut is where values of mean square 1 are cut off, so that the sum of both errors is least: a step of D costs the stego image D^2/12, a
// normal value cut at T costs 2 ((1 + T^2) Q(T) - T phi(T)) of its power t.
func (p Profile) cut(amplitude, t, noise float64) float64 {
	best, least := 0., math.Inf(1)
	for i := range 169 {
		x := 0.8 + 0.025*float64(i)
		step := 2 * (x*amplitude + p.margin*math.Sqrt(noise))
		tail := math.Erfc(x/math.Sqrt2) / 2
		density := math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
		if cost := step*step/12 + p.exchange*t*2*((1+x*x)*tail-x*density); cost < least {
			best, least = x, cost
		}
	}
	return best
}
