package telemetry

import (
	"cmp"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// JobStats are the figures of one operation's jobs in this process.
type JobStats struct {
	Operation string
	Jobs      uint64
	// Mean is the mean time of a job; Most is the bound of the histogram that 95 of 100 jobs did not exceed, or 0 beyond the last bound.
	Mean, Most time.Duration
}

// Read are figures of a process for people.
type Read struct {
	Jobs    []JobStats // by operation
	Weights WeightsStats
}

// Read returns the current figures.
func (m *Metrics) Read() Read {
	var r Read
	if m == nil {
		return r
	}
	families, _ := m.registry.Gather() // as far as they could be gathered
	for _, f := range families {
		switch f.GetName() {
		case "stegomq_job_seconds":
			for _, one := range f.GetMetric() {
				r.Jobs = append(r.Jobs, jobStats(one))
			}
		case "stegomq_weights_cache_hits_total":
			r.Weights.Hits = int64(f.GetMetric()[0].GetCounter().GetValue())
		case "stegomq_weights_cache_misses_total":
			r.Weights.Misses = int64(f.GetMetric()[0].GetCounter().GetValue())
		case "stegomq_weights_cache_bytes":
			r.Weights.Bytes = int64(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	slices.SortFunc(r.Jobs, func(a, b JobStats) int { return cmp.Compare(a.Operation, b.Operation) })
	return r
}

func jobStats(one *dto.Metric) JobStats {
	h := one.GetHistogram()
	s := JobStats{Jobs: h.GetSampleCount()}
	for _, label := range one.GetLabel() {
		s.Operation = label.GetValue()
	}
	if s.Jobs > 0 {
		s.Mean = seconds(h.GetSampleSum() / float64(s.Jobs))
	}
	for _, b := range h.GetBucket() {
		if float64(b.GetCumulativeCount()) >= 0.95*float64(s.Jobs) && !math.IsInf(b.GetUpperBound(), 1) {
			s.Most = seconds(b.GetUpperBound())
			break
		}
	}
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
