package e2e

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/quality"
	"stegomq/study"
)

// Tests of models whose keys do not fill weights.
func cipherModel() string   { return filepath.Join(shippedModels(), "lsb-chacha20") }
func rotationModel() string { return filepath.Join(shippedModels(), "modulo") }
func variantModel() string  { return filepath.Join(tinyModels(), "variant") }

// wantRoles checks which comparisons a run has, and how many. Other roles must have no score in any file.
func wantRoles(t *testing.T, h *home, out string, want map[string]int) *study.Summary {
	t.Helper()
	sum, items := h.summary(out), h.items(out)
	got := make(map[string]int)
	for _, i := range items {
		got[i.role]++
	}
	for role := range got {
		if want[role] == 0 {
			t.Errorf("there are comparisons of the role %s", role)
		}
	}
	for role, n := range want {
		if got[role] != n {
			t.Errorf("%d comparisons of the role %s, want %d", got[role], role, n)
		}
	}
	if sum.Purification.N != 0 || sum.Noise.N != 0 || len(sum.FailedItems) != 0 {
		t.Errorf("purified %d, noisy %d, failed %v", sum.Purification.N, sum.Noise.N, sum.FailedItems)
	}
	return sum
}

// wantGrid checks that grid.png has so many columns of images, with white between them.
func wantGrid(t *testing.T, h *home, out string, columns int) {
	t.Helper()
	sheet, err := png.Decode(bytes.NewReader(read(t, h.path(out, "grid.png"))))
	must(t, err)
	found, inside := 0, false
	for x := range sheet.Bounds().Dx() {
		white := true
		for y := range sheet.Bounds().Dy() {
			r, g, b, _ := sheet.At(x, y).RGBA()
			white = white && r&g&b == 0xffff
		}
		if !white && !inside {
			found++
		}
		inside = !white
	}
	if found != columns {
		t.Errorf("grid.png has %d columns, want %d", found, columns)
	}
}

// The classical baseline takes the same path as a network, and needs no ONNX Runtime: the matched key recovers the high
// bits, every other key noise.
func TestEvaluateCipher(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env = append(h.env, "STEGOMQ_ORT_LIB="+h.path("no-library.so"))
	h.photographs("photos", 5, 60, 40)
	first := h.ok("evaluate", "--data", "photos", "--model", cipherModel(), "--keys", "3", "--random-keys", "2", "--near-keys", "2",
		"--size", "48", "--save-images", "--out", "out")
	const pairs, keys = 2, 3
	sum := wantRoles(t, h, "out", map[string]int{
		"imperceptibility": pairs * keys, "recoverability": pairs * keys, "baseline_cover_secret": pairs,
		"leakage_mismatched": pairs * keys * (keys - 1), "leakage_mismatched_cover": pairs * keys * (keys - 1),
		"leakage_random": pairs * keys * 2, "leakage_random_cover": pairs * keys * 2,
		"leakage_near": pairs * keys * 2, "leakage_near_cover": pairs * keys * 2,
	})
	if sum.Model.Keying != "cipher" || !sum.Model.Trained {
		t.Errorf("model %+v", sum.Model)
	}
	if p := sum.Recoverability.PSNR; p.Min < 34 || p.Max > 36 {
		t.Errorf("recovered %+v dB, want about 34.8", p)
	}
	if p := sum.Imperceptibility.PSNR; p.Min < 31 || p.Max > 33 {
		t.Errorf("stego %+v dB, want about 31.8", p)
	}
	for name, g := range map[string]study.Group{"mismatched": sum.LeakageMismatched, "random": sum.LeakageRandom, "near": sum.LeakageNear} {
		if g.PSNR.Max > 12 || g.SSIM.Max > 0.1 {
			t.Errorf("a %s key shows %.2f dB, SSIM %.3f of the secret", name, g.PSNR.Max, g.SSIM.Max)
		}
	}
	for _, text := range []string{first.stdout, string(read(t, h.path("out", "report.md")))} {
		if strings.Contains(text, "Purification") || !strings.Contains(text, "cipher") || !strings.Contains(text, "random key") {
			t.Errorf("the report:\n%s", text)
		}
	}
	wantGrid(t, h, "out", 7) // cover, stego, residual, secret, recovered, mismatched, random
	wantImages(t, h, "out", h.items("out"))

	again := h.ok("evaluate", "--data", "photos", "--model", cipherModel(), "--keys", "3", "--random-keys", "2", "--near-keys", "2",
		"--size", "48", "--out", "again", "--log-level", "info")
	wantCached(t, h, again, "out", "again", sum.Run)
	h.ok("report", sum.Run)
}

