package model_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// The trainer exported both: a small untrained fixture, and the model that ships.
var (
	tiny    = filepath.Join("..", "ort", "testdata", "tiny")
	shipped = filepath.Join("..", "..", "models")
)

// copyOf copies the fixture, so that a test can break it.
func copyOf(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit changes the manifest as a map, as any program could write it.
func edit(t testing.TB, dir string, change func(m map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "manifest.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rewrite replaces a file of the model, and its digest in the manifest.
func rewrite(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	edit(t, dir, func(m map[string]any) { m["files"].(map[string]any)[name] = hex.EncodeToString(sum[:]) })
}

func TestLoad(t *testing.T) {
	t.Parallel()
	m, err := model.Load(tiny)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(tiny, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(manifest)); m.Digest != want {
		t.Errorf("digest %s, want %s", m.Digest, want)
	}
	if m.Name != "tiny" || m.Dir != tiny || m.Trained() || m.Manifest.Factor != 2 || m.Manifest.Backbone != "invertible" {
		t.Errorf("%q in %s, trained %v, factor %d, backbone %q", m.Name, m.Dir, m.Trained(), m.Manifest.Factor, m.Manifest.Backbone)
	}

	packed, err := os.ReadFile(filepath.Join(tiny, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := binary.Write(&again, binary.LittleEndian, m.Weights); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), packed) {
		t.Error("the weights are not those of weights.bin")
	}
	if n := m.Manifest.Weights(); n != len(m.Weights) || n != m.Mask.Len() || !slices.Equal(m.Layers, m.Manifest.Layers) {
		t.Errorf("%d weights in the manifest, %d read, %d in the mask", n, len(m.Weights), m.Mask.Len())
	}
	if share := float64(m.Mask.Kept()) / float64(m.Mask.Len()); math.Abs(share-m.Manifest.Alpha) > 0.02 {
		t.Errorf("the share %v of the weights is shared, want about %v", share, m.Manifest.Alpha)
	}
	for _, op := range model.Operations() {
		want, err := os.ReadFile(filepath.Join(tiny, string(op)+".onnx"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Graph(op), want) {
			t.Errorf("the graph of %s is not %s.onnx", op, op)
		}
	}
	if m.Graph("train") != nil {
		t.Error("an operation that does not exist has a graph")
	}
}

// The mask of the loaded model is that of its manifest: alpha and seed are not mixed up.
func TestMaskOfTheManifest(t *testing.T) {
	t.Parallel()
	m, err := model.Load(tiny)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(m.Manifest.MaskSeed)
	if err != nil {
		t.Fatal(err)
	}
	want := weights.NewMask(m.Manifest.Layers, seed, m.Manifest.Alpha)
	for i := range want.Len() {
		if m.Mask.Shared(i) != want.Shared(i) {
			t.Fatalf("weight %d: shared %v, want %v", i, m.Mask.Shared(i), want.Shared(i))
		}
	}
}

// Every model that ships loads, and its demo keyring holds the keys that its manifest names.
func TestShippedModels(t *testing.T) {
	t.Parallel()
	entries, err := model.List(shipped, filepath.Dir(tiny))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name] = true
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			m, err := model.Load(e.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if e.Err != nil || m.Digest != e.Digest || m.Name != e.Name || e.Manifest.Name != e.Name {
				t.Errorf("listed as %s %s (%v), loaded as %s %s", e.Name, e.Digest, e.Err, m.Name, m.Digest)
			}
			if m.Keyring() == "" {
				t.Fatal("there is no demo keyring")
			}
			keys, err := keyring.Open(m.Keyring(), keyring.Protection{})
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Public() || keys.Note() == "" || keys.Len() != len(m.Keys()) || keys.Len() == 0 {
				t.Errorf("keyring: public %v, note %q, %d keys; the manifest names %d", keys.Public(), keys.Note(), keys.Len(), len(m.Keys()))
			}
			for _, k := range m.Keys() {
				if _, err := keys.Resolve(k.ID, k.Fingerprint); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, want := range []string{"invertible-mk", "tiny"} {
		if !names[want] {
			t.Errorf("%s is missing: %v", want, names)
		}
	}
}

func TestOneFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"weights.bin", "embed.onnx", "recover.onnx", "purify.onnx", "keyring.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t)
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for what, broken := range map[string][]byte{
				"flipped": slices.Concat(data[:len(data)/2], []byte{data[len(data)/2] ^ 1}, data[len(data)/2+1:]),
				"cut":     data[:len(data)-1],
				"longer":  append(slices.Clone(data), 0),
				"empty":   nil,
			} {
				if err := os.WriteFile(path, broken, 0o644); err != nil {
					t.Fatal(err)
				}
				checkDamaged(t, what, dir, name)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, "missing", dir, name)
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, "a directory", dir, name)
		})
	}
}

