package service

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// BenchmarkRecover is one request at a time, of 256x256 pixels, in turn as the queue is asked and over HTTP, and gives the medians. What is measured is
// remembered work, so that the difference is the service's.
func BenchmarkRecover(b *testing.B) {
	pair, err := keyring.Generate("bench", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	store(b, pair)
	c := start(b, Config{}).user(users.User{Name: "bench", Scopes: both, Keys: []string{"bench"}})
	stego := c.post("/v1/embed", fields{"cover": picture(b, 1, 256), "secret": picture(b, 2, 256), "key": "bench", "model": "modulo"})
	stego.image()
	var m *model.Model
	for _, one := range parts.Models {
		if one.Name == "modulo" {
			m = one
		}
	}
	req := &pipeline.OperationRequest{
		Operation: schemas.Operation_OPERATION_RECOVER, Model: m, Keys: parts.Keys, Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
	}
	var queue, over []time.Duration
	for b.Loop() {
		began := time.Now()
		if reply, _, err := parts.Pipeline.Ask(b.Context(), req, "bench", "bench", map[string][]byte{"stego": stego.body}); err != nil || !reply.OK {
			b.Fatal(reply, err)
		}
		between := time.Now()
		if a := c.send(http.MethodPost, "/v1/recover", fields{"stego": stego.body, "key": "bench", "model": "modulo"}, false); a.status != http.StatusOK {
			b.Fatal(a.status)
		}
		queue, over = append(queue, between.Sub(began)), append(over, time.Since(between))
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return d[len(d)/2].Seconds() * 1000 }
	b.ReportMetric(median(queue), "queue-ms")
	b.ReportMetric(median(over), "http-ms")
}
