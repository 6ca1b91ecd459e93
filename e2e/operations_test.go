package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/internal/quality"
	"stegomq/producer"
)

// wantPNG decodes a PNG file of a size.
func (h *home) wantPNG(name string, w, height int) *image.NRGBA {
	h.t.Helper()
	img, err := png.Decode(bytes.NewReader(read(h.t, h.path(name))))
	must(h.t, err)
	if size := img.Bounds().Size(); size != (image.Point{X: w, Y: height}) {
		h.t.Fatalf("%s is %v, want %dx%d", name, size, w, height)
	}
	return toNRGBA(img)
}

func toNRGBA(img image.Image) *image.NRGBA {
	nrgba := image.NewNRGBA(img.Bounds())
	for y := range nrgba.Rect.Dy() {
		for x := range nrgba.Rect.Dx() {
			nrgba.Set(x, y, img.At(x, y))
		}
	}
	return nrgba
}

func psnr(t *testing.T, a, b *image.NRGBA) float64 {
	t.Helper()
	s, err := quality.Compare(a, b)
	must(t, err)
	return s.PSNR
}

// The model that ships, end to end: the key that hid a secret recovers it, and another key does not.
func TestEmbedAndRecover(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	model := filepath.Join(shippedModels(), "invertible-mk")
	// Native and odd: the secret is brought to the cover's size.
	cover, secret := picture(1, 301, 203), picture(2, 301, 203)
	h.write("cover.png", encodePNG(t, cover))
	h.write("secret.png", encodePNG(t, secret))
	h.ok("embed", "--model", model, "--key", "demo-1", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")
	h.ok("recover", "--model", model, "--key", "demo-1", "--stego", "stego.png", "-o", "matched.png")
	h.ok("recover", "--model", model, "--key", "demo-2", "--stego", "stego.png", "-o", "mismatched.png")
	h.ok("purify", "--model", model, "stego.png", "-o", "purified.png")
	h.ok("embed", "--model", model, "--key", "demo-1", "--cover", "cover.png", "--secret", "secret.png", "-o", "again.png")

	h.wantPNG("stego.png", 301, 203)
	h.wantPNG("purified.png", 301, 203)
	matched := psnr(t, secret, h.wantPNG("matched.png", 301, 203))
	mismatched := psnr(t, secret, h.wantPNG("mismatched.png", 301, 203))
	if matched < mismatched+3 {
		t.Errorf("the matched key recovers at %.1f dB, another at %.1f dB", matched, mismatched)
	}
	if !bytes.Equal(read(t, h.path("stego.png")), read(t, h.path("again.png"))) {
		t.Error("the same request gave other bytes")
	}
	h.ok("embed", "--model", model, "--key", "demo-1", "--cover", "cover.png", "--secret", "secret.png", "--size", "50", "-o", "small.png")
	h.wantPNG("small.png", 50, 50)
}

// Images that cannot be used, and outputs that cannot be written, fail the item by name.
func TestOperationFails(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 40, 40)
	h.write("notes.txt", []byte("no image"))
	h.write("huge.png", hugePNG())
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"cover not there":  {[]string{"embed", "--key", "demo-1", "--cover", "nowhere.png", "--secret", "photos/01.png", "-o", "x.png"}, []string{"nowhere.png", "no such file"}},
		"secret is a text": {[]string{"embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "notes.txt", "-o", "x.png"}, []string{"notes.txt", "text"}},
		"stego is huge":    {[]string{"recover", "--key", "demo-1", "--stego", "huge.png", "-o", "x.png"}, []string{"huge.png", "60000x60000"}},
		"no output folder": {[]string{"purify", "photos/00.jpg", "-o", "nowhere/x.png"}, []string{"nowhere/x.png"}},
	} {
		r := h.run(c.args...)
		r.want(t, 1, c.args...)
		for _, word := range c.says {
			if !strings.Contains(lastLine(r.stderr), word) {
				t.Errorf("%s: the error does not say %q:\n%s", name, word, r.stderr)
			}
		}
		if _, err := os.Stat(h.path("x.png")); err == nil {
			t.Errorf("%s: an output was written", name)
		}
		if r.maxRSS > maxMemory {
			t.Errorf("%s: the program took %d MiB", name, r.maxRSS>>20)
		}
	}
}

// replies reads what --stream printed: one JSON line per request.
func replies(t *testing.T, stdout string) map[string]producer.Reply {
	t.Helper()
	all := make(map[string]producer.Reply)
	for line := range strings.Lines(stdout) {
		var r producer.Reply
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			t.Fatalf("reply %q: %v", line, err)
		}
		if _, twice := all[r.ID]; twice {
			t.Errorf("%s was answered twice", r.ID)
		}
		all[r.ID] = r
	}
	return all
}

