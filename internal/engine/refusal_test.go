package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
)

var errNotMine = errors.New("not for this key")

// addTagged makes known a cipher whose recovery is authenticated: the first samples of a stego image are the key that
// embeds, and recover refuses those that have another.
func addTagged(e *Engine, m *model.Model, refusal error) {
	e.models[m.Digest] = m
	e.ciphers[m.Digest] = cipher{Model: m, refusal: refusal, open: func(tag, _ []byte) (coder, error) {
		return func(_ context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error) {
			if len(in[0]) != 3*h*w {
				return nil, fmt.Errorf("%d samples for %d rows of %d pixels", len(in[0]), h, w)
			}
			if op == model.OpEmbed {
				return append(slices.Clone(tag), in[1][len(tag):]...), nil
			}
			if !bytes.HasPrefix(in[0], tag) {
				return nil, fmt.Errorf("the tag: %w", errNotMine)
			}
			return in[0], nil
		}, nil
	}}
}

// Recovery that is authenticated refuses some images of a batch and gives the others.
func TestRefusals(t *testing.T) {
	t.Parallel()
	_, _, m := models(t)
	e := New(nil, ring(t, m))
	addTagged(e, m, errNotMine)
	cover, secret := photograph(t, 3, 16, 24), photograph(t, 3, 16, 24)
	stego := through(t, e.must(t, m, embed, "demo-1", cover, secret))
	one := len(stego.Data) / 3
	stego.Data[one] = 1 - stego.Data[one] // of the second image

	out, refused, err := e.Run(t.Context(), m.Digest, recov, e.ref(t, "demo-1"), stego)
	if err != nil || len(refused) != 3 || out.N != 3 || len(out.Data) != 3*one {
		t.Fatalf("%d images, refused %v, %v", out.N, refused, err)
	}
	for n, r := range refused {
		switch {
		case (r != nil) != (n == 1):
			t.Errorf("image %d: refused is %v", n, r)
		case r != nil && (!strings.HasPrefix(r.GetDetail(), "authentication failed") || strings.Contains(r.GetDetail(), "\n")):
			t.Errorf("the refusal says %q, want one line that says authentication failed", r.GetDetail())
		case r == nil && !slices.Equal(samples(out.Data[n*one:][:one]), samples(stego.Data[n*one:][:one])):
			t.Errorf("image %d is not what was recovered", n)
		}
	}
	_, refused, err = e.Run(t.Context(), m.Digest, recov, e.ref(t, "random-1-0"), stego)
	if err != nil || slices.Contains(refused, nil) || len(refused) != 3 {
		t.Errorf("a wrong key: refused %v, %v", refused, err)
	}
	alone := pixel.Tensor{N: 1, C: 3, H: 16, W: 24, Data: stego.Data[:one]}
	e.must(t, m, recov, "demo-1", alone)

	// Of a cipher that does not refuse with it the error is an error, and so is any other one.
	for _, refusal := range []error{nil, ort.ErrKey} {
		addTagged(e, m, refusal)
		if _, refused, err := e.Run(t.Context(), m.Digest, recov, e.ref(t, "demo-2"), stego); !errors.Is(err, errNotMine) || refused != nil {
			t.Errorf("refused %v, %v; want the cipher's error", refused, err)
		}
	}
	// To embed is never refused.
	e.ciphers[m.Digest] = cipher{Model: m, refusal: errNotMine, open: func([]byte, []byte) (coder, error) {
		return func(context.Context, model.Operation, int, int, ...[]byte) ([]byte, error) { return nil, errNotMine }, nil
	}}
	if _, refused, err := e.Run(t.Context(), m.Digest, embed, e.ref(t, "demo-1"), cover, secret); !errors.Is(err, errNotMine) || refused != nil {
		t.Errorf("embed: refused %v, %v; want the cipher's error", refused, err)
	}
}
