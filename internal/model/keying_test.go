package model_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/model"
)

var (
	variant  = filepath.Join("..", "ort", "testdata", "variant")
	cipher   = filepath.Join("..", "..", "models", "lsb-chacha20")
	rotation = filepath.Join("..", "..", "models", "modulo")
)

// copyDir copies a model, so that a test can break it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t testing.TB, dir string) *model.Model {
	t.Helper()
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLoadVariants(t *testing.T) {
	t.Parallel()
	m := load(t, variant)
	if m.Manifest.Keying != model.KeyingVariant || m.Weights != nil || m.Mask != nil || m.Layers != nil || m.Trained() {
		t.Errorf("keying %q, %d weights, mask %v, trained %v", m.Manifest.Keying, len(m.Weights), m.Mask, m.Trained())
	}
	for _, k := range m.Keys() {
		for _, op := range []model.Operation{model.OpEmbed, model.OpRecover} {
			want, err := os.ReadFile(filepath.Join(variant, string(op)+"."+k.ID+".onnx"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := m.VariantGraph(op, k.Fingerprint); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of %s is not its file: %v", op, k.ID, err)
			}
			if m.Graph(op) != nil {
				t.Errorf("there is a graph of %s for every key", op)
			}
		}
		if _, err := m.VariantGraph(model.OpPurify, k.Fingerprint); !errors.Is(err, model.ErrNoVariant) {
			t.Errorf("purify of %s: %v, want ErrNoVariant", k.ID, err)
		}
		if !m.Takes(k.Fingerprint) {
			t.Errorf("%s is not taken", k.ID)
		}
	}
	strange := strings.Repeat("0", 32)
	if _, err := m.VariantGraph(model.OpEmbed, strange); !errors.Is(err, model.ErrNoVariant) || !strings.Contains(err.Error(), "demo-2") {
		t.Errorf("another key: %v, want ErrNoVariant with the keys that there are", err)
	}
	if m.Takes(strange) {
		t.Error("another key is taken")
	}
}

func TestLoadCipher(t *testing.T) {
	t.Parallel()
	m := load(t, cipher)
	if m.Name != "lsb-chacha20" || m.Manifest.Keying != model.KeyingCipher || !m.Trained() || len(m.Keys()) != 4 {
		t.Errorf("%s: keying %q, trained %v, %d keys", m.Name, m.Manifest.Keying, m.Trained(), len(m.Keys()))
	}
	if !m.Takes(strings.Repeat("0", 32)) {
		t.Error("a key that is not among the demo keys is not taken")
	}
	if _, err := m.VariantGraph(model.OpEmbed, m.Keys()[0].Fingerprint); !errors.Is(err, model.ErrNoVariant) {
		t.Errorf("a graph of a cipher: %v, want ErrNoVariant", err)
	}
}

func TestLoadRotation(t *testing.T) {
	t.Parallel()
	m := load(t, rotation)
	if m.Name != "modulo" || m.Manifest.Keying != model.KeyingRotation || !m.Trained() || m.Manifest.Network() || len(m.Keys()) != 4 {
		t.Errorf("%s: keying %q, trained %v, %d keys", m.Name, m.Manifest.Keying, m.Trained(), len(m.Keys()))
	}
	if !m.Takes(strings.Repeat("0", 32)) {
		t.Error("a key that is not among the demo keys is not taken")
	}
}

func TestDoes(t *testing.T) {
	t.Parallel()
	for dir, purifies := range map[string]bool{tiny: true, variant: false, cipher: false, rotation: false} {
		m := load(t, dir)
		for op, want := range map[model.Operation]bool{
			model.OpEmbed: true, model.OpRecover: true, model.OpPurify: purifies, "train": false, "": false,
		} {
			if m.Manifest.Does(op) != want {
				t.Errorf("%s does %q: %v, want %v", m.Name, op, !want, want)
			}
		}
	}
}

// A model of keyed weights that says that it cannot purify needs no graph for it.
func TestWithoutPurification(t *testing.T) {
	t.Parallel()
	dir := copyOf(t)
	edit(t, dir, func(m map[string]any) {
		m["operations"] = []string{"embed", "recover"}
		delete(m["files"].(map[string]any), "purify.onnx")
	})
	if m := load(t, dir); m.Graph(model.OpPurify) != nil || m.Graph(model.OpEmbed) == nil {
		t.Error("want graphs of embed and recover alone")
	}
}

func TestVariantsAreVerified(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"embed.demo-1.onnx", "recover.demo-2.onnx", "keyring.json"} {
		dir := copyDir(t, variant)
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := slices.Clone(data)
		flipped[len(data)/2] ^= 1
		for what, broken := range map[string][]byte{"flipped": flipped, "cut": data[:len(data)-1], "empty": nil} {
			if err := os.WriteFile(path, broken, 0o644); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, what, dir, name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		checkDamaged(t, "missing", dir, name)
	}
}

// A graph that changes after the model was loaded is not handed out.
func TestVariantGraphIsCheckedAgain(t *testing.T) {
	t.Parallel()
	dir := copyDir(t, variant)
	m := load(t, dir)
	path := filepath.Join(dir, "recover.demo-1.onnx")
	if err := os.WriteFile(path, []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.VariantGraph(model.OpRecover, m.Keys()[0].Fingerprint); !errors.Is(err, model.ErrDigest) {
		t.Errorf("changed: %v, want ErrDigest", err)
	}
	if _, err := m.VariantGraph(model.OpEmbed, m.Keys()[0].Fingerprint); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

func TestKeyingRules(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0", 64)
	files := func(m map[string]any) map[string]any { return m["files"].(map[string]any) }
	at := func(m map[string]any, list string, i int) map[string]any { return m[list].([]any)[i].(map[string]any) }
	set := func(field string, value any) func(map[string]any) {
		return func(m map[string]any) { m[field] = value }
	}
	for name, c := range map[string]struct {
		dir    string
		change func(m map[string]any)
		want   string // in the error
	}{
		"no keying":                {variant, set("keying", ""), "keying"},
		"unknown operation":        {tiny, set("operations", []string{"embed", "recover", "train"}), "operations[2]"},
		"operation twice":          {tiny, set("operations", []string{"embed", "recover", "embed"}), "operations[2]"},
		"no recover":               {tiny, set("operations", []string{"embed", "purify"}), "operations"},
		"graph too many":           {tiny, set("operations", []string{"embed", "recover"}), "purify.onnx"},
		"all operations":           {variant, func(m map[string]any) { delete(m, "operations") }, "operations"},
		"purify":                   {variant, set("operations", []string{"embed", "recover", "purify"}), "operations"},
		"cipher purifies":          {cipher, func(m map[string]any) { delete(m, "operations") }, "operations"},
		"weights and variants":     {tiny, set("variants", []any{map[string]any{"id": "a"}}), "variants"},
		"weights, graph of a key":  {tiny, func(m map[string]any) { files(m)["embed.demo-1.onnx"] = hash }, "embed.demo-1.onnx"},
		"variant with layers":      {variant, set("layers", []any{map[string]any{"name": "a", "shape": []int{1, 1, 1, 1}}}), "layers"},
		"variant with a seed":      {variant, set("mask_seed", hash), "mask_seed"},
		"variant with alpha":       {variant, set("alpha", 0.9), "alpha"},
		"variant with derivation":  {variant, set("derivation", 1), "derivation"},
		"variant with fills":       {variant, set("fills", []any{map[string]any{"fingerprint": hash[:32], "role": "embed"}}), "fills"},
		"variant with weights.bin": {variant, func(m map[string]any) { files(m)["weights.bin"] = hash }, "weights.bin"},
		"variant with one graph":   {variant, func(m map[string]any) { files(m)["embed.onnx"] = hash }, "embed.onnx"},
		"no variants":              {variant, func(m map[string]any) { delete(m, "variants") }, "variants"},
		"missing variant":          {variant, func(m map[string]any) { m["variants"] = m["variants"].([]any)[:1] }, `"demo-2" has no variant`},
		"variant twice": {variant, func(m map[string]any) {
			m["variants"] = append(m["variants"].([]any), m["variants"].([]any)[0])
		}, "variants[2]"},
		"variant of no key":      {variant, func(m map[string]any) { m["keys"] = m["keys"].([]any)[:1] }, "variants[1]"},
		"another fingerprint":    {variant, func(m map[string]any) { at(m, "variants", 0)["fingerprint"] = hash[:32] }, "variants[0]"},
		"two of a fingerprint":   {variant, func(m map[string]any) { at(m, "keys", 1)["fingerprint"] = at(m, "keys", 0)["fingerprint"] }, "keys[1].fingerprint"},
		"file of another":        {variant, func(m map[string]any) { at(m, "variants", 0)["embed"] = "embed.demo-2.onnx" }, "variants[0].embed"},
		"file elsewhere":         {variant, func(m map[string]any) { at(m, "variants", 0)["recover"] = "../recover.demo-1.onnx" }, "variants[0].recover"},
		"no file":                {variant, func(m map[string]any) { delete(files(m), "recover.demo-2.onnx") }, "recover.demo-2.onnx"},
		"file of nobody":         {variant, func(m map[string]any) { files(m)["recover.demo-9.onnx"] = hash }, "recover.demo-9.onnx"},
		"traversal by the id":    {variant, func(m map[string]any) { at(m, "keys", 0)["id"], at(m, "variants", 0)["id"] = "../x", "../x" }, "keys[0].id"},
		"no parameters":          {variant, set("parameters", 0), "parameters"},
		"unknown field":          {variant, func(m map[string]any) { at(m, "variants", 0)["purify"] = "purify.onnx" }, "purify"},
		"variant without fields": {variant, set("variants", []any{map[string]any{}}), "variants[0]"},
		"cipher with variants":   {cipher, set("variants", []any{map[string]any{"id": "a"}}), "variants"},
		"cipher with layers":     {cipher, set("layers", []any{}), "layers"},
		"cipher with a graph":    {cipher, func(m map[string]any) { files(m)["embed.onnx"] = hash }, "embed.onnx"},
		"another cipher":         {cipher, set("backbone", "lsb1"), "backbone"},
		"trained cipher":         {cipher, set("trained", true), "trained"},
		"cipher with parameters": {cipher, set("parameters", 1), "parameters"},
		"cipher with a factor":   {cipher, set("factor", 2), "factor"},
		"cipher with features":   {cipher, set("features", 3), "features"},
		"another rotation":       {rotation, set("backbone", "lsb4-chacha20"), "backbone"},
		"trained rotation":       {rotation, set("trained", true), "trained"},
		"rotation with a graph":  {rotation, func(m map[string]any) { files(m)["recover.onnx"] = hash }, "recover.onnx"},
		"rotation with a factor": {rotation, set("factor", 8), "factor"},
		"rotation with features": {rotation, set("features", 3), "features"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyDir(t, c.dir)
			edit(t, dir, c.change)
			if _, err := model.Load(dir); !errors.Is(err, model.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want ErrFormat about %q", err, c.want)
			}
		})
	}
}

// What is read is written again with the same fields, and none of another keying.
func TestManifestKeepsItsFields(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{tiny, variant, cipher, rotation} {
		text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(load(t, dir).Manifest)
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if err := errors.Join(json.Unmarshal(text, &want), json.Unmarshal(again, &got)); err != nil {
			t.Fatal(err)
		}
		for field := range want {
			if _, ok := got[field]; !ok {
				t.Errorf("%s: %s is lost", dir, field)
			}
		}
		for field := range got {
			if _, ok := want[field]; !ok {
				t.Errorf("%s: %s is new", dir, field)
			}
		}
	}
}
