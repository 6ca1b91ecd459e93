// Package kem owns how somebody who embeds and somebody who recovers come to a fresh secret for one image: who embeds makes
// an encapsulation, 32 bytes that travel inside the stego image, and who recovers gets the same secret out of it.
//
// A pair of keys (k_e, k_r) itself says which of two modes it is for:
//
//   - Public key: k_r is an X25519 private key (RFC 7748, written clamped) and k_e its public key. The encapsulation is that
//     of HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305, and info = the
//     purpose. k_e alone encapsulates, k_r is needed to decapsulate.
//
//   - Symmetric: any other two keys. The encapsulation is a nonce of 32 random bytes; the secret comes from both keys and from
//     the nonce by HKDF-SHA256 (RFC 5869), and both are needed on either side:
//
//     shared = HKDF-Extract(salt = "stegomq.kem.symmetric.v1", k_e | k_r)
//     root   = HKDF-Expand(shared, LP("secret") | LP(purpose) | nonce, 32)
//     key, first = HKDF-Expand(root, LP("key"), 32), HKDF-Expand(root, LP("nonce"), 12)
//     export = HKDF-Expand(root, LP("export") | label, n)
//
//     LP(s) = u32(len(s)), big-endian, then s. Message i = 0, 1, ... is sealed with ChaCha20-Poly1305 (RFC 8439) and the nonce
//     first XOR i, big-endian, as in RFC 9180, section 5.2.
//
// As it is written, an encapsulation looks uniform to whoever lacks k_e. Its highest bit, which X25519 does not use, is
// random, and the whole is XORed with Known("encapsulation", 32). Whoever holds k_e can take that off, and then tell
// something in public-key mode: a real encapsulation is a point of the curve's subgroup of prime order, random bytes are that
// once in 16 times (half of all are points of the curve's twist). So a holder of k_e who knows where to look rules out 15 of 16
// images that hold nothing, and never learns what an image holds.
//
// Invariants:
//   - Every call of Encapsulate makes another secret, from the system's randomness.
//   - Neither Keys nor Secret show themselves. Nothing is logged, and no error repeats a key.
//   - A pair is of one mode: a bit that X25519 would ignore, in k_e or in k_r, makes it another, symmetric pair.
//   - The highest bit of an encapsulation is not bound to the secret. Who needs every bit bound authenticates it.
package kem

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// Size is the length of a key, and of an encapsulation in both modes, in bytes.
	Size = 32
	// Overhead is what Seal adds to a message, in bytes.
	Overhead = chacha20poly1305.Overhead
)

var (
	// ErrKey: the bytes are not keys that this package takes.
	ErrKey = errors.New("not a key for encapsulation")
	// ErrEmbedOnly: k_r is needed and not there.
	ErrEmbedOnly = errors.New("the key only embeds: it has no half that recovers")
	// ErrOpen: an encapsulation or a sealed message does not belong to the keys, or was changed.
	ErrOpen = errors.New("authentication failed")
)

// Private makes an X25519 private key of 32 random bytes: clamped, so that one key has one spelling.
func Private(random [Size]byte) (recover [Size]byte) {
	random[0] &^= 7
	random[Size-1] = random[Size-1]&0x7f | 0x40
	return random
}

