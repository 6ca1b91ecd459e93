package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

// Tail calls fn for every message that is published under filter from now on, until ctx ends, fn returns an
// error (which Tail returns) or the bus is closed. filter selects subjects under job., score., result. or dead., with
// the wildcards * and >; "" selects all four. message is nil when data does not decode. Tail takes nothing
// from the queue. It shows what was sent, also messages that a full stream refused, and when fn is
// too slow it leaves some out.
func (b *Bus) Tail(ctx context.Context, filter string, fn func(subject string, message proto.Message, data []byte) error) error {
	filters := []string{filter}
	if filter == "" {
		filters = []string{schemas.JobsFilter(), schemas.ScoringFilter(), "result.>", schemas.DeadFilter()}
	}
	for _, f := range filters {
		if root, _, ok := strings.Cut(f, "."); !ok || decoders[root] == nil {
			return fmt.Errorf("tail: %w, got %q", ErrBadFilter, f)
		}
	}
	done, ok := b.enter()
	if !ok {
		return ErrClosed
	}
	defer done()
	inner, cancel := b.bound(ctx)
	defer cancel()
	messages := make(chan *nats.Msg, 1024)
	for _, f := range filters {
		sub, err := b.nc.ChanSubscribe(f, messages)
		if errors.Is(err, nats.ErrBadSubject) {
			return fmt.Errorf("tail: %w, got %q", ErrBadFilter, f)
		}
		if err != nil {
			return fmt.Errorf("tail %s: %w", f, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	for {
		select {
		case <-inner.Done():
			return b.ended(ctx, nil)
		case m := <-messages:
			root, _, _ := strings.Cut(m.Subject, ".")
			message, err := decoders[root](m.Data)
			if err != nil {
				message = nil
			}
			if err := fn(m.Subject, message, m.Data); err != nil {
				return err
			}
		}
	}
}

// decoders reads messages by the first token of their subject.
var decoders = map[string]func([]byte) (proto.Message, error){
	"job":    func(d []byte) (proto.Message, error) { return schemas.DecodeJob(d) },
	"score":  func(d []byte) (proto.Message, error) { return schemas.DecodeResult(d) },
	"result": func(d []byte) (proto.Message, error) { return schemas.DecodeResult(d) },
	"dead":   func(d []byte) (proto.Message, error) { return schemas.DecodeDeadLetter(d) },
}
