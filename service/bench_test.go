package service

import (
	"net/http"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// BenchmarkRecover is one request at a time, of 256x256 pixels: as the queue is asked, and over HTTP. What is measured is remembered work, so that the
// difference is the service's.
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
	b.Run("queue", func(b *testing.B) {
		req := &pipeline.OperationRequest{
			Operation: schemas.Operation_OPERATION_RECOVER, Model: m, Keys: parts.Keys, Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		}
		for b.Loop() {
			if reply, _, err := parts.Pipeline.Ask(b.Context(), req, "bench", "bench", map[string][]byte{"stego": stego.body}); err != nil || !reply.OK {
				b.Fatal(reply, err)
			}
		}
	})
	b.Run("http", func(b *testing.B) {
		for b.Loop() {
			if a := c.send(http.MethodPost, "/v1/recover", fields{"stego": stego.body, "key": "bench", "model": "modulo"}, false); a.status != http.StatusOK {
				b.Fatal(a.status)
			}
		}
	})
}
