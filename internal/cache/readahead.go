package cache

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// readAhead reads the server's answers as they come. The connection to a server in this process has no buffer. Without readAhead a server that
// answers the first command of a pipeline would wait for its client to read, while the client, still writing the rest, waits for the server.
type readAhead struct {
	net.Conn

	more chan struct{} // signals that something came; closed when no more comes

	mu       sync.Mutex
	deadline time.Time // for reads that begin after it was set; a waiting read keeps its own
	read     bytes.Buffer
	err      error // why no more comes
}

func newReadAhead(conn net.Conn) *readAhead {
	r := &readAhead{Conn: conn, more: make(chan struct{}, 1)}
	go r.pump()
	return r
}

// pump ends with the connection.
func (r *readAhead) pump() {
	defer close(r.more)
	part := make([]byte, 16<<10)
	for {
		n, err := r.Conn.Read(part)
		r.mu.Lock()
		r.read.Write(part[:n])
		r.err = err
		r.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

func (r *readAhead) Read(p []byte) (int, error) {
	var over <-chan time.Time
	for {
		r.mu.Lock()
		n, _ := r.read.Read(p)
		err, deadline := r.err, r.deadline
		r.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		if over == nil && !deadline.IsZero() {
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-r.more:
		case <-over:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (r *readAhead) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	return nil
}

func (r *readAhead) SetDeadline(t time.Time) error {
	return errors.Join(r.SetReadDeadline(t), r.SetWriteDeadline(t))
}
