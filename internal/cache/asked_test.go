package cache

import (
	"testing"
	"time"
)

func TestAsked(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(s.KeepAsked(ctx, "one", []byte("1")))
		must(s.KeepAsked(ctx, "two", []byte("2")))
		if there, err := s.ReplaceAsked(ctx, "one", []byte("1b")); err != nil || !there {
			t.Errorf("replaced: %v, %v", there, err)
		}
		must(s.DropAsked(ctx, "two"))
		if there, err := s.ReplaceAsked(ctx, "two", []byte("2b")); err != nil || there {
			t.Errorf("what was dropped came back: %v, %v", there, err)
		}
		for run, want := range map[string]string{"one": "1b", "two": ""} {
			if got, err := s.AskedRun(ctx, run); err != nil || string(got) != want {
				t.Errorf("%s is %q, %v", run, got, err)
			}
		}
		if all, err := s.open(Options{}).Asked(ctx); err != nil || len(all) != 1 || all["one"] != "1b" {
			t.Errorf("asked %v, %v", all, err)
		}
	})
}

func TestLeaseAsked(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		day := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		take := func(holder string, after time.Duration, want bool) {
			t.Helper()
			s.clock(day.Add(after))
			if got, err := s.LeaseAsked(ctx, "run", holder, time.Minute); err != nil || got != want {
				t.Errorf("%s after %v: %v, %v; want %v", holder, after, got, err, want)
			}
		}
		take("a 1", 0, true)
		take("b", 59*time.Second, false)
		take("a 1", 59*time.Second, true) // renewed
		take("b", 118*time.Second, false)
		take("b", 119*time.Second, true) // the other gave no sign of life
		if err := s.ReleaseAsked(ctx, "run", "a 1"); err != nil {
			t.Fatal(err)
		}
		take("a 1", 120*time.Second, false) // it was not a's to give back
		if err := s.ReleaseAsked(ctx, "run", "b"); err != nil {
			t.Fatal(err)
		}
		take("a 1", 120*time.Second, true)
	})
}
