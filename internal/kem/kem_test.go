package kem

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"
)

const purpose = "stegomq.test.v1"

// seeded logs the seed of a test's random numbers.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func random(r *rand.Rand) (b [Size]byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKeys(t testing.TB, embed, recover []byte) Keys {
	t.Helper()
	k, err := NewKeys(purpose, embed, recover)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pairs are one of each mode.
func pairs(t testing.TB, r *rand.Rand) map[string][2][]byte {
	t.Helper()
	recover := Private(random(r))
	embed, err := Public(recover[:])
	if err != nil {
		t.Fatal(err)
	}
	a, b := random(r), random(r)
	b[0] |= 1 // whatever else it is, it is not clamped
	return map[string][2][]byte{"public": {embed[:], recover[:]}, "symmetric": {a[:], b[:]}}
}

// decapsulate opens what was sealed, or returns the first error.
func decapsulate(k Keys, enc [Size]byte, additional, sealed []byte) ([]byte, error) {
	s, err := k.Decapsulate(enc)
	if err != nil {
		return nil, err
	}
	return s.Open(additional, sealed)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	for mode, pair := range pairs(t, r) {
		k := newKeys(t, pair[0], pair[1])
		sender := k
		if mode == "public" {
			sender = newKeys(t, pair[0], nil)
			if _, err := sender.Decapsulate([Size]byte{}); !errors.Is(err, ErrEmbedOnly) {
				t.Errorf("k_e alone decapsulates: %v", err)
			}
		}
		if !bytes.Equal(k.Known("x", 50), sender.Known("x", 50)) || bytes.Equal(k.Known("x", 50), k.Known("y", 50)) {
			t.Errorf("%s: what is known differs between the sides, or is the same for two labels", mode)
		}
		enc, from, err := sender.Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		to, err := k.Decapsulate(enc)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(from.Export("a", 100), to.Export("a", 100)) || bytes.Equal(from.Export("a", 32), from.Export("b", 32)) {
			t.Errorf("%s: exports differ between the sides, or are the same for two labels", mode)
		}
		if _, err := to.Seal(nil, nil); err == nil {
			t.Errorf("%s: the receiver seals", mode)
		}
		if _, err := from.Open(nil, make([]byte, 99)); err == nil {
			t.Errorf("%s: the sender opens", mode)
		}
		for i := range 3 {
			message, additional := []byte(fmt.Sprint("message ", i)), []byte{byte(i)}
			sealed, err := from.Seal(additional, message)
			if err != nil || len(sealed) != len(message)+Overhead {
				t.Fatalf("%s: %d bytes, %v", mode, len(sealed), err)
			}
			changed := bytes.Clone(sealed)
			changed[r.IntN(len(changed))] ^= 1 << r.IntN(8)
			if _, err := to.Open(additional, changed); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: a changed message: %v", mode, err)
			}
			if _, err := to.Open([]byte("other"), sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: other additional bytes: %v", mode, err)
			}
			if got, err := to.Open(additional, sealed); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s: message %d: %q, %v", mode, i, got, err)
			}
			if _, err := to.Open(additional, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: message %d once more: %v", mode, i, err)
			}
		}
	}
}

