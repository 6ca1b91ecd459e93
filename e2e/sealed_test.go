package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newUserHome is a home with the models that ship and none chosen, as after the installation of the program, without the ONNX Runtime
// library.
func newUserHome(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	h.env = slices.DeleteFunc(h.env, func(e string) bool { return strings.HasPrefix(e, "STEGOMQ_MODEL") })
	h.env = append(h.env, "STEGOMQ_MODELS="+shippedModels(), "STEGOMQ_ORT_LIB="+h.path("no-library.so"))
	return h
}

// A user's own key embeds and recovers at once, without naming a model; another user's key and a changed image are refused.
func TestOwnKeyWorksAtOnce(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	cover, secret := picture(1, 203, 151), picture(2, 203, 151)
	h.write("cover.png", encodePNG(t, cover))
	h.write("secret.png", encodePNG(t, secret))
	h.ok("keys", "new", "alice")
	h.ok("keys", "new", "bob")
	h.ok("embed", "--key", "alice", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")
	h.ok("recover", "--key", "alice", "--stego", "stego.png", "-o", "recovered.png")
	stego := h.wantPNG("stego.png", 203, 151)
	if got := psnr(t, cover, stego); got < 54 {
		t.Errorf("stego: %.1f dB", got)
	}
	if got := psnr(t, secret, h.wantPNG("recovered.png", 203, 151)); got < 30 {
		t.Errorf("recovered: %.1f dB", got)
	}
	if r := h.run("recover", "--key", "bob", "--stego", "stego.png", "-o", "bob.png"); r.code != 1 || !strings.Contains(r.stderr, "authentication failed") {
		t.Errorf("bob: code %d, %s", r.code, r.stderr)
	}
	stego.Pix[4*1000]++
	h.write("changed.png", encodePNG(t, stego))
	if r := h.run("recover", "--key", "alice", "--stego", "changed.png", "-o", "changed-secret.png"); r.code != 1 || !strings.Contains(r.stderr, "authentication failed") {
		t.Errorf("a changed image: code %d, %s", r.code, r.stderr)
	}
	for _, name := range []string{"bob.png", "changed-secret.png"} {
		if _, err := os.Stat(h.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was refused wrote %s: %v", name, err)
		}
	}

	// Tests every rate and the covert profile; recover reads all of them without options.
	for _, model := range []string{"sealed-1", "sealed-2", "sealed-covert"} {
		h.ok("embed", "--model", model, "--key", "alice", "--cover", "cover.png", "--secret", "secret.png", "-o", model+".png")
		h.ok("recover", "--key", "alice", "--stego", model+".png", "-o", model+"-secret.png")
	}

	// A user who embeds for alice has half of her key, and cannot print the other half or recover.
	public := h.ok("keys", "public", "alice").stdout
	h.write("public.json", []byte(public))
	for _, secret := range h.secrets("config/stegomq/keyring.json")[1:] {
		if strings.Contains(public, secret) {
			t.Error("keys public prints a key that recovers, or another user's")
		}
	}
	h.ok("embed", "--key", "alice", "--keyring", "public.json", "--cover", "cover.png", "--secret", "secret.png", "-o", "sent.png")
	h.ok("recover", "--key", "alice", "--stego", "sent.png", "-o", "sent-secret.png")
	h.photographs("photos", 2, 40, 40)
	for _, args := range [][]string{
		{"recover", "--key", "alice", "--keyring", "public.json", "--stego", "sent.png", "-o", "x.png"},
		{"evaluate", "--data", "photos", "--keys", "public.json", "--model", "sealed", "--out", "half"},
	} {
		if r := h.run(args...); r.code != 2 || !strings.Contains(r.stderr, "only the half") {
			t.Errorf("%q: code %d, %s", args, r.code, r.stderr)
		}
	}
	// Her whole pair takes its place in a keyring.
	h.ok("keys", "import", "public.json", "--keyring", "carol.json")
	if list := h.ok("keys", "list", "--keyring", "carol.json").stdout; strings.Contains(list, "recovers") {
		t.Errorf("half a key:\n%s", list)
	}
	h.ok("keys", "import", "config/stegomq/keyring.json", "--keyring", "carol.json")
	if list := h.ok("keys", "list", "--keyring", "carol.json").stdout; strings.Count(list, "recovers") != 2 {
		t.Errorf("the whole keys:\n%s", list)
	}
	if r := h.run("keys", "public", "carol"); r.code != 2 {
		t.Errorf("nobody's public key: code %d, %s", r.code, r.stdout)
	}
}

// Two users' own keys through the queue: the matched key recovers, every other key is refused.
func TestEvaluateSealed(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.photographs("photos", 4, 120, 90)
	h.ok("keys", "new", "alice")
	h.ok("keys", "new", "bob")
	h.ok("evaluate", "--data", "photos", "--model", filepath.Join(shippedModels(), "sealed"), "--keys", "config/stegomq/keyring.json",
		"--random-keys", "2", "--near-keys", "2", "--swapped", "--size", "96", "--out", "out")
	report := string(read(t, h.path("out", "report.md")))
	if !strings.Contains(report, "refused") {
		t.Errorf("the report says nothing of what was refused:\n%s", report)
	}
	items := string(read(t, h.path("out", "items.csv")))
	// Two pairs and two keys: 4 stego images, each refused to the other key, two random ones, two near ones and the swapped one, and
	// each of these is to be compared with the secret and with the cover.
	if got := strings.Count(items, ",refused"); got != 4*6*2 {
		t.Errorf("%d items were refused, want 48:\n%s", got, items)
	}
}
