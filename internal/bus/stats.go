package bus

import "sync/atomic"

// Stats counts what a Bus did since Open.
type Stats struct {
	// Published messages, and those of them that the server already had.
	Published, Duplicates uint64
	// FullWaits counts tries that found a stream full; Outages those that found no server.
	FullWaits, Outages uint64
	// Delivered messages and how they were settled.
	Delivered, Acked, Retried, Interrupted, Dead uint64
	// AckFailures counts settlements that the server did not confirm: those messages come again.
	AckFailures uint64
	// Panics of handlers.
	Panics uint64
	// Pulls of jobs, and those that brought nothing.
	Pulls, EmptyPulls uint64
	// Reconnects to the server.
	Reconnects uint64
}

type counters struct {
	published, duplicates, fullWaits, outages                      atomic.Uint64
	delivered, acked, retried, interrupted, dead, ackFails, panics atomic.Uint64
	pulls, emptyPulls, reconnects                                  atomic.Uint64
}

// Stats returns the counters.
func (b *Bus) Stats() Stats {
	c := &b.stats
	return Stats{
		Published: c.published.Load(), Duplicates: c.duplicates.Load(),
		FullWaits: c.fullWaits.Load(), Outages: c.outages.Load(),
		Delivered: c.delivered.Load(), Acked: c.acked.Load(), Retried: c.retried.Load(),
		Interrupted: c.interrupted.Load(), Dead: c.dead.Load(), AckFailures: c.ackFails.Load(),
		Panics: c.panics.Load(), Pulls: c.pulls.Load(), EmptyPulls: c.emptyPulls.Load(),
		Reconnects: c.reconnects.Load(),
	}
}