func TestStream(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 64, 48)
	photo := encodeJPEG(t, picture(9, 64, 48))
	h.write("truncated.jpg", photo[:len(photo)/2])
	h.mkdir("out")
	line := func(r producer.Request) string {
		data, err := json.Marshal(r)
		must(t, err)
		return string(data) + "\n"
	}
	var embeds, recovers strings.Builder
	good := 0
	for _, key := range []string{"demo-1", "demo-2"} {
		for i := range 4 {
			good++
			id := fmt.Sprintf("%s/%d", key, i)
			stego := fmt.Sprintf("out/%s-%d.png", key, i)
			embeds.WriteString(line(producer.Request{ID: id, Key: key, Cover: "photos/00.jpg", Secret: []string{"photos/01.png", "photos/02.jpg", "photos/03.png", "photos/00.jpg"}[i], Out: stego}))
			recovers.WriteString(line(producer.Request{ID: id, Key: key, Stego: stego, Out: stego + ".secret.png"}))
		}
	}
	bad := map[string]string{ // id to reason
		"nobody": "unknown_key", "12": "bad_message", "nocover": "bad_message", "noout": "bad_message",
		"truncated": "bad_image", "missing": "bad_image", "folder": "output", "18": "bad_message",
	}
	embeds.WriteString("\n") // an empty line is none
	embeds.WriteString(line(producer.Request{ID: "nobody", Key: "nobody", Cover: "photos/00.jpg", Secret: "photos/01.png", Out: "out/x.png"}))
	embeds.WriteString(line(producer.Request{ID: "nocover", Key: "demo-1", Secret: "photos/01.png", Out: "out/x.png"}))
	embeds.WriteString("{\"key\": \"demo-1\", \n") // line 12
	embeds.WriteString(line(producer.Request{ID: "noout", Key: "demo-1", Cover: "photos/00.jpg", Secret: "photos/01.png"}))
	embeds.WriteString(line(producer.Request{ID: "truncated", Key: "demo-1", Cover: "truncated.jpg", Secret: "photos/01.png", Out: "out/x.png"}))
	embeds.WriteString(line(producer.Request{ID: "missing", Key: "demo-1", Cover: "nowhere.jpg", Secret: "photos/01.png", Out: "out/x.png"}))
	embeds.WriteString(line(producer.Request{ID: "folder", Key: "demo-1", Cover: "photos/00.jpg", Secret: "photos/01.png", Out: "nowhere/x.png"}))
	embeds.WriteString("\n{\"colour\": \"red\", \"out\": \"out/x.png\"}\n") // line 18

	r := h.feed(embeds.String(), "embed", "--stream")
	r.want(t, 1, "embed", "--stream")
	got := replies(t, r.stdout)
	if len(got) != good+len(bad) {
		t.Errorf("%d replies, want %d:\n%s", len(got), good+len(bad), r.stdout)
	}
	for id, reason := range bad {
		if a := got[id]; a.OK || a.Reason != reason || a.Error == "" {
			t.Errorf("reply to %s: %+v, want reason %s", id, a, reason)
		}
	}
	if !strings.Contains(lastLine(r.stderr), fmt.Sprintf("%d requests", len(bad))) {
		t.Errorf("the last line is %q", lastLine(r.stderr))
	}
	if _, err := os.Stat(h.path("out/x.png")); err == nil {
		t.Error("a bad request wrote its output")
	}
	wantOutputs(t, h, got, good)

	r = h.feed(recovers.String(), "recover", "--stream")
	r.want(t, 0, "recover", "--stream")
	wantOutputs(t, h, replies(t, r.stdout), good)
}

// wantOutputs checks that n requests were served with whole files.
func wantOutputs(t *testing.T, h *home, got map[string]producer.Reply, n int) {
	t.Helper()
	for id, a := range got {
		if !a.OK {
			continue
		}
		n--
		data := read(t, h.path(a.Out))
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.Digest {
			t.Errorf("%s: the file does not have the digest of the reply %+v", id, a)
		}
		h.wantPNG(a.Out, 64, 48)
	}
	if n != 0 {
		t.Errorf("%d good requests were not served: %+v", n, got)
	}
}

