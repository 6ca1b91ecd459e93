package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The requests in this file are made by hand, so they need no handle of a stream, no consumer, and only the right to one subject of the API.

// api is the subject of a request to JetStream.
func (l *Link) api(request string) string { return l.cfg.apiPrefix() + "." + request }

// Last is the last message of a subject in a stream that allows direct gets (ADR-31), and when it was stored; jetstream.ErrMsgNotFound
// if there is none. In a cluster any replica may answer, and a lagging one does not know a message that was just stored. So only the leader
// is believed when it has no message.
func (l *Link) Last(ctx context.Context, stream, subject string) (data []byte, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	data, at, err = l.directGet(ctx, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) && l.clustered() {
		var m *Stored
		if m, err = l.Get(ctx, stream, Query{LastBySubject: subject}); err == nil {
			data, at = m.Data, m.Time
		}
	}
	return data, at, err
}

func (l *Link) directGet(ctx context.Context, stream, subject string) (data []byte, at time.Time, err error) {
	m, err := l.NC.RequestWithContext(ctx, l.api("DIRECT.GET.")+stream+"."+subject, nil)
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

// Query selects a message of a stream: the one with a sequence number, the last of a subject, or the first from Seq on that a filter selects.
type Query struct {
	Seq           uint64 `json:"seq,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
}

// Stored is a message of a stream.
type Stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Headers []byte    `json:"hdrs"` // as NATS writes them
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// Header returns the headers; nil if there are none.
func (m *Stored) Header() map[string][]string {
	h, _ := nats.DecodeHeadersMsg(m.Headers)
	return h
}

// Get returns a message from the leader of a stream, or jetstream.ErrMsgNotFound.
func (l *Link) Get(ctx context.Context, stream string, q Query) (*Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	m, err := l.NC.RequestWithContext(ctx, l.api("STREAM.MSG.GET.")+stream, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Message *Stored             `json:"message"`
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

// Scan calls f for the messages that a stream holds now under a filter, until f returns false. It makes no consumer: consumers stay for a
// while, and their number in a stream is limited.
func (l *Link) Scan(ctx context.Context, stream, filter string, f func(*Stored) bool) error {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	for next := uint64(1); ; {
		m, err := l.Get(ctx, stream, Query{Seq: next, NextBySubject: filter})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !f(m) {
			return nil
		}
		next = m.Seq + 1
	}
}
