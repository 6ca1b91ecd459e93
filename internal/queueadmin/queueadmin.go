// Package queueadmin owns the view of the queue from outside: its state and the live workers, dead letters, the unfinished work of a run, and
// the messages being sent. It takes no part in the work: it makes no stream and no consumer, and handles no message.
package queueadmin

import (
	"stegomq/internal/bus"
	"stegomq/internal/link"
	"stegomq/internal/streams"
)

// Admin asks the queue on the streams of a server. It is for any number of goroutines and ends with its link.
type Admin struct {
	link    *link.Link
	streams *streams.Streams
	bus     *bus.Bus
}

// New makes an Admin without a request to the server. Unopened streams (streams.New) are enough for reading.
func New(s *streams.Streams) *Admin {
	return &Admin{link: s.Link, streams: s, bus: bus.New(s, bus.Config{})}
}
