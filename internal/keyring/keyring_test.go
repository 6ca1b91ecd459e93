package keyring_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"stegomq/internal/keyring"
)

func TestAddGetRemove(t *testing.T) {
	t.Parallel()
	k := keyring.New()
	alice, bob := generate(t, "alice"), generate(t, "bob")
	for _, p := range []keyring.Pair{bob, alice, bob} {
		if err := k.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if list := k.List(); len(list) != 2 || k.Len() != 2 || list[0].ID != "alice" || list[1].ID != "bob" {
		t.Errorf("list: %v", list)
	}
	if got, err := k.Get("alice"); err != nil || !got.Embed.Equal(alice.Embed) || !got.Recover.Equal(alice.Recover) {
		t.Errorf("alice: %v, %v", got, err)
	}
	if err := k.Add(generate(t, "alice")); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("another alice: %v, want ErrConflict", err)
	}
	if got, _ := k.Get("alice"); !got.Embed.Equal(alice.Embed) {
		t.Error("another alice replaced the first")
	}
	if err := k.Remove("alice"); err != nil {
		t.Error(err)
	}
	if err := k.Remove("alice"); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("remove again: %v, want ErrUnknownKey", err)
	}
	for _, id := range []string{"alice", "random-01-1", ""} {
		if _, err := k.Get(id); !errors.Is(err, keyring.ErrUnknownKey) {
			t.Errorf("get %q: %v, want ErrUnknownKey", id, err)
		}
	}
	for name, half := range map[string]keyring.Pair{
		"k_e of an unmatched pair": {ID: "half", Embed: noPublicKey(t)},
		"k_r":                      {ID: "half", Recover: alice.Recover},
		"nothing":                  {ID: "half"},
	} {
		if err := k.Add(half); err == nil {
			t.Errorf("%s is stored", name)
		}
	}
	if err := k.Add(keyring.Random(1, 2)); !errors.Is(err, keyring.ErrInvalidID) {
		t.Errorf("store a random pair: %v, want ErrInvalidID", err)
	}
	if err := k.Add(keyring.Near(generate(t, "carol"), 2)); !errors.Is(err, keyring.ErrInvalidID) {
		t.Errorf("store a near pair: %v, want ErrInvalidID", err)
	}
}

