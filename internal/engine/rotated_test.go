package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/pixel"
	"stegomq/internal/testrig/modeldir"
	"stegomq/schemas"
)

// The shipped network serves a new user's key at once, and whoever has k_e alone embeds and does not read.
func TestRotatedNetwork(t *testing.T) {
	t.Parallel()
	m, err := model.Load(filepath.Join("..", "..", "models", "invertible-rk"))
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("start the runtime (`make ort` gets the library): %v", err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	keys := ring(t, m)
	alice, err := keyring.Generate("alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bob, err := keyring.Generate("bob", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	public := keyring.New()
	for _, p := range []keyring.Pair{alice, bob} {
		if err := keys.Add(p); err != nil {
			t.Fatal(err)
		}
		half, err := p.EmbedOnly()
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Add(half); err != nil {
			t.Fatal(err)
		}
	}
	e, sender := New(runtime, keys), New(runtime, public)
	for _, x := range []*Engine{e, sender} {
		if err := x.Add(m); err != nil {
			t.Fatal(err)
		}
	}

	for _, size := range [][2]int{{64, 96}, {63, 81}} {
		cover, secret := photograph(t, 2, size[0], size[1]), photograph(t, 2, size[0], size[1])
		stego := through(t, sender.must(t, m, embed, "alice", cover, secret))
		if got := psnr(cover, stego); got < 25 {
			t.Errorf("%v: stego %.1f dB against the cover", size, got)
		}
		unrelated := psnr(cover, secret)
		for _, key := range []string{"alice", "bob", "demo-1", "near-0-alice", "swapped-alice", "random-1-0"} {
			got := psnr(secret, e.must(t, m, recov, key, stego))
			switch {
			case key == "alice" && got < unrelated+6:
				t.Errorf("%v: alice reads %.1f dB, an unrelated image has %.1f", size, got, unrelated)
			case key != "alice" && got > unrelated+6: // five keys of two sizes: seven deviations
				t.Errorf("%v: %s reads %.1f dB, an unrelated image has %.1f", size, key, got, unrelated)
			}
		}
		again := sender.must(t, m, embed, "alice", cover, secret)
		if slices.Equal(again.Data, stego.Data) {
			t.Errorf("%v: two embeddings are the same", size)
		}
		var fault *schemas.Fault
		if _, _, err := sender.Run(t.Context(), m.Digest, recov, sender.ref(t, "alice"), stego); !errors.As(err, &fault) || fault.Reason != schemas.ReasonUnknownKey {
			t.Errorf("a key that only embeds recovers: %v", err)
		}
		if _, _, err := e.Run(t.Context(), m.Digest, recov, e.ref(t, "partial-900-alice"), stego); !errors.As(err, &fault) || fault.Reason != schemas.ReasonBadKey {
			t.Errorf("a part of a key recovers: %v", err)
		}
	}

	noisy := photograph(t, 1, 64, 64)
	clean, _, err := e.Run(t.Context(), m.Digest, purify, nil, noisy)
	if err != nil || clean.H != 64 || clean.W != 64 {
		t.Errorf("purify: %dx%d, %v", clean.W, clean.H, err)
	}
	out, features, err := e.Features(t.Context(), m.Digest, e.ref(t, "alice"), noisy)
	if err != nil || out.N != 1 || len(features) != 1 || len(features[0]) != m.Manifest.Features || math.IsNaN(float64(features[0][0])) {
		t.Errorf("features: %d of %d, %v", len(features), m.Manifest.Features, err)
	}
	small := pixel.Tensor{N: 1, C: 3, H: 15, W: 40, Data: make([]float32, 3*15*40)}
	var fault *schemas.Fault
	if _, _, err := e.Run(t.Context(), m.Digest, embed, e.ref(t, "alice"), small, small); !errors.As(err, &fault) || fault.Reason != schemas.ReasonBadImage {
		t.Errorf("15 pixels: %v", err)
	}
}

// A network that breaks down is told, and makes no image: the rotation would turn what is not a number into pixels.
func TestRotatedNetworkBreaksDown(t *testing.T) {
	t.Parallel()
	whole, err := model.Load(filepath.Join("..", "..", "models", "invertible-rk"))
	if err != nil {
		t.Fatal(err)
	}
	contents := modeldir.Contents{Graphs: map[model.Operation][]byte{}}
	for _, op := range model.Operations() {
		var file onnxpb.Model
		if err := proto.Unmarshal(whole.Graph(op), &file); err != nil {
			t.Fatal(err)
		}
		for _, c := range file.GetGraph().GetInitializer() {
			if len(c.GetDims()) == 4 { // the weights of a convolution, float32
				c.RawData = bytes.Repeat([]byte{0xff}, len(c.GetRawData()))
			}
		}
		if contents.Graphs[op], err = proto.Marshal(&file); err != nil {
			t.Fatal(err)
		}
	}
	m, err := model.Load(modeldir.Write(t, whole.Manifest, contents))
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close() })
	keys := ring(t, whole)
	e := New(runtime, keys)
	if err := e.Add(m); err != nil {
		t.Fatal(err)
	}
	image := photograph(t, 1, 32, 48)
	for _, op := range []schemas.Operation{embed, recov} {
		out, _, err := e.Run(t.Context(), m.Digest, op, e.ref(t, "demo-1"), []pixel.Tensor{image, image}[:len(model.Operation(op.Token()).Inputs())]...)
		if err == nil {
			_, err = pixel.ToImage(out, 0)
		}
		if !errors.Is(err, pixel.ErrNotFinite) {
			t.Errorf("%s: %v, want ErrNotFinite", op.Token(), err)
		}
	}
}

// What the network for rotated secrets takes of one processor for an image of 256x256, the rotation included.
func BenchmarkRotatedNetwork(b *testing.B) {
	m, err := model.Load(filepath.Join("..", "..", "models", "invertible-rk"))
	if err != nil {
		b.Fatal(err)
	}
	runtime, err := ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler), Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = runtime.Close() })
	keys, err := keyring.Open(m.Keyring(), keyring.Protection{})
	if err != nil {
		b.Fatal(err)
	}
	e := New(runtime, keys)
	if err := e.Add(m); err != nil {
		b.Fatal(err)
	}
	pair, err := keys.Get("demo-1")
	if err != nil {
		b.Fatal(err)
	}
	ref := &schemas.KeyRef{Id: pair.ID, Fingerprint: pair.Fingerprint()}
	cover := pixel.Tensor{N: 1, C: 3, H: 256, W: 256, Data: make([]float32, 3*256*256)}
	for i := range cover.Data {
		cover.Data[i] = float32(128+100*math.Sin(float64(i)/50)) / 255
	}
	for _, op := range []schemas.Operation{embed, recov} {
		b.Run(op.Token(), func(b *testing.B) {
			in := []pixel.Tensor{cover, cover}[:len(model.Operation(op.Token()).Inputs())]
			for b.Loop() {
				if _, _, err := e.Run(b.Context(), m.Digest, op, ref, in...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
