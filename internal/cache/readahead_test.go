package cache

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// TestReadAhead: whoever writes to it need not wait for a reader, and a reader waits until something comes, the deadline, or the end.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	r := newReadAhead(client)
	for range 100 { // without a reader
		if _, err := server.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 100*1000; {
		n, err := r.Read(make([]byte, 4096))
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if err := r.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := r.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	if _, err := server.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("without a deadline: %v", err)
	}
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a reader was not told of the end")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
}
