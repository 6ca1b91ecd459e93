package e2e

import (
	"context"
	"encoding/json"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// trainer runs `python -m trainer` with the Python that STEGOMQ_PYTHON names, or that of `make trainer-env`.
func (h *home) trainer(args ...string) {
	h.t.Helper()
	python := os.Getenv("STEGOMQ_PYTHON")
	if python == "" {
		python = filepath.Join(".venv", "bin", "python")
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, append([]string{"-m", "trainer"}, args...)...)
	cmd.Dir = repository // which is what a relative path to Python is relative to
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("python -m trainer %s: %v\n%s\nthis test needs the trainer: run `make trainer-env`, or set STEGOMQ_PYTHON",
			strings.Join(args, " "), err, out)
	}
}

// publicOutputs is what the trainer computes with a checkpoint of the public PUSNet code: RGB bytes.
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

// wantOutput compares an image with the one that PyTorch computed: equal, but where rounding to 8 bits went the other way.
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

// A checkpoint in the format of the public PUSNet code, made by the trainer with PyTorch, becomes a model that
// computes the same. What is no such checkpoint is named, and leaves nothing behind.
func TestImport(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	models := h.mkdir("models")
	h.trainer("export", filepath.Join("trainer", "configs", "pusnet-mk.toml"), filepath.Join(models, "pusnet-mk"))
	h.trainer("public", h.path("public.pth"))
	h.env = append(h.env, "STEGOMQ_MODELS="+models+","+tinyModels())

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

	// Other seeds are another key pair, but the mask is the checkpoint's.
	if out := h.ok("models", "import", "public.pth", "--out", "other", "--name", "renamed", "--embed-seed", "7", "--recover-seed", "8").stdout; !strings.Contains(out, "imported-7-8") || !strings.Contains(out, "renamed") {
		t.Errorf("models import with other seeds:\n%s", out)
	}

	whole := read(t, h.path("public.pth"))
	h.write("cut.pth", whole[:len(whole)/2])
	h.write("notes.pth", []byte("no checkpoint"))
	samples := filepath.Join(repository, "internal", "pytorch", "testdata")
	before := h.tree()
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"no checkpoint":     {[]string{"nowhere.pth"}, []string{"nowhere.pth", "no such file"}},
		"a text":            {[]string{"notes.pth"}, []string{"notes.pth", "not a PyTorch state dict"}},
		"cut":               {[]string{"cut.pth"}, []string{"cut.pth", "not a PyTorch state dict"}},
		"a folder":          {[]string{"models"}, []string{"regular file"}},
		"the old format":    {[]string{filepath.Join(samples, "old-legacy.pt")}, []string{"old format", "torch.save"}},
		"a whole module":    {[]string{filepath.Join(samples, "new-module.pt")}, []string{"Linear", "state_dict()"}},
		"another network":   {[]string{filepath.Join(samples, "new-state.pt")}, []string{"in_layers.0.weight"}},
		"another alpha":     {[]string{"public.pth", "--alpha", "0.7"}, []string{"mask", "alpha 0.90"}},
		"alpha 1":           {[]string{"public.pth", "--alpha", "1"}, []string{"alpha"}},
		"another mask":      {[]string{"public.pth", "--mask-seed", "2"}, []string{"mask seed"}},
		"a negative seed":   {[]string{"public.pth", "--embed-seed", "-1"}, []string{"--embed-seed"}},
		"no such model":     {[]string{"public.pth", "--like", "nosuch"}, []string{"--like", "nosuch", "pusnet-mk"}},
		"not a PUSNet":      {[]string{"public.pth", "--like", "tiny"}, []string{"tiny", "invertible"}},
		"a bad name":        {[]string{"public.pth", "--name", "A B"}, []string{"name", "A B"}},
		"there already":     {[]string{"public.pth", "--out", "models/imported"}, []string{"models/imported", "exists already"}},
		"nowhere to put it": {[]string{"public.pth", "--out", "notes.pth/new"}, []string{"notes.pth"}},
		"no --out":          {[]string{"public.pth", "--out", ""}, []string{"--out"}},
		"no argument":       {nil, []string{"arg"}},
	} {
		args := append([]string{"models", "import", "--out", "new"}, c.args...)
		r := h.run(args...)
		r.wantError(t, 2, c.says...)
		if strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%s: want one line on standard error:\n%s%s", name, r.stdout, r.stderr)
		}
		h.wantUnchanged(before, name)
	}
}
