package keyring_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stegomq/internal/keyring"
)

var plain keyring.Protection

// write puts text in a new file of a mode.
func write(t *testing.T, mode fs.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// same reports whether two keyrings hold the same pairs.
func same(a, b *keyring.Keyring) error {
	left, right := a.List(), b.List()
	if len(left) != len(right) {
		return fmt.Errorf("%d pairs and %d", len(left), len(right))
	}
	for i, l := range left {
		r := right[i]
		if l.ID != r.ID || !l.Embed.Equal(r.Embed) || !l.Recover.Equal(r.Recover) || !l.Created.Equal(r.Created) {
			return fmt.Errorf("%v at %v and %v at %v", l.LogValue(), l.Created, r.LogValue(), r.Created)
		}
	}
	return nil
}

func TestSaveOpenRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		k := keyring.New()
		if rapid.Bool().Draw(t, "public") {
			k = keyring.NewPublic(rapid.String().Draw(t, "note"))
		}
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,20}`), 0, 20, rapid.ID[string]).Draw(t, "ids")
		for _, id := range ids {
			p, err := keyring.Generate(id, time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "created"), 0))
			if strings.HasPrefix(id, "random-") {
				continue
			}
			if err == nil {
				err = k.Add(p)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "keyring.json")
		if err := k.Save(path, plain); err != nil {
			t.Fatal(err)
		}
		got, err := keyring.Open(path, plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := same(got, k); err != nil {
			t.Fatal(err)
		}
		if got.Public() != k.Public() || got.Note() != strings.ToValidUTF8(k.Note(), "\ufffd") {
			t.Fatalf("public %v, note %q", got.Public(), got.Note())
		}
	})
}

func TestSaveIsPrivateAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	private, public := keyring.New(), keyring.NewPublic("demo")
	for _, c := range []struct {
		k    *keyring.Keyring
		mode fs.FileMode
	}{{private, 0o600}, {public, 0o644}} {
		path := write(t, 0o666, "what was here before")
		if err := c.k.Save(path, plain); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("public %v: mode %v, %v; want %v", c.k.Public(), info.Mode(), err, c.mode)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("beside the keyring: %v, %v", entries, err)
		}
	}
	if err := private.Save(filepath.Join(t.TempDir(), "no", "such", "keyring.json"), plain); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("save in a directory that is not there: %v", err)
	}
	dir := t.TempDir()
	if err := private.Save(dir, plain); err == nil {
		t.Error("a directory was replaced by a keyring")
	}
}

func TestSaveFollowsLinks(t *testing.T) {
	t.Parallel()
	target := write(t, 0o600, "")
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := keyring.New().Save(link, plain); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(target, plain); err != nil {
		t.Errorf("the file behind the link: %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
}

const (
	hexA = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	hexB = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
)

func oneKey(id string) string {
	return fmt.Sprintf(`{"id":%q,"embed":%q,"recover":%q,"created":"2026-11-23T00:00:00Z"}`, id, hexA, hexB)
}

func TestOpenReadsTheDocumentedForm(t *testing.T) {
	t.Parallel()
	k, err := keyring.Open(write(t, 0o600, `{"version":1,"public":false,"note":"of alice","keys":[`+oneKey("alice")+`]}`), plain)
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.Get("alice")
	if err != nil || hex.EncodeToString(p.Embed.Expose()) != hexA || hex.EncodeToString(p.Recover.Expose()) != hexB {
		t.Errorf("alice: %v, %v", p, err)
	}
	if want := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC); !p.Created.Equal(want) || k.Note() != "of alice" || k.Public() {
		t.Errorf("created %v, note %q, public %v", p.Created, k.Note(), k.Public())
	}
}

func TestOpenIsStrict(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":           ``,
		"not an object":   `[]`,
		"no version":      `{"keys":[]}`,
		"another version": `{"version":2,"keys":[]}`,
		"unknown field":   `{"version":1,"keys":[],"extra":1}`,
		"unknown in key":  `{"version":1,"keys":[{"id":"a","embed":"` + hexA + `","recover":"` + hexB + `","password":"x"}]}`,
		"twice":           `{"version":1,"keys":[` + oneKey("a") + `,` + oneKey("a") + `]}`,
		"more":            `{"version":1,"keys":[]} {}`,
		"rubbish after":   `{"version":1,"keys":[]} x`,
		"bad id":          `{"version":1,"keys":[` + oneKey("A") + `]}`,
		"random id":       `{"version":1,"keys":[` + oneKey("random-1-2") + `]}`,
		"key as id":       `{"version":1,"keys":[` + oneKey(hexA) + `]}`,
		"short key":       strings.Replace(`{"version":1,"keys":[`+oneKey("a")+`]}`, hexA, hexA[2:], 1),
		"not hex":         strings.Replace(`{"version":1,"keys":[`+oneKey("a")+`]}`, hexA, "xx"+hexA[2:], 1),
		"no recover":      `{"version":1,"keys":[{"id":"a","embed":"` + hexA + `"}]}`,
		"number":          `{"version":1,"keys":[{"id":"a","embed":` + strings.Repeat("1", 64) + `,"recover":"` + hexB + `"}]}`,
		"cut":             `{"version":1,"keys":[` + oneKey("a"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, 0o600, text)
			_, err := keyring.Open(path, plain)
			if !errors.Is(err, keyring.ErrFormat) {
				t.Fatalf("%v, want ErrFormat", err)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			for _, part := range []string{hexA[2:20], hexB[2:20], "11111111"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error repeats a key: %v", err)
				}
			}
		})
	}
	if _, err := keyring.Open(filepath.Join(t.TempDir(), "none.json"), plain); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestOpenReportsEveryBadKey(t *testing.T) {
	t.Parallel()
	text := `{"version":1,"keys":[` + oneKey("A") + `,` + oneKey("b") + `,{"id":"c"}]}`
	_, err := keyring.Open(write(t, 0o600, text), plain)
	for _, want := range []string{"keys[0].id", "keys[2].embed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not hold %q", err, want)
		}
	}
}

func TestOpenRefusesWhatOthersCanRead(t *testing.T) {
	t.Parallel()
	private := `{"version":1,"keys":[]}`
	public := `{"version":1,"public":true,"note":"demo","keys":[]}`
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660, 0o610} {
		path := write(t, mode, private)
		_, err := keyring.Open(path, plain)
		if !errors.Is(err, keyring.ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("private, %v: %v, want ErrPermissions and what to run", mode, err)
		}
		if _, err := keyring.Open(write(t, mode, public), plain); err != nil {
			t.Errorf("public, %v: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if _, err := keyring.Open(write(t, mode, private), plain); err != nil {
			t.Errorf("private, %v: %v", mode, err)
		}
	}
}

func TestOpenAll(t *testing.T) {
	t.Parallel()
	demo := `{"version":1,"public":true,"note":"demo","keys":[` + oneKey("demo-1") + `]}`
	own := write(t, 0o600, `{"version":1,"keys":[`+oneKey("alice")+`]}`)
	k, err := keyring.OpenAll(plain, own, write(t, 0o644, demo), write(t, 0o644, demo))
	if err != nil {
		t.Fatal(err)
	}
	if k.Len() != 2 || k.Public() {
		t.Errorf("%d pairs, public %v", k.Len(), k.Public())
	}
	other := write(t, 0o600, strings.Replace(`{"version":1,"keys":[`+oneKey("alice")+`]}`, hexA, hexB, 1))
	_, err = keyring.OpenAll(plain, own, other)
	if !errors.Is(err, keyring.ErrConflict) || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), other) {
		t.Errorf("%v, want ErrConflict that names %s and %s", err, own, other)
	}
	if _, err := keyring.OpenAll(plain, own, "no-such-file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// Administrators add keys at once, by the names that the file has for each; none may be lost.
func TestUpdatesDoNotOverwriteOneAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.json")
	link, folder := filepath.Join(t.TempDir(), "link.json"), filepath.Join(t.TempDir(), "folder")
	if err := errors.Join(os.Symlink(path, link), os.Symlink(filepath.Dir(path), folder)); err != nil {
		t.Fatal(err)
	}
	names := []string{path, link, filepath.Join(folder, "keyring.json"), link}
	writers := len(names)
	const each = 5
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			for j := range each {
				err := keyring.Update(name, plain, func(k *keyring.Keyring) error {
					return k.Add(must(keyring.Generate(fmt.Sprintf("key-%d-%d", i, j), created)))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	k, err := keyring.Open(path, plain)
	if err != nil {
		t.Fatal(err)
	}
	if k.Len() != writers*each {
		t.Errorf("%d keys, want %d", k.Len(), writers*each)
	}

	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	err = keyring.Update(path, plain, func(k *keyring.Keyring) error { return errors.Join(k.Remove("key-0-0"), refused) })
	if after, _ := os.ReadFile(path); !errors.Is(err, refused) || string(after) != string(before) {
		t.Errorf("an update that fails: %v, file changed: %v", err, string(after) != string(before))
	}
}
