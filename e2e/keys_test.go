package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// secrets are the hexadecimal keys in a keyring file.
func (h *home) secrets(name string) []string {
	h.t.Helper()
	var file struct {
		Keys []struct{ Embed, Recover string }
	}
	must(h.t, json.Unmarshal(read(h.t, h.path(name)), &file))
	var all []string
	for _, k := range file.Keys {
		all = append(all, k.Embed, k.Recover)
	}
	if len(all) == 0 || len(all[0]) != 64 {
		h.t.Fatalf("%s holds the keys %v", name, all)
	}
	return all
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const ring = "config/stegomq/keyring.json"
	var printed strings.Builder
	run := func(code int, stdin string, args ...string) result {
		t.Helper()
		r := h.feed(stdin, args...)
		r.want(t, code, args...)
		printed.WriteString(r.stdout + r.stderr)
		return r
	}
	fingerprint := regexp.MustCompile(`[0-9a-f]{32}`)

	alice := fingerprint.FindString(run(0, "", "keys", "new", "alice").stdout)
	run(0, "", "keys", "new", "bob")
	if info, err := os.Stat(h.path(ring)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", ring, info, err)
	}
	list := run(0, "", "keys", "list").stdout
	if alice == "" || !strings.Contains(list, alice) || !strings.Contains(list, "bob") {
		t.Errorf("the list lacks alice (%s) or bob:\n%s", alice, list)
	}
	if show := run(0, "", "keys", "show", "alice").stdout; !strings.Contains(show, alice) || strings.Contains(show, "bob") {
		t.Errorf("show alice:\n%s", show)
	}
	run(2, "", "keys", "show", "nobody")
	run(2, "", "keys", "new", "alice")      // there is one
	run(2, "", "keys", "new", "Not An Id!") // no id
	run(2, "", "keys", "new", "random-1-1") // reserved
	if again := run(0, "", "keys", "list").stdout; again != list {
		t.Errorf("the list after refused changes:\n%s\nbefore:\n%s", again, list)
	}

	// The same passphrase gives the same pair in every keyring.
	one := fingerprint.FindString(run(0, "correct horse battery staple\n", "keys", "new", "carol", "--passphrase", "--keyring", "one.json").stdout)
	two := fingerprint.FindString(run(0, "correct horse battery staple\n", "keys", "new", "carol", "--passphrase", "--keyring", "two.json").stdout)
	other := fingerprint.FindString(run(0, "another passphrase altogether\n", "keys", "new", "carol", "--passphrase", "--keyring", "three.json").stdout)
	if one == "" || one != two || one == other {
		t.Errorf("fingerprints of passphrases: %q, %q, and of another %q", one, two, other)
	}
	run(0, "", "keys", "import", "one.json")
	run(0, "", "keys", "import", "two.json") // the same again
	run(2, "", "keys", "import", "three.json")
	if list := run(0, "", "keys", "list").stdout; !strings.Contains(list, one) || strings.Contains(list, other) {
		t.Errorf("the list after imports:\n%s", list)
	}
	must(t, os.Chmod(h.path("one.json"), 0o644))
	if r := run(2, "", "keys", "list", "--keyring", "one.json"); !strings.Contains(r.stderr, "0600") && !strings.Contains(r.stderr, "chmod") {
		t.Errorf("a keyring that others may read: %s", r.stderr)
	}

	// Keys are used but never printed, not even in the debug log.
	h.photographs("photos", 2, 40, 40)
	run(0, "", "embed", "--key", "alice", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png", "--log-level", "debug")
	run(0, "", "evaluate", "--data", "photos", "--keys", ring, "--size", "32", "--out", "out", "--log-level", "debug")
	told := printed.String()
	for _, name := range []string{"summary.json", "items.csv", "report.md"} {
		told += string(read(t, h.path("out", name)))
	}
	for _, secret := range append(h.secrets(ring), h.secrets("three.json")...) {
		if strings.Contains(strings.ToLower(told), secret) {
			t.Errorf("a key was told: %.4s...", secret)
		}
	}
	if !strings.Contains(told, "bob") {
		t.Error("the evaluation with the keyring does not name its keys")
	}
	if sum := h.summary("out"); fmt.Sprint(sum.Keys) != "[alice bob carol]" {
		t.Errorf("keys of the run: %v", sum.Keys)
	}
}
