package users

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func add1(t *testing.T, f *File, u User) string {
	t.Helper()
	token, err := f.Add(u)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A token is shown once, stands nowhere, lets its user in, and no other.
func TestTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := In(dir)
	if _, err := f.Authenticate("anything"); !errors.Is(err, ErrToken) {
		t.Errorf("without users: %v", err)
	}
	alice := add1(t, f, User{Name: "alice", Scopes: []Scope{Embed, Recover}, Keys: []string{"alice"}})
	bob := add1(t, f, User{Name: "bob", Scopes: []Scope{Embed}})
	if alice == bob || len(alice) != len(tokenPrefix)+43 {
		t.Errorf("tokens %s, %s", alice, bob)
	}
	other := In(dir) // another process
	for token, name := range map[string]string{alice: "alice", bob: "bob"} {
		if u, err := other.Authenticate(token); err != nil || u.Name != name {
			t.Errorf("%s came in as %q: %v", name, u.Name, err)
		}
	}
	for _, wrong := range []string{"", alice[1:], alice + "A", strings.ToUpper(alice), hashOf(alice)} {
		if u, err := f.Authenticate(wrong); !errors.Is(err, ErrToken) || u.Name != "" {
			t.Errorf("a wrong token came in as %q: %v", u.Name, err)
		}
	}
	data, err := os.ReadFile(f.path())
	if err != nil || bytes.Contains(data, []byte(alice)) || bytes.Contains(data, []byte(alice[len(tokenPrefix):])) {
		t.Errorf("the file has the token: %v\n%s", err, data)
	}
	if info, err := os.Stat(f.path()); err != nil || info.Mode().Perm() != private {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if err := In(dir).Revoke("alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authenticate(alice); !errors.Is(err, ErrToken) {
		t.Errorf("a revoked token: %v", err)
	}
	if err := f.Revoke("alice"); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked twice: %v", err)
	}
	// The same name is another user.
	if again := add1(t, f, User{Name: "alice", Scopes: []Scope{Embed}}); again == alice {
		t.Error("the new alice has the old token")
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	alice := User{Name: "alice", Scopes: []Scope{Embed, Recover}, Keys: []string{"alice"}}
	bob := User{Name: "bob", Scopes: []Scope{Embed, Recover}, Keys: []string{"bob"}, EmbedFor: []string{"alice"}}
	writer := User{Name: "writer", Scopes: []Scope{Embed}, Keys: []string{"writer"}}
	admin := User{Name: "admin", Scopes: []Scope{Admin}}
	for _, c := range []struct {
		user                   User
		key                    string
		knows, embed, recovers bool
	}{
		{alice, "alice", true, true, true},
		{alice, "bob", false, false, false},
		{bob, "bob", true, true, true},
		{bob, "alice", true, true, false},
		{bob, "nobody", false, false, false},
		{writer, "writer", true, true, false},
		{admin, "alice", true, true, true},
		// A key that is derived from another is as good as that, and nobody's.
		{bob, "swapped-alice", false, false, false},
		{alice, "swapped-alice", false, false, false},
		{alice, "near-3-alice", false, false, false},
		{admin, "random-1-1", false, false, false},
	} {
		if c.user.Knows(c.key) != c.knows || c.user.May(Embed, c.key) != c.embed || c.user.May(Recover, c.key) != c.recovers {
			t.Errorf("%s with %s: knows %v, embeds %v, recovers %v", c.user.Name, c.key, c.user.Knows(c.key), c.user.May(Embed, c.key), c.user.May(Recover, c.key))
		}
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	f := In(t.TempDir())
	add1(t, f, User{Name: "alice", Scopes: []Scope{Embed}, Keys: []string{"alice"}})
	for name, c := range map[string]struct {
		user User
		want error
	}{
		"the name":       {User{Name: "alice", Scopes: []Scope{Embed}}, ErrTaken},
		"the key":        {User{Name: "bob", Scopes: []Scope{Embed}, Keys: []string{"alice"}}, ErrTaken},
		"the operator":   {User{Name: "main", Scopes: []Scope{Embed}}, ErrUser},
		"no name":        {User{Scopes: []Scope{Embed}}, ErrUser},
		"no scope":       {User{Name: "bob"}, ErrUser},
		"another scope":  {User{Name: "bob", Scopes: []Scope{"root"}}, ErrUser},
		"a derived key":  {User{Name: "bob", Scopes: []Scope{Embed}, Keys: []string{"swapped-alice"}}, ErrUser},
		"derived, other": {User{Name: "bob", Scopes: []Scope{Embed}, EmbedFor: []string{"near-0-alice"}}, ErrUser},
		"no key":         {User{Name: "bob", Scopes: []Scope{Embed}, Keys: []string{"../x"}}, ErrUser},
	} {
		if _, err := f.Add(c.user); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := f.Users(); err != nil || len(all) != 1 {
		t.Errorf("users %v: %v", all, err)
	}
}

// What cannot be trusted is refused, and so is everybody.
func TestBadFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not JSON":      `{`,
		"a new version": `{"version":2,"users":[]}`,
		"a new field":   `{"version":1,"users":[],"groups":[]}`,
		"no token":      `{"version":1,"users":[{"name":"a","scopes":["embed"],"created":"2026-11-27T00:00:00Z","token_sha256":""}]}`,
		"twice":         `{"version":1,"users":[` + user1 + `,` + user1 + `]}`,
	} {
		f := In(t.TempDir())
		if err := os.WriteFile(f.path(), []byte(text), private); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Authenticate("x"); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Add(User{Name: "bob", Scopes: []Scope{Embed}}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s is written over: %v", name, err)
		}
	}
	f := In(t.TempDir())
	add1(t, f, User{Name: "alice", Scopes: []Scope{Embed}})
	if err := os.Chmod(f.path(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Users(); !errors.Is(err, ErrPermissions) {
		t.Errorf("a file that others read: %v", err)
	}
}

const user1 = `{"name":"a","scopes":["embed"],"created":"2026-11-27T00:00:00Z","token_sha256":"0000000000000000000000000000000000000000000000000000000000000000"}`

func TestAdmin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	f := In(dir)
	file, token, err := f.Admin()
	if err != nil || token == "" {
		t.Fatal(token, err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(text)) != token {
		t.Errorf("%s has %q: %v", file, text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != private {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if _, again, err := f.Admin(); err != nil || again != "" {
		t.Errorf("it was made twice: %v", err)
	}
	if u, err := f.Authenticate(token); err != nil || !u.Has(Recover) || !u.Has(Evaluate) {
		t.Errorf("%v: %v", u, err)
	}
}

// Several processes at once lose nobody.
func TestConcurrentAdds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := strings.Split("abcdefghijklmnop", "")
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if _, err := In(dir).Add(User{Name: name, Scopes: []Scope{Embed}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	users, err := In(dir).Users()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range users {
		got = append(got, u.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("users %v", got)
	}
}

// A token is good until it expires. Then it is told apart from one that nobody has, and its user is not found any more.
func TestExpires(t *testing.T) {
	t.Parallel()
	f := In(t.TempDir())
	tokens := map[string]string{
		"over": add1(t, f, User{Name: "over", Scopes: []Scope{Embed}, Expires: time.Now().Add(-time.Second)}),
		"good": add1(t, f, User{Name: "good", Scopes: []Scope{Embed}, Expires: time.Now().Add(time.Hour)}),
		"ever": add1(t, f, User{Name: "ever", Scopes: []Scope{Embed}}),
	}
	for name, token := range tokens {
		u, err := f.Authenticate(token)
		if u.Name != name || errors.Is(err, ErrExpired) != (name == "over") || (err == nil) == (name == "over") {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		if _, there, err := f.Find(name, hashOf(token)); err != nil || there != (name != "over") {
			t.Errorf("%s is there: %v, %v", name, there, err)
		}
	}
	if _, there, err := f.Find("good", hashOf("another")); there || err != nil {
		t.Errorf("an earlier user of the name is there: %v", err)
	}
}
