package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"stegomq/gpuworker"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// verifies makes the rig's stream verify what it embeds.
func (r *streamRig) verifies() { r.parts.Recovers = r.parts.Key }

func (r *streamRig) image(name string) *image.NRGBA {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return mustDecode(r.t, data)
}

// missing wants no file of a name.
func (r *streamRig) missing(name string) {
	r.t.Helper()
	if _, err := os.Stat(r.path(name)); !errors.Is(err, os.ErrNotExist) {
		r.t.Errorf("%s is there: %v", name, err)
	}
}

// What embed says of the secret is what recover then gives; below the least that was asked for nothing is written.
func TestVerify(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	r.verifies()
	// The secret is brought to the cover's size; the larger pair goes through the blob store.
	small, large := r.file("small.png", picture(t, 1, 40, 30)), r.file("large.png", picture(t, 2, 420, 420))
	r.file("secret.png", picture(t, 3, 32, 24))
	request := func(id, cover string) string {
		return line("id", id, "key", "demo-1", "cover", cover, "secret", r.path("secret.png"), "out", r.path(id+".png"))
	}
	failed, embedded := r.serve(request("a", small), request("b", large), line("id", "c", "key", "eve", "cover", small, "secret", small, "out", r.path("c.png")))
	if failed != 1 {
		t.Fatalf("%d failed: %+v", failed, embedded)
	}
	r.cfg.MinPSNR, r.cfg.Run = 60, "least"
	failed, refused := r.serve(request("a", small), request("b", large))
	if failed != 2 {
		t.Errorf("%d failed: %+v", failed, refused)
	}
	r.cfg.Operation, r.cfg.MinPSNR = schemas.Operation_OPERATION_RECOVER, 0
	for _, id := range []string{"a", "b"} {
		got := embedded[id]
		r.cfg.Run = "back-" + id
		r.serve(line("key", "demo-1", "stego", r.path(id+".png"), "out", r.path("back.png")))
		back := r.image("back.png")
		secret, err := pixel.Fit(r.image("secret.png"), pixel.Geometry{Width: back.Rect.Dx(), Height: back.Rect.Dy()})
		if err != nil {
			t.Fatal(err)
		}
		want, err := quality.PSNR(secret, back)
		if err != nil || math.Abs(got.RecoveredPSNR-want) > 1e-9 {
			t.Errorf("%s: %+v, want %v dB (%v)", id, got, want, err)
		}
		warned := len(got.Warnings) == 1 && strings.Contains(got.Warnings[0], fmt.Sprintf("%.1f dB", want))
		if warned != (want < 20) { // the model is not trained: it is bad
			t.Errorf("%s: %.1f dB, warnings %q", id, want, got.Warnings)
		}
		if low := refused[id]; low.OK || low.Reason != producer.LowPSNR || !strings.Contains(low.Error, fmt.Sprintf("%.1f dB", want)) || low.Digest != "" {
			t.Errorf("%s: %+v", id, low)
		}
	}
}

// Nothing is written below --min-psnr, and an older file stays as it was.
func TestLowPSNRWritesNothing(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	r.verifies()
	r.cfg.MinPSNR = 99
	cover, old := r.file("cover.png", picture(t, 1, 24, 24)), r.file("old.png", []byte("what was there"))
	failed, replies := r.serve(
		line("id", "new", "key", "demo-1", "cover", cover, "secret", cover, "out", r.path("new.png")),
		line("id", "old", "key", "demo-1", "cover", cover, "secret", cover, "out", old))
	if failed != 2 {
		t.Errorf("%+v", replies)
	}
	r.missing("new.png")
	if data, err := os.ReadFile(old); err != nil || string(data) != "what was there" {
		t.Errorf("%q, %v", data, err)
	}
}

