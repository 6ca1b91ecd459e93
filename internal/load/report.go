package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"stegomq/report/figure"
)

// Subject says what was measured.
type Subject struct {
	Operation string `json:"operation"`
	// Model is the model's name and Digest that of its manifest; empty where there is no model.
	Model  string `json:"model"`
	Digest string `json:"model_digest"`
	// Size is the side of the images in pixels, Batch the items of a request, Images where they came from.
	Size   int    `json:"size"`
	Batch  int    `json:"batch"`
	Images string `json:"images"`
	// Inline says whether images went in the message where they fitted, Memo whether outputs that were made before were used again.
	Inline bool `json:"inline"`
	Memo   bool `json:"memo"`
	// Servers is "embedded" or "given". Workers counts the workers in this process, Slots the jobs that each has in hand, and Runtime names what
	// computes; 0 and empty where workers elsewhere do the work.
	Servers string `json:"servers"`
	Workers int    `json:"workers"`
	Slots   int    `json:"slots"`
	Runtime string `json:"runtime"`
	Cores   int    `json:"cores"`
}

// String is the operation, the model where there is one, and the size.
func (s Subject) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %dx%d", s.Operation, s.Model, s.Size, s.Size)), " ")
}

// Load is an Offer in a report.
type Load struct {
	Loop     string  `json:"loop"`
	Rate     float64 `json:"rate,omitempty"`      // requests a second
	InFlight int     `json:"in_flight,omitempty"` // of a closed loop
	Keys     int     `json:"keys"`
	Choice   Choice  `json:"key_choice"`
	Seed     uint64  `json:"seed"`
	WarmUp   float64 `json:"warm_up_seconds"`
	Duration float64 `json:"duration_seconds,omitempty"`
	Requests int     `json:"requests,omitempty"`
}

// Describe is the offer as a report has it.
func (o *Offer) Describe() Load {
	l := Load{
		Loop: o.Loop(), Rate: o.Rate, Keys: o.Keys, Choice: o.Choice, Seed: o.Seed, WarmUp: o.WarmUp.Seconds(), Duration: o.Duration.Seconds(), Requests: o.Requests,
	}
	if o.Rate == 0 {
		l.InFlight = o.InFlight
	}
	return l
}

// String is the load in a few words.
func (l Load) String() string {
	if l.Loop == "open" {
		return fmt.Sprintf("open loop, %.4g requests/s", l.Rate)
	}
	return fmt.Sprintf("closed loop, %d in flight", l.InFlight)
}

// Report is the outcome of a benchmark.
type Report struct {
	Version int     `json:"version"`
	Program string  `json:"program"`
	Date    string  `json:"date"` // RFC 3339
	Subject Subject `json:"subject"`
	Load    Load    `json:"load"`
	// ItemsASecond is the throughput. CPUAnItem is the CPU time for each item, in seconds, of all processes whose CPU time is known; 0 where nothing was
	// made.
	ItemsASecond float64   `json:"items_per_second"`
	CPUAnItem    float64   `json:"cpu_seconds_per_item"`
	Measured     *Measured `json:"measured"`
	Baseline     *Baseline `json:"baseline,omitempty"`
}

// reportVersion is the version of the JSON of reports and sweeps.
const reportVersion = 1

// NewReport puts a report together.
func NewReport(program string, s Subject, o Offer, m *Measured) *Report {
	r := &Report{
		Version: reportVersion, Program: program, Date: time.Now().UTC().Format(time.RFC3339), Subject: s, Load: o.Describe(),
		ItemsASecond: float64(m.Ended) / m.Window.Seconds(), Measured: m,
	}
	if m.Ended > 0 {
		r.CPUAnItem = m.Usage.CPU() / float64(m.Ended)
	}
	return r
}

// Baseline is the outcome of a bare loop on the runtime, which did the same runs of the network, before and after the measurement.
type Baseline struct {
	Before Bare `json:"before"`
	After  Bare `json:"after"`
	// Threads is the number of threads that ran at once.
	Threads int `json:"threads"`
	// Ratio is the throughput over that of the bare loop. CPURatio is the CPU time of an item in the bare loop over that in the report. 1 means equally
	// fast. Other work on the machine disturbs CPURatio less; where a device computes, CPURatio means nothing.
	Ratio    float64 `json:"throughput_ratio"`
	CPURatio float64 `json:"cpu_ratio"`
}

// Bare is the outcome of one bare loop.
type Bare struct {
	ItemsASecond float64 `json:"items_per_second"`
	CPUAnItem    float64 `json:"cpu_seconds_per_item"`
}

// Against sets the report's baseline.
func (r *Report) Against(before, after Bare, threads int) {
	r.Baseline = &Baseline{Before: before, After: after, Threads: threads}
	if sum := before.ItemsASecond + after.ItemsASecond; sum > 0 {
		r.Baseline.Ratio = r.ItemsASecond / (sum / 2)
	}
	if r.CPUAnItem > 0 {
		r.Baseline.CPURatio = (before.CPUAnItem + after.CPUAnItem) / 2 / r.CPUAnItem
	}
}

// ErrReport: a file is not a report of this version.
var ErrReport = errors.New("not a report of stegomq bench --json")

// Read reads the report in a file. The error wraps ErrReport where it is none.
func Read(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrReport, err)
	}
	switch {
	case r.Version != reportVersion && r.Version != 0:
		return nil, fmt.Errorf("%s: %w: it has version %d, this program reads %d: measure again", path, ErrReport, r.Version, reportVersion)
	case r.Version == 0 || r.Measured == nil || r.Measured.Latency.h == nil:
		return nil, fmt.Errorf("%s: %w", path, ErrReport)
	}
	return r, nil
}

