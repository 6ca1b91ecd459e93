package load

import (
	"context"
	"fmt"
	"time"

	"stegomq/report/figure"
)

// SweepPlan says how the offered rate is raised: from From by Factor, until a step does not hold, or for Most steps. A step holds as Sweep.Knee says.
type SweepPlan struct {
	From   float64 // requests a second
	Factor float64
	Most   int
	// P99 is a bound that the 99th percentile of the latency must stay below; 0: there is none.
	P99 time.Duration
}

// Check finds what is wrong with the plan. The error is as that of Offer.Check.
func (p SweepPlan) Check() error {
	switch {
	case !(p.From >= 0):
		return fmt.Errorf("from %v: give requests a second", p.From)
	case !(p.Factor > 1):
		return fmt.Errorf("factor %v: it must be above 1", p.Factor)
	case p.Most < 1:
		return fmt.Errorf("steps %d: choose 1 or more", p.Most)
	case p.P99 < 0:
		return fmt.Errorf("p99 %v: it must not be negative", p.P99)
	}
	return nil
}

// keepsUp is the share of the offered requests that must be answered for a step to hold.
const keepsUp = 0.95

// Sweep is the outcome of raising the rate.
type Sweep struct {
	Version int     `json:"version"`
	Program string  `json:"program"`
	Subject Subject `json:"subject"`
	// P99 is the bound in milliseconds; 0: none.
	P99 float64 `json:"p99_bound_ms,omitempty"`
	// Knee is the highest rate that held, with all rates below it, in requests a second; 0: not even the first rate held. A rate holds if nothing failed,
	// the answers within the measured time are at least 95 % of the requests that should have begun in it and, where there is a bound, the
	// 99th percentile of the latency is below it.
	Knee float64 `json:"knee_requests_per_second"`
	// Reached says that a step did not hold, so that Knee is the knee.
	Reached bool   `json:"reached"`
	Steps   []Step `json:"steps"`
}

// Step is the outcome at one rate.
type Step struct {
	Held   bool    `json:"held"`
	Report *Report `json:"report"`
}

// Sweep raises the rate until a step does not hold, and one further step shows how it goes on.
func (p SweepPlan) Sweep(ctx context.Context, measure func(ctx context.Context, rate float64) (*Report, error)) (*Sweep, error) {
	s := &Sweep{Version: reportVersion, P99: ms(p.P99)}
	rate := p.From
	for range p.Most {
		r, err := measure(ctx, rate)
		if err != nil {
			return nil, fmt.Errorf("at %.4g requests a second: %w", rate, err)
		}
		s.Program, s.Subject = r.Program, r.Subject
		held := len(r.Measured.Failed) == 0 && r.Measured.KeptUp() >= keepsUp && (p.P99 == 0 || r.Measured.Latency.At(99) < p.P99)
		s.Steps = append(s.Steps, Step{held, r})
		if s.Reached {
			return s, nil
		}
		if held {
			s.Knee = rate
		} else {
			s.Reached = true
		}
		rate *= p.Factor
	}
	return s, nil
}

// Figure is a chart of latency, and of throughput, against the offered rate.
func (s *Sweep) Figure() figure.Figure {
	median, p99 := figure.Series{Name: "median"}, figure.Series{Name: "p99"}
	offered, answered := figure.Series{Name: "offered"}, figure.Series{Name: "answered"}
	for _, step := range s.Steps {
		rate, m := step.Report.Load.Rate, step.Report.Measured
		median.Points = append(median.Points, [2]float64{rate, ms(m.Latency.At(50))})
		p99.Points = append(p99.Points, [2]float64{rate, ms(m.Latency.At(99))})
		offered.Points = append(offered.Points, [2]float64{rate, rate})
		answered.Points = append(answered.Points, [2]float64{rate, m.RequestsASecond()})
	}
	latency := figure.Panel{
		Title:  fmt.Sprintf("%s: knee at %.4g", s.Subject, s.Knee),
		XLabel: "offered, requests/s", YLabel: "latency, ms", Series: []figure.Series{median, p99},
	}
	if s.P99 > 0 {
		latency.Levels = []figure.Mark{{Name: "bound of p99", At: s.P99}}
	}
	return figure.Chart{Width: figure.Page, Panels: []figure.Panel{
		latency, {XLabel: "offered, requests/s", YLabel: "answered, requests/s", Series: []figure.Series{offered, answered}},
	}}
}