// Every other pair, purpose and encapsulation opens nothing, one bit off included.
func TestWrong(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	for mode, pair := range pairs(t, r) {
		enc, s, err := newKeys(t, pair[0], pair[1]).Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := s.Seal(nil, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(name string, k Keys, enc [Size]byte) {
			t.Helper()
			if message, err := decapsulate(k, enc, nil, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: %s: %q, %v", mode, name, message, err)
			}
		}
		for name, other := range pairs(t, r) {
			refuse("another pair, "+name, newKeys(t, other[0], other[1]), enc)
			refuse("another k_r, "+name, newKeys(t, pair[0], other[1]), enc)
			refuse("another k_e, "+name, newKeys(t, other[0], pair[1]), enc)
		}
		refuse("swapped", newKeys(t, pair[1], pair[0]), enc)
		for bit := range 8 * Size {
			for half := range 2 {
				near := [2][]byte{bytes.Clone(pair[0]), bytes.Clone(pair[1])}
				near[half][bit/8] ^= 1 << (bit % 8)
				refuse(fmt.Sprintf("bit %d of half %d", bit, half), newKeys(t, near[0], near[1]), enc)
			}
			if bit == 8*Size-1 && mode == "public" {
				continue // not bound, as the package says
			}
			other := enc
			other[bit/8] ^= 1 << (bit % 8)
			refuse(fmt.Sprintf("bit %d of the encapsulation", bit), newKeys(t, pair[0], pair[1]), other)
		}
		elsewhere, err := NewKeys("stegomq.other.v1", pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		refuse("another purpose", elsewhere, enc)
	}
}

// Two encapsulations share nothing, and each bit of them is 1 half the time: 512 draws leave 166 to 346 but once in 10^12.
func TestEncapsulationsAreFresh(t *testing.T) {
	t.Parallel()
	for mode, pair := range pairs(t, seeded(t)) {
		k := newKeys(t, pair[0], pair[1])
		var ones [8 * Size]int
		seen := map[[Size]byte]bool{}
		for range 512 {
			enc, s, err := k.Encapsulate()
			if err != nil {
				t.Fatal(err)
			}
			export := [Size]byte(s.Export("a", Size))
			if seen[enc] || seen[export] {
				t.Fatalf("%s: an encapsulation, or an export, came again", mode)
			}
			seen[enc], seen[export] = true, true
			for i := range ones {
				ones[i] += int(enc[i/8] >> (i % 8) & 1)
			}
		}
		for i, n := range ones {
			if n < 166 || n > 346 {
				t.Errorf("%s: bit %d is set %d times in 512", mode, i, n)
			}
		}
	}
}

// RFC 9180, appendix A.2.1: the suite of this package, with the RFC's info for a purpose.
func TestRFC9180(t *testing.T) {
	t.Parallel()
	recover := Private([Size]byte(unhex(t, "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")))
	embed, err := Public(recover[:])
	if err != nil || hex.EncodeToString(embed[:]) != "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a" {
		t.Fatalf("k_e %x, %v", embed, err)
	}
	k, err := NewKeys(string(unhex(t, "4f6465206f6e2061204772656369616e2055726e")), embed[:], recover[:])
	if err != nil {
		t.Fatal(err)
	}
	enc := [Size]byte(unhex(t, "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"))
	for _, top := range []byte{0, 0x80} {
		written := enc
		written[Size-1] |= top
		s, err := k.Decapsulate(k.mask(written))
		if err != nil {
			t.Fatal(err)
		}
		message, err := s.Open(unhex(t, "436f756e742d30"),
			unhex(t, "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"))
		if err != nil || string(message) != "Beauty is truth, truth beauty" {
			t.Errorf("%q, %v", message, err)
		}
		if got := hex.EncodeToString(s.Export("", 32)); got != "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e" {
			t.Errorf("export %s", got)
		}
	}
}

// Whoever has another implementation of RFC 9180 can read what we write, and the other way round: the standard library's own.
func TestHPKEReadsUs(t *testing.T) {
	t.Parallel()
	pair := pairs(t, seeded(t))["public"]
	private, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(pair[1])
	if err != nil {
		t.Fatal(err)
	}
	k := newKeys(t, pair[0], nil)
	enc, s, err := k.Encapsulate()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(nil, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	enc = k.mask(enc)
	enc[Size-1] &= 0x7f
	message, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(purpose), append(enc[:], sealed...))
	if err != nil || string(message) != "hello" {
		t.Errorf("%q, %v", message, err)
	}
}

// What was written once is read for ever. The symmetric vector is also that of an implementation in Python, written from the
// package comment.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, v := range golden {
		k := newKeys(t, unhex(t, v.embed), unhex(t, v.recover))
		s, err := k.Decapsulate([Size]byte(unhex(t, v.enc)))
		if err != nil {
			t.Fatal(err)
		}
		for i, sealed := range v.sealed {
			message, err := s.Open([]byte("additional"), unhex(t, sealed))
			if want := fmt.Sprint("message ", i); err != nil || string(message) != want {
				t.Errorf("%s: message %d: %q, %v", v.mode, i, message, err)
			}
		}
		if got := hex.EncodeToString(s.Export("positions", 40)); got != v.export {
			t.Errorf("%s: export %s", v.mode, got)
		}
		if got := hex.EncodeToString(k.Known("layout", 40)); got != v.known {
			t.Errorf("%s: known %s", v.mode, got)
		}
	}
}

