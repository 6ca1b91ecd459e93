package stats

import (
	"fmt"
	"math"
	"strings"
)

// Summary accumulates the mean and the spread of a series in one pass (Welford 1962), without
// keeping it. The zero value is an empty series.
type Summary struct {
	N        int
	Mean     float64 // 0 for an empty series
	Min, Max float64 // 0 for an empty series
	squares  float64 // sum of squared deviations from Mean
}

// Add takes in one value. It must be finite, as every score is.
func (s *Summary) Add(v float64) {
	if s.N == 0 {
		s.Min, s.Max = v, v
	}
	s.N++
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	delta := v - s.Mean
	s.Mean += delta / float64(s.N)
	s.squares += delta * (v - s.Mean)
}

// Std is the sample standard deviation (divisor N-1), 0 for fewer than two values.
func (s Summary) Std() float64 {
	if s.N < 2 {
		return 0
	}
	return math.Sqrt(s.squares / float64(s.N-1))
}

// Quantile returns the q-quantile, q on [0,1], of values in ascending order, linear between the two nearest
// (definition 7 of Hyndman and Fan 1996, which NumPy takes too); 0 for none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + float64((at-float64(i))*(sorted[i+1]-sorted[i])) // converted, so that no platform fuses it with the sum
}

// Moments are the mean of a metric, the sample standard deviation of its scores, and how sure the mean is.
type Moments struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
	// CI95 is the 95 % interval of the mean, Student's t on the items; null for fewer than two items.
	CI95 *Interval `json:"ci95"`
}

// Moments are those of the series, with the interval of its mean.
func (s Summary) Moments(mean *Interval) Moments {
	return Moments{Mean: s.Mean, Std: s.Std(), CI95: mean}
}

// Text is the mean with its deviation and its interval, in a format of fmt; the deviation without a sign.
func (m Moments) Text(format string) string {
	return fmt.Sprintf(format+" ± "+strings.Replace(format, "+", "", 1), m.Mean, m.Std) + m.CI95.Text(format)
}
