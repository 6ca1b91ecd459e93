package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsAt runs an empty nats-server at an address of this machine.
func natsAt(t *testing.T, address string) *process {
	t.Helper()
	bin, err := natsServer()
	must(t, err)
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	p := startProcess(t, "nats-server", exec.CommandContext(t.Context(), bin, "-js", "-sd", t.TempDir(), "-a", host, "-p", port))
	p.await(`Server is ready`)
	return p
}

var hosts atomic.Uint32

// freeAddress is one of this machine at which nobody listens, and which nobody takes while the server that has it is away: no other test has the
// host, and no connection comes from there.
func freeAddress(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+pid>>8%250, pid&0xff, 1+hosts.Add(1)%250))
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// separate is a run on separate servers, with a worker and an evaluator, that is in the middle: the worker waits for its release.
type separate struct {
	*home
	nats, redis *process
	worker      *process
	natsAddress string
	redisDir    string
	flags       []string
	run         *process
}

// startSeparate makes the run without servers first, into the folder whole, and then begins it on servers.
func startSeparate(t *testing.T, more ...string) *separate {
	t.Helper()
	s := &separate{home: newHome(t), natsAddress: freeAddress(t), redisDir: socketDir(t)}
	s.photographs("photos", 12, 160, 120)
	run := []string{"evaluate", "--data", "photos", "--keys", "2", "--size", "96", "--batch", "1"}
	s.ok(append(run, "--out", "whole")...)
	s.nats = natsAt(t, s.natsAddress)
	redis, url := redisIn(t, s.redisDir)
	s.redis, s.flags = redis, []string{"--nats", "nats://" + s.natsAddress, "--redis", url}
	const part = `(?s)(msg="job settled".*){4}`
	role := func(args ...string) []string {
		return append(append(args, "--log-level", "debug", "--ack-wait", "2s"), s.flags...)
	}
	s.start(role("evaluator")...).await("(?m)^ready$")
	s.worker = s.startHeld(part, role("gpuworker", "--slots", "1")...)
	s.worker.await("(?m)^ready$")
	s.run = s.start(append(append(append(run, "--out", "lost"), s.flags...), more...)...)
	s.worker.await(part)
	return s
}

// wantWhole waits for the end of the run, which must have all scores of the whole one.
func (s *separate) wantWhole() {
	s.t.Helper()
	if code := s.run.end(); code != 0 {
		s.t.Fatalf("exit code %d\n%s", code, s.run.log)
	}
	if !bytes.Equal(read(s.t, s.path("whole", "items.csv")), read(s.t, s.path("lost", "items.csv"))) {
		s.t.Error("items.csv differs from that of the run that lost nothing")
	}
}

// A run repeats work that its servers lose.
func TestLostState(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, *separate){
		"Redis is flushed": func(t *testing.T, s *separate) {
			must(t, redisClient(t, s.flags[3]).FlushAll(t.Context()).Err())
			s.worker.release()
		},
		"Redis restarts empty": func(t *testing.T, s *separate) {
			s.redis.signal(os.Kill)
			s.redis.end()
			s.worker.release()
			s.run.await(`waiting for Redis`)
			redisIn(t, s.redisDir)
		},
		"NATS restarts empty": func(t *testing.T, s *separate) {
			s.nats.signal(os.Kill)
			s.nats.end()
			s.worker.release()
			s.run.await(`waiting for NATS`)
			natsAt(t, s.natsAddress)
		},
		"the jobs are purged": func(t *testing.T, s *separate) {
			nc, err := nats.Connect(s.flags[1], nats.Timeout(patience))
			must(t, err)
			defer nc.Close()
			js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
			must(t, err)
			for _, name := range []string{"JOBS_BULK", "JOBS_FOLLOWUP"} {
				stream, err := js.Stream(t.Context(), name)
				must(t, err)
				must(t, stream.Purge(t.Context()))
			}
			s.worker.release()
			s.run.await(`planned and published again.*message queue lost`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSeparate(t)
			lose(t, s)
			s.wantWhole()
		})
	}
}

// A lasting outage gives exit code 3.
func TestPatience(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*separate) *process{
		"Redis": func(s *separate) *process { return s.redis },
		"NATS":  func(s *separate) *process { return s.nats },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSeparate(t, "--patience", "2s")
			p := stop(s)
			p.signal(os.Kill)
			p.end()
			if code := s.run.end(); code != 3 || !strings.Contains(s.run.log.String(), name+" has not answered") {
				t.Errorf("exit code %d, want 3\n%s", code, s.run.log)
			}
		})
	}
}

// shownRun is what runs show --json says of one run.
type shownRun struct {
	Run, State string
	Waiting    uint64
	Scores     int
}

func (h *home) shownRuns(args ...string) (runs []shownRun) {
	h.t.Helper()
	must(h.t, json.Unmarshal([]byte(h.ok(append([]string{"runs"}, args...)...).stdout), &runs))
	return runs
}

// Runs are listed, cancelled and removed; Ctrl-C takes waiting jobs back, except with --detach.
func TestRuns(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 8, 64, 48)
	flags := servers(t)
	command := append([]string{"evaluate", "--data", "photos", "--size", "32", "--batch", "1"}, flags...)
	published := func(run string) func(result) bool {
		return func(r result) bool {
			var runs []shownRun
			return r.code == 0 && json.Unmarshal([]byte(r.stdout), &runs) == nil && runs[0].Run == run && runs[0].Waiting > 0
		}
	}
	show := func(run string) []string { return append([]string{"runs", "show", run, "--json"}, flags...) }
	for run, c := range map[string]struct {
		more []string
		left bool
	}{"taken": {}, "left": {more: []string{"--detach"}, left: true}} {
		p := h.start(append(append(command, "--run", run), c.more...)...)
		h.eventually("a job of "+run, published(run), show(run)...)
		p.signal(os.Interrupt)
		if code := p.end(); code != 130 {
			t.Errorf("exit code %d after an interrupt\n%s", code, p.log)
		}
		if got := h.shownRuns(show(run)[1:]...)[0].Waiting > 0; got != c.left {
			t.Errorf("run %s: jobs wait after the interrupt: %v, want %v", run, got, c.left)
		}
	}
	// A command that waits for a cancelled run reports that.
	p := h.start(append(command, "--run", "cancelled")...)
	h.eventually("a job", published("cancelled"), show("cancelled")...)
	h.ok(append([]string{"runs", "cancel", "cancelled"}, flags...)...)
	if code := p.end(); code != 1 || !strings.Contains(p.log.String(), "cancelled") {
		t.Errorf("exit code %d of a cancelled run\n%s", code, p.log)
	}
	states := make(map[string]string)
	for _, r := range h.shownRuns(append([]string{"list", "--json"}, flags...)...) {
		states[r.Run] = r.State
	}
	if len(states) != 3 || states["cancelled"] != "cancelled" || states["left"] != "not finished" {
		t.Errorf("runs: %v", states)
	}
	h.ok(append([]string{"runs", "rm", "left"}, flags...)...)
	h.run(append([]string{"runs", "show", "left"}, flags...)...).wantError(t, 2, "left")
	if table := h.ok(append([]string{"runs", "list"}, flags...)...).stdout; strings.Contains(table, "left") || !strings.Contains(table, "taken") {
		t.Errorf("runs list:\n%s", table)
	}
}
