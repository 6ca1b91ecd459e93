package quality

import "math"

// Summary accumulates the mean and the spread of a series in one pass (Welford 1962), without
// keeping it. The zero value is an empty series.
type Summary struct {
	N        int
	Mean     float64 // 0 for an empty series
	Min, Max float64 // 0 for an empty series
	squares  float64 // sum of squared deviations from Mean
}

// Add takes in one value. It must be finite, as every score of this package is.
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
