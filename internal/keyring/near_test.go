package keyring_test

import (
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

func TestNearIDsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bit := rapid.IntRange(0, keyring.KeyBits-1).Draw(t, "bit")
		of := rapid.StringMatching(`[a-m0-9][a-z0-9_-]{0,53}`).Draw(t, "id")
		id := keyring.NearID(bit, of)
		gotBit, gotOf, ok := keyring.ParseNearID(id)
		if !ok || gotBit != bit || gotOf != of {
			t.Fatalf("got %d, %q, %v", gotBit, gotOf, ok)
		}
		if !keyring.ValidID(id) || !keyring.Derived(id) || keyring.Derived(of) {
			t.Fatalf("%q must be a derived id, %q none", id, of)
		}
	})
	for _, bad := range []string{
		"", "near", "near-", "near-1", "near-1-", "near--1-alice", "near-01-alice", "near-+1-alice", "near-256-alice",
		"near-1-Alice", "near-1-alice ", "Near-1-alice", "near-a-alice", "near-1--alice",
		"near-1-near-2-alice", "near-1-random-1-2", "near-255-" + strings.Repeat("a", keyring.MaxNearID+1),
	} {
		if _, _, ok := keyring.ParseNearID(bad); ok {
			t.Errorf("%q is taken for a near id", bad)
		}
	}
	if _, _, ok := keyring.ParseNearID("near-255-" + strings.Repeat("a", keyring.MaxNearID)); !ok {
		t.Error("the longest id has no near ids")
	}
	if !keyring.Derived("random-1-2") {
		t.Error("a random id is not derived")
	}
}
