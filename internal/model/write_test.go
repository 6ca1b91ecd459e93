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
	"stegomq/internal/weights"
)

// storedKey is the pair whose fills the stored model holds.
var storedKey = keyring.Random(1, 1)

// stored is the tiny model with its mask stored instead of drawn, and with fills of storedKey that are not the derived
// ones: embed has another key's, recover is all sevens.
func stored(t testing.TB) (model.Manifest, model.Contents) {
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
	manifest := m.Manifest
	manifest.Name, manifest.MaskSeed, manifest.Files = "stored", "", nil
	manifest.Keys = []model.Key{{ID: pair.ID, Fingerprint: pair.Fingerprint()}}
	manifest.Fills = []model.Fill{
		{Fingerprint: pair.Fingerprint(), Role: weights.RoleEmbed},
		{Fingerprint: pair.Fingerprint(), Role: weights.RoleRecover},
	}
	contents := model.Contents{
		Weights: m.Weights, Mask: bits, Fills: [][]float32{m.Mask.Select(other), sevens}, Graphs: map[model.Operation][]byte{},
		Keyring: func(path string) error { return ring.Save(path, keyring.Protection{}) }, Card: "# stored\n",
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
	dir = filepath.Join(t.TempDir(), "models", "stored")
	if _, err := model.Write(dir, manifest, contents); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWrite(t *testing.T) {
	t.Parallel()
	manifest, contents := stored(t)
	root := t.TempDir()
	dir := filepath.Join(root, "not", "there", "yet")
	written, err := model.Write(dir+"/", manifest, contents)
	if err != nil {
		t.Fatal(err)
	}
	read, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if written.Dir != dir || written.Digest != read.Digest || written.Name != "stored" || !slices.Equal(written.Weights, read.Weights) {
		t.Errorf("written %s as %s in %s, read %s", written.Name, written.Digest, written.Dir, read.Digest)
	}
	if card, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || string(card) != contents.Card {
		t.Errorf("card %q, %v", card, err)
	}
	keys, err := keyring.Open(read.Keyring(), keyring.Protection{})
	if err != nil || keys.Len() != 1 || !keys.Public() {
		t.Errorf("keyring: %v", err)
	}
	again, err := model.Write(filepath.Join(root, "again"), manifest, contents)
	if err != nil || again.Digest != read.Digest {
		t.Errorf("the same model again: %v, another digest", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o500 != 0o500 || info.Mode().Perm() == 0o700 {
		t.Errorf("the directory is for its maker alone: %v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("beside it: %v, %v", left, err)
	}
}

// Write overwrites nothing, and what it cannot finish it takes away.
func TestWriteIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	failed := errors.New("no keyring today")
	for name, c := range map[string]struct {
		breakIt func(m *model.Manifest, c *model.Contents)
		want    error
	}{
		"manifest":        {func(m *model.Manifest, _ *model.Contents) { m.Factor = 0 }, model.ErrFormat},
		"weights missing": {func(_ *model.Manifest, c *model.Contents) { c.Weights = c.Weights[1:] }, model.ErrDigest},
		"no graph":        {func(_ *model.Manifest, c *model.Contents) { delete(c.Graphs, model.OpPurify) }, model.ErrFormat},
		"no mask":         {func(_ *model.Manifest, c *model.Contents) { c.Mask = nil }, model.ErrFormat},
		"one fill":        {func(_ *model.Manifest, c *model.Contents) { c.Fills = c.Fills[1:] }, model.ErrDigest},
		"keyring":         {func(_ *model.Manifest, c *model.Contents) { c.Keyring = func(string) error { return failed } }, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			manifest, contents := stored(t)
			c.breakIt(&manifest, &contents)
			if _, err := model.Write(filepath.Join(root, "new"), manifest, contents); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if left, err := os.ReadDir(root); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	dir := writeStored(t)
	manifest, contents := stored(t)
	before, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	manifest.Name = "another"
	if _, err := model.Write(dir, manifest, contents); !errors.Is(err, model.ErrExists) || !strings.Contains(err.Error(), dir) {
		t.Errorf("over a model: %v, want ErrExists", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "manifest.json")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the model was changed: %v", err)
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

// A weight that is not finite is no weight, wherever it comes from.
func TestWriteRefusesWhatLoadWould(t *testing.T) {
	t.Parallel()
	manifest, contents := stored(t)
	contents.Fills[1][3] = float32(math.Inf(1))
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := model.Write(dir, manifest, contents); !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), "fills.bin") {
		t.Errorf("%v, want ErrFormat about fills.bin", err)
	}
}