// Who may embed for a user need not be able to read: the entry without k_r has the pair's names, and gives way to the pair.
func TestEmbedOnly(t *testing.T) {
	t.Parallel()
	alice := generate(t, "alice")
	half, err := alice.EmbedOnly()
	if err != nil {
		t.Fatal(err)
	}
	if !half.Matched() || !half.Recover.IsZero() || half.Fingerprint() != alice.Fingerprint() || half.Fingerprint() == "" {
		t.Errorf("matched %v, fingerprints %s and %s", half.Matched(), half.Fingerprint(), alice.Fingerprint())
	}
	if again, err := half.EmbedOnly(); err != nil || again.Fingerprint() != half.Fingerprint() {
		t.Errorf("of itself: %v", err)
	}
	for name, other := range map[string]keyring.Pair{
		"a random pair": keyring.Random(1, 1), "one bit off": keyring.Near(alice, 3), "swapped": keyring.Swapped(alice),
	} {
		if _, err := other.EmbedOnly(); err == nil || other.Matched() {
			t.Errorf("%s has an entry that only embeds", name)
		}
	}

	first, second := keyring.NewPublic("for senders"), keyring.New()
	for ring, pair := range map[*keyring.Keyring]keyring.Pair{first: half, second: alice} {
		if err := ring.Add(pair); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := first.Resolve("alice", alice.Fingerprint()); err != nil || !got.Embed.Equal(alice.Embed) || !got.Recover.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
	for _, id := range []string{"near-0-alice", "swapped-alice", "partial-500-alice"} {
		if _, err := first.Get(id); !errors.Is(err, keyring.ErrEmbedOnly) {
			t.Errorf("%s of half a pair: %v", id, err)
		}
	}
	// The whole pair wins, whichever comes first, by Add and by Merge.
	for _, rings := range [][2]*keyring.Keyring{{first, second}, {second, first}} {
		merged := keyring.New()
		if err := merged.Merge(rings[0], rings[1]); err != nil {
			t.Fatal(err)
		}
		if got, err := merged.Get("alice"); err != nil || !got.Recover.Equal(alice.Recover) {
			t.Errorf("merged: %v, %v", got, err)
		}
	}
	if err := errors.Join(first.Add(alice), first.Add(half)); err != nil {
		t.Fatal(err)
	}
	if got, err := first.Get("alice"); err != nil || !got.Recover.Equal(alice.Recover) {
		t.Errorf("added: %v, %v", got, err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	k := keyring.New()
	alice := generate(t, "alice")
	if err := k.Add(alice); err != nil {
		t.Fatal(err)
	}
	random, near := keyring.Random(7, 41), keyring.Near(alice, 200)
	for _, c := range []struct {
		id, fingerprint string
		want            error
	}{
		{"alice", alice.Fingerprint(), nil},
		{"random-7-41", random.Fingerprint(), nil},
		{"alice", generate(t, "alice").Fingerprint(), keyring.ErrKeyMismatch},
		{"alice", "", keyring.ErrKeyMismatch},
		{"random-7-41", alice.Fingerprint(), keyring.ErrKeyMismatch},
		{"random-7-041", random.Fingerprint(), keyring.ErrUnknownKey},
		{"bob", alice.Fingerprint(), keyring.ErrUnknownKey},
		{"near-200-alice", near.Fingerprint(), nil},
		{"near-200-alice", alice.Fingerprint(), keyring.ErrKeyMismatch},
		{"near-201-alice", near.Fingerprint(), keyring.ErrKeyMismatch},
		{"near-200-bob", near.Fingerprint(), keyring.ErrUnknownKey},
		{"near-0200-alice", near.Fingerprint(), keyring.ErrUnknownKey},
		{"near-256-alice", near.Fingerprint(), keyring.ErrUnknownKey},
		{"near-200-random-7-41", keyring.Near(random, 200).Fingerprint(), keyring.ErrUnknownKey},
	} {
		got, err := k.Resolve(c.id, c.fingerprint)
		if !errors.Is(err, c.want) {
			t.Errorf("%s, %s: %v, want %v", c.id, c.fingerprint, err, c.want)
		}
		if want := c.fingerprint; err == nil && (got.ID != c.id || got.Fingerprint() != want) || err != nil && !got.Embed.IsZero() {
			t.Errorf("%s, %s: got %s, %s", c.id, c.fingerprint, got.ID, got.Fingerprint())
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	ring := func(pairs ...keyring.Pair) *keyring.Keyring {
		k := keyring.New()
		for _, p := range pairs {
			if err := k.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		return k
	}
	alice, bob, carol := generate(t, "alice"), generate(t, "bob"), generate(t, "carol")

	k := ring(alice)
	if err := k.Merge(ring(alice, bob), ring(bob, carol), k); err != nil {
		t.Fatal(err)
	}
	if k.Len() != 3 {
		t.Errorf("%d pairs, want 3", k.Len())
	}

	err := k.Merge(ring(generate(t, "dora")), ring(generate(t, "alice"), generate(t, "bob")))
	if !errors.Is(err, keyring.ErrConflict) {
		t.Fatalf("merge with others of the same ids: %v, want ErrConflict", err)
	}
	for _, id := range []string{`"alice"`, `"bob"`} {
		if !strings.Contains(err.Error(), id) {
			t.Errorf("the error does not name %s: %v", id, err)
		}
	}
	if k.Len() != 3 {
		t.Error("a merge that failed added keys")
	}
	if err := ring(alice).Merge(ring(bob), ring(generate(t, "bob"))); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("conflict between the others: %v, want ErrConflict", err)
	}

	public := keyring.NewPublic("for all to see")
	if err := public.Merge(k); !errors.Is(err, keyring.ErrPublic) || public.Len() != 0 {
		t.Errorf("merge private keys into a public keyring: %v, want ErrPublic", err)
	}
	if err := public.Merge(keyring.NewPublic("another")); err != nil {
		t.Error(err)
	}
	if err := k.Merge(public); err != nil || k.Public() {
		t.Errorf("merge a public keyring: %v, public: %v", err, k.Public())
	}
}

// Workers resolve while an administrator changes the keyring; run with -race.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	k := keyring.New()
	alice := generate(t, "alice")
	if err := k.Add(alice); err != nil {
		t.Fatal(err)
	}
	other := keyring.New()
	if err := other.Add(generate(t, "other")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if _, err := k.Resolve("alice", alice.Fingerprint()); err != nil {
					t.Error(err)
				}
				p, err := keyring.Generate(fmt.Sprintf("key-%d-%d", i, j), created)
				if err == nil {
					err = k.Add(p)
				}
				if err == nil && j%2 == 1 {
					err = k.Remove(p.ID)
				}
				if err == nil {
					err = errors.Join(k.Merge(other), other.Merge(k))
				}
				if err != nil {
					t.Error(err)
				}
				k.List()
			}
		})
	}
	wg.Wait()
}

func BenchmarkResolve(b *testing.B) {
	k := keyring.New()
	alice := generate(b, "alice")
	if err := k.Add(alice); err != nil {
		b.Fatal(err)
	}
	fingerprint := alice.Fingerprint()
	for b.Loop() {
		if _, err := k.Resolve("alice", fingerprint); err != nil {
			b.Fatal(err)
		}
	}
}
