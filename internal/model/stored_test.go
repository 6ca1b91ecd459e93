package model_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/testrig/modeldir"
	"stegomq/internal/weights"
)

// storedKey is the pair whose fills the stored model holds.
var storedKey = keyring.Random(1, 1)

// stored is the tiny model with its mask stored instead of drawn, and with fills of storedKey that are not the derived
// ones: embed has another key's, recover is all sevens.
func stored(t testing.TB) (model.Manifest, modeldir.Contents) {
	t.Helper()
	m, err := model.Load(tiny)
	if err != nil {
		t.Fatal(err)
	}
	bits := make([]byte, (m.Mask.Len()+7)/8)
	for i := range m.Mask.Len() {
		if m.Mask.Shared(i) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	other := make([]float32, len(m.Weights))
	m.Mask.Apply(other, m.Weights, weights.RoleEmbed, otherKey())
	sevens := make([]float32, m.Mask.Len()-m.Mask.Kept())
	for i := range sevens {
		sevens[i] = 7
	}
	ring := keyring.NewPublic("for a test")
	pair := storedKey
	pair.ID = "stored-1"
	if err := ring.Add(pair); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := ring.Save(path, keyring.Protection{}); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	manifest := m.Manifest
	manifest.Name, manifest.MaskSeed, manifest.Files = "stored", "", nil
	manifest.Keys = []model.Key{{ID: pair.ID, Fingerprint: pair.Fingerprint()}}
	manifest.Fills = []model.Fill{
		{Fingerprint: pair.Fingerprint(), Role: weights.RoleEmbed},
		{Fingerprint: pair.Fingerprint(), Role: weights.RoleRecover},
	}
	contents := modeldir.Contents{
		Weights: m.Weights, Mask: bits, Fills: [][]float32{modeldir.Keyed(m, other), sevens}, Graphs: map[model.Operation][]byte{}, Keyring: keys,
	}
	for _, op := range model.Operations() {
		contents.Graphs[op] = m.Graph(op)
	}
	return manifest, contents
}

func otherKey() []byte { return keyring.Random(2, 2).Embed.Expose() }

func writeStored(t testing.TB) (dir string) {
	t.Helper()
	manifest, contents := stored(t)
	return modeldir.Write(t, manifest, contents)
}

func TestStored(t *testing.T) {
	t.Parallel()
	manifest, contents := stored(t)
	m, err := model.Load(modeldir.Write(t, manifest, contents))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "stored" || !slices.Equal(m.Weights, contents.Weights) {
		t.Errorf("loaded %s", m.Name)
	}
	keys, err := keyring.Open(m.Keyring(), keyring.Protection{})
	if err != nil || keys.Len() != 1 || !keys.Public() {
		t.Errorf("keyring: %v", err)
	}
}

// What does not fit the manifest is no model, though every digest is right.
func TestStoredContentsMustFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(m *model.Manifest, c *modeldir.Contents)
		want    error
		says    string
	}{
		"manifest":        {func(m *model.Manifest, _ *modeldir.Contents) { m.Factor = 0 }, model.ErrFormat, "factor"},
		"weights missing": {func(_ *model.Manifest, c *modeldir.Contents) { c.Weights = c.Weights[1:] }, model.ErrDigest, "weights.bin"},
		"no graph":        {func(_ *model.Manifest, c *modeldir.Contents) { delete(c.Graphs, model.OpPurify) }, model.ErrFormat, "purify.onnx"},
		"no mask":         {func(_ *model.Manifest, c *modeldir.Contents) { c.Mask = nil }, model.ErrFormat, "mask"},
		"one fill":        {func(_ *model.Manifest, c *modeldir.Contents) { c.Fills = c.Fills[1:] }, model.ErrDigest, "fills.bin"},
		"infinite":        {func(_ *model.Manifest, c *modeldir.Contents) { c.Fills[1][3] = float32(math.Inf(1)) }, model.ErrFormat, "fills.bin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifest, contents := stored(t)
			c.breakIt(&manifest, &contents)
			if _, err := model.Load(modeldir.Write(t, manifest, contents)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v about %s", err, c.want, c.says)
			}
		})
	}
}

