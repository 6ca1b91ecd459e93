package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// part is a process of the pipeline that is restarted when it ends by itself, as by a service manager.
type part struct {
	name string
	argv []string
	env  []string
	dir  string // where its log lies

	once bool // it is not started again

	busy sync.Mutex // held by the fault that has this part in hand

	mu      sync.Mutex
	cmd     *exec.Cmd     // nil while it is down
	ended   chan struct{} // closed when cmd has ended
	meant   bool          // that it ends
	closed  bool
	exits   []string // how it ended by itself
	peakRSS int64    // bytes
	state   *os.ProcessState
}

// restartAfter is what a service manager waits before it starts a role again.
const restartAfter = time.Second

func (p *part) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// start runs the process unless it runs.
func (p *part) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil || p.closed {
		return nil
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(log, "--- started at %s\n", time.Now().Format(time.TimeOnly))
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:gosec // the programs that the user named
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, log, log
	// Signals from the terminal are for this program, which ends the parts in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.name, err), log.Close())
	}
	ended := make(chan struct{})
	p.cmd, p.ended, p.meant = cmd, ended, false
	go func() {
		_ = cmd.Wait()
		_ = log.Close()
		p.mu.Lock()
		p.state = cmd.ProcessState
		again := !p.meant && !p.closed && !p.once
		if again {
			p.exits = append(p.exits, fmt.Sprintf("%s: %s", time.Now().Format(time.TimeOnly), cmd.ProcessState))
		}
		p.cmd = nil
		p.mu.Unlock()
		close(ended)
		if again {
			time.AfterFunc(restartAfter, func() {
				p.mu.Lock()
				again := !p.meant
				p.mu.Unlock()
				if again {
					_ = p.start()
				}
			})
		}
	}()
	return nil
}

// stop ends the process with a signal, and kills it where that takes longer than patience. It stays down until start.
func (p *part) stop(with syscall.Signal, patience time.Duration) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.meant = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(with)
	// A paused process gets the signal when it continues.
	_ = cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// signal sends a signal where the process runs.
func (p *part) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// done is closed when the process that was started last has ended.
func (p *part) done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *part) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop(syscall.SIGKILL, time.Second)
}

// measure looks at the memory that the process holds.
func (p *part) measure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.peakRSS = max(p.peakRSS, peakRSS(p.cmd.Process.Pid))
	}
}

// peakRSS is the most memory that a process has held, in bytes; 0 where it is not to be read.
func peakRSS(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
