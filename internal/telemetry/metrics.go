package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stegomq/internal/tracing"
)

// maxValues bounds the values of one label. Further values are counted as "other".
const (
	maxValues = 24
	other     = "other"
)

// refusedItems is the outcome of items that recovery refused; their job is done.
const refusedItems = "refused"

// secondsBuckets range from one small image on a GPU to 64 large ones on a CPU.
var secondsBuckets = []float64{0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// waitBuckets range from a request to an idle worker to a bulk job behind a day's work.
var waitBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}

// Metrics are the metrics of one process, listed in docs/metrics.md, and those of the Go runtime and the process. Methods are safe for
// concurrent use, and on a nil *Metrics they do nothing. Those that take a context record a duration with the context's trace.
type Metrics struct {
	registry   *prometheus.Registry
	inFlight   *prometheus.GaugeVec
	jobs       *prometheus.CounterVec
	items      *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	waits      *prometheus.HistogramVec
	whole      *prometheus.HistogramVec
	scores     prometheus.Counter
	dead       *prometheus.CounterVec
	unexpected prometheus.Counter
	requests   *prometheus.CounterVec
	answering  *prometheus.HistogramVec
	operations bounded
	classes    bounded
	outcomes   bounded
	reasons    bounded
}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "stegomq", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("jobs_in_flight", "Jobs begun but not ended.")), []string{"operation"}),
		jobs:     counter("jobs_total", "Jobs ended: done, retried (they come again) or dead.", "operation", "outcome"),
		items:    counter("items_total", "Items of ended jobs; outcome refused: refused by recovery.", "operation", "outcome"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "stegomq", Name: "job_seconds", Help: "Time of jobs, in seconds.", Buckets: secondsBuckets,
		}, []string{"operation"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "stegomq", Name: "queue_wait_seconds", Buckets: waitBuckets,
			Help: "Time from when the queue had a job until a worker first began it, in seconds; operation score: from a result until an evaluator began it.",
		}, []string{"operation", "class"}),
		whole: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "stegomq", Name: "end_to_end_seconds", Buckets: waitBuckets,
			Help: "Time from when the queue had a job until its result was stored, in seconds; operation score: from a result until its scores were stored.",
		}, []string{"operation", "class"}),
		scores: prometheus.NewCounter(prometheus.CounterOpts(opts("scores_written_total", "Scores that were new in Redis."))),
		dead:   counter("dead_letters_total", "Messages given up, as dead letters.", "reason"),
		unexpected: prometheus.NewCounter(prometheus.CounterOpts(opts("unexpected_total",
			"Results and dead letters refused, because their runs do not ask for them."))),
		requests: counter("http_requests_total", "Answered HTTP requests.", "route", "status"),
		answering: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "stegomq", Name: "http_request_seconds", Help: "Time of HTTP requests, including reading their bodies, in seconds.", Buckets: secondsBuckets,
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.inFlight, m.jobs, m.items, m.seconds, m.waits, m.whole, m.scores, m.dead, m.unexpected, m.requests, m.answering,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsScheduler, collectors.MetricsMemory)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// JobStarted records that a job begins. A JobDone with the same operation follows.
func (m *Metrics) JobStarted(operation string) {
	if m == nil {
		return
	}
	m.inFlight.WithLabelValues(m.operations.value(operation)).Inc()
}

// JobDone records that a started job has ended. operation is embed, recover, purify or score; outcome is a word such as done,
// retry, dead; items is the number of its items, and refused how many of them recovery refused; d is how long it took.
func (m *Metrics) JobDone(ctx context.Context, operation, outcome string, items, refused int, d time.Duration) {
	if m == nil {
		return
	}
	operation, outcome = m.operations.value(operation), m.outcomes.value(outcome)
	m.inFlight.WithLabelValues(operation).Dec()
	m.jobs.WithLabelValues(operation, outcome).Inc()
	m.items.WithLabelValues(operation, outcome).Add(float64(items - refused))
	if refused > 0 {
		m.items.WithLabelValues(operation, m.outcomes.value(refusedItems)).Add(float64(refused))
	}
	observe(ctx, m.seconds.WithLabelValues(operation), d)
}

