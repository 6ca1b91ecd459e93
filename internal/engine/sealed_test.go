package engine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// startSealed is an engine with the sealed models that ship, and keys: alice's, a keyring that only embeds for her, and demo pairs.
func startSealed(t *testing.T) (whole, sender *Engine, all []*model.Model) {
	t.Helper()
	for _, name := range []string{"sealed", "sealed-1", "sealed-2", "sealed-covert"} {
		m, err := model.Load(filepath.Join("..", "..", "models", name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	alice, err := keyring.Generate("alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	half, err := alice.EmbedOnly()
	if err != nil {
		t.Fatal(err)
	}
	start := func(p keyring.Pair) *Engine {
		keys := ring(t, all[0])
		if err := keys.Add(p); err != nil {
			t.Fatal(err)
		}
		e := New(nil, keys)
		if err := e.Add(all...); err != nil {
			t.Fatal(err)
		}
		return e
	}
	return start(alice), start(half), all
}

// Any user's key works at once; what one of the models embeds every other recovers; wrong keys are refused, image by image.
func TestSealed(t *testing.T) {
	t.Parallel()
	whole, sender, all := startSealed(t)
	if NeedsRuntime(all...) {
		t.Error("sealed needs the runtime")
	}
	cover, secret := photograph(t, 2, 64, 80), photograph(t, 2, 64, 80)
	for i, m := range all {
		stego := through(t, sender.must(t, m, embed, "alice", cover, secret))
		if got := psnr(cover, stego); got < 44 {
			t.Errorf("%s: stego %.1f dB", m.Name, got)
		}
		if got := psnr(secret, whole.must(t, all[(i+1)%len(all)], recov, "alice", stego)); got < 20 { // the least rate has 30, with a deviation of 1.3
			t.Errorf("%s: recovered %.1f dB", m.Name, got)
		}
		one := len(stego.Data) / 2
		stego.Data[one+7] += 3.0 / 255
		out, refused, err := whole.Run(t.Context(), m.Digest, recov, whole.ref(t, "alice"), stego)
		if err != nil || len(refused) != 2 || refused[0] != nil || refused[1] == nil || out.N != 2 {
			t.Errorf("%s: one changed sample of the second image: %v, %v", m.Name, refused, err)
		}
		for _, wrong := range []string{"demo-1", "near-3-alice", "swapped-alice", "random-1-1"} {
			_, refused, err := whole.Run(t.Context(), m.Digest, recov, whole.ref(t, wrong), stego)
			if err != nil || len(refused) != 2 || refused[0] == nil || refused[1] == nil {
				t.Errorf("%s: %s: %v, %v", m.Name, wrong, refused, err)
			}
		}
	}
}

func TestSealedFaults(t *testing.T) {
	t.Parallel()
	whole, sender, all := startSealed(t)
	image, tiny := photograph(t, 1, 64, 64), photograph(t, 1, 8, 8)
	_, _, lsb := models(t)
	if err := sender.Add(lsb); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		e      *Engine
		m      *model.Model
		op     schemas.Operation
		key    string
		in     []pixel.Tensor
		reason schemas.Reason
		want   string
	}{
		{"recover with half a key", sender, all[0], recov, "alice", []pixel.Tensor{image}, schemas.ReasonUnknownKey, "its owner has the other"},
		{"embed with half a key and a cipher that needs both", sender, lsb, embed, "alice", []pixel.Tensor{image, image}, schemas.ReasonUnknownKey, "needs both"},
		{"a part of a key", whole, all[0], recov, "partial-500-alice", []pixel.Tensor{image}, schemas.ReasonBadKey, "partial"},
		{"a tiny cover", whole, all[0], embed, "alice", []pixel.Tensor{tiny, tiny}, schemas.ReasonBadImage, "take a cover of"},
	} {
		_, refused, err := c.e.Run(t.Context(), c.m.Digest, c.op, c.e.ref(t, c.key), c.in...)
		var fault *schemas.Fault
		if !errors.As(err, &fault) || fault.Reason != c.reason || !strings.Contains(err.Error(), c.want) || refused != nil {
			t.Errorf("%s: %v, want %s about %q", c.name, err, c.reason, c.want)
		}
	}
}

func TestSealedConfig(t *testing.T) {
	t.Parallel()
	_, _, all := startSealed(t)
	for name, config := range map[string]map[string]any{
		"nothing": nil, "no profile": {"rate": 0.5}, "too high a rate": {"rate": 3.0, "profile": "plain"}, "words": {"rate": "much", "profile": "plain"},
	} {
		m := *all[0]
		m.Manifest.Config = config
		if err := New(nil, keyring.New()).Add(&m); err == nil || !strings.Contains(err.Error(), "config") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
