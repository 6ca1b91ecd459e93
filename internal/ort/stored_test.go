package ort

import (
	"slices"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/testrig/modeldir"
	"stegomq/internal/weights"
)

// storing writes the tests' model anew, with the recover fill of one key stored as that of another.
func storing(t *testing.T, plain *model.Model, key, other *Key) *model.Model {
	t.Helper()
	manifest := plain.Manifest
	manifest.Keys = []model.Key{{ID: "stored-1", Fingerprint: key.Fingerprint}}
	manifest.Fills = []model.Fill{{Fingerprint: key.Fingerprint, Role: weights.RoleRecover}}
	w := make([]float32, len(plain.Weights))
	plain.Mask.Apply(w, plain.Weights, weights.RoleRecover, other.Bytes())
	contents := modeldir.Contents{Weights: plain.Weights, Fills: [][]float32{modeldir.Keyed(plain, w)}, Graphs: map[model.Operation][]byte{}}
	for _, op := range model.Operations() {
		contents.Graphs[op] = plain.Graph(op)
	}
	stored, err := model.Load(modeldir.Write(t, manifest, contents))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// A pair whose fill the model stores runs with it, and not with the one that its key would give.
func TestStoredFill(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	plain := tiny(t)
	key, other := testKey(model.OpRecover, 1), testKey(model.OpRecover, 2)
	stored := storing(t, plain, key, other)
	add(t, e, plain)
	add(t, e, stored)

	in := images(t, model.OpRecover, 1, 18, 17)
	got := mustRun(t, e, stored, model.OpRecover, key, in)
	if !slices.Equal(got.Data, mustRun(t, e, plain, model.OpRecover, other, in).Data) {
		t.Error("the output is not that of the stored fill")
	}
	if slices.Equal(got.Data, mustRun(t, e, plain, model.OpRecover, key, in).Data) {
		t.Error("the output is that of the derived fill")
	}
	wrong := testKey(model.OpRecover, 3)
	if !slices.Equal(mustRun(t, e, stored, model.OpRecover, wrong, in).Data, mustRun(t, e, plain, model.OpRecover, wrong, in).Data) {
		t.Error("a key without a stored fill does not give the derived one")
	}
}
