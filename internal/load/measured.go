package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Part is a part of a request's latency. The parts follow one another and do not overlap.
type Part string

// The parts, in their order.
const (
	// Send is encoding the message, storing images, and publishing the job until the queue has it.
	Send Part = "send"
	// Queue is the rest of the latency: waiting in the queue, and the way of the result back.
	Queue Part = "queue"
	// Fetch is looking for an output that was made before, and fetching, decoding and resizing images.
	Fetch Part = "fetch"
	// Wait is waiting for a place among the runs of the network.
	Wait Part = "wait"
	// Patch is making the weights of a key that was not at hand.
	Patch Part = "patch"
	// Infer is the network, or the cipher.
	Infer Part = "infer"
	// Store is quantising, encoding and storing what came out.
	Store Part = "store"
	// Score is comparing images and storing the scores.
	Score Part = "score"
	// Collect is fetching the output.
	Collect Part = "collect"
)

// Parts lists the parts in their order.
func Parts() []Part { return []Part{Send, Queue, Fetch, Wait, Patch, Infer, Store, Score, Collect} }

// The range of histograms, in microseconds, and their significant digits.
const (
	shortest, longest = 1, int64(time.Hour / time.Microsecond)
	digits            = 3
)

// Histogram is a histogram of durations from a microsecond to an hour, true to three digits. In JSON it has figures in milliseconds; the field hdr is the
// whole histogram in HdrHistogram's own encoding (V2, compressed, base64), in microseconds.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram makes an empty one.
func NewHistogram() Histogram { return Histogram{hdrhistogram.New(shortest, longest, digits)} }

// Add notes a duration.
func (h Histogram) Add(d time.Duration) {
	_ = h.h.RecordValue(min(max(d.Microseconds(), shortest), longest)) // within the range it cannot fail
}

// At is the duration at a percentile, 0 to 100; 0 of an empty histogram.
func (h Histogram) At(percentile float64) time.Duration {
	return micro(h.h.ValueAtPercentile(percentile))
}

// Mean is the mean duration; 0 of an empty histogram.
func (h Histogram) Mean() time.Duration {
	return time.Duration(h.h.Mean() * float64(time.Microsecond))
}

// Max is the longest duration; 0 of an empty histogram.
func (h Histogram) Max() time.Duration { return micro(h.h.Max()) }

// Count is the number of durations.
func (h Histogram) Count() int64 { return h.h.TotalCount() }

func micro(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// figures are a histogram in JSON.
type figures struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	Min   float64 `json:"min_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	HDR   string  `json:"hdr"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	f := figures{Count: h.Count()}
	if f.Count > 0 {
		f.Mean, f.Min, f.Max = ms(h.Mean()), ms(micro(h.h.Min())), ms(h.Max())
		f.P50, f.P90, f.P99, f.P999 = ms(h.At(50)), ms(h.At(90)), ms(h.At(99)), ms(h.At(99.9))
	}
	encoded, err := h.h.EncodeV2()
	if err != nil {
		return nil, err
	}
	f.HDR = string(encoded)
	return json.Marshal(f)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var f figures
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	var err error
	if h.h, err = hdrhistogram.Decode([]byte(f.HDR)); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	return nil
}

// Usage is what a system has used so far, or within a span of time.
type Usage struct {
	Processes []Process `json:"processes"`
	// WeightHits and WeightMisses count the look-ups in this process's cache of keys' weights.
	WeightHits   uint64 `json:"weight_cache_hits"`
	WeightMisses uint64 `json:"weight_cache_misses"`
}

// Process is what one process used.
type Process struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_seconds"`
	// RSS is the process's memory at the end, and Peak its largest, in bytes; 0 where they are not known.
	RSS  int64 `json:"rss_bytes"`
	Peak int64 `json:"peak_rss_bytes,omitempty"`
}

// less is what was used since a time before.
func (u Usage) less(before Usage) Usage {
	for i, p := range u.Processes {
		for _, b := range before.Processes {
			if b.Name == p.Name {
				u.Processes[i].CPU -= b.CPU
			}
		}
	}
	u.WeightHits -= before.WeightHits
	u.WeightMisses -= before.WeightMisses
	return u
}

// CPU is that of all processes, in seconds.
func (u Usage) CPU() (sum float64) {
	for _, p := range u.Processes {
		sum += p.CPU
	}
	return sum
}

// Measured is the outcome of a run.
type Measured struct {
	// Window is the time that counts. Begun counts the requests that should have begun within it, and Ended the items that were made within it, also by
	// requests that began before.
	Window time.Duration `json:"window_ns"`
	Begun  int           `json:"requests_begun"`
	Ended  int           `json:"items_ended"`
	// EndedRequests are the requests whose answer came within the window.
	EndedRequests int `json:"requests_ended"`
	// Requests counts the requests that count, have an answer, and made at least one item. Items counts what they made, and Hits what was found made
	// before.
	Requests int            `json:"requests"`
	Items    int            `json:"items"`
	Hits     int            `json:"hits"`
	Failed   map[string]int `json:"failed,omitempty"` // items, by reason
	In       int64          `json:"bytes_in"`
	Out      int64          `json:"bytes_out"`
	// Latency is of Requests. HitLatency is of requests that made nothing.
	Latency    Histogram          `json:"latency"`
	HitLatency Histogram          `json:"hit_latency"`
	Parts      map[Part]Histogram `json:"parts"`
	Usage      Usage              `json:"usage"`
}

func newMeasured() Measured {
	return Measured{Failed: make(map[string]int), Latency: NewHistogram(), HitLatency: NewHistogram(), Parts: make(map[Part]Histogram)}
}

// add notes an answer. counts says whether its request counts, within whether it came within the window.
func (m *Measured) add(a Answer, latency time.Duration, counts, within bool) {
	if within {
		m.Ended += a.Items
		m.EndedRequests++
	}
	if !counts {
		return
	}
	for reason, n := range a.Failed {
		m.Failed[reason] += n
	}
	m.Items += a.Items
	m.Hits += a.Hits
	m.In += a.In
	m.Out += a.Out
	switch {
	case len(a.Failed) > 0:
		return
	case a.Items == 0:
		m.HitLatency.Add(latency)
		return
	}
	m.Requests++
	m.Latency.Add(latency)
	for part, took := range a.Took {
		if _, ok := m.Parts[part]; !ok {
			m.Parts[part] = NewHistogram()
		}
		m.Parts[part].Add(took)
	}
}

// KeptUp is the number of answers that came within the window over the number of requests that should have begun in it.
func (m *Measured) KeptUp() float64 {
	if m.Begun == 0 {
		return 0
	}
	return float64(m.EndedRequests) / float64(m.Begun)
}