// The stored fill is used for its pair and role; any other key is derived as ever.
func TestApply(t *testing.T) {
	t.Parallel()
	drawn, err := model.Load(tiny)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(writeStored(t))
	if err != nil {
		t.Fatal(err)
	}
	apply := func(m *model.Model, p keyring.Pair, role weights.Role, key []byte) []float32 {
		w := make([]float32, len(m.Weights))
		m.Apply(w, p.Fingerprint(), role, key)
		return w
	}
	embed := apply(m, storedKey, weights.RoleEmbed, storedKey.Embed.Expose())
	want := make([]float32, len(m.Weights))
	m.Mask.Apply(want, m.Weights, weights.RoleEmbed, otherKey())
	if !slices.Equal(embed, want) {
		t.Error("the embed weights are not those of the stored fill")
	}
	for i, w := range apply(m, storedKey, weights.RoleRecover, storedKey.Recover.Expose()) {
		if shared := m.Mask.Shared(i); shared && w != m.Weights[i] || !shared && w != 7 {
			t.Fatalf("recover weight %d (shared: %v) is %v, W has %v", i, shared, w, m.Weights[i])
		}
	}
	random := keyring.Random(3, 3)
	for _, role := range []weights.Role{weights.RoleEmbed, weights.RoleRecover} {
		if !slices.Equal(apply(m, random, role, random.Embed.Expose()), apply(drawn, random, role, random.Embed.Expose())) {
			t.Errorf("%s: the weights of a key that is not stored are not the derived ones", role)
		}
	}
	if slices.Equal(apply(drawn, storedKey, weights.RoleEmbed, storedKey.Embed.Expose()), embed) {
		t.Error("the stored fill is the derived one: this test shows nothing")
	}
}

func TestStoredFilesAreVerified(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mask.bin", "fills.bin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeStored(t)
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for what, broken := range map[string][]byte{
				"flipped": append([]byte{data[0] ^ 1}, data[1:]...), "cut": data[:len(data)-1], "longer": append(slices.Clone(data), 0),
			} {
				if err := os.WriteFile(path, broken, 0o644); err != nil {
					t.Fatal(err)
				}
				checkDamaged(t, what, dir, name)
			}
		})
	}
	// With the right digest they can still be wrong.
	dir := writeStored(t)
	mask, err := os.ReadFile(filepath.Join(dir, "mask.bin"))
	if err != nil {
		t.Fatal(err)
	}
	fills, err := os.ReadFile(filepath.Join(dir, "fills.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		data       []byte
	}{
		{"mask.bin", "shares 1.0000", bytes.Repeat([]byte{0xff}, len(mask))},
		{"mask.bin", "shares 0.0000", make([]byte, len(mask))},
		{"fills.bin", "weight 0 is NaN", append([]byte{0, 0, 0xc0, 0x7f}, fills[4:]...)},
	} {
		rewrite(t, dir, "mask.bin", mask)
		rewrite(t, dir, "fills.bin", fills)
		rewrite(t, dir, c.name, c.data)
		if _, err := model.Load(dir); !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrFormat that says %q", c.name, err, c.says)
		}
	}
	if m, err := model.Load(tiny); err != nil || m.Mask.Len()%8 != 0 {
		t.Errorf("the fixture has %d weights, and a mask of ones would have bits beyond them: %v", m.Mask.Len(), err)
	}
}

func TestStoredManifestRules(t *testing.T) {
	t.Parallel()
	fill := func(m map[string]any, i int) map[string]any { return m["fills"].([]any)[i].(map[string]any) }
	files := func(m map[string]any) map[string]any { return m["files"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   string
	}{
		"seed and mask":   {func(m map[string]any) { m["mask_seed"] = strings.Repeat("5e", 32) }, "mask_seed"},
		"neither":         {func(m map[string]any) { delete(files(m), "mask.bin") }, "mask_seed"},
		"fills, no file":  {func(m map[string]any) { delete(files(m), "fills.bin") }, "fills.bin"},
		"file, no fills":  {func(m map[string]any) { delete(m, "fills") }, "fills.bin"},
		"role of a mask":  {func(m map[string]any) { fill(m, 0)["role"] = "mask" }, "fills[0].role"},
		"twice":           {func(m map[string]any) { fill(m, 1)["role"] = "embed" }, "fills[1]"},
		"unknown field":   {func(m map[string]any) { fill(m, 1)["offset"] = 0 }, "offset"},
		"key not listed":  {func(m map[string]any) { fill(m, 0)["fingerprint"] = strings.Repeat("0", 32) }, "fills[0].fingerprint"},
		"keys are listed": {func(m map[string]any) { m["keys"] = []any{} }, "fills[1].fingerprint"},
		"alpha":           {func(m map[string]any) { m["alpha"] = 0.8 }, "alpha is 0.8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeStored(t)
			edit(t, dir, c.change)
			if _, err := model.Load(dir); !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want ErrFormat about %q", err, c.want)
			}
		})
	}
}