func checkDamaged(t *testing.T, what, dir, name string) {
	t.Helper()
	_, err := model.Load(dir)
	if !errors.Is(err, model.ErrDigest) || errors.Is(err, model.ErrFormat) {
		t.Errorf("%s: %v, want ErrDigest", what, err)
		return
	}
	for _, want := range []string{dir, name, "again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error does not hold %q: %v", what, want, err)
		}
	}
}

// Weights with the right digest can still be wrong.
func TestWeightsMustFit(t *testing.T) {
	t.Parallel()
	dir := copyOf(t)
	data, err := os.ReadFile(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		broken := slices.Clone(data)
		binary.LittleEndian.PutUint32(broken[4*100:], math.Float32bits(float32(bad)))
		rewrite(t, dir, "weights.bin", broken)
		if _, err := model.Load(dir); !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), "weight 100") {
			t.Errorf("%v: %v, want ErrFormat", bad, err)
		}
	}
	rewrite(t, dir, "weights.bin", append(data, 0, 0, 0, 0))
	if _, err := model.Load(dir); err == nil || !strings.Contains(err.Error(), "weights.bin") {
		t.Errorf("one weight too many: %v", err)
	}
	rewrite(t, dir, "weights.bin", data)
	if _, err := model.Load(dir); err != nil {
		t.Errorf("put right again: %v", err)
	}
}

func TestManifestRules(t *testing.T) {
	t.Parallel()
	layer := func(m map[string]any, i int) map[string]any { return m["layers"].([]any)[i].(map[string]any) }
	files := func(m map[string]any) map[string]any { return m["files"].(map[string]any) }
	hash := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   string // in the error
	}{
		"format":           {func(m map[string]any) { m["format"] = 2 }, "format 2"},
		"unknown field":    {func(m map[string]any) { m["extra"] = 1 }, "extra"},
		"unknown in layer": {func(m map[string]any) { layer(m, 0)["stride"] = 1 }, "stride"},
		"type":             {func(m map[string]any) { m["factor"] = "2" }, "factor"},
		"name":             {func(m map[string]any) { m["name"] = "../tiny" }, "name"},
		"no backbone":      {func(m map[string]any) { delete(m, "backbone") }, "backbone"},
		"keying":           {func(m map[string]any) { m["keying"] = "none" }, "keying"},
		"derivation":       {func(m map[string]any) { m["derivation"] = 2 }, "derivation"},
		"factor":           {func(m map[string]any) { m["factor"] = 0 }, "factor"},
		"min side":         {func(m map[string]any) { m["min_side"] = -1 }, "min_side"},
		"features below":   {func(m map[string]any) { m["features"] = -1 }, "features"},
		"too many":         {func(m map[string]any) { m["features"] = 1<<16 + 1 }, "features"},
		"alpha":            {func(m map[string]any) { m["alpha"] = 1 }, "alpha"},
		"negative alpha":   {func(m map[string]any) { m["alpha"] = -0.1 }, "alpha"},
		"seed":             {func(m map[string]any) { m["mask_seed"] = strings.ToUpper(m["mask_seed"].(string)) }, "mask_seed"},
		"trained":          {func(m map[string]any) { m["trained"] = true }, "training"},
		"parameters":       {func(m map[string]any) { m["parameters"] = 5 }, "parameters"},
		"quality": {func(m map[string]any) {
			m["quality"] = []any{map[string]any{"dataset": "bsds", "date": "today", "width": 1, "height": 1, "pairs": 1}}
		}, "quality[0].date"},
		"key id":          {func(m map[string]any) { m["keys"] = []any{map[string]any{"id": "A", "fingerprint": hash[:32]}} }, "keys[0].id"},
		"key fingerprint": {func(m map[string]any) { m["keys"] = []any{map[string]any{"id": "a", "fingerprint": "0"}} }, "keys[0].fingerprint"},
		"no layers":       {func(m map[string]any) { m["layers"] = []any{} }, "layers"},
		"layer name":      {func(m map[string]any) { layer(m, 1)["name"] = "a/b" }, "layers[1].name"},
		"layer twice":     {func(m map[string]any) { layer(m, 1)["name"] = layer(m, 0)["name"] }, "taken"},
		"layer is input":  {func(m map[string]any) { layer(m, 1)["name"] = "cover" }, "taken"},
		"layer is output": {func(m map[string]any) { layer(m, 1)["name"] = "features" }, "taken"},
		"gap":             {func(m map[string]any) { layer(m, 1)["offset"] = 9999 }, "layers[1].offset"},
		"zero dim":        {func(m map[string]any) { layer(m, 1)["shape"] = []int{0, 1, 1, 1} }, "layers[1].shape"},
		"three dims":      {func(m map[string]any) { layer(m, 1)["shape"] = []int{16, 16, 9} }, "layers[1].shape"},
		"huge dim":        {func(m map[string]any) { layer(m, 1)["shape"] = []int{1 << 40, 1 << 40, 1, 1} }, "layers[1].shape"},
		"huge in sum":     {func(m map[string]any) { layer(m, 1)["shape"] = []int{1 << 13, 1 << 13, 1, 1} }, "more than"},
		"no weights":      {func(m map[string]any) { delete(files(m), "weights.bin") }, "weights.bin"},
		"no graph":        {func(m map[string]any) { delete(files(m), "recover.onnx") }, "recover.onnx"},
		"traversal":       {func(m map[string]any) { files(m)["../secret"] = hash }, "../secret"},
		"absolute":        {func(m map[string]any) { files(m)["/etc/passwd"] = hash }, "/etc/passwd"},
		"another file":    {func(m map[string]any) { files(m)["train.onnx"] = hash }, "train.onnx"},
		"digest":          {func(m map[string]any) { files(m)["embed.onnx"] = hash[1:] }, "embed.onnx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t)
			edit(t, dir, c.change)
			_, err := model.Load(dir)
			if !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want ErrFormat about %q", err, c.want)
			}
			if _, _, err := model.ReadManifest(dir); !errors.Is(err, model.ErrFormat) {
				t.Errorf("the manifest alone: %v, want ErrFormat", err)
			}
		})
	}
}

