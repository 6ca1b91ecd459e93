package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"stegomq/internal/link"
)

// errNoConsumer: nothing answers pulls for the consumer, because it does not exist.
var errNoConsumer = errors.New("consumer does not exist")

// pullRequest is the body of a pull.
type pullRequest struct {
	Batch   int           `json:"batch"`
	NoWait  bool          `json:"no_wait,omitempty"`
	Expires time.Duration `json:"expires,omitempty"`
}

func requestPull(nc *nats.Conn, stream, consumer, inbox string, r pullRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+"."+consumer, inbox, body)
}

// puller makes one pull at a time over one subscription. A delivered message carries the stream's
// subject and cannot be distinguished from one of an earlier pull. So after a pull without an answer the
// subscription is abandoned, and messages that still arrive on it go back.
type puller struct {
	nc    *nats.Conn
	sub   *nats.Subscription
	inbox string
}

func newPuller(nc *nats.Conn) (*puller, error) {
	p := &puller{nc: nc}
	return p, p.subscribe()
}

func (p *puller) subscribe() (err error) {
	p.inbox = p.nc.NewInbox()
	p.sub, err = p.nc.SubscribeSync(p.inbox)
	return err
}

// close ends the subscription and hands back messages that were delivered after the last pull ended.
func (p *puller) close() {
	if p.sub.Drain() != nil {
		return
	}
	// The server answers the flush after all messages that it had sent before the subscription ended. Without an answer, what has come goes back.
	flush(p.nc)
	for {
		m, err := p.sub.NextMsg(time.Millisecond)
		if err != nil {
			return
		}
		if isDelivery(m) {
			_ = m.Nak()
		}
	}
}

// flush waits until the server has answered all that was sent before. While it is away there is no answer.
func flush(nc *nats.Conn) {
	if nc.IsConnected() {
		_ = nc.FlushTimeout(link.RequestTimeout)
	}
}

func isDelivery(m *nats.Msg) bool { return m.Reply != "" }

// pull asks for up to r.Batch messages. Without waiting it returns those that are there; otherwise it
// waits for the first one until r.Expires or until ctx ends. It returns no message and no error when
// there are none, and errNoConsumer when the consumer does not exist.
func (p *puller) pull(ctx context.Context, stream, consumer string, r pullRequest) ([]*nats.Msg, error) {
	if !p.nc.IsConnected() {
		// A request would be buffered and answered after the reconnection, when nobody waits for it.
		return nil, nats.ErrConnectionReconnecting
	}
	if err := requestPull(p.nc, stream, consumer, p.inbox, r); err != nil {
		return nil, err
	}
	wait := link.RequestTimeout
	if r.NoWait {
		ctx = context.WithoutCancel(ctx) // the answer is on its way and may hold messages
	} else {
		wait += r.Expires
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var got []*nats.Msg
	for len(got) < r.Batch {
		m, err := p.sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			return got, errNoConsumer
		}
		if err != nil {
			p.close()
			return got, errors.Join(unanswered(err), p.subscribe())
		}
		if isDelivery(m) {
			got = append(got, m)
			continue
		}
		switch status := m.Header.Get("Status"); status {
		case "100": // idle heartbeat
		case "404", "408": // nothing there
			return got, nil
		default:
			return got, fmt.Errorf("pull from %s: %s %s", consumer, status, m.Header.Get("Description"))
		}
	}
	return got, nil
}

// unanswered is nil for the ordinary end of a wait.
func unanswered(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) {
		return nil
	}
	return err
}
