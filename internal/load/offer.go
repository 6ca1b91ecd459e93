package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Choice says how often each key is asked for.
type Choice string

// The choices of keys.
const (
	// One asks for the first key alone, Uniform for each key equally often, and Zipf for key k, from 0 on, with a probability proportional to
	// (1+k)^-ZipfExponent.
	One     Choice = "one"
	Uniform Choice = "uniform"
	Zipf    Choice = "zipf"
)

// ZipfExponent is the exponent of Zipf: of a thousand keys, the first gets a sixth of the requests.
const ZipfExponent = 1.1

// Offer says what load is put on a system. Exactly one of Duration and Requests is above 0.
type Offer struct {
	// Rate is that of an open loop, in requests a second: requests begin at the times of a Poisson process, whatever the system does.
	// 0: a closed loop, which keeps InFlight requests under way: one begins when another ends.
	Rate     float64
	InFlight int
	// Keys are the numbers from 0 to Keys-1, drawn as Choice says.
	Keys   int
	Choice Choice
	// Seed determines the keys and the intended starts.
	Seed uint64
	// WarmUp is the time before the requests that count. Duration is how long such requests are begun, Requests how many of them.
	WarmUp, Duration time.Duration
	Requests         int
}

// mostRate bounds an open loop, in requests a second. No queue takes as many, and the measurement would not end.
const mostRate = 100_000

// Check finds what is wrong with the offer. The error begins with the name of a flag, without dashes.
func (o *Offer) Check() error {
	switch {
	case !(o.Rate >= 0) || math.IsInf(o.Rate, 0):
		return fmt.Errorf("rate %v: give requests a second", o.Rate)
	case o.Rate > mostRate:
		return fmt.Errorf("rate %v: choose at most %d; every request that should have begun is still made, however late", o.Rate, mostRate)
	case o.Rate == 0 && o.InFlight < 1:
		return fmt.Errorf("in-flight %d: choose 1 or more, or give --rate", o.InFlight)
	case o.Keys < 1:
		return fmt.Errorf("keys %d: choose 1 or more", o.Keys)
	case o.Choice != One && o.Choice != Uniform && o.Choice != Zipf:
		return fmt.Errorf("key-choice %q: choose %s, %s or %s", o.Choice, One, Uniform, Zipf)
	case o.WarmUp < 0:
		return fmt.Errorf("warm-up %v: it must not be negative", o.WarmUp)
	case o.Requests < 0 || o.Duration < 0 || o.Requests == 0 && o.Duration == 0:
		return fmt.Errorf("duration %v, --requests %d: give one of them, above 0", o.Duration, o.Requests)
	case o.Requests > 0 && o.Duration > 0:
		return fmt.Errorf("duration and --requests exclude each other: leave one out")
	}
	return nil
}

// Loop is "open" or "closed".
func (o *Offer) Loop() string {
	if o.Rate > 0 {
		return "open"
	}
	return "closed"
}

// keys draws the keys of requests.
func (o *Offer) keys() func() int {
	r := rand.New(rand.NewPCG(o.Seed, 1))
	switch {
	case o.Choice == One || o.Keys == 1:
		return func() int { return 0 }
	case o.Choice == Zipf:
		z := rand.NewZipf(r, ZipfExponent, 1, uint64(o.Keys-1))
		return func() int { return int(z.Uint64()) }
	}
	return func() int { return r.IntN(o.Keys) }
}

// arrivals draws the times from the beginning to each intended start of an open loop.
func (o *Offer) arrivals() func() time.Duration {
	r, at := rand.New(rand.NewPCG(o.Seed, 2)), 0.0
	return func() time.Duration {
		at += r.ExpFloat64() / o.Rate
		return time.Duration(at * float64(time.Second))
	}
}