// Who cannot recover embeds unverified, but for a least PSNR; a recovery that is refused is told, or fails.
func TestCannotVerify(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	workWith(t, r.bus, testrig.Cache(t), strict{tiny.Network(), "nobody"})
	half := errors.New("only the half that embeds")
	cover := r.file("cover.png", picture(t, 1, 24, 24))
	for _, c := range []struct {
		name     string
		halfKey  bool
		min      float64
		reason   string
		mentions string
	}{
		{"half-told", true, 0, "", ""},
		{"half-least", true, 10, "unknown_key", "only the half"},
		{"refused-told", false, 0, "", "authentication failed"},
		{"refused-least", false, 10, "refused", "authentication failed"},
	} {
		r.cfg.Run, r.cfg.MinPSNR = c.name, c.min
		r.parts.Recovers = func(id string) (*schemas.KeyRef, error) {
			if c.halfKey {
				return nil, half
			}
			return r.parts.Key(id)
		}
		_, replies := r.serve(line("id", "a", "key", "demo-1", "cover", cover, "secret", cover, "out", r.path(c.name+".png")))
		got := replies["a"]
		if got.Reason != c.reason || got.OK != (c.reason == "") || got.RecoveredPSNR != 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
		if said := got.Error + strings.Join(got.Warnings, ""); !strings.Contains(said, c.mentions) || (c.mentions == "") != (said == "") {
			t.Errorf("%s says %q", c.name, said)
		}
		if c.reason == "" {
			r.expectOutput(got, r.path(c.name+".png"), 24, 24)
		} else {
			r.missing(c.name + ".png")
		}
	}
}

// returning is an engine whose recovery gives the stego image, as a network does that a wrong key shows the cover.
type returning struct{ gpuworker.Engine }

func (returning) Run(_ context.Context, _ string, _ schemas.Operation, _ *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	return in[0], nil, nil
}

func TestRecoveredIsTheStegoImage(t *testing.T) {
	t.Parallel()
	for _, echo := range []bool{true, false} {
		r := newStreamRig(t, schemas.Operation_OPERATION_RECOVER)
		engine := gpuworker.Engine(tiny.Network())
		if echo {
			engine = returning{engine}
		}
		workWith(t, r.bus, testrig.Cache(t), engine)
		r.cfg.Geometry = &schemas.Geometry{Width: 20, Height: 20, Resize: schemas.ResizePolicy_RESIZE_POLICY_CROP}
		_, replies := r.serve(line("key", "demo-1", "stego", r.file("stego.png", picture(t, 1, 40, 30)), "out", r.path("out.png")))
		if got := replies["1"]; !got.OK || strings.Contains(strings.Join(got.Warnings, ""), "looks like the stego image") != echo {
			t.Errorf("echo %v: %+v", echo, got)
		}
	}
}