// A network for each key: a wrong key is another user's network, and there are none for other keys.
func TestEvaluateVariants(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 60, 40)
	first := h.ok("evaluate", "--data", "photos", "--model", "variant", "--size", "33", "--save-images", "--out", "out")
	const pairs, keys = 2, 2
	sum := wantRoles(t, h, "out", map[string]int{
		"imperceptibility": pairs * keys, "recoverability": pairs * keys, "baseline_cover_secret": pairs,
		"leakage_mismatched": pairs * keys * (keys - 1), "leakage_mismatched_cover": pairs * keys * (keys - 1),
	})
	if sum.Model.Keying != "variant" || len(sum.RandomKeys) != 0 || len(sum.NearKeys) != 0 {
		t.Errorf("model %+v, random keys %v, near keys %v", sum.Model, sum.RandomKeys, sum.NearKeys)
	}
	if a, b := sum.Confusion.PSNR[0], sum.Confusion.PSNR[1]; *a[0] == *a[1] || *b[0] == *b[1] {
		t.Errorf("two networks recover the same: %v %v", a, b)
	}
	for _, text := range []string{first.stdout, string(read(t, h.path("out", "report.md")))} {
		if strings.Contains(text, "Purification") || strings.Contains(text, "random key,") || !strings.Contains(text, "a network for each key") {
			t.Errorf("the report:\n%s", text)
		}
	}
	wantGrid(t, h, "out", 6)
	wantImages(t, h, "out", h.items("out"))

	again := h.ok("evaluate", "--data", "photos", "--model", "variant", "--random-keys", "0", "--size", "33", "--out", "again", "--log-level", "info")
	wantCached(t, h, again, "out", "again", sum.Run)
}

// Unsupported operations are refused before anything is written.
func TestKeyingsRefuse(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 60, 40)
	must(t, os.WriteFile(h.path("ring.json"), read(t, filepath.Join(cipherModel(), "keyring.json")), 0o600))
	before := h.tree()
	evaluate := func(args ...string) []string {
		return append([]string{"evaluate", "--data", "photos", "--size", "32", "--model", "variant"}, args...)
	}
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"random keys":      {evaluate("--random-keys", "1"), []string{"--random-keys", "variant"}},
		"near keys":        {evaluate("--near-keys", "1"), []string{"--near-keys", "variant"}},
		"exchanged keys":   {evaluate("--swapped"), []string{"--swapped", "variant"}},
		"partial keys":     {evaluate("--partial", "50"), []string{"--partial", "variant"}},
		"no key":           {evaluate("--no-key"), []string{"--no-key", "variant", "purify"}},
		"partial, cipher":  {[]string{"evaluate", "--data", "photos", "--model", cipherModel(), "--partial", "50"}, []string{"--partial", "lsb-chacha20"}},
		"features, cipher": {[]string{"evaluate", "--data", "photos", "--model", cipherModel(), "--features"}, []string{"--features", "lsb-chacha20"}},
		"keys of others":   {evaluate("--keys", "ring.json"), []string{"demo-3", "demo-1, demo-2"}},
		"purify, variant":  {[]string{"purify", "--model", "variant", "photos/00.jpg", "-o", "p.png"}, []string{"purify", "variant", "embed, recover"}},
		"purify, cipher":   {[]string{"purify", "--model", cipherModel(), "photos/00.jpg", "-o", "p.png"}, []string{"purify", "lsb-chacha20", "embed, recover"}},
		"recover, random":  {[]string{"recover", "--model", "variant", "--key", "random-1-0", "--stego", "photos/01.png", "-o", "r.png"}, []string{"random-1-0", "demo-1, demo-2"}},
		"recover, near":    {[]string{"recover", "--model", "variant", "--key", "near-0-demo-1", "--stego", "photos/01.png", "-o", "r.png"}, []string{"near-0-demo-1", "demo-1, demo-2"}},
		"embed, no key":    {[]string{"embed", "--model", cipherModel(), "--key", "nobody", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "s.png"}, []string{"nobody", "demo-1"}},
		"embed, a network": {[]string{"embed", "--keyring", "ring.json", "--model", "variant", "--key", "demo-3", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "s.png"}, []string{"demo-3", "demo-1, demo-2"}},
	} {
		h.run(c.args...).wantError(t, 2, c.says...)
		h.wantUnchanged(before, name)
	}
}