// The same randomness gives the vectors themselves. Go may change how it uses randomness: then TestGolden still has to pass,
// and this one takes new vectors from what it prints.
func TestGoldenIsWritten(t *testing.T) {
	for _, v := range golden {
		cryptotest.SetGlobalRandom(t, 9180)
		k := newKeys(t, unhex(t, v.embed), unhex(t, v.recover))
		enc, s, err := k.Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(enc[:]); got != v.enc {
			t.Errorf("%s: encapsulation %s", v.mode, got)
		}
		for i, want := range v.sealed {
			sealed, err := s.Seal([]byte("additional"), []byte(fmt.Sprint("message ", i)))
			if got := hex.EncodeToString(sealed); err != nil || got != want {
				t.Errorf("%s: message %d: %s, %v", v.mode, i, got, err)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	pair := pairs(t, r)["public"]
	if !Matched(pair[0], pair[1]) || Matched(pair[1], pair[0]) || Matched(pair[0], nil) || Matched(nil, pair[1]) {
		t.Error("a pair does not match, or halves do")
	}
	for bit := range 8 * Size {
		near := bytes.Clone(pair[1])
		near[bit/8] ^= 1 << (bit % 8)
		if Matched(pair[0], near) {
			t.Errorf("bit %d of k_r has no part", bit)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := NewKeys(purpose, make([]byte, n), pair[1]); !errors.Is(err, ErrKey) {
			t.Errorf("k_e of %d bytes: %v", n, err)
		}
		if _, err := NewKeys(purpose, pair[0], make([]byte, n)); !errors.Is(err, ErrKey) {
			t.Errorf("k_r of %d bytes: %v", n, err)
		}
		if _, err := Public(make([]byte, n)); !errors.Is(err, ErrKey) {
			t.Errorf("Public of %d bytes: %v", n, err)
		}
		if err := CheckPublic(make([]byte, n)); !errors.Is(err, ErrKey) {
			t.Errorf("CheckPublic of %d bytes: %v", n, err)
		}
	}
	order := bytes.Repeat([]byte{0xff}, Size)
	order[0], order[Size-1] = 0xed, 0x7f
	above := bytes.Clone(order)
	above[0] += 9 // 9 is the base point
	top := bytes.Clone(pair[0])
	top[Size-1] |= 0x80
	for name, bad := range map[string][]byte{"zero": make([]byte, Size), "the order": order, "above the order": above, "the unused bit": top} {
		if _, err := NewKeys(purpose, bad, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%s is a public key: %v", name, err)
		}
	}
	raw := random(r)
	private := Private(raw)
	if Private(private) != private {
		t.Error("clamped twice is another key")
	}
	changed := 0
	for i := range raw {
		changed += bits.OnesCount8(raw[i] ^ private[i])
	}
	if changed > 5 {
		t.Errorf("clamping changes %d bits", changed)
	}
}

func TestNothingShows(t *testing.T) {
	t.Parallel()
	for mode, pair := range pairs(t, seeded(t)) {
		k := newKeys(t, pair[0], pair[1])
		_, s, err := k.Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
			for _, v := range []any{k, &k, s} {
				if text := fmt.Sprintf(verb, v); text != "[redacted]" {
					t.Errorf("%s: %s of %T gives %s", mode, verb, v, text)
				}
			}
		}
	}
}

// Whatever 32 bytes are decapsulated, there is no panic, and nothing opens.
func FuzzDecapsulate(f *testing.F) {
	var all []Keys
	for _, v := range golden {
		all = append(all, newKeys(f, unhex(f, v.embed), unhex(f, v.recover)))
		f.Add(unhex(f, v.enc), unhex(f, v.sealed[1]))
	}
	f.Add(make([]byte, Size), []byte{})
	f.Fuzz(func(t *testing.T, enc, sealed []byte) {
		if len(enc) != Size {
			return
		}
		for _, k := range all {
			if message, err := decapsulate(k, [Size]byte(enc), nil, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("%q, %v", message, err)
			}
		}
	})
}

func BenchmarkEncapsulate(b *testing.B) {
	for mode, pair := range pairs(b, seeded(b)) {
		b.Run(mode, func(b *testing.B) {
			k := newKeys(b, pair[0], pair[1])
			for b.Loop() {
				if _, _, err := k.Encapsulate(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
