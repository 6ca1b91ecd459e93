package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// condition is how a link treats the data sent over it.
type condition int

const (
	normal  condition = iota
	cut               // connections break, and new ones as soon as they are made
	stalled           // connections stay, and nothing passes
	slow              // what passes is late
)

// link is a TCP proxy between one client and one server.
type link struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	state   condition
	late    time.Duration
	changed chan struct{} // closed when the state changes
	open    map[net.Conn]struct{}
}

func newLink(target string) (*link, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, target: target, changed: make(chan struct{}), open: make(map[net.Conn]struct{})}
	go l.accept()
	return l, nil
}

func (l *link) addr() string { return l.listener.Addr().String() }

// set changes the condition. late counts where it is slow.
func (l *link) set(state condition, late time.Duration) {
	l.mu.Lock()
	l.state, l.late = state, late
	close(l.changed)
	l.changed = make(chan struct{})
	var broken []net.Conn
	if state == cut {
		for c := range l.open {
			broken = append(broken, c)
		}
	}
	l.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

func (l *link) close() {
	_ = l.listener.Close()
	l.set(cut, 0)
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.serve(client)
	}
}

// keep remembers a connection so that it can be cut; it returns false if it must be cut now.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == cut {
		return false
	}
	l.open[c] = struct{}{}
	return true
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	_ = c.Close()
}

func (l *link) serve(client net.Conn) {
	defer l.drop(client)
	if !l.keep(client) {
		return
	}
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer l.drop(server)
	if !l.keep(server) {
		return
	}
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 && l.wait(from) {
				_, failed := to.Write(buf[:n])
				if failed != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		ended <- struct{}{}
	}
	go pass(server, client)
	go pass(client, server)
	// When either side ends, both are closed: neither protocol uses half-closed connections.
	<-ended
	l.drop(client)
	l.drop(server)
	<-ended
}

// wait holds data until it may pass; it returns false if the connection was cut meanwhile.
func (l *link) wait(c net.Conn) bool {
	for {
		l.mu.Lock()
		state, late, changed := l.state, l.late, l.changed
		_, open := l.open[c]
		l.mu.Unlock()
		switch {
		case !open || state == cut:
			return false
		case state == slow:
			time.Sleep(late)
			return true
		case state == normal:
			return true
		}
		<-changed
	}
}
