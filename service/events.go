package service

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"stegomq/internal/users"
	"stegomq/schemas"
)

// event is something that happened. Its owner and administrators are told of it; an event without an owner goes to administrators alone.
type event struct {
	kind, owner string
	data        []byte // JSON
}

// The kinds of events. ready begins a stream; reset says that events are missing from it.
const (
	eventReady = "ready"
	eventReset = "reset"
	eventRun   = "run"
	eventDead  = "dead_letter"
)

// Bounds of streams of events: how many events are kept for clients that come back, and how many streams all users and one user may have.
const (
	keptEvents  = 1024
	mostStreams = 256
	userStreams = 16
	heartbeat   = 15 * time.Second
	sendTimeout = 30 * time.Second
)

// hub numbers the events of this process from 1, and keeps the last ones.
type hub struct {
	block cipher.Block // of this process: the ids of another one mean nothing here

	mu       sync.Mutex
	last     uint64
	kept     [keptEvents]event // event n is at n % keptEvents
	changed  chan struct{}     // closed when there is another event
	streams  *places
	draining chan struct{}
	closing  sync.Once
}

func newHub() *hub {
	const full = "there are too many streams of events: close one of yours, or try again later"
	var key [32]byte
	_, _ = rand.Read(key[:])            // never fails
	block, err := aes.NewCipher(key[:]) // takes 32 bytes
	if err != nil {
		panic(err)
	}
	return &hub{block: block, changed: make(chan struct{}), streams: newPlaces(mostStreams, userStreams, 0, full, full), draining: make(chan struct{})}
}

// publish gives an event its number and wakes the streams.
func (h *hub) publish(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.kept[h.last%keptEvents] = e
	close(h.changed)
	h.changed = make(chan struct{})
}

// since returns the events after number n, the number of the last event, and a channel that is closed when there are more. missed says that
// some events after n are no longer kept.
func (h *hub) since(n uint64) (list []event, last uint64, missed bool, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := n + 1
	if h.last >= keptEvents && first <= h.last-keptEvents {
		first, missed = h.last-keptEvents+1, true
	}
	for i := first; i <= h.last; i++ {
		list = append(list, h.kept[i%keptEvents])
	}
	return list, h.last, missed, h.changed
}

// close ends all streams and refuses new ones.
func (h *hub) close() {
	h.closing.Do(func() {
		h.streams.draining.Store(true)
		close(h.draining)
	})
}

// id names event n to a client, each time in another way. The number itself would tell each user how many events the others have.
func (h *hub) id(n uint64) string {
	var b [aes.BlockSize]byte
	binary.LittleEndian.PutUint64(b[:], n)
	_, _ = rand.Read(b[8:12]) // never fails
	h.block.Encrypt(b[:], b[:])
	return hex.EncodeToString(b[:])
}

// number is the event that an id names, if this process has made the id.
func (h *hub) number(id string) (n uint64, ok bool) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != aes.BlockSize {
		return 0, false
	}
	h.block.Decrypt(b, b)
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[12:]) == 0
}

// resume returns the number after which a stream goes on: that of the client's last event, if this process has told it, or else the newest.
func (h *hub) resume(lastID string) (from uint64, resumed bool) {
	_, now, _, _ := h.since(0)
	if n, ok := h.number(lastID); ok && n <= now {
		return n, true
	}
	return now, false
}

// tell publishes a run as it is now.
func (s *Service) tell(ctx context.Context, r *run) {
	data, err := json.Marshal(s.view(ctx, r))
	if err != nil {
		s.log.Error("an event cannot be told", "error", err)
		return
	}
	s.events.publish(event{kind: eventRun, owner: r.owner(), data: data})
}

// tailDead tells administrators of dead letters until ctx ends.
func (s *Service) tailDead(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.Pipeline.TailDead(ctx, func(l *schemas.DeadLetter) {
			data, err := json.Marshal(map[string]any{"reason": l.GetReason(), "detail": l.GetDetail(), "subject": l.GetSubject(), "died": time.UnixMilli(l.GetDiedAt()).UTC()})
			if err == nil {
				s.events.publish(event{kind: eventDead, data: data})
			}
		})
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("dead letters are not told of for a while", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(sweepEvery):
		}
	}
}

// streamEvents answers with server-sent events: progress of the user's runs, and for administrators all of that and dead letters.
func (s *Service) streamEvents(w http.ResponseWriter, c *call) *problem {
	leave, why := s.events.streams.take(c.Context(), c.owner())
	if why != nil {
		return why
	}
	defer leave()
	lastID := c.Header.Get("Last-Event-ID")
	from, resumed := s.events.resume(lastID)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that collects would hold events back
	w.WriteHeader(http.StatusOK)
	out := eventWriter{w: w, control: http.NewResponseController(w), hub: s.events}
	switch {
	case lastID == "" || resumed:
		out.put(eventReady, from, []byte(`{}`))
	default:
		out.reset(from)
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		list, last, missed, more := s.events.since(from)
		if missed {
			out.reset(last)
			list = nil
		}
		for i, e := range list {
			if e.owner == c.owner() || c.user.Has(users.Admin) {
				out.put(e.kind, last-uint64(len(list)-1-i), e.data)
			}
		}
		from = last
		if err := out.flush(); err != nil {
			return nil // the client has gone, or takes too long
		}
		select {
		case <-more:
		case <-beat.C:
			out.comment()
		case <-s.events.draining:
			return nil
		case <-c.Context().Done():
			return nil
		}
		if !s.stillThere(c) {
			return nil
		}
	}
}

// stillThere says whether the user still exists with the same token, and reads anew what the user may do.
func (s *Service) stillThere(c *call) bool {
	u, there, err := s.Users.Find(c.user.Name, c.user.Hash)
	c.user = u
	return there && err == nil
}

// eventWriter collects events and sends them together.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	hub     *hub
	waiting bytes.Buffer
}

func (e *eventWriter) put(kind string, n uint64, data []byte) {
	_, _ = fmt.Fprintf(&e.waiting, "id: %s\nevent: %s\ndata: %s\n\n", e.hub.id(n), kind, data) // a Buffer takes everything
}

func (e *eventWriter) reset(n uint64) {
	e.put(eventReset, n, []byte(`{"detail":"events after your last one are no longer kept: ask again for what you show"}`))
}

func (e *eventWriter) comment() { e.waiting.WriteString(":\n\n") }

func (e *eventWriter) flush() error {
	if e.waiting.Len() == 0 {
		return nil
	}
	if err := e.control.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := e.w.Write(e.waiting.Bytes()); err != nil {
		return err
	}
	e.waiting.Reset()
	return e.control.Flush()
}
