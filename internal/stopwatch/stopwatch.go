// Package stopwatch owns the way of a duration from where it is measured to who asked, past interfaces that know nothing of it: the context
// carries it.
package stopwatch

import (
	"context"
	"time"
)

// Watch is what one run of an engine took beside the network itself. One goroutine uses it.
type Watch struct {
	// Wait is the time until the run might go, because others were running.
	Wait time.Duration
	// Patch is the time to make the weights of its key; nothing to speak of where they were at hand.
	Patch time.Duration
}

type watchKey struct{}

// With gives a context whose watch is w.
func With(ctx context.Context, w *Watch) context.Context {
	return context.WithValue(ctx, watchKey{}, w)
}

// Of is the watch of a context, or one that nobody reads.
func Of(ctx context.Context) *Watch {
	if w, ok := ctx.Value(watchKey{}).(*Watch); ok {
		return w
	}
	return new(Watch)
}
