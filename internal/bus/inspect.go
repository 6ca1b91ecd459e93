package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// ErrNoStreams: nobody has used the server yet.
var ErrNoStreams = errors.New("the server has no streams of stegomq yet")

// Away says whether an error of a Bus is of a server that does not answer, or not yet, rather than of what it was asked.
func Away(err error) bool {
	return errors.Is(err, schemas.ErrAway) || errors.Is(err, ErrUnreachable) || isOutage(err)
}

// Inspect is Status without a Bus: it creates nothing, where Open makes the streams. It returns ErrNoStreams where they are not there,
// and the errors of Open.
func Inspect(ctx context.Context, cfg Config) (*Status, error) {
	b, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	st, err := b.Status(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w (%s)", ErrNoStreams, b.where())
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, fmt.Errorf("%w (at %s)", ErrNoJetStream, b.where())
	}
	return st, err
}
