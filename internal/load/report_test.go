package load

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample is a report of made-up durations: n requests of the given number of milliseconds and more.
func sample(n int, least time.Duration) *Report {
	m := newMeasured()
	for i := range n {
		m.add(Answer{Items: 1, Took: map[Part]time.Duration{Infer: least, Queue: time.Duration(i) * time.Millisecond}}, least+time.Duration(i)*time.Millisecond, true, true)
	}
	m.add(Answer{Hits: 1}, time.Millisecond, true, true)
	m.add(Answer{Failed: map[string]int{"bad_image": 1}}, time.Millisecond, true, true)
	m.Window, m.Begun = time.Duration(n)*time.Millisecond, n+2
	m.Usage = Usage{Processes: []Process{{Name: "stegomq bench", CPU: 0.5 * float64(n), RSS: 1 << 20}}}
	s := Subject{Operation: "embed", Model: "invertible-mk", Digest: strings.Repeat("a", 64), Size: 256, Batch: 1, Servers: "embedded", Images: "drawn, seed 1"}
	r := NewReport("stegomq test", s, Offer{InFlight: 4, Keys: 2, Choice: Zipf, Duration: time.Second}, &m)
	r.Against(Bare{100, 0.4}, Bare{300, 0.2}, 2)
	return r
}

func TestReportFile(t *testing.T) {
	t.Parallel()
	want, path := sample(100, 10*time.Millisecond), filepath.Join(t.TempDir(), "r.json")
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []float64{0, 50, 90, 99, 100} {
		if got.Measured.Latency.At(p) != want.Measured.Latency.At(p) || got.Measured.Parts[Queue].At(p) != want.Measured.Parts[Queue].At(p) {
			t.Errorf("p%v is another after it was read", p)
		}
	}
	if got.Measured.Latency.Count() != 100 || got.Measured.HitLatency.Count() != 1 {
		t.Errorf("%d durations and %d hits were read", got.Measured.Latency.Count(), got.Measured.HitLatency.Count())
	}
	// Histograms have caches of their own: the rest must be the same.
	for _, r := range []*Report{want, got} {
		r.Measured.Latency, r.Measured.HitLatency, r.Measured.Parts = Histogram{}, Histogram{}, nil
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
	if want.ItemsASecond != 1000 || want.CPUAnItem != 0.5 || want.Baseline.Ratio != 5 || want.Baseline.CPURatio < 0.599 || want.Baseline.CPURatio > 0.601 {
		t.Errorf("throughput %v, CPU %v, ratios %v and %v", want.ItemsASecond, want.CPUAnItem, want.Baseline.Ratio, want.Baseline.CPURatio)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"no JSON": "x", "another": `{"version":1}`, "no version": `{"measured":{}}`, "a newer one": `{"version":2,"measured":{}}`,
		"a broken histogram": `{"version":1,"measured":{"latency":{"hdr":"AAAA"}}}`, "a sweep": `{"version":1,"steps":[]}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a, b := sample(100, 10*time.Millisecond), sample(100, 20*time.Millisecond)
	b.Load.Keys, b.Subject.Batch = 5, 2
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	ratios := make(map[string]float64)
	for _, r := range c.Rows {
		ratios[r.Name] = r.Ratio
	}
	if math.Abs(ratios["infer p50"]-2) > 0.002 || ratios["throughput"] != 1 || ratios["latency p99"] < 1.05 || ratios["latency p99"] > 1.15 {
		t.Errorf("ratios %v", ratios)
	}
	if got := strings.Join(c.Differs, "; "); got != "keys: 2 zipf, 5 zipf; batch: 1, 2" {
		t.Errorf("differs: %s", got)
	}
	for what, spoil := range map[string]func(*Subject){
		"operation": func(s *Subject) { s.Operation = "recover" },
		"model":     func(s *Subject) { s.Digest = strings.Repeat("b", 64) },
		"size":      func(s *Subject) { s.Size = 128 },
	} {
		other := sample(10, time.Millisecond)
		spoil(&other.Subject)
		if _, err := Compare(a, other); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "the "+what+" of the first") {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

// TestSweep has a system that does 100 requests a second, and whose latency grows up to there.
func TestSweep(t *testing.T) {
	t.Parallel()
	measure := func(_ context.Context, rate float64) (*Report, error) {
		r := sample(100, time.Duration(rate)*time.Millisecond)
		r.Load.Loop, r.Load.Rate = "open", rate
		r.Measured.Failed = nil
		r.Measured.EndedRequests, r.Measured.Begun = int(100*min(1, 100/rate)), 100
		return r, nil
	}
	for _, c := range []struct {
		plan    SweepPlan
		knee    float64
		reached bool
		steps   int
	}{
		{SweepPlan{From: 20, Factor: 2, Most: 10}, 80, true, 5},
		{SweepPlan{From: 20, Factor: 2, Most: 2}, 40, false, 2},
		{SweepPlan{From: 200, Factor: 2, Most: 10}, 0, true, 2},
		// p99 is 98 ms above the rate.
		{SweepPlan{From: 20, Factor: 2, Most: 10, P99: 150 * time.Millisecond}, 40, true, 4},
	} {
		s, err := c.plan.Sweep(t.Context(), measure)
		if err != nil {
			t.Fatal(err)
		}
		if s.Knee != c.knee || s.Reached != c.reached || len(s.Steps) != c.steps {
			t.Errorf("%+v: knee %v, reached %v, %d steps", c.plan, s.Knee, s.Reached, len(s.Steps))
		}
		svg, err := s.Figure().SVG()
		if err != nil || !strings.Contains(string(svg), "<svg") {
			t.Errorf("figure: %v", err)
		}
	}
	broken := errors.New("broken")
	if _, err := (SweepPlan{From: 1, Factor: 2, Most: 3}).Sweep(t.Context(), func(context.Context, float64) (*Report, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	for _, p := range []SweepPlan{{From: -1, Factor: 2, Most: 1}, {Factor: 1, Most: 1}, {Factor: 2}, {Factor: 2, Most: 1, P99: -1}} {
		if p.Check() == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	r := sample(1000, time.Millisecond)
	svg, err := r.Figure().SVG()
	if err != nil || !strings.Contains(string(svg), "<svg") {
		t.Errorf("%v", err)
	}
	if points := r.Measured.Latency.curve(); points[0][0] != 1 || points[len(points)-1][0] > 1000 || points[len(points)-1][0] < 500 {
		t.Errorf("the curve goes from one in %v to one in %v", points[0][0], points[len(points)-1][0])
	}
	// Nothing was made: there is nothing to draw, and no panic.
	if _, err := sample(0, 0).Figure().SVG(); err == nil {
		t.Error("a chart of nothing")
	}
}
