package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// raceFlags build the program with the race detector where the test has it.
var raceFlags []string

// build makes the program of a package of this module, or of a module that it needs.
func build(t *testing.T, pkg string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(strings.TrimSuffix(pkg, "/v2")))
	args := append([]string{"build", "-buildvcs=false", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// natsServer is the one of `make nats-server`, or one built now.
func natsServer(t *testing.T) string {
	t.Helper()
	made := filepath.Join("..", "..", ".bin", "nats-server")
	if path := os.Getenv("STEGOMQ_NATS_SERVER"); path != "" {
		made = path
	}
	if _, err := os.Stat(made); err == nil {
		return made
	}
	return build(t, "github.com/nats-io/nats-server/v2")
}

// seed is a new one, or that of CHAOS_SEED.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64N(1e9) + 1
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	t.Logf("CHAOS_SEED=%d", s)
	return s
}

// The short form of `make chaos`: a small run, a dozen faults.
func TestFewFaults(t *testing.T) {
	t.Parallel()
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("this test needs a redis-server: run `make redis` (%v)", err)
	}
	library := os.Getenv("STEGOMQ_ORT_LIB")
	if library == "" {
		library = filepath.Join("..", "..", ".cache", "onnxruntime")
	}
	c := settings{
		programs: programs{
			stegomq: build(t, "./cmd/stegomq", raceFlags...), nats: natsServer(t), redis: redis, ort: library,
			models: filepath.Join("..", "..", "internal", "ort", "testdata"),
		},
		seed: seed(t), jobs: 450, faults: 12, gap: 2 * time.Second, end: 5 * time.Minute, dir: t.TempDir(), log: t.Output(),
		nodes: []int{1},
	}
	r, err := chaos(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	happened := 0
	for _, o := range r.Runs {
		happened += len(o.Faults)
		if !o.whole() {
			t.Errorf("exit code %s, %d lost, %d doubled, %d differing, %d unexpected, %d dead letters; the command's last line: %s",
				o.exit(), o.Lost, o.Doubled, o.Differing, o.Unexpected, o.DeadLetters, o.LastLine)
		}
	}
	if happened != c.faults {
		t.Errorf("%d of %d faults happened", happened, c.faults)
	}
}

// A schedule follows from its seed, has every kind of fault that applies, and not too many that lose data.
func TestSchedule(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 3} {
		faults := schedule(7, nodes, 80, "")
		if len(faults) != 80 {
			t.Errorf("%d nodes: %d faults, want 80", nodes, len(faults))
		}
		plain := func(faults []fault) (all []fault) {
			for _, f := range faults {
				f.kind = kind{}
				all = append(all, f)
			}
			return all
		}
		if !reflect.DeepEqual(plain(faults), plain(schedule(7, nodes, 80, ""))) {
			t.Errorf("%d nodes: the same seed gave another schedule", nodes)
		}
		if reflect.DeepEqual(plain(faults), plain(schedule(8, nodes, 80, ""))) {
			t.Errorf("%d nodes: another seed gave the same schedule", nodes)
		}
		times := make(map[string]int)
		for i, f := range faults {
			times[f.Kind]++
			if f.kind.once > 0 && i > 60 {
				t.Errorf("%d nodes: %s comes as number %d: too late to be made good", nodes, f.Kind, i)
			}
			if f.Hold < f.kind.least || f.Hold > f.kind.most {
				t.Errorf("%d nodes: %s for %v", nodes, f.Kind, f.Hold)
			}
			if i > 0 && f.At <= faults[i-1].At {
				t.Errorf("%d nodes: fault %d is due at %v, after %v", nodes, i, f.At, faults[i-1].At)
			}
		}
		for _, k := range kinds() {
			switch n := times[k.name]; {
			case !k.fits(nodes) && n > 0, k.once > 0 && n > k.once, k.fits(nodes) && n == 0:
				t.Errorf("%d nodes: %s comes %d times", nodes, k.name, n)
			}
		}
		for _, f := range schedule(7, nodes, 4, "Redis killed") {
			if f.Kind != "Redis killed" {
				t.Errorf("%d nodes: %s was not asked for", nodes, f.Kind)
			}
		}
	}
}

// Lost, doubled, changed and unexpected comparisons are found.
func TestAgainst(t *testing.T) {
	t.Parallel()
	read := func(rows ...string) comparisons {
		file := filepath.Join(t.TempDir(), "items.csv")
		text := "item,role,psnr,outcome\n" + strings.Join(rows, "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := readComparisons(file)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := read("a,x,1,done", "a,y,2,done", "b,x,3,done")
	for _, c := range []struct {
		rows []string
		want [4]int // lost, doubled, differing, unexpected
	}{
		{[]string{"b,x,3,done", "a,x,1,done", "a,y,2,done"}, [4]int{}},
		{[]string{"a,x,1,done", "a,y,2,done"}, [4]int{1, 0, 0, 0}},
		{[]string{"a,x,1,done", "a,x,1,done", "a,y,2,done", "b,x,3,done"}, [4]int{0, 1, 0, 0}},
		{[]string{"a,x,1,done", "a,y,2,refused", "b,x,3,done"}, [4]int{0, 0, 1, 0}},
		{[]string{"a,x,1,done", "a,y,2,done", "b,x,3,done", "c,x,4,done"}, [4]int{0, 0, 0, 1}},
	} {
		lost, doubled, differing, unexpected := read(c.rows...).against(want)
		if got := [4]int{lost, doubled, differing, unexpected}; got != c.want {
			t.Errorf("%q: %v, want %v", c.rows, got, c.want)
		}
	}
}

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// TestLink sends random bytes over a link in every condition.
func TestLink(t *testing.T) {
	t.Parallel()
	s := seed(t)
	random := rand.NewChaCha8([32]byte{byte(s), byte(s >> 8), byte(s >> 16), byte(s >> 24)})
	l, err := newLink(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	sent := make([]byte, 1<<20)
	_, _ = random.Read(sent)
	send := func(c net.Conn) { go func() { _, _ = c.Write(sent) }() }
	same := func(c net.Conn) error {
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return fmt.Errorf("other bytes came back")
		}
		return nil
	}

	c := dial()
	send(c)
	if err := same(c); err != nil {
		t.Fatal("normal:", err)
	}
	l.set(slow, time.Millisecond)
	send(c)
	if err := same(c); err != nil {
		t.Fatal("slow:", err)
	}
	l.set(stalled, 0)
	send(c)
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("stalled: %d bytes passed", n)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	l.set(normal, 0)
	if err := same(c); err != nil {
		t.Fatal("normal again:", err)
	}
	l.set(cut, 0)
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("cut: %d bytes passed", n)
	}
	// A new connection ends at once.
	if n, err := dial().Read(make([]byte, 1)); err == nil {
		t.Fatalf("cut: %d bytes came on a new connection", n)
	}
	l.set(normal, 0)
	c = dial()
	send(c)
	if err := same(c); err != nil {
		t.Fatal("after the cut:", err)
	}
}

func TestMiddle(t *testing.T) {
	t.Parallel()
	for want, times := range map[string][]time.Duration{"0.0 s": nil, "3.0 s": {3e9}, "2.0 s": {4e9, 2e9}, "4.0 s": {7e9, 4e9, 1e9}} {
		if got := middle(times); got != want {
			t.Errorf("the middle of %v is %s", times, got)
		}
	}
}