// Write writes a report, or a sweep, to a file, as JSON.
func Write(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o644)
}

// Figure is a chart of the latency and its parts by percentile.
func (r *Report) Figure() figure.Figure {
	p := figure.Panel{
		Title:  fmt.Sprintf("%s, %s", r.Subject, r.Load),
		XLabel: "one request in so many takes longer (2: median, 100: p99, 1,000: p99.9)", YLabel: "ms", LogX: true,
	}
	add := func(name string, h Histogram) {
		if h.Count() > 0 {
			p.Series = append(p.Series, figure.Series{Name: name, Points: h.curve()})
		}
	}
	add("whole", r.Measured.Latency)
	for _, part := range Parts() {
		if h, ok := r.Measured.Parts[part]; ok {
			add(string(part), h)
		}
	}
	return figure.Chart{Panels: []figure.Panel{p}, Width: figure.Page}
}

// curve returns points (x, y): one in x durations is longer than y milliseconds. x goes up to the number of durations.
func (h Histogram) curve() (points [][2]float64) {
	for x := 1.0; x <= float64(h.Count()); x *= math.Sqrt2 {
		points = append(points, [2]float64{x, ms(h.At(100 - 100/x))})
	}
	return points
}

// ErrDiffers: two reports are of different work.
var ErrDiffers = errors.New("the reports are of different work")

// Comparison is of two reports of the same work.
type Comparison struct {
	Rows []Row `json:"rows"`
	// Differs names what else differs, such as the load.
	Differs []string `json:"differs,omitempty"`
}

// Row is a figure of both reports. Ratio is B over A; 0 where A is 0.
type Row struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	A     float64 `json:"a"`
	B     float64 `json:"b"`
	Ratio float64 `json:"ratio"`
}

// Compare puts two reports side by side. The error wraps ErrDiffers where their operations, models or sizes are not the same.
func Compare(a, b *Report) (*Comparison, error) {
	for _, must := range []struct{ what, a, b string }{
		{"operation", a.Subject.Operation, b.Subject.Operation},
		{"model", fmt.Sprintf("%s (%.12s)", a.Subject.Model, a.Subject.Digest), fmt.Sprintf("%s (%.12s)", b.Subject.Model, b.Subject.Digest)},
		{"size", fmt.Sprint(a.Subject.Size), fmt.Sprint(b.Subject.Size)},
	} {
		if must.a != must.b {
			return nil, fmt.Errorf("%w: the %s of the first is %s, of the second %s: compare two measurements of the same %s", ErrDiffers, must.what, must.a, must.b, must.what)
		}
	}
	c := &Comparison{Differs: differences(a, b)}
	c.add("throughput", "images/s", a.ItemsASecond, b.ItemsASecond)
	c.add("CPU", "ms/image", 1e3*a.CPUAnItem, 1e3*b.CPUAnItem)
	la, lb := a.Measured.Latency, b.Measured.Latency
	for _, p := range []float64{50, 90, 99, 99.9} {
		c.add(fmt.Sprintf("latency p%v", p), "ms", ms(la.At(p)), ms(lb.At(p)))
	}
	c.add("latency mean", "ms", ms(la.Mean()), ms(lb.Mean()))
	for _, part := range Parts() {
		ha, inA := a.Measured.Parts[part]
		hb, inB := b.Measured.Parts[part]
		if inA && inB {
			c.add(string(part)+" p50", "ms", ms(ha.At(50)), ms(hb.At(50)))
		}
	}
	if a.Baseline != nil && b.Baseline != nil {
		c.add("pipeline / bare", "", a.Baseline.Ratio, b.Baseline.Ratio)
		c.add("CPU, bare / pipeline", "", a.Baseline.CPURatio, b.Baseline.CPURatio)
	}
	return c, nil
}

func (c *Comparison) add(name, unit string, a, b float64) {
	row := Row{Name: name, Unit: unit, A: a, B: b}
	if a != 0 {
		row.Ratio = b / a
	}
	c.Rows = append(c.Rows, row)
}

func differences(a, b *Report) (list []string) {
	for _, may := range []struct {
		what string
		a, b any
	}{
		{"load", a.Load.String(), b.Load.String()}, {"keys", fmt.Sprintf("%d %s", a.Load.Keys, a.Load.Choice), fmt.Sprintf("%d %s", b.Load.Keys, b.Load.Choice)},
		{"batch", a.Subject.Batch, b.Subject.Batch}, {"inline", a.Subject.Inline, b.Subject.Inline}, {"memo", a.Subject.Memo, b.Subject.Memo},
		{"images", a.Subject.Images, b.Subject.Images}, {"servers", a.Subject.Servers, b.Subject.Servers}, {"workers", a.Subject.Workers, b.Subject.Workers},
		{"slots", a.Subject.Slots, b.Subject.Slots}, {"runtime", a.Subject.Runtime, b.Subject.Runtime}, {"cores", a.Subject.Cores, b.Subject.Cores},
	} {
		if may.a != may.b {
			list = append(list, fmt.Sprintf("%s: %v, %v", may.what, may.a, may.b))
		}
	}
	return list
}

// FailedItems counts the items that failed.
func (m *Measured) FailedItems() (n int) {
	for _, failed := range m.Failed {
		n += failed
	}
	return n
}

// RequestsASecond is the rate of the answers within the window.
func (m *Measured) RequestsASecond() float64 { return float64(m.EndedRequests) / m.Window.Seconds() }

// FailedText lists what failed, by reason.
func (m *Measured) FailedText() string {
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(m.Failed)) {
		words = append(words, fmt.Sprintf("%s %d", reason, m.Failed[reason]))
	}
	return strings.Join(words, ", ")
}
