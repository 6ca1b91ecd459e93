package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Protection is how a keyring file is encrypted, by age: with a passphrase (scrypt), or for the
// identities in an identity file, as age-keygen writes it (X25519, or the post-quantum hybrid). Zero means
// plain JSON. The first line of a file says whether it is encrypted, so a plain file can be opened with a Protection.
type Protection struct {
	Passphrase   string
	IdentityFile string // path; it holds private keys and must have mode 0600

	workFactor int // log2 of scrypt's N, for tests; 0 is age's own, about a second
}

// IsZero reports whether there is no protection.
func (p Protection) IsZero() bool { return p.Passphrase == "" && p.IdentityFile == "" }

// String keeps the passphrase out of logs.
func (p Protection) String() string {
	switch {
	case p.IdentityFile != "":
		return "identity file " + p.IdentityFile
	case p.Passphrase != "":
		return "passphrase"
	}
	return "none"
}

// Format covers every verb of fmt, as Key's does.
func (p Protection) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// MarshalText covers JSON, and so slog.
func (p Protection) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

var (
	ageBinary  = []byte("age-encryption.org/v1\n")
	ageArmored = []byte(armor.Header)
)

// encrypted reports whether data begins as an age file does, binary or armoured.
func encrypted(data []byte) bool {
	return bytes.HasPrefix(data, ageBinary) || bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), ageArmored)
}

func (p Protection) decrypt(data []byte) ([]byte, error) {
	if p.IsZero() {
		return nil, fmt.Errorf("%w; give its passphrase or the age identity file it was encrypted for", ErrLocked)
	}
	identities, err := p.identities()
	if err != nil {
		return nil, err
	}
	var src io.Reader = bytes.NewReader(data)
	if !bytes.HasPrefix(data, ageBinary) {
		src = armor.NewReader(src)
	}
	plain, err := age.Decrypt(src, identities...)
	if err != nil {
		var noMatch *age.NoIdentityMatchError
		if errors.As(err, &noMatch) {
			return nil, fmt.Errorf("%w and %s does not open it; it may be for another passphrase or identity", ErrLocked, p)
		}
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	out, err := io.ReadAll(io.LimitReader(plain, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return out, nil
}

func (p Protection) encrypt(data []byte) ([]byte, error) {
	recipients, err := p.recipients()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (p Protection) identities() ([]age.Identity, error) {
	if p.Passphrase != "" && p.IdentityFile != "" {
		return nil, errBoth
	}
	if p.Passphrase != "" {
		id, err := age.NewScryptIdentity(p.Passphrase)
		if err != nil {
			return nil, err
		}
		return []age.Identity{id}, nil
	}
	data, mode, err := readFile(p.IdentityFile)
	if err != nil {
		return nil, fmt.Errorf("read age identity: %w", err)
	}
	if err := private(p.IdentityFile, mode); err != nil {
		return nil, err
	}
	identities, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		// age's error may repeat the line, which is a private key.
		return nil, fmt.Errorf("read age identity %s: it is not an identity file; make one with age-keygen -o FILE", p.IdentityFile)
	}
	return identities, nil
}

func (p Protection) recipients() ([]age.Recipient, error) {
	identities, err := p.identities()
	if err != nil {
		return nil, err
	}
	if p.Passphrase != "" {
		r, err := age.NewScryptRecipient(p.Passphrase)
		if err != nil {
			return nil, err
		}
		if p.workFactor != 0 {
			r.SetWorkFactor(p.workFactor)
		}
		return []age.Recipient{r}, nil
	}
	var recipients []age.Recipient
	for _, id := range identities {
		switch id := id.(type) {
		case *age.X25519Identity:
			recipients = append(recipients, id.Recipient())
		case *age.HybridIdentity:
			recipients = append(recipients, id.Recipient())
		default:
			return nil, fmt.Errorf("encrypt for age identity %s: it can decrypt only", p.IdentityFile)
		}
	}
	return recipients, nil
}

var errBoth = errors.New("give a passphrase or an identity file, not both")
