package keyring_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stegomq/internal/keyring"
)

func TestSwapped(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	swapped := keyring.Swapped(p)
	if !swapped.Embed.Equal(p.Recover) || !swapped.Recover.Equal(p.Embed) {
		t.Error("the keys are not exchanged")
	}
	if swapped.ID != "swapped-alice" || !swapped.Created.IsZero() || swapped.Fingerprint() == p.Fingerprint() {
		t.Errorf("%s, created %v, fingerprint %s of %s", swapped.ID, swapped.Created, swapped.Fingerprint(), p.Fingerprint())
	}
	if keyring.Swapped(swapped).Fingerprint() != p.Fingerprint() {
		t.Error("twice is not back where it was")
	}
}

// A partial pair has the keys of its owner, a fingerprint of its own, and one wrong key for all shares.
func TestPartial(t *testing.T) {
	t.Parallel()
	p, other := generate(t, "alice"), generate(t, "bob")
	seen := map[string]bool{p.Fingerprint(): true}
	for _, permille := range []int{0, 1, 256, 500, 999, 1000} {
		partial := keyring.Partial(p, permille)
		if !partial.Embed.Equal(p.Embed) || !partial.Recover.Equal(p.Recover) || !partial.Created.IsZero() {
			t.Errorf("%d permille: other keys than the owner's", permille)
		}
		if partial.ID != keyring.PartialID(permille, "alice") || partial.Part.Right != permille || partial.Part.Owner != p.Fingerprint() {
			t.Errorf("%d permille: %s, %d of %s", permille, partial.ID, partial.Part.Right, partial.Part.Owner)
		}
		if !partial.Part.Wrong.Equal(keyring.Partial(p, 7).Part.Wrong) || partial.Part.Wrong.Equal(keyring.Partial(other, 7).Part.Wrong) {
			t.Errorf("%d permille: the wrong key must depend on the owner alone", permille)
		}
		if print := partial.Fingerprint(); seen[print] || print != keyring.Partial(p, permille).Fingerprint() {
			t.Errorf("%d permille: the fingerprint %s is that of another, or changes", permille, print)
		}
		seen[partial.Fingerprint()] = true
	}
	for _, permille := range []int{-1, 1001} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d permille are taken", permille)
				}
			}()
			keyring.Partial(p, permille)
		}()
	}
}

func TestPartialMatchesTrainer(t *testing.T) {
	t.Parallel()
	for i, v := range readGolden(t).Partial {
		pair := demoPair(t, v.Owner)
		partial := keyring.Partial(pair, v.Permille)
		if got := hex.EncodeToString(partial.Part.Wrong.Expose()); got != v.Wrong {
			t.Errorf("partial[%d]: the wrong key is %s, want %s", i, got, v.Wrong)
		}
		if partial.Fingerprint() != v.Fingerprint {
			t.Errorf("partial[%d]: fingerprint %s, want %s", i, partial.Fingerprint(), v.Fingerprint)
		}
	}
}

// demoPair is the pair of a fingerprint among the golden ones.
func demoPair(t *testing.T, fingerprint string) keyring.Pair {
	t.Helper()
	for _, v := range readGolden(t).Fingerprint {
		if v.Fingerprint == fingerprint {
			return keyring.Pair{ID: "demo", Embed: parseKey(t, v.Embed), Recover: parseKey(t, v.Recover)}
		}
	}
	t.Fatalf("no golden pair has the fingerprint %s", fingerprint)
	return keyring.Pair{}
}

func TestDerivedIDsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		permille := rapid.IntRange(0, keyring.Whole).Draw(t, "permille")
		of := rapid.StringMatching(`[a-m0-9][a-z0-9_-]{0,49}`).Draw(t, "id")
		partial, swapped := keyring.PartialID(permille, of), keyring.SwappedID(of)
		if got, gotOf, ok := keyring.ParsePartialID(partial); !ok || got != permille || gotOf != of {
			t.Fatalf("%q: got %d, %q, %v", partial, got, gotOf, ok)
		}
		if gotOf, ok := keyring.ParseSwappedID(swapped); !ok || gotOf != of {
			t.Fatalf("%q: got %q, %v", swapped, gotOf, ok)
		}
		for _, id := range []string{partial, swapped} {
			if !keyring.ValidID(id) || !keyring.Derived(id) {
				t.Fatalf("%q must be a derived id", id)
			}
		}
	})
	for _, bad := range []string{
		"", "partial", "partial-", "partial-1", "partial-1-", "partial--1-alice", "partial-01-alice", "partial-1001-alice",
		"partial-0.5-alice", "partial-1-Alice", "partial-1-near-2-alice", "partial-1-swapped-alice", "partial-1-partial-2-alice",
		"partial-1000-" + strings.Repeat("a", keyring.MaxPartialID+1),
	} {
		if _, _, ok := keyring.ParsePartialID(bad); ok {
			t.Errorf("%q is taken for a partial id", bad)
		}
	}
	for _, bad := range []string{
		"", "swapped", "swapped-", "swapped-Alice", "Swapped-alice", "swapped-swapped-alice", "swapped-random-1-2",
		"swapped-partial-1-alice", "swapped-" + strings.Repeat("a", keyring.MaxSwappedID+1),
	} {
		if _, ok := keyring.ParseSwappedID(bad); ok {
			t.Errorf("%q is taken for a swapped id", bad)
		}
	}
	if _, _, ok := keyring.ParsePartialID("partial-1000-" + strings.Repeat("a", keyring.MaxPartialID)); !ok {
		t.Error("the longest id has no partial ids")
	}
	if _, ok := keyring.ParseSwappedID("swapped-" + strings.Repeat("a", keyring.MaxSwappedID)); !ok {
		t.Error("the longest id has no swapped id")
	}
}

// A worker that has a pair resolves what comes from it, and says how the ids are written that it does not understand.
func TestResolveDerived(t *testing.T) {
	t.Parallel()
	ring := keyring.New()
	p := generate(t, "alice")
	if err := ring.Add(p); err != nil {
		t.Fatal(err)
	}
	for _, want := range []keyring.Pair{keyring.Near(p, 3), keyring.Swapped(p), keyring.Partial(p, 0), keyring.Partial(p, 875)} {
		got, err := ring.Resolve(want.ID, want.Fingerprint())
		if err != nil || got.ID != want.ID || got.Fingerprint() != want.Fingerprint() {
			t.Errorf("%s: %v, %v", want.ID, got.ID, err)
		}
		if _, err := ring.Resolve(want.ID, p.Fingerprint()); !errors.Is(err, keyring.ErrKeyMismatch) {
			t.Errorf("%s with the fingerprint of its owner: %v, want ErrKeyMismatch", want.ID, err)
		}
		if err := ring.Add(want); !errors.Is(err, keyring.ErrInvalidID) {
			t.Errorf("%s can be stored: %v", want.ID, err)
		}
	}
	for id, form := range map[string]string{
		"swapped-":             "swapped-ID",
		"partial-1001-alice":   "PERMILLE 0 to 1000",
		"near-256-alice":       "BIT 0 to 255",
		"random-1":             "random-SEED-N",
		"swapped-bob":          `"bob"`,
		"partial-1-bob":        `"bob"`,
		"partial-1-near-1-bob": "PERMILLE",
	} {
		if _, err := ring.Get(id); !errors.Is(err, keyring.ErrUnknownKey) || !strings.Contains(err.Error(), form) {
			t.Errorf("%s: %v, want ErrUnknownKey about %s", id, err, form)
		}
	}
}
