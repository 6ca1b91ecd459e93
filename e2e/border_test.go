package e2e

import (
	"bytes"
	"errors"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// warnings are the lines on standard error that warn.
func (r result) warnings() (lines []string) {
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "stegomq: warning: ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantWarning wants one warning that says a word; none for "".
func (r result) wantWarning(t *testing.T, what, word string) {
	t.Helper()
	lines := r.warnings()
	if word == "" && len(lines) > 0 || word != "" && (len(lines) != 1 || !strings.Contains(lines[0], word)) {
		t.Errorf("%s: the warnings are %q, want one that says %q", what, lines, word)
	}
}

func (h *home) wantNone(name string) {
	h.t.Helper()
	if _, err := os.Stat(h.path(name)); !errors.Is(err, fs.ErrNotExist) {
		h.t.Errorf("%s is there: %v", name, err)
	}
}

// If the hidden image is not recovered well, embed says so: as a warning, or with exit code 4 below --min-psnr.
func TestEmbedVerifies(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.write("cover.png", encodePNG(t, picture(1, 203, 151)))
	h.write("secret.png", encodePNG(t, picture(2, 203, 151)))
	h.ok("keys", "new", "alice")
	h.write("public.json", []byte(h.ok("keys", "public", "alice").stdout))
	embed := func(more ...string) result {
		return h.run(append([]string{"embed", "--key", "alice", "--cover", "cover.png", "--secret", "secret.png"}, more...)...)
	}
	r := embed("-o", "good.png", "--min-psnr", "30")
	r.want(t, 0)
	r.wantWarning(t, "good", "")
	embed("-o", "low.png", "--min-psnr", "99").wantError(t, 4, "comes back at", "--min-psnr asks for 99")
	h.wantNone("low.png")
	embed("-o", "x.png", "--min-psnr", "101").wantError(t, 2, "--min-psnr 101")
	embed("-o", "x.png", "--min-psnr", "20", "--no-verify").wantError(t, 2, "--no-verify")

	// With the embedding half alone nothing is verified, and --min-psnr is refused.
	r = embed("-o", "half.png", "--keyring", "public.json")
	r.want(t, 0)
	r.wantWarning(t, "half a key", "")
	embed("-o", "x.png", "--keyring", "public.json", "--min-psnr", "20").wantError(t, 2, "only the half", "recovered here")
	h.wantNone("x.png")

	r = h.feed(`{"id":"a","key":"alice","cover":"cover.png","secret":"secret.png","out":"streamed.png"}`, "embed", "--stream", "--min-psnr", "99")
	r.want(t, 1)
	if got := replies(t, r.stdout)["a"]; got.Reason != "low_psnr" || got.RecoveredPSNR < 30 {
		t.Errorf("%+v", got)
	}
	h.wantNone("streamed.png")

	// An untrained network recovers nothing.
	tiny := newHome(t)
	tiny.photographs("photos", 2, 64, 48)
	args := []string{"embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png"}
	tiny.ok(args...).wantWarning(t, "a network that is not trained", "which is bad")
	tiny.ok(append(args, "--no-verify")...).wantWarning(t, "not verified", "")
}

// A wrong key that shows the cover gives a warning, and the right key does not.
func TestRecoverKnowsTheStegoImage(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	model := filepath.Join(shippedModels(), "invertible-mk")
	h.write("cover.png", encodePNG(t, picture(1, 301, 203)))
	h.write("secret.png", encodePNG(t, picture(2, 301, 203)))
	h.ok("embed", "--model", model, "--key", "demo-1", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")
	recover := func(key, stego string) result {
		return h.ok("recover", "--model", model, "--key", key, "--stego", stego, "-o", "out.png")
	}
	recover("demo-1", "stego.png").wantWarning(t, "the right key", "")
	recover("demo-2", "stego.png").wantWarning(t, "a wrong key", "looks like the stego image itself")
	// A picture of noise and ramps that hides nothing need not look like its output; a photograph does.
	photo, err := jpeg.Decode(bytes.NewReader(read(t, filepath.Join(repository, ".cache", "photos", "dust-bowl-home.jpg"))))
	must(t, err)
	h.write("photo.png", encodePNG(t, photo))
	recover("demo-1", "photo.png").wantWarning(t, "nothing hidden", "looks like the stego image itself")
}

// Each loss of an input or output file is reported in one line.
func TestLossyFiles(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	cover := picture(1, 203, 151)
	h.write("cover.png", encodePNG(t, cover))
	h.write("secret.png", encodePNG(t, picture(2, 203, 151)))
	h.ok("keys", "new", "alice")
	clear := picture(1, 203, 151)
	for i := 3; i < len(clear.Pix); i += 40 {
		clear.Pix[i] = 100
	}
	h.write("clear.png", encodePNG(t, clear))
	h.ok("embed", "--key", "alice", "--cover", "clear.png", "--secret", "secret.png", "-o", "stego.png").wantWarning(t, "alpha", "cover clear.png has transparent pixels")

	saved := func(name string) string {
		var file bytes.Buffer
		must(t, jpeg.Encode(&file, h.wantPNG(name, 203, 151), &jpeg.Options{Quality: 95}))
		h.write(name+".jpg", file.Bytes())
		return name + ".jpg"
	}
	r := h.run("recover", "--key", "alice", "--stego", saved("stego.png"), "-o", "x.png")
	r.wantError(t, 1, "authentication failed")
	r.wantWarning(t, "a JPEG", "stego.png.jpg is a JPEG")

	h.ok("embed", "--model", "modulo-jpeg", "--key", "alice", "--cover", "cover.png", "--secret", "secret.png", "-o", "robust.png")
	h.ok("recover", "--model", "modulo-jpeg", "--key", "alice", "--stego", saved("robust.png"), "-o", "back.png").wantWarning(t, "made for JPEG", "")
}

func TestPipes(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	cover, secret := encodePNG(t, picture(1, 203, 151)), encodePNG(t, picture(2, 203, 151))
	h.write("secret.png", secret)
	h.ok("keys", "new", "alice")
	r := h.feed(string(cover), "embed", "--key", "alice", "--cover", "-", "--secret", "secret.png", "-o", "-")
	r.want(t, 0)
	h.write("stego.png", []byte(r.stdout))
	h.wantPNG("stego.png", 203, 151)
	r = h.feed(r.stdout, "recover", "--key", "alice", "--stego", "-", "-o", "-")
	r.want(t, 0)
	h.write("back.png", []byte(r.stdout))
	if got := psnr(t, picture(2, 203, 151), h.wantPNG("back.png", 203, 151)); got < 30 {
		t.Errorf("recovered: %.1f dB", got)
	}
	h.feed(string(cover), "embed", "--key", "alice", "--cover", "-", "--secret", "-", "-o", "x.png").wantError(t, 2, "--secret -", "cover already")
	h.feed("", "embed", "--key", "alice", "--cover", "-", "--secret", "secret.png", "-o", "x.png").wantError(t, 1, "empty file")
	h.wantNone("x.png")
}
