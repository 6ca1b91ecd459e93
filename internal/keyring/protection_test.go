package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// quick keeps scrypt from taking a second in every test; age reads the factor from the file.
func quick(passphrase string) Protection { return Protection{Passphrase: passphrase, workFactor: 10} }

// identity writes a new identity file.
func identity(t *testing.T, mode os.FileMode) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "identity.txt")
	if err := os.WriteFile(path, []byte("# created: today\n"+id.String()+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func alice(t *testing.T) (*Keyring, Pair) {
	t.Helper()
	p, err := Generate("alice", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	k := New()
	if err := k.Add(p); err != nil {
		t.Fatal(err)
	}
	return k, p
}

func TestEncryptedRoundTrip(t *testing.T) {
	t.Parallel()
	file, other := identity(t, 0o600), identity(t, 0o600)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	quantum := filepath.Join(t.TempDir(), "hybrid.txt")
	if err := os.WriteFile(quantum, []byte(hybrid.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lock  Protection
		wrong []Protection
	}{
		"passphrase": {quick("correct horse"), []Protection{{}, quick("wrong"), {IdentityFile: file}}},
		"identity":   {Protection{IdentityFile: file}, []Protection{{}, quick("correct horse"), {IdentityFile: other}}},
		"hybrid":     {Protection{IdentityFile: quantum}, []Protection{{}, {IdentityFile: other}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, want := alice(t)
			path := filepath.Join(t.TempDir(), "keyring.age")
			if err := k.Save(path, c.lock); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte("alice")) || !encrypted(data) {
				t.Error("the file is not encrypted")
			}
			got, err := Open(path, c.lock)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := got.Resolve("alice", want.Fingerprint()); err != nil || !p.Embed.Equal(want.Embed) {
				t.Errorf("alice: %v, %v", p, err)
			}
			for _, wrong := range c.wrong {
				if _, err := Open(path, wrong); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
					t.Errorf("open with %v: %v, want ErrLocked and the file's name", wrong, err)
				}
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, c.lock); !errors.Is(err, ErrPermissions) {
				t.Errorf("encrypted and readable by all: %v, want ErrPermissions", err)
			}
		})
	}
}

// age's own tool may have written the file, armoured.
func TestOpenArmoured(t *testing.T) {
	t.Parallel()
	k, want := alice(t)
	data, err := k.marshal()
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	var file bytes.Buffer
	armored := armor.NewWriter(&file)
	w, err := age.Encrypt(armored, recipient)
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close(), armored.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyring.age")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path, quick("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Resolve("alice", want.Fingerprint()); err != nil {
		t.Error(err)
	}
}

func TestDamagedFileIsNotOpened(t *testing.T) {
	t.Parallel()
	k, _ := alice(t)
	path := filepath.Join(t.TempDir(), "keyring.age")
	if err := k.Save(path, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"cut":     data[:len(data)-1],
		"flipped": append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1),
		"header":  data[:30],
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, quick("correct horse")); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestSaveKeepsEncryption(t *testing.T) {
	t.Parallel()
	k, _ := alice(t)
	path := filepath.Join(t.TempDir(), "keyring.age")
	if err := k.Save(path, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(path, Protection{}); !errors.Is(err, ErrLocked) {
		t.Errorf("plain over encrypted: %v, want ErrLocked", err)
	}
	if err := k.Save(path, quick("another")); err != nil {
		t.Errorf("another passphrase: %v", err)
	}
	if _, err := Open(path, quick("another")); err != nil {
		t.Error(err)
	}
}

func TestIdentityFileErrors(t *testing.T) {
	t.Parallel()
	k, _ := alice(t)
	save := func(p Protection) error { return k.Save(filepath.Join(t.TempDir(), "keyring.age"), p) }
	readable := identity(t, 0o644)
	if err := save(Protection{IdentityFile: readable}); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+readable) {
		t.Errorf("readable identity file: %v, want ErrPermissions", err)
	}
	broken := filepath.Join(t.TempDir(), "broken.txt")
	if err := os.WriteFile(broken, []byte("AGE-SECRET-KEY-1SECRETSECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := save(Protection{IdentityFile: broken}); err == nil || strings.Contains(err.Error(), "SECRETSECRET") {
		t.Errorf("broken identity file: %v", err)
	}
	if err := save(Protection{IdentityFile: "no-such-file"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no identity file: %v", err)
	}
	if err := save(Protection{Passphrase: "a", IdentityFile: broken}); !errors.Is(err, errBoth) {
		t.Errorf("both: %v", err)
	}
}

func TestProtectionRedactsItself(t *testing.T) {
	t.Parallel()
	p := Protection{Passphrase: "xyzzy"}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "p", p)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "p", p)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %v", p, p, p, p, p, &p), fmt.Sprintf("%x", p), string(data), log.String()} {
		if strings.Contains(text, "xyzzy") || strings.Contains(text, fmt.Sprintf("%x", "xyzzy")) {
			t.Errorf("shows the passphrase: %s", text)
		}
	}
}
