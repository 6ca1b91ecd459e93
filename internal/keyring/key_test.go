package keyring_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stegomq/internal/keyring"
)

var created = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func generate(t testing.TB, id string) keyring.Pair {
	t.Helper()
	p, err := keyring.Generate(id, created)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// golden is the part of derivation.json that binds this package.
type golden struct {
	Fingerprint []struct{ Embed, Recover, Fingerprint string }
	Random      []struct {
		Seed, N        uint64
		Embed, Recover string
	}
	Partial []struct {
		Owner, Wrong, Fingerprint string
		Permille                  int
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "schemas", "testdata", "derivation.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	if len(g.Fingerprint) == 0 || len(g.Random) == 0 || len(g.Partial) == 0 {
		t.Fatal("golden vectors: no fingerprints, no random or no partial pairs")
	}
	return g
}

func parseKey(t *testing.T, s string) keyring.Key {
	t.Helper()
	k, err := keyring.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// noPublicKey is a key that X25519 gives nobody: its unused bit is set.
func noPublicKey(t *testing.T) keyring.Key {
	t.Helper()
	return parseKey(t, strings.Repeat("00", 31)+"80")
}

// The trainer's vectors bind fingerprints and random pairs.
func TestGoldenVectors(t *testing.T) {
	t.Parallel()
	golden := readGolden(t)
	for i, v := range golden.Fingerprint {
		if got := (keyring.Pair{Embed: parseKey(t, v.Embed), Recover: parseKey(t, v.Recover)}).Fingerprint(); got != v.Fingerprint {
			t.Errorf("fingerprint %d: %s, want %s", i, got, v.Fingerprint)
		}
	}
	for _, v := range golden.Random {
		p := keyring.Random(v.Seed, v.N)
		if got := hex.EncodeToString(p.Embed.Expose()); got != v.Embed {
			t.Errorf("%s: embed %s, want %s", p.ID, got, v.Embed)
		}
		if got := hex.EncodeToString(p.Recover.Expose()); got != v.Recover {
			t.Errorf("%s: recover %s, want %s", p.ID, got, v.Recover)
		}
	}
}

// Of a pair that is matched the fingerprint is that of k_e, with a domain of its own.
func TestFingerprintOfMatchedPairs(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	sum := sha256.Sum256(append([]byte("stegomq.fingerprint.public.v1\x00"), p.Embed.Expose()...))
	if got, want := p.Fingerprint(), hex.EncodeToString(sum[:16]); got != want || !p.Matched() {
		t.Errorf("matched %v, fingerprint %s, want %s", p.Matched(), got, want)
	}
	private, err := ecdh.X25519().NewPrivateKey(p.Recover.Expose())
	if err != nil || !bytes.Equal(private.PublicKey().Bytes(), p.Embed.Expose()) {
		t.Errorf("k_e is not the public key of k_r, %v", err)
	}
}

// holder has keys where fmt cannot call their methods.
type holder struct {
	pair keyring.Pair
	key  keyring.Key
}

// shows reports in which of its usual spellings a key stands in text. Digits may be of either case. Raw and
// quoted bytes are looked for whole and as they are: cut or lower-cased, a key that holds a letter of several
// bytes is spelt otherwise.
func shows(text string, k keyring.Key) string {
	b := k.Expose()
	lower := strings.ToLower(text)
	for name, spelling := range map[string]string{
		"hex":      hex.EncodeToString(b[:8]),
		"decimals": strings.Trim(fmt.Sprint(b[:8]), "[]"),
		"literals": strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b[:8]), "[]byte{"), "}")),
		"base64":   strings.ToLower(strings.Trim(string(must(json.Marshal(b[:6]))), `"`)),
	} {
		if strings.Contains(lower, spelling) {
			return name
		}
	}
	for name, spelling := range map[string]string{"raw": string(b), "quoted": strings.Trim(fmt.Sprintf("%q", b), `"`)} {
		if strings.Contains(text, spelling) {
			return name
		}
	}
	return ""
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeysRedactThemselves(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	values := map[string]any{
		"key": p.Embed, "pointer": &p.Embed, "pair": p, "pair pointer": &p,
		"slice": []keyring.Key{p.Embed}, "map": map[string]keyring.Pair{"a": p},
		"unexported field": holder{p, p.Embed}, "pointer to unexported field": &holder{p, p.Embed},
	}
	for name, v := range values {
		outputs := map[string]string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%o", "%c", "%U", "%p", "%t", "%20v", "%e"} {
			outputs[verb] = fmt.Sprintf(verb, v)
		}
		outputs["print"] = fmt.Sprint(v)
		outputs["json"] = string(must(json.Marshal(v)))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", v)
		outputs["slog"] = log.String()
		outputs["error"] = fmt.Errorf("oops: %v", v).Error()
		for how, text := range outputs {
			for _, k := range []keyring.Key{p.Embed, p.Recover} {
				if as := shows(text, k); as != "" {
					t.Errorf("%s by %s shows the key in %s", name, how, as)
				}
			}
		}
	}
	// The check itself must be able to find a key.
	for _, format := range []string{"%x", "%X", "%v", "%#v", "%s", "%q"} {
		if shows(fmt.Sprintf(format, p.Embed.Expose()), p.Embed) == "" {
			t.Errorf("a key written by %s goes unnoticed", format)
		}
	}
}

