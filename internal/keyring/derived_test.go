package keyring_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stegomq/internal/keyring"
)

// TestNear compares the pairs near one with it bit by bit.
func TestNear(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	seen := map[string]bool{p.Fingerprint(): true}
	for bit := range keyring.KeyBits {
		near := keyring.Near(p, bit)
		for name, keys := range map[string][2]keyring.Key{"embed": {p.Embed, near.Embed}, "recover": {p.Recover, near.Recover}} {
			a, b := keys[0].Expose(), keys[1].Expose()
			differ := 0
			for i := range a {
				differ += bits.OnesCount8(a[i] ^ b[i])
			}
			if differ != 1 || (a[bit/8]^b[bit/8])>>(bit%8) != 1 {
				t.Errorf("bit %d: the %s keys differ in %d bits, in its byte by %08b", bit, name, differ, a[bit/8]^b[bit/8])
			}
		}
		if seen[near.Fingerprint()] {
			t.Errorf("bit %d: the fingerprint is that of another", bit)
		}
		seen[near.Fingerprint()] = true
		if back := keyring.Near(near, bit); !back.Embed.Equal(p.Embed) || !back.Recover.Equal(p.Recover) {
			t.Errorf("bit %d: twice is not back where it was", bit)
		}
	}
	if near := keyring.Near(p, 17); near.ID != "near-17-alice" || !near.Created.IsZero() {
		t.Errorf("%s, created %v", near.ID, near.Created)
	}
	for _, bit := range []int{-1, 256} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("bit %d is taken", bit)
				}
			}()
			keyring.Near(p, bit)
		}()
	}
}

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
		if partial.ID != fmt.Sprintf("partial-%d-alice", permille) || partial.Part.Right != permille || partial.Part.Owner != p.Fingerprint() {
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

// holding is a keyring with one pair.
func holding(t interface{ Fatal(...any) }, p keyring.Pair) *keyring.Keyring {
	ring := keyring.New()
	if err := ring.Add(p); err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestDerivedIDsRoundTrip(t *testing.T) {
	t.Parallel()
	alice := generate(t, "alice")
	rapid.Check(t, func(t *rapid.T) {
		p := alice
		p.ID = rapid.StringMatching(`[a-m0-9][a-z0-9_-]{0,49}`).Draw(t, "id")
		ring := holding(t, p)
		for _, derived := range []keyring.Pair{
			keyring.Near(p, rapid.IntRange(0, keyring.KeyBits-1).Draw(t, "bit")),
			keyring.Partial(p, rapid.IntRange(0, keyring.Whole).Draw(t, "permille")),
			keyring.Swapped(p),
		} {
			got, err := ring.Get(derived.ID)
			if err != nil || got.ID != derived.ID || got.Fingerprint() != derived.Fingerprint() {
				t.Fatalf("%q: got %q, %v", derived.ID, got.ID, err)
			}
			if !keyring.ValidID(derived.ID) || !keyring.Derived(derived.ID) || keyring.Derived(p.ID) {
				t.Fatalf("%q must be a derived id, %q none", derived.ID, p.ID)
			}
		}
	})
	ring := holding(t, alice)
	for _, bad := range []string{
		"", "near", "near-", "near-1", "near-1-", "near--1-alice", "near-01-alice", "near-+1-alice", "near-256-alice",
		"near-1-Alice", "near-1-alice ", "Near-1-alice", "near-a-alice", "near-1--alice", "near-1-near-2-alice", "near-1-random-1-2",
		"partial", "partial-", "partial-1", "partial-1-", "partial--1-alice", "partial-01-alice", "partial-1001-alice",
		"partial-0.5-alice", "partial-1-Alice", "partial-1-near-2-alice", "partial-1-swapped-alice", "partial-1-partial-2-alice",
		"swapped", "swapped-", "swapped-Alice", "Swapped-alice", "swapped-swapped-alice", "swapped-random-1-2", "swapped-partial-1-alice",
	} {
		if _, err := ring.Get(bad); !errors.Is(err, keyring.ErrUnknownKey) {
			t.Errorf("%q: %v, want ErrUnknownKey", bad, err)
		}
	}
	for prefix, longest := range map[string]int{
		"near-255-": keyring.MaxNearID, "partial-1000-": keyring.MaxPartialID, "swapped-": keyring.MaxSwappedID,
	} {
		for _, length := range []int{longest, longest + 1} {
			p := alice
			p.ID = strings.Repeat("a", length)
			if _, err := holding(t, p).Get(prefix + p.ID); (err == nil) != (length == longest) {
				t.Errorf("%sID with an id of %d bytes, at most %d: %v", prefix, length, longest, err)
			}
		}
	}
	if !keyring.Derived("random-1-2") {
		t.Error("a random id is not derived")
	}
}

// A worker that has a pair resolves what comes from it, and says how the ids are written that it does not understand.
func TestResolveDerived(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	ring := holding(t, p)
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
