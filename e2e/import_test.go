package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// python is the one that STEGOMQ_PYTHON names, or that of `make trainer-env`, as every folder can name it.
func python() string {
	name := os.Getenv("STEGOMQ_PYTHON")
	if name == "" {
		name = filepath.Join(".venv", "bin", "python")
	}
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		return filepath.Join(repository, name)
	}
	return name
}

// trainer runs `python -m trainer`.
func (h *home) trainer(args ...string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python(), append([]string{"-m", "trainer"}, args...)...)
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("python -m trainer %s: %v\n%s\nthis test needs the trainer: run `make trainer-env`, or set STEGOMQ_PYTHON",
			strings.Join(args, " "), err, out)
	}
}

// publicOutputs are the trainer's outputs for a checkpoint of the public PUSNet code: RGB bytes.
type publicOutputs struct {
	Width, Height                                    int
	Cover, Secret, Noisy, Stego, Recovered, Purified []byte
}

func (o publicOutputs) image(rgb []byte) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, o.Width, o.Height))
	for i := range o.Width * o.Height {
		copy(img.Pix[4*i:], rgb[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

// wantOutput compares an image with PyTorch's: equal, except where rounding to 8 bits went the other way.
func (h *home) wantOutput(name string, want *image.NRGBA) {
	h.t.Helper()
	got := h.wantPNG(name, want.Rect.Dx(), want.Rect.Dy())
	differ, most := 0, 0
	for i, v := range want.Pix {
		d := int(v) - int(got.Pix[i])
		if d != 0 {
			differ++
		}
		most = max(most, d, -d)
	}
	if most > 1 || differ > len(want.Pix)/100 {
		h.t.Errorf("%s: %d of %d values differ from PyTorch's, by up to %d levels", name, differ, len(want.Pix), most)
	}
}

// A checkpoint in the format of the public PUSNet code, made by the trainer with PyTorch, becomes a model with the same
// outputs. Other files are refused by name, and leave nothing behind.
func TestImport(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	models := h.mkdir("models")
	h.trainer("public", h.path("public.pth"))
	h.env = append(h.env, "STEGOMQ_MODELS="+models+","+tinyModels(), "STEGOMQ_PYTHON="+python(), "PYTHONPATH="+repository)

	if out := h.ok("models", "import", "public.pth", "--out", "models/imported").stdout; !strings.Contains(out, "imported-10101-1010") {
		t.Errorf("models import:\n%s", out)
	}
	if out := h.ok("models", "verify", "imported").stdout; !strings.Contains(out, "imported: ok") {
		t.Errorf("models verify:\n%s", out)
	}
	if list := h.ok("models", "list").stdout; !strings.Contains(list, "imported") || strings.Contains(list, "unreadable") {
		t.Errorf("models list:\n%s", list)
	}

	var want publicOutputs
	must(t, json.Unmarshal(read(t, h.path("public.json")), &want))
	for name, rgb := range map[string][]byte{"cover": want.Cover, "secret": want.Secret, "noisy": want.Noisy, "sent": want.Stego} {
		h.write(name+".png", encodePNG(t, want.image(rgb)))
	}
	with := func(key string, args ...string) []string { return append(args, "--model", "imported", "--key", key) }
	key := "imported-10101-1010"
	h.ok(with(key, "embed", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")...)
	h.ok(with(key, "recover", "--stego", "sent.png", "-o", "recovered.png")...)
	h.ok("purify", "--model", "imported", "noisy.png", "-o", "purified.png")
	h.wantOutput("stego.png", want.image(want.Stego))
	h.wantOutput("recovered.png", want.image(want.Recovered))
	h.wantOutput("purified.png", want.image(want.Purified))

	// A random key is derived as with any model. It is a wrong one, and gives something else.
	h.ok(with("random-1-1", "recover", "--stego", "sent.png", "-o", "random.png")...)
	if matched := psnr(t, want.image(want.Recovered), h.wantPNG("random.png", want.Width, want.Height)); matched > 20 {
		t.Errorf("a random key gives what the right one does, %.1f dB", matched)
	}

	// The trainer's refusals are passed on; its own tests have all of them.
	h.write("notes.pth", []byte("no checkpoint"))
	h.mkdir("bare")
	must(t, os.WriteFile(h.path("bare", "python"), []byte("#!/bin/sh\nunset PYTHONPATH\nexec python3 \"$@\"\n"), 0o700))
	before := h.tree()
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"a text":      {[]string{"notes.pth"}, []string{"notes.pth", "not a PyTorch state dict"}},
		"a seed":      {[]string{"public.pth", "--embed-seed", "-1"}, []string{"--embed-seed"}},
		"no Python":   {[]string{"public.pth", "--python", "no/such/python"}, []string{"no/such/python", "make trainer-env", "--python"}},
		"no trainer":  {[]string{"public.pth", "--python", filepath.Join(h.path("bare"), "python")}, []string{"No module named", "make trainer-env"}},
		"no argument": {nil, []string{"arg"}},
	} {
		r := h.run(append([]string{"models", "import", "--out", "new"}, c.args...)...)
		r.wantError(t, 2, c.says...)
		if strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%s: want one line on standard error:\n%s%s", name, r.stdout, r.stderr)
		}
		h.wantUnchanged(before, name)
	}
	h.run("models", "import", "public.pth").wantError(t, 2, "out")
}

// A user is added to a network: the new model serves the new key, the old one is as it was, and private bytes stay in the keyring.
func TestEnroll(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	models := h.mkdir("models")
	h.env = append(h.env, "STEGOMQ_MODELS="+models+","+tinyModels(), "STEGOMQ_PYTHON="+python(), "PYTHONPATH="+repository)
	h.photographs("photos", 24, 96, 80)
	h.ok("keys", "new", "alice")
	h.ok("keys", "new", "bob")
	config := "--config=" + filepath.Join(repository, "trainer", "configs", "tiny.toml")

	out := h.ok("models", "enroll", "tiny", "--key", "alice", "--data", "photos", "--out", "models/tiny-3", "--seconds", "1", config).stdout
	for _, says := range []string{"8 pairs of 128x128", "demo-1", "demo-2", "alice", "tiny-3, digest"} {
		if !strings.Contains(out, says) {
			t.Errorf("models enroll does not say %q:\n%s", says, out)
		}
	}
	h.ok("models", "verify", "tiny", "tiny-3")
	private := regexp.MustCompile(`"[0-9a-f]{64}"`).FindAllString(string(read(t, h.path("config", "stegomq", "keyring.json"))), -1)
	if len(private) != 4 {
		t.Fatalf("the keyring has %d keys, this test looks for none of them", len(private))
	}
	must(t, filepath.WalkDir(models, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text := string(read(t, path))
		for _, key := range private {
			key = strings.Trim(key, `"`)
			bytes, err := hex.DecodeString(key)
			must(t, err)
			if strings.Contains(text, key) || strings.Contains(text, string(bytes)) {
				t.Errorf("%s holds a key of the keyring", path)
			}
		}
		return nil
	}))
	embed := []string{"embed", "--key", "alice", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png"}
	h.ok(append(embed, "--model", "tiny-3")...)
	h.ok("embed", "--key", "demo-1", "--model", "tiny-3", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "old.png")

	for what, c := range map[string]struct {
		args []string
		says []string
	}{
		"there already":     {[]string{"tiny", "--key", "bob", "--out", "models/tiny-3", config}, []string{"models/tiny-3", "exists already"}},
		"known":             {[]string{"tiny-3", "--key", "alice", "--out", "new"}, []string{"alice", "already"}},
		"no such key":       {[]string{"tiny", "--key", "carol", "--out", "new"}, []string{"carol"}},
		"a cipher":          {[]string{filepath.Join(shippedModels(), "sealed"), "--key", "bob", "--out", "new"}, []string{"any key works"}},
		"without the old's": {[]string{"tiny-3", "--key", "bob", "--out", "new", "--keyring", h.bobsKeyring()}, []string{"alice", "its user would lose it"}},
	} {
		r := h.run(append([]string{"models", "enroll", "--data", "photos"}, c.args...)...)
		r.wantError(t, 2, c.says...)
		if _, err := os.Stat(h.path("new")); err == nil {
			t.Errorf("%s: something was made", what)
		}
	}
}

// bobsKeyring is a keyring file with bob alone.
func (h *home) bobsKeyring() string {
	h.t.Helper()
	h.ok("keys", "new", "bob", "--keyring", "bobs.json")
	return "bobs.json"
}