// A long-running pipeline serves users without the library and without servers of their own.
func TestUp(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 64, 48)
	h.ok("keys", "new", "alice")
	embed := []string{"embed", "--key", "alice", "--cover", "photos/00.jpg", "--secret", "photos/01.png"}
	h.ok(append(embed, "-o", "alone.png")...)

	up := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-level", "info", "--state", h.path("up"))
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	client := *h
	client.env = append([]string{}, h.env...)
	for i, v := range client.env {
		if strings.HasPrefix(v, "STEGOMQ_ORT_LIB=") {
			client.env[i] = "STEGOMQ_ORT_LIB=" + h.path("no-library-here")
		}
	}
	servers := []string{"--nats", ready[1], "--redis", ready[2], "--state", h.path("up")} // which has the secret
	client.ok(append(append(embed, "-o", "stego.png"), servers...)...)
	client.ok(append([]string{"recover", "--key", "alice", "--stego", "stego.png", "-o", "secret.png"}, servers...)...)
	client.ok(append([]string{"purify", "photos/02.jpg", "-o", "purified.png"}, servers...)...)
	if !bytes.Equal(read(t, h.path("alone.png")), read(t, h.path("stego.png"))) {
		t.Error("the pipeline made another stego image than the command by itself")
	}
	h.wantPNG("secret.png", 64, 48)
	h.wantPNG("purified.png", 64, 48)

	// A bulk run through the same servers.
	client.ok(append([]string{"evaluate", "--data", "photos", "--keys", "2", "--size", "32", "--out", "out"}, servers...)...)
	wantCounts(t, h.summary("out"), h.items("out"), 2, 2, 1, 0)
	client.ok(append([]string{"doctor"}, append(servers, "--ort-lib", ortLibrary)...)...)

	// A command on the same state folder finds the servers by itself.
	h.ok("evaluate", "--data", "photos", "--keys", "2", "--size", "40", "--out", "found", "--state", h.path("up"))
	wantCounts(t, h.summary("found"), h.items("found"), 2, 2, 1, 0)
	up.terminate()
}

// Formats other than plain JPEG and PNG go through the pipeline as well.
func TestFormats(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	samples := filepath.Join(repository, "internal", "pixel", "testdata")
	names := []string{
		"grey.jpg", "cmyk.jpg", "progressive.jpg", "orientation6.jpg", "rgb16.png", "grey16-interlaced.png", "palette.png",
		"alpha.png", "lossless.webp", "lossy.webp", "lzw.tiff", "rgb.bmp",
	}
	for _, name := range names {
		h.write("photos/"+name, read(t, filepath.Join(samples, name)))
	}
	grey := image.NewGray(image.Rect(0, 0, 61, 47))
	for i := range grey.Pix {
		grey.Pix[i] = uint8(i)
	}
	h.write("photos/synthetic-grey.jpg", encodeJPEG(t, grey))
	h.write("photos/synthetic-16.png", encodePNG(t, deep(picture(3, 61, 47))))
	h.ok("evaluate", "--data", "photos", "--keys", "1", "--random-keys", "0", "--size", "32", "--min-side", "8", "--save-images", "--out", "out")
	sum := h.summary("out")
	if sum.Dataset.Images != len(names)+2 || len(sum.Dataset.Failed) != 0 {
		t.Errorf("%d images were used, failed: %v", sum.Dataset.Images, sum.Dataset.Failed)
	}
	items := h.items("out")
	wantCounts(t, sum, items, (len(names)+2)/2, 1, 0, 0)
	wantImages(t, h, "out", items)

	h.ok("embed", "--key", "demo-2", "--cover", "photos/synthetic-grey.jpg", "--secret", "photos/synthetic-16.png", "-o", "stego.png")
	h.ok("recover", "--key", "demo-2", "--stego", "stego.png", "-o", "secret.png")
	h.wantPNG("stego.png", 61, 47)
	h.wantPNG("secret.png", 61, 47)
}

// deep is an image with 16 bits a sample.
func deep(img *image.NRGBA) image.Image {
	wide := image.NewNRGBA64(img.Rect)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			wide.Set(x, y, img.NRGBAAt(x, y))
		}
	}
	return wide
}
