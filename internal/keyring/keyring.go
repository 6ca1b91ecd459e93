// Package keyring owns the keys of users: it makes, stores, names and fingerprints them, and is the only
// place that sees key bytes, which leave it through Key.Expose alone.
//
// Invariants:
//   - One id names one pair. Two keyrings that disagree about an id cannot be merged.
//   - Neither errors, logs, fmt nor JSON show a key: a Key is redacted everywhere, and only the file
//     written by Save holds key bytes.
//   - A private file is readable by its owner alone: Save writes it so and Open refuses any other. A
//     public keyring, such as the demo keyring of a model, says so and is exempt.
//   - A file is replaced whole or not at all, and Watched shows no key that is not in it.
//
// The file is JSON, or that JSON encrypted with age (https://age-encryption.org/v1):
//
//	{"version":1,"public":false,"note":"...",
//	 "keys":[{"id":"alice","embed":"<64 hex>","recover":"<64 hex>","created":"2026-11-23T00:00:00Z"}]}
//
// Without "recover" the entry only embeds; "embed" must then be an X25519 public key.
package keyring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

var (
	// ErrUnknownKey: the keyring has no pair of that id.
	ErrUnknownKey = errors.New("unknown key")
	// ErrKeyMismatch: the id is known, but its pair has another fingerprint than the one asked for.
	ErrKeyMismatch = errors.New("key has another fingerprint")
	// ErrConflict: two different pairs claim one id.
	ErrConflict = errors.New("two different keys have the same id")
	// ErrInvalidID: the id cannot name a stored pair.
	ErrInvalidID = errors.New("not a key id")
	// ErrPermissions: a private file can be read by others.
	ErrPermissions = errors.New("file of keys can be read by others")
	// ErrLocked: the file is encrypted and what was given does not open it.
	ErrLocked = errors.New("keyring is encrypted")
	// ErrFormat: the file is not a keyring that this version understands.
	ErrFormat = errors.New("not a valid keyring")
	// ErrEmbedOnly: the keyring has the half of the pair that embeds, and what is asked for needs the other.
	ErrEmbedOnly = errors.New("this keyring has only the half of the key that embeds")
	// ErrPublic: private keys must not get into a keyring that anybody may read.
	ErrPublic = errors.New("keyring is public")
)

// Keyring is a set of pairs by id. It is safe for concurrent use.
type Keyring struct {
	public bool
	note   string

	mu    sync.RWMutex
	pairs map[string]entry
}

// entry is a pair with what would be computed or asked again and again.
type entry struct {
	pair        Pair
	fingerprint string // "" of a derived pair, which is not stored
	source      string // the file it was read from, or "" for a new one
}

// New returns an empty private keyring.
func New() *Keyring { return &Keyring{pairs: map[string]entry{}} }

// NewPublic returns an empty keyring that anybody may read. The note says why.
func NewPublic(note string) *Keyring {
	return &Keyring{public: true, note: note, pairs: map[string]entry{}}
}

// Public reports whether the keyring says that anybody may read it.
func (k *Keyring) Public() bool { return k.public }

// Note is the keyring's free text.
func (k *Keyring) Note() string { return k.note }

// Len is the number of pairs.
func (k *Keyring) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.pairs)
}

// Add stores a pair. The same pair again changes nothing, but that the whole pair takes the place of an entry that only
// embeds; another pair of a known id is ErrConflict.
func (k *Keyring) Add(p Pair) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	e := entry{pair: p, fingerprint: p.Fingerprint()}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conflict(e); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	put(k.pairs, e)
	return nil
}

// put adds an entry that is in no conflict, unless what is there is as much.
func put(pairs map[string]entry, e entry) {
	if old, ok := pairs[e.pair.ID]; !ok || old.pair.Recover.IsZero() && !e.pair.Recover.IsZero() {
		pairs[e.pair.ID] = e
	}
}

// Remove deletes a pair, or says ErrUnknownKey.
func (k *Keyring) Remove(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.pairs[id]; !ok {
		return fmt.Errorf("remove key: %w: %q", ErrUnknownKey, id)
	}
	delete(k.pairs, id)
	return nil
}

