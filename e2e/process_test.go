package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs beside the test. It is killed when the test ends.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	log   *transcript   // standard output and standard error
	in    *os.File      // where it writes them
	marks int           // how often it was paused
	ended chan struct{} // closed when the process has ended and all that it said is in log
	err   error         // of its end; set before ended is closed
}

// start runs the program in the background.
func (h *home) start(args ...string) *process {
	h.t.Helper()
	return startProcess(h.t, args[0], h.command(h.t.Context(), args...))
}

// startHeld is start, and what the program says is read only up to a line that matches, until release. The program then stands at one of its next
// lines, a handful further: it cannot be at its end before a test whose turn on the processor comes late does something to it.
func (h *home) startHeld(until string, args ...string) *process {
	h.t.Helper()
	return startReading(h.t, args[0], h.command(h.t.Context(), args...), regexp.MustCompile(until))
}

func startProcess(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	return startReading(t, name, cmd, nil)
}

// startReading starts a process. Its output is held at a pattern, if there is one.
func startReading(t *testing.T, name string, cmd *exec.Cmd, hold *regexp.Regexp) *process {
	t.Helper()
	log := &transcript{changed: make(chan struct{}), hold: hold, released: make(chan struct{})}
	out, in, err := os.Pipe()
	must(t, err)
	buffer := make([]byte, 32<<10)
	if hold != nil { // what the pipe and the buffer hold, the process may say
		_, err = unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
		must(t, err)
		buffer = buffer[:128]
	}
	cmd.Stdout, cmd.Stderr = in, in
	must(t, cmd.Start())
	p := &process{t: t, name: name, cmd: cmd, log: log, in: in, ended: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer func() { _ = out.Close() }()
		for {
			n, err := out.Read(buffer)
			_, _ = log.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() { p.err = cmd.Wait(); _ = in.Close(); <-read; close(p.ended) }()
	t.Cleanup(func() {
		p.release()
		_ = cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s:\n%s", name, log)
		}
	})
	return p
}

// release lets a process that is held go on.
func (p *process) release() { p.log.release.Do(func() { close(p.log.released) }) }

// pause stops a process. When it returns, the process stands still and all that it said is in its log.
func (p *process) pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	var err error = unix.EINTR
	for errors.Is(err, unix.EINTR) {
		err = unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
	}
	must(p.t, err)
	p.marks++
	mark := fmt.Sprintf("--- paused, %d ---\n", p.marks)
	_, err = p.in.WriteString(mark)
	must(p.t, err)
	p.await(regexp.QuoteMeta(mark))
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(s))
}

// end waits until the process has ended and gives its exit code, -1 after a signal.
func (p *process) end() int {
	p.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	<-p.ended
	if !timer.Stop() {
		p.t.Fatalf("%s did not end within %v: %v\n%s", p.name, patience, p.err, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// terminate asks the process to stop, and wants exit code 0: a role that is asked to stop is done.
func (p *process) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		p.t.Fatalf("exit code of %s after SIGTERM: %d\n%s", p.name, code, p.log)
	}
}

// await waits for output that matches pattern and gives its submatches.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	found, err := p.log.await(ctx, p.ended, regexp.MustCompile(pattern))
	if err != nil {
		p.t.Fatalf("%s never said %q: %v\n%s", p.name, pattern, err, p.log)
	}
	return found
}

// transcript collects output and tells who waits for it.
type transcript struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed at every write

	hold     *regexp.Regexp // nothing is taken after a text that matches, until released is closed
	release  sync.Once
	released chan struct{}
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	_, _ = l.text.Write(b)
	held := l.hold != nil && l.hold.MatchString(l.text.String())
	l.mu.Unlock()
	if held {
		<-l.released
	}
	return len(b), nil
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var errEnded = errors.New("it has ended")

// await waits until the text matches pattern, and gives the submatches. Nothing is written once ended is closed.
func (l *transcript) await(ctx context.Context, ended <-chan struct{}, pattern *regexp.Regexp) ([]string, error) {
	for last := false; ; {
		l.mu.Lock()
		text, changed := l.text.String(), l.changed
		l.mu.Unlock()
		if found := pattern.FindStringSubmatch(text); found != nil {
			return found, nil
		}
		if last {
			return nil, errEnded
		}
		select {
		case <-ended:
			last = true
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// startNATS runs a nats-server with JetStream on a free loopback port and gives its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	bin, err := natsServer()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), bin, "-js", "-sd", t.TempDir(), "-a", "127.0.0.1", "-p", "-1")
	p := startProcess(t, "nats-server", cmd)
	addr := p.await(`Listening for client connections on (\S+)`)[1]
	p.await(`Server is ready`)
	return "nats://" + addr
}

// startRedis runs a redis-server on a Unix socket and gives its URL.
func startRedis(t *testing.T) string {
	t.Helper()
	_, url := redisIn(t, socketDir(t))
	return url
}

// socketDir is a folder with a short path, as sockets need it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// redisIn runs an empty redis-server with its socket in a folder.
func redisIn(t *testing.T, dir string) (p *process, url string) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("these tests need a redis-server: run `make redis` (%v)", err)
	}
	socket := filepath.Join(dir, "sock")
	p = startProcess(t, "redis-server", exec.CommandContext(t.Context(), bin,
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no"))
	p.await(`eady to accept connections`)
	return p, "unix://" + socket
}

// servers starts both and gives the flags that name them.
func servers(t *testing.T) []string {
	t.Helper()
	return []string{"--nats", startNATS(t), "--redis", startRedis(t)}
}

// closedPort is an address of this machine where nobody listens.
func closedPort(scheme string) string { return fmt.Sprintf("%s://127.0.0.1:1", scheme) }
