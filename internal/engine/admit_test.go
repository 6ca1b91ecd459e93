package engine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/schemas"
)

// TestCheck tries every kind of key with every keying.
func TestCheck(t *testing.T) {
	t.Parallel()
	network, variant, lsb := models(t)
	sealed, err := model.Load(filepath.Join("..", "..", "models", "sealed"))
	if err != nil {
		t.Fatal(err)
	}
	demo := ring(t, lsb)
	alice, err := keyring.Generate("alice", time.Unix(0, 0))
	if err == nil {
		err = demo.Add(alice)
	}
	if err != nil {
		t.Fatal(err)
	}
	carol, err := keyring.Generate("carol", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	half, err := carol.EmbedOnly()
	if err == nil {
		err = demo.Add(half)
	}
	if err != nil {
		t.Fatal(err)
	}
	trained, err := model.Load(filepath.Join("..", "..", "models", "invertible-mk"))
	if err != nil {
		t.Fatal(err)
	}
	e, _, _, _ := start(t)
	e.keys = demo
	if err := e.Add(sealed, trained); err != nil {
		t.Fatal(err)
	}
	is := func(id, fingerprint string) *schemas.KeyRef { return &schemas.KeyRef{Id: id, Fingerprint: fingerprint} }
	const good = schemas.Reason("")
	// The reasons are those of the network of keyed weights, of that of variants, of the cipher that needs both halves, and of sealed.
	for _, c := range []struct {
		name string
		op   schemas.Operation
		key  *schemas.KeyRef
		want [4]schemas.Reason
	}{
		{"trained, embed", embed, e.ref(t, "demo-1"), [4]schemas.Reason{}},
		{"trained, recover", recov, e.ref(t, "demo-1"), [4]schemas.Reason{}},
		{"a user's, embed", embed, e.ref(t, "alice"), [4]schemas.Reason{schemas.ReasonBadKey, schemas.ReasonBadKey}},
		{"a user's, recover", recov, e.ref(t, "alice"), [4]schemas.Reason{good, schemas.ReasonBadKey}},
		{"half, embed", embed, e.ref(t, "carol"), [4]schemas.Reason{schemas.ReasonBadKey, schemas.ReasonBadKey, schemas.ReasonUnknownKey}},
		{"half, recover", recov, e.ref(t, "carol"), [4]schemas.Reason{schemas.ReasonUnknownKey, schemas.ReasonUnknownKey, schemas.ReasonUnknownKey, schemas.ReasonUnknownKey}},
		{"no key", recov, nil, [4]schemas.Reason{schemas.ReasonBadKey, schemas.ReasonBadKey, schemas.ReasonBadKey, schemas.ReasonBadKey}},
		{"a key to purify", purify, e.ref(t, "demo-1"), [4]schemas.Reason{schemas.ReasonBadKey, schemas.ReasonBadMessage, schemas.ReasonBadMessage, schemas.ReasonBadMessage}},
		{"purify", purify, nil, [4]schemas.Reason{good, schemas.ReasonBadMessage, schemas.ReasonBadMessage, schemas.ReasonBadMessage}},
		{"alice's fingerprint, bob's id", recov, is("demo-2", alice.Fingerprint()), [4]schemas.Reason{
			schemas.ReasonKeyMismatch, schemas.ReasonKeyMismatch, schemas.ReasonKeyMismatch, schemas.ReasonKeyMismatch}},
		{"alice's fingerprint, nobody's id", recov, is("nobody", alice.Fingerprint()), [4]schemas.Reason{
			schemas.ReasonUnknownKey, schemas.ReasonUnknownKey, schemas.ReasonUnknownKey, schemas.ReasonUnknownKey}},
	} {
		for i, m := range []*model.Model{trained, variant, lsb, sealed} {
			checkReason(t, c.name+", "+m.Name, e.Check(t.Context(), m.Digest, c.op, c.key), c.want[i])
		}
	}
	for _, id := range []string{"random-1-0", "near-3-demo-1", "swapped-demo-1", "partial-500-demo-1", "partial-1000-demo-1"} {
		for _, m := range []*model.Model{network, trained, variant, lsb, sealed} {
			checkReason(t, "embed with "+id, e.Check(t.Context(), m.Digest, embed, e.ref(t, id)), schemas.ReasonBadKey)
			want := good
			if m == variant || m.Manifest.Keying != model.KeyingWeights && strings.HasPrefix(id, "partial") {
				want = schemas.ReasonBadKey
			}
			checkReason(t, m.Name+", recover with "+id, e.Check(t.Context(), m.Digest, recov, e.ref(t, id)), want)
		}
	}
	checkReason(t, "a model that is not trained", e.Check(t.Context(), network.Digest, embed, e.ref(t, "alice")), good)
	checkReason(t, "no such model", e.Check(t.Context(), strings.Repeat("0", 64), recov, e.ref(t, "demo-1")), schemas.ReasonUnknownModel)
	if !e.Serves(network.Digest) || !e.Serves(sealed.Digest) || e.Serves(strings.Repeat("0", 64)) {
		t.Error("the engine does not say which models it has")
	}
}

// checkReason wants a fault with a reason, or no error.
func checkReason(t *testing.T, name string, err error, want schemas.Reason) {
	t.Helper()
	fault, ok := errors.AsType[*schemas.Fault](err)
	if want == "" && err != nil || want != "" && (!ok || fault.Reason != want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

// A key that the model was not trained with is refused where it would lose the secret, not only by the check; it recovers.
func TestUntrainedKeyDoesNotEmbed(t *testing.T) {
	t.Parallel()
	e, _, _, lsb := start(t)
	m, err := model.Load(filepath.Join("..", "..", "models", "invertible-mk"))
	if err == nil {
		err = e.Add(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	alice, err := keyring.Generate("alice", time.Unix(0, 0))
	keys := ring(t, lsb)
	if err := errors.Join(err, keys.Add(alice)); err != nil {
		t.Fatal(err)
	}
	e.keys = keys
	image := photograph(t, 1, 32, 32)
	_, _, err = e.Run(t.Context(), m.Digest, embed, e.ref(t, "alice"), image, image)
	checkReason(t, "embed", err, schemas.ReasonBadKey)
	if !strings.Contains(err.Error(), "was not trained") || !strings.Contains(err.Error(), "demo-1") {
		t.Errorf("%q does not say why", err)
	}
	for _, id := range []string{"alice", "random-1-0", "near-3-alice", "swapped-demo-1"} {
		if out := e.must(t, m, recov, id, image); out.N != 1 {
			t.Errorf("%s does not recover", id)
		}
	}
}

// The next check after a change of the keyring's file sees it; while the file cannot be read there are no keys.
func TestCheckSeesTheFile(t *testing.T) {
	t.Parallel()
	_, _, lsb := models(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	alice, err := keyring.Generate("alice", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	change := func(change func(*keyring.Keyring) error) {
		t.Helper()
		if err := keyring.Update(path, keyring.Protection{}, change); err != nil {
			t.Fatal(err)
		}
	}
	change(func(k *keyring.Keyring) error { return k.Add(alice) })
	keys, err := keyring.Watch(keyring.Protection{}, path)
	if err != nil {
		t.Fatal(err)
	}
	e := New(nil, keys)
	if err := e.Add(lsb); err != nil {
		t.Fatal(err)
	}
	ref := &schemas.KeyRef{Id: "alice", Fingerprint: alice.Fingerprint()}
	check := func(want schemas.Reason) {
		t.Helper()
		checkReason(t, "alice", e.Check(t.Context(), lsb.Digest, embed, ref), want)
	}
	check("")
	change(func(k *keyring.Keyring) error { return k.Remove("alice") })
	check(schemas.ReasonUnknownKey)
	change(func(k *keyring.Keyring) error { return k.Add(alice) })
	check("")
	image := photograph(t, 1, 8, 8)
	change(func(k *keyring.Keyring) error { return k.Remove("alice") })
	_, _, err = e.Run(t.Context(), lsb.Digest, embed, ref, image, image)
	checkReason(t, "run", err, schemas.ReasonUnknownKey)
}
