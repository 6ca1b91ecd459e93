package figure

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// interval is the range of an axis.
type interval struct{ lo, hi float64 }

var nothing = interval{math.Inf(1), math.Inf(-1)}

// with widens a range to hold a value; one that is not finite changes nothing.
func (r interval) with(v float64) interval {
	if !finite(v) {
		return r
	}
	return interval{min(r.lo, v), max(r.hi, v)}
}

func (r interval) empty() bool { return r.lo > r.hi }

// padded leaves a share of the range free on both sides, so that no point lies on an axis. A single value gets a range
// around it.
func (r interval) padded(share float64) interval {
	if r.empty() {
		return interval{0, 1}
	}
	by := share * (r.hi - r.lo)
	if by <= 1e-9*math.Abs(r.lo) {
		by = 0.05 * math.Abs(r.lo)
	}
	if by < 1e-90 {
		by = 1
	}
	return interval{r.lo - by, r.hi + by}
}

// paddedLog is padded on a logarithmic axis.
func (r interval) paddedLog(share float64) interval {
	logs := interval{math.Log(r.lo), math.Log(r.hi)}.padded(share)
	return interval{math.Exp(logs.lo), math.Exp(logs.hi)}
}

// linearTicks are n ticks or less, and more than a third of n, at 1, 2 or 5 times a power of ten.
func linearTicks(r interval, n int) []plot.Tick {
	rough := (r.hi - r.lo) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*0.999 {
			step = m * power
			break
		}
	}
	digits := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var ticks []plot.Tick
	first := math.Ceil(r.lo/step - 1e-9)
	for i := range 2 * n {
		v := (first + float64(i)) * step
		if v > r.hi+1e-9*step {
			break
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: number(v, digits)})
	}
	return ticks
}

// logTicks are the powers of ten in a range, with short ticks between them. Where there is only one, 2 and 5 times
// a power have labels too.
func logTicks(r interval) []plot.Tick {
	from, to := int(math.Floor(math.Log10(r.lo))), int(math.Ceil(math.Log10(r.hi)))
	powers := 0
	for e := from; e <= to; e++ {
		if v := math.Pow10(e); v >= r.lo && v <= r.hi {
			powers++
		}
	}
	every := 1 + powers/7
	var ticks []plot.Tick
	for e := from; e <= to; e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow10(e)
			if v < r.lo || v > r.hi || m > 1 && every > 1 {
				continue
			}
			tick := plot.Tick{Value: v}
			if m == 1 && (e-from)%every == 0 || powers < 2 && (m == 1 || m == 2 || m == 5) {
				tick.Label = number(v, max(0, -e))
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// number writes a value for a reader: with a real minus, and commas from 10,000 on.
func number(v float64, digits int) string {
	if v != 0 && (math.Abs(v) >= 1e7 || digits > 5) {
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "-", "−", 1)
	}
	s := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	if len(whole) > 4 {
		for at := len(whole) - 3; at > 0; at -= 3 {
			whole = whole[:at] + "," + whole[at:]
		}
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if v < 0 && strings.Trim(s, "0.") != "" {
		whole = "−" + whole
	}
	return whole
}

// decimals is how many digits a value has after its point, at most 4.
func decimals(v float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
	return min(len(fraction), 4)
}