// A broken manifest is put right in one go.
func TestValidateReportsEverything(t *testing.T) {
	t.Parallel()
	dir := copyOf(t)
	edit(t, dir, func(m map[string]any) {
		m["alpha"], m["factor"], m["name"] = 7, 0, ""
		delete(m["files"].(map[string]any), "embed.onnx")
	})
	_, err := model.Load(dir)
	for _, want := range []string{"alpha", "factor", "name", "embed.onnx"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported: %v", want, err)
		}
	}
}

func TestManifestIsReadStrictly(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filepath.Join(tiny, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)/2], "more": append(slices.Clone(good), "{}"...), "list": []byte("[]"),
		"too long": append(slices.Clone(good), bytes.Repeat([]byte(" "), 5<<20)...),
	} {
		dir := copyOf(t)
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := model.Load(dir); !errors.Is(err, model.ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestModelWithoutKeyring(t *testing.T) {
	t.Parallel()
	dir := copyOf(t)
	edit(t, dir, func(m map[string]any) { delete(m["files"].(map[string]any), "keyring.json") })
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The file is still there, but nobody vouches for it.
	if m.Keyring() != "" {
		t.Errorf("keyring %s, though the manifest names none", m.Keyring())
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Join(first, "a"), filepath.Join(second, "a"), filepath.Join(second, "b")} {
		if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(first, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(first, "gone")
	for name, want := range map[string]string{
		"a":                              filepath.Join(first, "a"),
		"b":                              filepath.Join(second, "b"),
		filepath.Join(second, "a"):       filepath.Join(second, "a"),
		filepath.Join(second, "b") + "/": filepath.Join(second, "b"),
	} {
		if got, err := model.Find(name, gone, first, second); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"c", "empty", "", "A", "..", ".", first, filepath.Join(first, "c"), "a/../../etc"} {
		if got, err := model.Find(name, first, second); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("%q: %q, %v; want ErrNotFound", name, got, err)
		}
	}
	_, err := model.Open("c", first, second)
	for _, want := range []string{`"c"`, first, second, "a, b"} {
		if !errors.Is(err, model.ErrNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not hold %q", err, want)
		}
	}
	if _, err := model.Find("c"); !errors.Is(err, model.ErrNotFound) || !strings.Contains(err.Error(), "./c") {
		t.Errorf("without roots: %v", err)
	}
	if _, err := model.Load(gone); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("load nothing: %v", err)
	}
	if m, err := model.Open("b", first, second); err != nil || m.Dir != filepath.Join(second, "b") {
		t.Errorf("open b: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"b", "a", "broken", ".hidden"} {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(tiny)); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, filepath.Join(root, "broken"), func(m map[string]any) { m["format"] = 9 })
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := model.List(root, filepath.Join(root, "gone"), root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
		if broken := e.Name == "broken"; broken != errors.Is(e.Err, model.ErrFormat) || broken != (e.Digest == "") {
			t.Errorf("%s: digest %q, %v", e.Name, e.Digest, e.Err)
		}
	}
	if !slices.Equal(names, []string{"a", "b", "broken"}) {
		t.Errorf("models %v", names)
	}
	if _, err := model.List(filepath.Join(tiny, "manifest.json")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is a file: %v", err)
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, op := range model.Operations() {
		role, keyed := op.Role()
		if !op.Valid() || len(op.Inputs()) == 0 || op.Output() == "" || keyed != (op != model.OpPurify) || keyed && string(role) != string(op) {
			t.Errorf("%s: valid %v, inputs %v, output %q, role %q %v", op, op.Valid(), op.Inputs(), op.Output(), role, keyed)
		}
	}
	if op := model.Operation("train"); op.Valid() || op.Inputs() != nil || op.Output() != "" {
		t.Error("an operation that does not exist is valid")
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"invertible-mk"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := model.Load(filepath.Join(shipped, name)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
