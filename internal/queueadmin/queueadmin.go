// Package queueadmin owns what people ask of the queue from outside: its state and the workers that live, dead letters, what is left of a
// run, and what is being sent. It takes no part in the work: it makes no stream and no consumer, and takes no message in hand.
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

// New makes an Admin. It asks nothing of the server; streams that were not opened (streams.New) are enough to look at.
func New(s *streams.Streams) *Admin {
	return &Admin{link: s.Link, streams: s, bus: bus.New(s, bus.Config{})}
}
