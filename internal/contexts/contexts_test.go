package contexts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestContexts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stegomq", "contexts.json")
	if set, err := Read(path); err != nil || set.Use != "" || len(set.Contexts) != 0 {
		t.Fatalf("no file: %+v, %v", set, err)
	}
	prod := Values{"nats": "nats://u:p@host:4222", "redis": "rediss://:p@host:6379"}
	err := Change(path, func(s *Set) error {
		s.Use = "prod"
		return errors.Join(s.Add("prod", prod), s.Add("lab", Values{"state": "/data"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	set, err := Read(path)
	if err != nil || set.Use != "prod" || !reflect.DeepEqual(set.Names(), []string{"lab", "prod"}) {
		t.Errorf("%+v, %v", set, err)
	}
	if got, err := set.Get("prod"); err != nil || !reflect.DeepEqual(got, prod) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := set.Get("other"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "lab, prod") {
		t.Errorf("an unknown one: %v", err)
	}
	if err := set.Add("prod", nil); !errors.Is(err, ErrTaken) {
		t.Errorf("the same name: %v", err)
	}
	for _, name := range []string{"", "a b", "-a", "a/b", strings.Repeat("a", 64)} {
		if err := set.Add(name, nil); !errors.Is(err, ErrName) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Change(path, func(s *Set) error { s.Use = ""; return s.Remove("other") }); !errors.Is(err, ErrUnknown) {
		t.Errorf("to remove what is not there: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("a change that failed wrote %s, %v", after, err)
	}
	if err := Change(path, func(s *Set) error { return s.Remove("prod") }); err != nil {
		t.Error(err)
	}
	if set, err = Read(path); err != nil || set.Use != "" || len(set.Contexts) != 1 {
		t.Errorf("without the one in use: %+v, %v", set, err)
	}
}

func TestFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "contexts.json")
	if err := os.WriteFile(path, []byte(`{"contexts": {}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
	if err := Change(path, func(*Set) error { return nil }); !errors.Is(err, ErrFile) {
		t.Errorf("a file that others can read is changed: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"colour": "red"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), path) {
			t.Errorf("the file %q: %v", text, err)
		}
	}
	if err := Change("", func(*Set) error { return nil }); !errors.Is(err, ErrFile) {
		t.Errorf("no home: %v", err)
	}
}

// Changes of several processes follow one another.
func TestNoChangeIsLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "contexts.json")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if err := Change(path, func(s *Set) error { return s.Add(fmt.Sprint("c", i), Values{}) }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if set, err := Read(path); err != nil || len(set.Contexts) != 16 {
		t.Errorf("%+v, %v", set, err)
	}
}