// A new user's key works with the cipher at once; another key, or a changed stego image, gives noise.
func TestCipherWithAKeyOfOnesOwn(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("keys", "new", "alice")
	cover, secret := picture(1, 61, 43), picture(2, 61, 43)
	h.write("cover.png", encodePNG(t, cover))
	h.write("secret.png", encodePNG(t, secret))
	h.ok("embed", "--model", cipherModel(), "--key", "alice", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")
	recovered := func(key string) float64 {
		h.ok("recover", "--model", cipherModel(), "--key", key, "--stego", "stego.png", "-o", key+".png")
		return psnr(t, secret, h.wantPNG(key+".png", 61, 43))
	}
	if got := recovered("alice"); got < 34 {
		t.Errorf("the matched key recovers %.2f dB", got)
	}
	for _, key := range []string{"demo-1", "random-1-0", "near-7-alice"} {
		if got := recovered(key); got > 12 {
			t.Errorf("%s recovers %.2f dB", key, got)
		}
	}
	// The keystream depends on all high bits: one changed bit destroys everything.
	stego := h.wantPNG("stego.png", 61, 43)
	stego.Pix[0] ^= 0x10
	h.write("stego.png", encodePNG(t, stego))
	if got := recovered("alice"); got > 12 {
		t.Errorf("a changed stego image gives %.2f dB", got)
	}
}

// Where keys rotate, a new user's key works at once, and every other key shows noise; evaluation works as with a network.
func TestModulo(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env = append(h.env, "STEGOMQ_ORT_LIB="+h.path("no-library.so"))
	h.photographs("photos", 5, 90, 70)
	h.ok("keys", "new", "alice")
	cover, secret := picture(1, 91, 83), picture(2, 91, 83)
	h.write("cover.png", encodePNG(t, cover))
	h.write("secret.png", encodePNG(t, secret))
	// The least of 400 keys were 30.3, 29.0 and 23.9 dB.
	for model, floor := range map[string]float64{"modulo": 27, "modulo-noise": 25, "modulo-jpeg": 16} {
		model = filepath.Join(shippedModels(), model)
		h.ok("embed", "--model", model, "--key", "alice", "--cover", "cover.png", "--secret", "secret.png", "-o", "stego.png")
		recovered := func(key string) quality.Scores {
			h.ok("recover", "--model", model, "--key", key, "--stego", "stego.png", "-o", key+".png")
			scores, err := quality.Compare(secret, h.wantPNG(key+".png", 91, 83))
			must(t, err)
			return scores
		}
		if got := recovered("alice"); got.PSNR < floor || got.SSIM < 0.5 {
			t.Errorf("%s: the matched key recovers %.2f dB, SSIM %.3f", model, got.PSNR, got.SSIM)
		}
		// The few low frequencies of noise decide its PSNR: that of one in a thousand is above 12 dB. Its SSIM is below 0.15.
		for _, key := range []string{"demo-1", "random-1-0", "near-7-alice"} {
			if got := recovered(key); got.SSIM > 0.3 {
				t.Errorf("%s: %s recovers %.2f dB, SSIM %.3f", model, key, got.PSNR, got.SSIM)
			}
		}
	}
	const pairs, keys = 2, 3
	ran := h.ok("evaluate", "--data", "photos", "--model", rotationModel(), "--keys", "3", "--random-keys", "2", "--near-keys", "2", "--swapped",
		"--size", "64", "--out", "out")
	sum := wantRoles(t, h, "out", map[string]int{
		"imperceptibility": pairs * keys, "recoverability": pairs * keys, "baseline_cover_secret": pairs,
		"leakage_mismatched": pairs * keys * (keys - 1), "leakage_mismatched_cover": pairs * keys * (keys - 1),
		"leakage_random": pairs * keys * 2, "leakage_random_cover": pairs * keys * 2,
		"leakage_near": pairs * keys * 2, "leakage_near_cover": pairs * keys * 2,
		"leakage_swapped": pairs * keys, "leakage_swapped_cover": pairs * keys,
	})
	if sum.Model.Keying != "rotation" || !sum.Model.Trained || !strings.Contains(ran.stdout, "rotate") {
		t.Errorf("model %+v in\n%s", sum.Model, ran.stdout)
	}
	if p := sum.Imperceptibility.PSNR; p.Min < 38 {
		t.Errorf("stego %+v dB", p)
	}
	if p := sum.Recoverability.PSNR; p.Min < 25 {
		t.Errorf("recovered %+v dB", p)
	}
	for name, g := range map[string]study.Group{"mismatched": sum.LeakageMismatched, "random": sum.LeakageRandom, "near": sum.LeakageNear} {
		if g.PSNR.Mean > 9 || g.SSIM.Mean > 0.1 || g.SSIM.Max > 0.3 {
			t.Errorf("a %s key shows %.2f dB and SSIM %.3f of the secret on average, and at most %.3f", name, g.PSNR.Mean, g.SSIM.Mean, g.SSIM.Max)
		}
	}
	h.run("evaluate", "--data", "photos", "--model", rotationModel(), "--partial", "50").wantError(t, 2, "--partial", "modulo")
}

// The output of `models` and `doctor` for all keyings.
func TestModelsOfEveryKeying(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	list := h.ok("models", "list", "--models", tinyModels()+","+shippedModels()).stdout
	for name, words := range map[string][]string{
		"tiny": {"weights", "0.9"}, "variant": {"variant", "fixture"}, "lsb-chacha20": {"cipher", "lsb4-chacha20"},
		"modulo-jpeg": {"rotation", "modulo"},
	} {
		rows := slices.DeleteFunc(strings.Split(list, "\n"), func(row string) bool { return !strings.Contains(row, " "+name+" ") })
		if len(rows) != 1 || !strings.Contains(rows[0], words[0]) || !strings.Contains(rows[0], words[1]) {
			t.Errorf("%s is not listed with %q:\n%s", name, words, list)
		}
	}
	verified := h.ok("models", "verify", variantModel(), cipherModel()).stdout
	if !strings.Contains(verified, "variant: ok") || !strings.Contains(verified, "lsb-chacha20: ok") {
		t.Errorf("models verify:\n%s", verified)
	}
	doctor := h.ok("doctor", "--models", tinyModels()+","+shippedModels()).stdout
	for _, want := range []string{"keying weights", "keying variant, NOT trained", "keying cipher, nothing to train", "keying rotation, nothing to train"} {
		if !strings.Contains(doctor, want) {
			t.Errorf("doctor does not say %q:\n%s", want, doctor)
		}
	}
	broken := h.path("models", "variant")
	must(t, os.CopyFS(broken, os.DirFS(variantModel())))
	must(t, os.Remove(filepath.Join(broken, "recover.demo-2.onnx")))
	h.run("models", "verify", broken).wantError(t, 2, "recover.demo-2.onnx")
}

// A network without keys serves two new users at once: their own keys recover, all others show noise, and it purifies.
func TestEvaluateRotatedNetwork(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 80, 80)
	h.ok("keys", "new", "alice", "--keyring", "keys.json")
	h.ok("keys", "new", "bob", "--keyring", "keys.json")
	h.ok("evaluate", "--data", "photos", "--model", filepath.Join(shippedModels(), "invertible-rk"), "--keys", "keys.json",
		"--random-keys", "2", "--near-keys", "2", "--swapped", "--size", "64", "--out", "out")
	sum := h.summary("out")
	if sum.Model.Keying != "rotation" || !sum.Model.Trained || len(sum.FailedItems) != 0 {
		t.Errorf("model %+v, failed %v", sum.Model, sum.FailedItems)
	}
	if sum.Imperceptibility.PSNR.Min < 25 || sum.Recoverability.PSNR.Mean < sum.BaselineCoverSecret.PSNR.Mean+5 || sum.Purification.N == 0 {
		t.Errorf("stego %.1f dB, recovered %.1f, unrelated %.1f, %d purified", sum.Imperceptibility.PSNR.Min, sum.Recoverability.PSNR.Mean,
			sum.BaselineCoverSecret.PSNR.Mean, sum.Purification.N)
	}
	for name, g := range map[string]study.Group{
		"mismatched": sum.LeakageMismatched, "random": sum.LeakageRandom, "near": sum.LeakageNear, "swapped": sum.LeakageSwapped,
	} {
		// Noise of so few pixels reaches 0.18 by chance.
		if g.N == 0 || g.SSIM.Mean > 0.15 || g.SSIM.Max > 0.3 || g.PSNR.Mean > sum.Recoverability.PSNR.Mean-5 {
			t.Errorf("%s: %d comparisons, %.3f SSIM on average and at most %.3f, %.1f dB on average", name, g.N, g.SSIM.Mean, g.SSIM.Max, g.PSNR.Mean)
		}
	}
}
