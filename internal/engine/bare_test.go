package engine

import (
	"errors"
	"slices"
	"testing"

	"stegomq/internal/ort"
	"stegomq/schemas"
)

// TestBare: the network alone makes what Run makes, for keys that Run takes.
func TestBare(t *testing.T) {
	t.Parallel()
	e, network, _, cipher := start(t)
	cover, secret := photograph(t, 1, 24, 24), photograph(t, 1, 24, 24)
	key := e.ref(t, "demo-1")
	b, err := e.Bare(network.Digest, embed, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Run(t.Context(), cover, secret)
	if err != nil {
		t.Fatal(err)
	}
	if want := e.must(t, network, embed, "demo-1", cover, secret); !slices.Equal(got.Data, want.Data) {
		t.Error("the network alone makes other pixels")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Bare(cipher.Digest, embed, key); !errors.Is(err, ort.ErrGraph) {
		t.Errorf("of a cipher: %v", err)
	}
	_, err = e.Bare(network.Digest, embed, &schemas.KeyRef{Id: "nobody", Fingerprint: key.GetFingerprint()})
	checkReason(t, "an unknown key", err, schemas.ReasonUnknownKey)
}