func TestRedactionSaysSo(t *testing.T) {
	t.Parallel()
	p := generate(t, "alice")
	for _, got := range []string{
		p.Embed.String(), fmt.Sprintf("%x", p.Embed), fmt.Sprintf("%#v", p.Embed), fmt.Sprint(keyring.Key{}),
		strings.Trim(string(must(json.Marshal(p.Embed))), `"`),
	} {
		if got != "[redacted]" {
			t.Errorf("got %q, want [redacted]", got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "key", p)
	for _, want := range []string{"key.id=alice", "key.fingerprint=" + p.Fingerprint()} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q does not hold %q", log.String(), want)
		}
	}
}

func TestExposeGivesACopy(t *testing.T) {
	t.Parallel()
	k := parseKey(t, strings.Repeat("07", keyring.KeySize))
	k.Expose()[1] = 0
	if !bytes.Equal(k.Expose(), bytes.Repeat([]byte{7}, keyring.KeySize)) {
		t.Error("a key changed through a slice that was given out")
	}
}

func TestKeyEqual(t *testing.T) {
	t.Parallel()
	a, b := generate(t, "a"), generate(t, "b")
	again := parseKey(t, hex.EncodeToString(a.Embed.Expose()))
	if !a.Embed.Equal(again) {
		t.Error("a key is not equal to its copy")
	}
	if a.Embed.Equal(b.Embed) || a.Embed.Equal(a.Recover) {
		t.Error("two generated keys are equal")
	}
	if (keyring.Key{}).Equal(keyring.Key{}) || !(keyring.Key{}).IsZero() || (keyring.Key{}).Expose() != nil {
		t.Error("an unset key is equal to something, or is not zero")
	}
	if (keyring.Pair{ID: "a", Recover: a.Recover}).Fingerprint() != "" || (keyring.Pair{ID: "a", Embed: noPublicKey(t)}).Fingerprint() != "" {
		t.Error("half a pair has a fingerprint")
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0aF", 21) + "0"
	if _, err := keyring.ParseKey(good); err != nil {
		t.Errorf("%q: %v", good, err)
	}
	for _, bad := range []string{"", "00", good[1:], good + "0", good + "00", "x" + good[1:], " " + good[1:], "0x" + good[2:]} {
		_, err := keyring.ParseKey(bad)
		if err == nil {
			t.Errorf("%q is taken for a key", bad)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[2:10]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "0": true, "alice": true, "alice_2-x": true, "demo-1": true, "random": true, "randomly": true,
		strings.Repeat("a", 63): true, strings.Repeat("a", 64): false,
		"": false, "-a": false, "_a": false, "Alice": false, "a.b": false, "a b": false, "a\n": false, "é": false,
		"a*": false, "a>": false, "../a": false,
		"random-": false, "random-1-2": false, "random-x": false,
		"near": true, "nearly": true, "near-": false, "near-1-alice": false, "near-miss": false,
	} {
		_, err := keyring.Generate(id, created)
		if (err == nil) != want || err != nil && !errors.Is(err, keyring.ErrInvalidID) {
			t.Errorf("%q: %v, want valid: %v", id, err, want)
		}
	}
}

func TestRandomIDsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed, n := rapid.Uint64().Draw(t, "seed"), rapid.Uint64().Draw(t, "n")
		gotSeed, gotN, ok := keyring.ParseRandomID(keyring.RandomID(seed, n))
		if !ok || gotSeed != seed || gotN != n {
			t.Fatalf("got %d, %d, %v", gotSeed, gotN, ok)
		}
		if !keyring.ValidID(keyring.RandomID(seed, n)) {
			t.Fatal("a random id is not an id")
		}
	})
	for _, bad := range []string{
		"", "random", "random-", "random-1", "random-1-", "random--1", "random-01-1", "random-1-01", "random-+1-1",
		"random-1-2-3", "random-1-2 ", "random-18446744073709551616-0", "Random-1-2", "random-a-1",
	} {
		if _, _, ok := keyring.ParseRandomID(bad); ok {
			t.Errorf("%q is taken for a random id", bad)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	passphrase := []byte("correct horse battery staple")
	derive := func(id string, passphrase []byte) keyring.Pair {
		return must(keyring.Derive(id, passphrase, created))
	}
	a, old := derive("alice", passphrase), must(keyring.DeriveUnmatched("alice", passphrase, created))
	// The old one as computed from the same parameters by OpenSSL's Argon2id (Python's cryptography 48), the new one by the first
	// version that made it.
	for want, got := range map[string]string{"11e2f9cdbaedc59f1390faaa7be7d8e2": a.Fingerprint(), "427a7bdd16626705b372099e598c71c2": old.Fingerprint()} {
		if got != want {
			t.Errorf("fingerprint %s, want %s: users could not make their keys again", got, want)
		}
	}
	if !a.Matched() || old.Matched() {
		t.Error("the pair is not an X25519 pair, or the old one is")
	}
	if derive("bob", passphrase).Embed.Equal(a.Embed) {
		t.Error("the id does not change the keys")
	}
	if derive("alice", append(passphrase, ' ')).Embed.Equal(a.Embed) {
		t.Error("the passphrase does not change the keys")
	}
	if a.Embed.Equal(a.Recover) {
		t.Error("both keys are the same")
	}
	for id, passphrase := range map[string]string{"alice": "too short", "Alice": "long enough words", "random-1-1": "long enough words"} {
		if _, err := keyring.Derive(id, []byte(passphrase), created); err == nil {
			t.Errorf("%q with %q is taken", id, passphrase)
		}
	}
}
