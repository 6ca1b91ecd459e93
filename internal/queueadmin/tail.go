package queueadmin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/bus"
	"stegomq/schemas"
)

// Tail calls fn for every message that is published under filter from now on, until ctx ends, fn returns an
// error (which Tail returns) or the link is closed (link.ErrClosed). filter selects subjects under job., score., result. or dead., with
// the wildcards * and >; "" selects all four. message is nil when data does not decode. Tail takes nothing
// from the queue. It shows all sent messages, including those that a full stream refused, and leaves some
// out when fn is too slow.
func (a *Admin) Tail(ctx context.Context, filter string, fn func(subject string, message proto.Message, data []byte) error) error {
	filters := []string{filter}
	if filter == "" {
		filters = []string{schemas.JobsFilter(), schemas.ScoringFilter(), "result.>", schemas.DeadFilter()}
	}
	for _, f := range filters {
		if root, _, ok := strings.Cut(f, "."); !ok || decoders[root] == nil {
			return fmt.Errorf("tail: %w, got %q", bus.ErrBadFilter, f)
		}
	}
	inner, done, err := a.link.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	messages := make(chan *nats.Msg, 1024)
	for _, f := range filters {
		sub, err := a.link.NC.ChanSubscribe(f, messages)
		if errors.Is(err, nats.ErrBadSubject) {
			return fmt.Errorf("tail: %w, got %q", bus.ErrBadFilter, f)
		}
		if err != nil {
			return fmt.Errorf("tail %s: %w", f, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	for {
		select {
		case <-inner.Done():
			return a.link.Ended(ctx)
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
