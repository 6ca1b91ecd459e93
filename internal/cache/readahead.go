package cache

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// readAhead reads what the server says as it comes. The connection to a server in this process has no buffer: a server that answers the first
// command of a pipeline would wait for its client to read, and the client, still writing the rest, for the server.
type readAhead struct {
	net.Conn

	mu       sync.Mutex
	come     sync.Cond // more has come, the connection has ended, or the deadline is another or over
	read     bytes.Buffer
	err      error // why no more comes
	deadline time.Time
	alarm    *time.Timer
}

func newReadAhead(conn net.Conn) *readAhead {
	r := &readAhead{Conn: conn}
	r.come.L = &r.mu
	go r.pump()
	return r
}

// pump ends with the connection.
func (r *readAhead) pump() {
	part := make([]byte, 16<<10)
	for {
		n, err := r.Conn.Read(part)
		r.mu.Lock()
		r.read.Write(part[:n])
		r.err = err
		r.come.Broadcast()
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (r *readAhead) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.read.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		r.come.Wait()
	}
	return r.read.Read(p)
}

// SetReadDeadline is of Read alone: the server may say something at any time.
func (r *readAhead) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	switch {
	case t.IsZero() && r.alarm != nil:
		r.alarm.Stop()
	case r.alarm != nil:
		r.alarm.Reset(time.Until(t))
	case !t.IsZero():
		r.alarm = time.AfterFunc(time.Until(t), func() {
			r.mu.Lock() // so that a Read that saw the deadline ahead is waiting by now
			defer r.mu.Unlock()
			r.come.Broadcast()
		})
	}
	r.come.Broadcast()
	return nil
}

func (r *readAhead) SetDeadline(t time.Time) error {
	if err := r.SetReadDeadline(t); err != nil {
		return err
	}
	return r.SetWriteDeadline(t)
}

func (r *readAhead) Close() error {
	return errors.Join(r.SetReadDeadline(time.Time{}), r.Conn.Close()) // the first stops the alarm
}