// Public is the k_e of an X25519 private key, which must be clamped, or ErrKey.
func Public(recover []byte) (embed [Size]byte, err error) {
	if len(recover) != Size || Private([Size]byte(recover)) != [Size]byte(recover) {
		return embed, fmt.Errorf("%w: k_r is not a clamped X25519 private key", ErrKey)
	}
	private, err := ecdh.X25519().NewPrivateKey(recover)
	if err != nil {
		return embed, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return [Size]byte(private.PublicKey().Bytes()), nil
}

// Matched says whether k_e is the public key of k_r, that is, whether the pair is of the public-key mode.
func Matched(embed, recover []byte) bool {
	public, err := Public(recover)
	return err == nil && subtle.ConstantTimeCompare(public[:], embed) == 1
}

// CheckPublic says ErrKey of 32 bytes that cannot be the public key of anybody: a point of small order, or one that is
// written with the unused bit or above the field's order.
func CheckPublic(embed []byte) error {
	probe := Private([Size]byte{1})
	private, err := ecdh.X25519().NewPrivateKey(probe[:])
	if err != nil {
		return err
	}
	public, err := ecdh.X25519().NewPublicKey(embed)
	if err == nil {
		_, err = private.ECDH(public) // refuses the points of small order
	}
	if err == nil && !canonical(embed) {
		err = errors.New("not in the canonical encoding")
	}
	if err != nil {
		return fmt.Errorf("%w: k_e is not an X25519 public key: %w", ErrKey, err)
	}
	return nil
}

// canonical says whether a little-endian number is below 2^255 - 19.
func canonical(u []byte) bool {
	order := bytes.Repeat([]byte{0xff}, Size)
	order[0], order[Size-1] = 0xed, 0x7f
	for i := Size - 1; i >= 0; i-- {
		if u[i] != order[i] {
			return u[i] < order[i]
		}
	}
	return false
}

// Keys are what somebody has of a pair, for one purpose. They do not show themselves and are safe for concurrent use.
type Keys struct {
	purpose string
	known   []byte          // Known expands it
	public  hpke.PublicKey  // nil in symmetric mode
	private hpke.PrivateKey // nil in symmetric mode, and without k_r
	shared  []byte          // nil in public-key mode
}

// NewKeys takes the keys of a pair, 32 bytes each. Without a recover half (nil), embed must be an X25519 public key. The
// purpose names who uses the secrets, "stegomq.sealed.v1" for one: those of two purposes share nothing.
func NewKeys(purpose string, embed, recover []byte) (Keys, error) {
	if len(embed) != Size || recover != nil && len(recover) != Size {
		return Keys{}, fmt.Errorf("%w: %d and %d bytes, want %d each", ErrKey, len(embed), len(recover), Size)
	}
	if recover != nil && !Matched(embed, recover) {
		return symmetric(purpose, embed, recover)
	}
	if err := CheckPublic(embed); err != nil {
		return Keys{}, err
	}
	known, err := hkdf.Extract(sha256.New, embed, []byte("stegomq.kem.public.v1"))
	if err != nil {
		return Keys{}, err
	}
	k := Keys{purpose: purpose, known: known}
	x25519 := hpke.DHKEM(ecdh.X25519())
	if k.public, err = x25519.NewPublicKey(embed); err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if recover != nil {
		if k.private, err = x25519.NewPrivateKey(recover); err != nil {
			return Keys{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
	}
	return k, nil
}

func symmetric(purpose string, embed, recover []byte) (Keys, error) {
	both := append(bytes.Clone(embed), recover...)
	shared, err := hkdf.Extract(sha256.New, both, []byte("stegomq.kem.symmetric.v1"))
	if err != nil {
		return Keys{}, err
	}
	return Keys{purpose: purpose, known: shared, shared: shared}, nil
}

// Known gives n bytes, up to 8160 (RFC 5869), that everybody who holds the keys can compute, and nobody else: HKDF-Expand(known,
// LP("known") | LP(purpose) | label, n), where known is the symmetric mode's shared, or HKDF-Extract(salt =
// "stegomq.kem.public.v1", k_e). They are the same for every image.
func (k Keys) Known(label string, n int) []byte {
	return expand(k.known, lp("known")+lp(k.purpose)+label, n)
}

// Format covers every verb and flag of fmt.
func (Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// Encapsulate makes a fresh secret, which can Seal, and the encapsulation from which Decapsulate gets it.
func (k Keys) Encapsulate() (enc [Size]byte, s *Secret, err error) {
	if k.shared != nil {
		rand.Read(enc[:]) // never fails: it ends the program instead
		s = k.derive(enc, true)
		return k.mask(enc), s, nil
	}
	raw, sender, err := hpke.NewSender(k.public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(k.purpose))
	if err != nil {
		return enc, nil, fmt.Errorf("encapsulate: %w", err)
	}
	enc = [Size]byte(raw)
	var coin [1]byte
	rand.Read(coin[:])
	enc[Size-1] |= coin[0] & 0x80
	return k.mask(enc), &Secret{seal: sender.Seal, export: sender.Export}, nil
}

// Decapsulate gets the secret, which can Open. Symmetric keys take any encapsulation; that the secret is another shows when it
// opens nothing. The errors are ErrEmbedOnly and ErrOpen.
func (k Keys) Decapsulate(enc [Size]byte) (*Secret, error) {
	enc = k.mask(enc)
	if k.shared != nil {
		return k.derive(enc, false), nil
	}
	if k.private == nil {
		return nil, ErrEmbedOnly
	}
	enc[Size-1] &= 0x7f
	recipient, err := hpke.NewRecipient(enc[:], k.private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(k.purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: decapsulate: %w", ErrOpen, err)
	}
	return &Secret{open: recipient.Open, export: recipient.Export}, nil
}

// mask is its own inverse.
func (k Keys) mask(enc [Size]byte) [Size]byte {
	subtle.XORBytes(enc[:], enc[:], k.Known("encapsulation", Size))
	return enc
}

// derive is the symmetric mode's secret.
func (k Keys) derive(enc [Size]byte, sender bool) *Secret {
	root := expand(k.shared, lp("secret")+lp(k.purpose)+string(enc[:]), Size)
	aead, err := chacha20poly1305.New(expand(root, lp("key"), chacha20poly1305.KeySize))
	if err != nil {
		panic(err) // the key has the right length
	}
	c := &sequence{aead: aead, nonce: [chacha20poly1305.NonceSize]byte(expand(root, lp("nonce"), chacha20poly1305.NonceSize))}
	s := &Secret{export: func(label string, n int) ([]byte, error) { return expand(root, lp("export")+label, n), nil }}
	if sender {
		s.seal = c.seal
	} else {
		s.open = c.open
	}
	return s
}

// Secret is shared by who embeds and who recovers one image. It does not show itself, and is for one goroutine.
type Secret struct {
	seal, open func(additional, message []byte) ([]byte, error)
	export     func(label string, n int) ([]byte, error)
}

// Format covers every verb and flag of fmt.
func (*Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// Seal encrypts the next message and binds it to the additional bytes, which are not sent. What it returns is Overhead bytes
// longer. Only a secret of Encapsulate can.
func (s *Secret) Seal(additional, message []byte) ([]byte, error) {
	if s.seal == nil {
		return nil, errors.New("seal: the secret is the receiver's")
	}
	return s.seal(additional, message)
}

// Open decrypts the next message. One that was not sealed by this secret, in this order and with these additional bytes is
// ErrOpen, and the next call tries the same place in the order again. Only a secret of Decapsulate can.
func (s *Secret) Open(additional, sealed []byte) ([]byte, error) {
	if s.open == nil {
		return nil, errors.New("open: the secret is the sender's")
	}
	message, err := s.open(additional, sealed)
	if err != nil {
		return nil, ErrOpen
	}
	return message, nil
}

// Export gives n bytes, 1 to 8160, that only the two sides can compute: another number of them, or another label, gives
// unrelated bytes in public-key mode; in symmetric mode fewer are the beginning of more.
func (s *Secret) Export(label string, n int) []byte {
	out, err := s.export(label, n)
	if err != nil {
		panic(fmt.Sprintf("kem: export %d bytes: %v", n, err))
	}
	return out
}

// sequence numbers the messages of the symmetric mode.
type sequence struct {
	aead  cipher.AEAD
	nonce [chacha20poly1305.NonceSize]byte
	next  uint64
}

func (c *sequence) current() []byte {
	nonce := c.nonce
	low := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^c.next)
	return nonce[:]
}

func (c *sequence) seal(additional, message []byte) ([]byte, error) {
	sealed := c.aead.Seal(nil, c.current(), message, additional)
	c.next++
	return sealed, nil
}

func (c *sequence) open(additional, sealed []byte) ([]byte, error) {
	message, err := c.aead.Open(nil, c.current(), sealed, additional)
	if err == nil {
		c.next++
	}
	return message, err
}

// lp is a string with its length before it.
func lp(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

// expand panics on lengths that are the program's own mistake.
func expand(key []byte, info string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, key, info, n)
	if err != nil {
		panic(fmt.Sprintf("kem: expand to %d bytes: %v", n, err))
	}
	return out
}
