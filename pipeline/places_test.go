package pipeline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stegomq/internal/cache"
	"stegomq/internal/keyring"
	"stegomq/schemas"
)

func generate(t *testing.T, id string) keyring.Pair {
	t.Helper()
	pair, err := keyring.Generate(id, time.Now().UTC().Truncate(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// The default places are below the home folder, and those that the environment names go before. It changes the environment.
func TestDefaultPlaces(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	if got, want := DefaultState(), filepath.Join(home, ".local", "state", "stegomq"); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	if got, want := DefaultState(), filepath.Join(home, "state", "stegomq"); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
	path := filepath.Join(home, "config", "stegomq", "keyring.json")
	if got := DefaultKeyring(); got != path {
		t.Errorf("keyring %s, want %s", got, path)
	}
	if got := KeyringFiles(nil); got != nil {
		t.Errorf("keyrings %q, and there is none", got)
	}
	add := func(ring *keyring.Keyring) error { return AddKey(ring, generate(t, "alice")) }
	if got, err := ChangeKeyring(nil, keyring.Protection{}, add); got != path || err != nil {
		t.Fatalf("changed %s, %v", got, err)
	}
	if got := KeyringFiles(nil); !slices.Equal(got, []string{path}) {
		t.Errorf("keyrings %q", got)
	}
	if got := KeyringFiles([]string{"a", "b"}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("keyrings %q, want those that are named", got)
	}
	if _, err := ChangeKeyring([]string{"a", "b"}, keyring.Protection{}, add); err == nil {
		t.Error("two keyrings were changed")
	}
	// Another key in the place of one is refused, and nothing of it is stored.
	if _, err := ChangeKeyring(nil, keyring.Protection{}, add); err == nil || !strings.Contains(err.Error(), "choose another id") {
		t.Errorf("another alice: %v", err)
	}
	dir := filepath.Join(home, "work")
	if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "models", "tiny"), os.DirFS(tiny.Dir)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "deep"))
	wd, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := DefaultModels(); !slices.Equal(got, []string{filepath.Join(wd, "models")}) {
		t.Errorf("models %q", got)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	if _, err := ChangeKeyring(nil, keyring.Protection{}, add); err == nil || !strings.Contains(err.Error(), "--keyring") {
		t.Errorf("without a home: %v", err)
	}
}

// The public half embeds, and has no other key of the ring.
func TestPublicKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := ChangeKeyring([]string{path}, keyring.Protection{}, func(ring *keyring.Keyring) error {
		return errors.Join(AddKey(ring, generate(t, "alice")), AddKey(ring, generate(t, "bob")))
	}); err != nil {
		t.Fatal(err)
	}
	l := &Library{Keyrings: []string{path}}
	public, err := l.PublicKey("alice")
	if err != nil {
		t.Fatal(err)
	}
	if pairs := public.List(); len(pairs) != 1 || pairs[0].ID != "alice" || !pairs[0].Recover.IsZero() {
		t.Errorf("%v", pairs)
	}
	if _, err := l.PublicKey("carol"); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("carol: %v", err)
	}
}

func TestGeometry(t *testing.T) {
	t.Parallel()
	g, err := Geometry(64, "crop")
	if err != nil || g.GetWidth() != 64 || g.GetHeight() != 64 || g.GetResize() != schemas.ResizePolicy_RESIZE_POLICY_CROP {
		t.Errorf("%v, %v", g, err)
	}
	for _, c := range []struct {
		side   int
		resize string
		says   string
	}{{-1, "squash", "size -1"}, {schemas.MaxSide + 1, "squash", "size"}, {64, "stretch", "resize stretch"}, {64, "", "resize "}} {
		var field *FieldError
		if _, err := Geometry(c.side, c.resize); !errors.As(err, &field) || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for want, levels := range map[string][]Level{
		"all is well":                {Fine, Fine},
		"it works, with warnings: 1": {Fine, Warning},
		"problems: 2, warnings: 1":   {Problem, Warning, Problem},
	} {
		var findings []Finding
		for _, level := range levels {
			findings = append(findings, Finding{"nats", level, "it is"})
		}
		got, problems := Verdict(findings)
		if got != want || (problems > 0) != strings.HasPrefix(want, "problems") {
			t.Errorf("%q, %d problems; want %q", got, problems, want)
		}
	}
	if got := (Finding{"nats", Problem, "away"}).String(); got != "PROBLEM: away" {
		t.Error(got)
	}
}

func TestRunRow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	spec := &schemas.RunSpec{Id: "run", Pairs: make([]*schemas.Pair, 3)}
	for want, state := range map[string]*cache.RunState{
		"not finished": {Spec: spec}, "cancelled": {Spec: spec, Cancelled: now}, "finished": {Spec: spec, Finished: now, Cancelled: now},
	} {
		if r := rowOf(state); r.State != want || r.Run != "run" || r.Pairs != 3 {
			t.Errorf("%+v, want %s", r, want)
		}
	}
}

// A configuration with a password in it is its owner's alone.
func TestOpenSecrets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stegomq.yaml")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	secret := map[string]string{"redis": "redis://:password@host:6379"}
	if err := CheckOpenSecrets(path, map[string]string{"redis": "redis://host:6379"}); err != nil {
		t.Error(err)
	}
	if err := CheckOpenSecrets(path, secret); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others can read it: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckOpenSecrets(path, secret); err != nil {
		t.Error(err)
	}
	if err := CheckOpenSecrets(path+"x", secret); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
