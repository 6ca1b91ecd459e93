package telemetry

import (
	"context"
	"reflect"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	m.WatchWeights(func() WeightsStats { return WeightsStats{Hits: 3, Misses: 2, Bytes: 1 << 20} })
	for range 99 {
		m.JobStarted("embed")
		m.JobDone(context.Background(), "embed", "done", 1, 0, 20*time.Millisecond)
	}
	m.JobStarted("embed")
	m.JobDone(context.Background(), "embed", "done", 1, 0, 10*time.Second)
	m.JobStarted("score")
	m.JobDone(context.Background(), "score", "done", 1, 0, time.Hour)
	want := Read{
		Jobs: []JobStats{
			{Operation: "embed", Jobs: 100, Mean: 119800 * time.Microsecond, Most: 25 * time.Millisecond},
			{Operation: "score", Jobs: 1, Mean: time.Hour},
		},
		Weights: WeightsStats{Hits: 3, Misses: 2, Bytes: 1 << 20},
	}
	got := m.Read()
	for i := range got.Jobs {
		got.Jobs[i].Mean = got.Jobs[i].Mean.Round(time.Microsecond)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	var none *Metrics
	if r := none.Read(); len(r.Jobs) > 0 {
		t.Errorf("of none: %+v", r)
	}
}