// Get returns the pair of an id. Random pairs are derived; so is what comes from a pair, which the keyring must have.
func (k *Keyring) Get(id string) (Pair, error) {
	e, err := k.get(id)
	return e.pair, err
}

// get is Get with what the keyring knows of a stored pair.
func (k *Keyring) get(id string) (entry, error) {
	if seed, n, ok := ParseRandomID(id); ok {
		return entry{pair: Random(seed, n)}, nil
	}
	if of, derive, ok := derivation(id); ok {
		e, err := k.get(of)
		if err != nil {
			return entry{}, err
		}
		if e.pair.Recover.IsZero() {
			return entry{}, fmt.Errorf("%w: %q, of which %q is derived", ErrEmbedOnly, of, id)
		}
		return entry{pair: derive(e.pair)}, nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	e, ok := k.pairs[id]
	if !ok {
		return entry{}, k.unknown(id)
	}
	return e, nil
}

// Resolve returns the pair of an id if it has the fingerprint, ErrUnknownKey or ErrKeyMismatch otherwise.
// It is how a worker turns the names in a job into keys.
func (k *Keyring) Resolve(id, fingerprint string) (Pair, error) {
	e, err := k.get(id)
	if err != nil {
		return Pair{}, err
	}
	got := e.fingerprint
	if got == "" { // of a derived pair
		got = e.pair.Fingerprint()
	}
	if got != fingerprint {
		return Pair{}, fmt.Errorf("%w: %q is %s here, the sender has %q; both sides need the same keyring", ErrKeyMismatch, id, got, fingerprint)
	}
	return e.pair, nil
}

// List returns the stored pairs by id.
func (k *Keyring) List() []Pair {
	entries := k.entries()
	pairs := make([]Pair, len(entries))
	for i, e := range entries {
		pairs[i] = e.pair
	}
	return pairs
}

// Merge adds the pairs of other keyrings, all or none. The same pair in several is fine; an id with
// different pairs is ErrConflict, which names both files, one line for each id. A public keyring does
// not take in a private one (ErrPublic).
func (k *Keyring) Merge(others ...*Keyring) error {
	// Read the others before taking our lock: two keyrings may be merged into one another at a time.
	var added []entry
	for _, other := range others {
		if k.public && !other.public {
			return fmt.Errorf("merge keyrings: %w: private keys would become readable to all", ErrPublic)
		}
		added = append(added, other.entries()...)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	merged := Keyring{pairs: maps.Clone(k.pairs)}
	var broken []error
	for _, e := range added {
		if err := merged.conflict(e); err != nil {
			broken = append(broken, err)
		} else {
			put(merged.pairs, e)
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("merge keyrings: %w", errors.Join(broken...))
	}
	k.pairs = merged.pairs
	return nil
}

// entries returns all entries by id.
func (k *Keyring) entries() []entry {
	k.mu.RLock()
	defer k.mu.RUnlock()
	all := make([]entry, 0, len(k.pairs))
	for _, id := range slices.Sorted(maps.Keys(k.pairs)) {
		all = append(all, k.pairs[id])
	}
	return all
}

// conflict reports whether another pair has the id already. The caller holds the lock.
func (k *Keyring) conflict(e entry) error {
	old, ok := k.pairs[e.pair.ID]
	if !ok || old.fingerprint == e.fingerprint {
		return nil
	}
	return fmt.Errorf("%w: %q is %s in %s and %s in %s; rename or remove one",
		ErrConflict, e.pair.ID, old.fingerprint, old.where(), e.fingerprint, e.where())
}

func (e entry) where() string {
	if e.source == "" {
		return "memory"
	}
	return e.source
}

// unknown is the error for an id that is not there. The caller holds the lock.
func (k *Keyring) unknown(id string) error {
	for _, kind := range kinds {
		if strings.HasPrefix(id, kind.prefix) {
			return fmt.Errorf("%w: %q; %s", ErrUnknownKey, id, kind.form)
		}
	}
	return fmt.Errorf("%w: %q is not among the %d keys of this keyring", ErrUnknownKey, id, len(k.pairs))
}
