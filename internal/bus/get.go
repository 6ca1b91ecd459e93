package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// api is the subject of a request to JetStream.
func (b *Bus) api(request string) string { return b.cfg.apiPrefix() + "." + request }

// directGet is the last message of a subject from any replica of a stream that allows it (ADR-31), and when it was stored.
func (b *Bus) directGet(ctx context.Context, stream, subject string) (data []byte, at time.Time, err error) {
	m, err := b.nc.RequestWithContext(ctx, b.api("DIRECT.GET.")+stream+"."+subject, nil)
	if err != nil {
		return nil, at, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, at, jetstream.ErrMsgNotFound
	default:
		return nil, at, fmt.Errorf("get from %s: %s %s", stream, status, m.Header.Get("Description"))
	}
	at, err = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return m.Data, at, err
}

// getRequest says which message of a stream is wanted: the last of a subject, or the first from Seq on that a filter selects.
type getRequest struct {
	Seq           uint64 `json:"seq,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
}

type storedMsg struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// getMsg is a message from the leader of a stream. It needs no right but on the one subject of the API, and no consumer.
func (b *Bus) getMsg(ctx context.Context, stream string, r getRequest) (*storedMsg, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	m, err := b.nc.RequestWithContext(ctx, b.api("STREAM.MSG.GET.")+stream, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Message *storedMsg          `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("get from %s: %w", stream, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, fmt.Errorf("get from %s: %w", stream, answer.Error)
	case answer.Message == nil:
		return nil, fmt.Errorf("get from %s: no message in the answer", stream)
	}
	return answer.Message, nil
}
