package cache

import (
	"fmt"
	"strings"
	"sync"
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
		for run, record := range map[string]string{"one": "1", "two": "2"} {
			_, err := s.KeepAsked(ctx, run, []byte(record), "", 0)
			must(err)
		}
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

// Of those who ask for a run at one moment with one request, one keeps a run, and all the others get its record. Another request is another run.
func TestKeepAskedOnce(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		keep := func(c *Cache, run, request string) string {
			t.Helper()
			earlier, err := c.KeepAsked(ctx, run, []byte("record of "+run), request, time.Hour)
			if err != nil {
				t.Error(err)
			}
			return string(earlier)
		}
		const many = 16
		var asking sync.WaitGroup
		answers := make([]string, many)
		for i := range many {
			c := s.open(Options{})
			asking.Go(func() { answers[i] = keep(c, fmt.Sprint("run-", i), "alice request") })
		}
		asking.Wait()
		all, err := s.Asked(ctx)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d runs are kept: %v, %v", len(all), all, err)
		}
		for i, got := range answers {
			if _, kept := all[fmt.Sprint("run-", i)]; kept {
				if got != "" {
					t.Errorf("who keeps the run got %q", got)
				}
				continue
			}
			if _, kept := all[strings.TrimPrefix(got, "record of ")]; !kept {
				t.Errorf("%d got %q, and the run that is kept is %v", i, got, all)
			}
		}
		if got := keep(s.Cache, "bobs", "bob request"); got != "" {
			t.Errorf("another request got %q", got)
		}
		// An attempt whose answer was lost is made again.
		if got := keep(s.Cache, "bobs", "bob request"); got != "" {
			t.Errorf("the same run got %q", got)
		}
		if err := s.DropAsked(ctx, "bobs"); err != nil {
			t.Fatal(err)
		}
		if got := keep(s.Cache, "bobs-2", "bob request"); got != "" {
			t.Errorf("what was dropped is there: %q", got)
		}
		life, err := s.rdb.PTTL(ctx, requestKey("bob request")).Result()
		if err != nil || life <= 0 || life > time.Hour {
			t.Errorf("the request is remembered for %v: %v", life, err)
		}
	})
}