// encoded is a picture in a format that changes, or may change, its pixels.
func encoded(t *testing.T, format string) []byte {
	t.Helper()
	m := mustDecode(t, picture(t, 1, 24, 24))
	var file bytes.Buffer
	var err error
	switch format {
	case "jpeg":
		err = jpeg.Encode(&file, m, nil)
	case "palette":
		few := image.NewPaletted(m.Rect, color.Palette{color.Black, color.White})
		err = png.Encode(&file, few)
	case "clear":
		m.Pix[3] = 0
		err = png.Encode(&file, m)
	case "png":
		err = png.Encode(&file, m)
	default:
		data, err := os.ReadFile("../internal/pixel/testdata/" + format)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// A stego image in a format that changed its pixels is one warning, and not where the model is made for that.
func TestLossyStegoImage(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_RECOVER)
	r.work()
	for _, survives := range []bool{false, true} {
		r.cfg.SurvivesJPEG, r.cfg.Run = survives, fmt.Sprint("survives-", survives)
		want := map[string]string{"png": "", "jpeg": "is a JPEG", "palette": "with a palette", "lossy.webp": "lossy WebP", "lossless.webp": ""}
		if survives {
			want["jpeg"], want["lossy.webp"] = "", "has suffered"
		}
		var lines []string
		for format := range want {
			lines = append(lines, line("id", format, "key", "demo-1", "stego", r.file(format, encoded(t, format)), "out", r.path("out.png")))
		}
		_, replies := r.serve(lines...)
		for format, says := range want {
			got := strings.Join(replies[format].Warnings, "\n")
			if !replies[format].OK || !strings.Contains(got, says) || (says == "") != (got == "") || strings.Contains(got, "\n") {
				t.Errorf("%s: %+v", format, replies[format])
			}
		}
	}
}

func TestTransparentCover(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	clear, opaque := r.file("clear.png", encoded(t, "clear")), r.file("opaque.png", encoded(t, "png"))
	_, replies := r.serve(
		line("id", "cover", "key", "demo-1", "cover", clear, "secret", opaque, "out", r.path("a.png")),
		line("id", "opaque", "key", "demo-1", "cover", opaque, "secret", opaque, "out", r.path("b.png")))
	if got := replies["cover"]; !got.OK || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "cover clear.png has transparent pixels") {
		t.Errorf("%+v", got)
	}
	if got := replies["opaque"]; !got.OK || got.Warnings != nil {
		t.Errorf("%+v", got)
	}
}

// "-" is standard input and output of a single request, and nothing in a stream; and PNG alone is written.
func TestStandardStreams(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	cover := r.file("cover.png", picture(t, 1, 24, 24))
	for i, c := range []struct{ cover, secret, out, says string }{
		{"-", cover, r.path("x.png"), "standard input has the requests"},
		{cover, cover, "-", "standard output has the replies"},
		{"-", "-", r.path("x.png"), "standard input is the cover already"},
		{cover, cover, r.path("x.jpg"), "PNG is what is written"},
		{cover, cover, r.path("x.WEBP"), "PNG is what is written"},
	} {
		r.cfg.Run = fmt.Sprint("bad-", i)
		_, replies := r.serve(line("id", "a", "key", "demo-1", "cover", c.cover, "secret", c.secret, "out", c.out))
		if got := replies["a"]; got.OK || got.Reason != "bad_message" || !strings.Contains(got.Error, c.says) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	var out bytes.Buffer
	r.cfg.Run, r.cfg.Stdin, r.cfg.Stdout = "one", bytes.NewReader(picture(t, 2, 24, 24)), &out
	reply, err := r.stream().One(testrig.Context(t), producer.Request{ID: "one", Key: "demo-1", Cover: cover, Secret: "-", Out: "-"})
	if err != nil || !reply.OK || sha(out.Bytes()) != reply.Digest || mustDecode(t, out.Bytes()).Rect.Dx() != 24 {
		t.Errorf("%v: %+v, %d bytes", err, reply, out.Len())
	}
	r.cfg.Run, r.cfg.Stdin, r.cfg.Limits = "large", bytes.NewReader(picture(t, 2, 60, 60)), pixel.Limits{MaxBytes: 5000}
	reply, err = r.stream().One(testrig.Context(t), producer.Request{ID: "large", Key: "demo-1", Cover: cover, Secret: "-", Out: "-"})
	if err != nil || reply.ID != "large" || reply.Reason != "too_large" {
		t.Errorf("%v: %+v", err, reply)
	}
}

func TestWhyARequestFailed(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]error{
		"bad_message": producer.ErrRequest, "refused": producer.ErrRefused, producer.LowPSNR: producer.ErrLowPSNR, "output": producer.ErrFailed,
		"bad_image": producer.ErrFailed, "unknown_key": producer.ErrFailed,
	} {
		if err := (producer.Reply{Reason: reason, Error: "why it did"}).Err(); !errors.Is(err, want) || !strings.Contains(err.Error(), "why it did") {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if err := (producer.Reply{OK: true}).Err(); err != nil {
		t.Error(err)
	}
}
