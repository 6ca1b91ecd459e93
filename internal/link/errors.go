package link

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// Errors that callers may want to distinguish. They are wrapped with what was being done.
var (
	// ErrUnreachable: no server answers at the URL.
	ErrUnreachable = errors.New("cannot reach the NATS server")
	// ErrDenied: the server refused the credentials.
	ErrDenied = errors.New("the NATS server refused the credentials")
	// ErrNoJetStream: the server runs without JetStream.
	ErrNoJetStream = errors.New("the NATS server has no JetStream: start it with -js, or with a jetstream block in its configuration")
	// ErrClientFiles: a certificate or credentials file cannot be read.
	ErrClientFiles = errors.New("cannot use the files of the connection to the NATS server")
	// ErrTooLarge: a message or blob exceeds a limit, which the error names.
	ErrTooLarge = errors.New("too large")
	// ErrNoStream: the server works and has not the stream of a user, who was revoked.
	ErrNoStream = errors.New("the user has no stream of that name on the server")
	// ErrClosed: the link was closed.
	ErrClosed = errors.New("the bus is closed")
)

// NoJetStream says whether a request failed because the server runs without JetStream.
func NoJetStream(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// Away says whether an error comes from a server that does not answer, or not yet, and not from the request.
func Away(err error) bool {
	return errors.Is(err, schemas.ErrAway) || errors.Is(err, ErrUnreachable) || IsOutage(err)
}

// Codes of the server that the client library does not name.
const (
	codeStoreFailed           jetstream.ErrorCode = 10077 // the stream's own bounds
	codeInsufficientResources jetstream.ErrorCode = 10023 // the account's or the server's
	codeStorageExceeded       jetstream.ErrorCode = 10047
)

// IsFull says whether the server refused a message, or a stream, because there is no room.
func IsFull(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeInsufficientResources, codeStorageExceeded:
		return true
	case codeStoreFailed:
		return strings.HasPrefix(api.Description, "maximum ")
	}
	return false
}

// wrongLast says whether the server refused a message because the last message of its subject is not the one that the publisher expects. A
// replicated stream has a code of its own for this.
func wrongLast(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// IsOutage says whether an error is temporary: the server or the stream's leader is away, a cluster elects a leader, JetStream is switched off
// (on a full disk), or the streams of an emptied store are being made again. The message may or may not be stored; its id makes trying again
// safe.
func IsOutage(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == http.StatusServiceUnavailable || errors.Is(err, jetstream.ErrStreamNotFound) {
		return true
	}
	for _, e := range []error{
		nats.ErrTimeout, context.DeadlineExceeded, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrNoServers,
		nats.ErrStaleConnection,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Gone says whether a request failed with err because the server, which works, has no such stream.
func (l *Link) Gone(ctx context.Context, stream string, err error) bool {
	if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false
	}
	err = l.Request(ctx, func(ctx context.Context) error {
		_, err := l.JS.Stream(ctx, stream)
		return err
	})
	return errors.Is(err, jetstream.ErrStreamNotFound)
}