// Waited records how long a job, or a result to score, was in the queue before its first try began. operation is embed, recover, purify or
// score; class is that of the job (schemas.Class).
func (m *Metrics) Waited(ctx context.Context, operation, class string, d time.Duration) {
	if m == nil {
		return
	}
	observe(ctx, m.waits.WithLabelValues(m.operations.value(operation), m.classes.value(class)), d)
}

// Ended records the time from when the queue had a job or result until it was done.
func (m *Metrics) Ended(ctx context.Context, operation, class string, d time.Duration) {
	if m == nil {
		return
	}
	observe(ctx, m.whole.WithLabelValues(m.operations.value(operation), m.classes.value(class)), d)
}

// ScoresWritten counts n scores that were new in Redis.
func (m *Metrics) ScoresWritten(n int) {
	if m == nil {
		return
	}
	m.scores.Add(float64(n))
}

// DeadLetter counts a message given up for a reason (schemas.Reason).
func (m *Metrics) DeadLetter(reason string) {
	if m == nil {
		return
	}
	m.dead.WithLabelValues(m.reasons.value(reason)).Inc()
}

// Unexpected counts a result, or a dead letter, that was refused because its run does not ask for it.
func (m *Metrics) Unexpected() {
	if m == nil {
		return
	}
	m.unexpected.Inc()
}

// Answered records an answered HTTP request. route is a pattern, such as GET /v1/jobs/{id}, and not the requested path, so there are few.
func (m *Metrics) Answered(ctx context.Context, route string, status int, d time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	observe(ctx, m.answering.WithLabelValues(route), d)
}

// observe records a duration. If the context has a sampled trace, its id is the exemplar of the bucket, which only OpenMetrics scrapes contain.
func observe(ctx context.Context, in prometheus.Observer, d time.Duration) {
	if id := tracing.SampledID(ctx); id != "" {
		in.(prometheus.ExemplarObserver).ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": id})
		return
	}
	in.Observe(d.Seconds())
}

// WeightsStats are the counts of a cache of keyed weights: hits and misses only grow.
type WeightsStats struct{ Hits, Misses, Bytes int64 }

// WatchWeights reads the cache of keyed weights whenever metrics are scraped. read must be safe for
// concurrent use. A second call panics.
func (m *Metrics) WatchWeights(read func() WeightsStats) {
	if m == nil {
		return
	}
	m.watch(prometheus.CounterValue, "weights_cache_hits_total", "Keyed weights found in the cache.", nil, func() int64 { return read().Hits })
	m.watch(prometheus.CounterValue, "weights_cache_misses_total", "Keyed weights that had to be made.", nil, func() int64 { return read().Misses })
	m.watch(prometheus.GaugeValue, "weights_cache_bytes", "Keyed weights in the cache, in bytes.", nil, func() int64 { return read().Bytes })
}

// WatchMemos reads the counts of memos of one kind (outputs, metrics, images) whenever metrics are
// scraped. read must be safe for concurrent use. A second call with the same kind panics.
func (m *Metrics) WatchMemos(kind string, read func() (hits, misses int64)) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"kind": kind}
	m.watch(prometheus.CounterValue, "memo_hits_total", "Memos of work found in Redis.", labels, func() int64 { n, _ := read(); return n })
	m.watch(prometheus.CounterValue, "memo_misses_total", "Memos of work not found in Redis.", labels, func() int64 { _, n := read(); return n })
}

func (m *Metrics) watch(t prometheus.ValueType, name, help string, labels prometheus.Labels, read func() int64) {
	opts := prometheus.Opts{Namespace: "stegomq", Name: name, Help: help, ConstLabels: labels}
	value := func() float64 { return float64(read()) }
	if t == prometheus.CounterValue {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), value))
		return
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), value))
}

// Handler serves the metrics in the formats that Prometheus reads. Only OpenMetrics has exemplars.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}

// bounded passes the first maxValues values of a label and replaces the rest by "other", so that a caller's
// mistake cannot fill a time-series database.
type bounded struct {
	mu   sync.RWMutex
	seen map[string]bool
}

func (b *bounded) value(v string) string {
	b.mu.RLock()
	known := b.seen[v]
	b.mu.RUnlock()
	if known {
		return v
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= maxValues && !b.seen[v] {
		return other
	}
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	b.seen[v] = true
	return v
}
