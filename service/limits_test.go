package service

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stegomq/internal/blob"
	"stegomq/internal/pixel"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/producer"
)

// held is a pipeline that holds what it is asked until the test lets it go, and then asks the real one.
type held struct {
	Pipeline
	asked chan struct{} // one element for each that came
	let   chan struct{} // closed: go on
}

func hold() *held {
	return &held{parts.Pipeline, make(chan struct{}, 100), make(chan struct{})}
}

func (h *held) Ask(ctx context.Context, req *pipeline.OperationRequest, tenant, key string, images map[string][]byte) (producer.Reply, []byte, error) {
	h.asked <- struct{}{}
	select {
	case <-h.let:
		return h.Pipeline.Ask(ctx, req, tenant, key, images)
	case <-ctx.Done():
		return producer.Reply{}, nil, ctx.Err()
	}
}

func (h *held) parts() Parts { p := parts; p.Pipeline = h; return p }

// later sends a request, whose answer comes on the channel.
func (c *client) later(path string, f fields, header ...string) <-chan *answered {
	out := make(chan *answered, 1)
	go func() { out <- c.post(path, f, header...) }()
	return out
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := start(t, Config{MaxBody: 32 << 10, Images: pixel.Limits{MaxPixels: 100 * 100}}).owner("tl-alice")
	c.post("/v1/embed", fields{"cover": make([]byte, 33<<10), "secret": []byte{}, "key": "tl-alice"}).problem(codeTooLarge)
	c.post("/v1/embed", fields{"cover": picture(t, 1, 128), "secret": picture(t, 1, 32), "key": "tl-alice"}).problem(codeTooLarge)

	// Without a length, too.
	contentType, body := fields{"cover": make([]byte, 33<<10)}.body(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/v1/embed", io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A user has so many requests at once, and all together so many; a slot is free when its request has its answer.
func TestTooMany(t *testing.T) {
	t.Parallel()
	h := hold()
	a := startWith(t, Config{InFlight: 3, PerUser: 2, Timeout: patience}, h.parts())
	alice, bob := a.owner("tm-alice"), a.owner("tm-bob")
	f := func(key string) fields {
		return fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": key}
	}
	one := alice.later("/v1/embed", f("tm-alice"))
	alice.post("/v1/embed", f("tm-alice"), "Prefer", "respond-async") // a job holds a slot as well
	<-h.asked
	<-h.asked
	if p := alice.post("/v1/embed", f("tm-alice")); p.header.Get("Retry-After") != "1" {
		t.Errorf("%v", p.header)
	} else {
		p.problem(codeTooMany)
	}
	two := bob.later("/v1/embed", f("tm-bob"))
	<-h.asked
	bob.post("/v1/embed", f("tm-bob")).problem(codeTooMany)
	alice.get("/v1/keys").into(http.StatusOK, &struct{}{}) // needs none
	close(h.let)
	(<-one).image()
	(<-two).image()
	bob.post("/v1/embed", f("tm-bob")).image()
}

// heldOutputs holds outputs before they are read.
type heldOutputs struct {
	Pipeline
	begun, let chan struct{}
}

func (h *heldOutputs) Output(ctx context.Context, tenant, digest string) ([]byte, error) {
	h.begun <- struct{}{}
	<-h.let
	return h.Pipeline.Output(ctx, tenant, digest)
}

// Outputs of jobs are read at as many places as other images.
func TestOutputsTakePlaces(t *testing.T) {
	t.Parallel()
	h := &heldOutputs{parts.Pipeline, make(chan struct{}, showingPerUser), make(chan struct{})}
	p := parts
	p.Pipeline = h
	a := startWith(t, Config{}, p)
	c := a.owner("op-alice")
	var job jobView
	c.post("/v1/embed", fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "op-alice"}, "Prefer", "respond-async").into(http.StatusAccepted, &job)
	output := c.ended(job.ID).Output
	answers := make(chan *answered, showingPerUser)
	for range showingPerUser {
		go func() { answers <- c.get(output) }()
		<-h.begun
	}
	all, err := parts.Users.Users()
	if err != nil {
		t.Fatal(err)
	}
	me := all[slices.IndexFunc(all, func(u users.User) bool { return u.Name == "op-alice" })]
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if leave, why := a.s.showing.take(ended, (&call{user: me}).owner()); why == nil {
		leave()
		t.Error("there is a place beside the outputs that are read")
	}
	close(h.let)
	for range showingPerUser {
		(<-answers).image()
	}
}

// ensured has what belongs to every user, so that the time of a request is for its work.
type ensured struct{ *held }

func (ensured) EnsureUser(context.Context, string) error { return nil }

// A request that nobody serves in time is told so.
func TestTimeout(t *testing.T) {
	t.Parallel()
	h := hold()
	p := h.parts()
	p.Pipeline = ensured{h}
	c := startWith(t, Config{Timeout: 300 * time.Millisecond}, p).owner("ti-alice")
	f := fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "ti-alice"}
	c.post("/v1/embed", f).problem(codeTimeout)
	// An idempotency key does not keep what may be otherwise another time.
	c.post("/v1/embed", f, "Idempotency-Key", "k").problem(codeTimeout)
	c.post("/v1/embed", f, "Idempotency-Key", "k").problem(codeTimeout)
	if n := len(h.asked); n != 3 {
		t.Errorf("it was tried %d times", n)
	}
}

// A pipeline that fails is not described to users.
func TestFailures(t *testing.T) {
	t.Parallel()
	for want, err := range map[code]error{codeUnavailable: errors.New("nats://host:4222 is away"), codeStorageFull: fmt.Errorf("BLOBS_alice: %w", blob.ErrFull)} {
		p := parts
		p.Pipeline = failing{parts.Pipeline, err}
		name := "fa-" + strings.ReplaceAll(string(want), "_", "-")
		c := startWith(t, Config{}, p).owner(name)
		got := c.post("/v1/embed", fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": name})
		if got.problem(want); strings.Contains(string(got.body), "4222") || got.header.Get("Retry-After") == "" {
			t.Errorf("%v: %s", got.header, got.body)
		}
	}
}

type failing struct {
	Pipeline
	err error
}

func (f failing) Ask(context.Context, *pipeline.OperationRequest, string, string, map[string][]byte) (producer.Reply, []byte, error) {
	return producer.Reply{}, nil, f.err
}

// raw opens a connection and sends the beginning of a request.
func (c *client) raw(text string) (net.Conn, *bufio.Reader) {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		c.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// Who sends a body too slowly is cut off, and his slot is free.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	c := start(t, Config{BodyTimeout: time.Second, InFlight: 1}).owner("sb-alice")
	_, answer := c.raw("POST /v1/embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.token +
		"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"cover\"\r\n\r\nab")
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", resp.StatusCode)
	}
	free, why := c.s.slots.take(t.Context(), "nobody")
	if why != nil {
		t.Fatal(why)
	}
	free()
}

// A body that nobody reads keeps no connection open: its sender is answered, and cut off.
func TestSlowBodyOfRefused(t *testing.T) {
	t.Parallel()
	c := &client{api: start(t, Config{BodyTimeout: 30 * time.Millisecond})}
	for path, want := range map[string]int{"/v1/embed": http.StatusUnauthorized, "/login": http.StatusUnauthorized, "/nowhere": http.StatusNotFound} {
		conn, answer := c.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b\r\n")
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		_ = resp.Body.Close() // it was only read
		if _, err := answer.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection is open: %v", path, err)
		}
	}
}

// Whom nobody knows sends no body.
func TestUnknownSendsNoBody(t *testing.T) {
	t.Parallel()
	c := &client{api: start(t, Config{})}
	_, answer := c.raw("POST /v1/embed HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n")
	line, err := answer.ReadString('\n')
	if err != nil || !strings.Contains(line, " 401 ") {
		t.Errorf("%q: %v", line, err)
	}
}

// A request whose connection is lost is given up, unless it has an idempotency key: then it is there when it is asked for again.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	h := hold()
	c := startWith(t, Config{InFlight: 1}, h.parts()).owner("lc-alice")
	contentType, body := fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "lc-alice"}.body(t)
	lose := func(header string) {
		conn, _ := c.raw(fmt.Sprintf("POST /v1/embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s", c.token, contentType, len(body), header, body))
		<-h.asked
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lose("")
	// The one slot is free again.
	f := fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "lc-alice"}
	for deadline := time.Now().Add(patience); ; {
		if free, why := c.s.slots.take(t.Context(), "nobody"); why == nil {
			free()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slot stays taken")
		}
	}
	lose("Idempotency-Key: k\r\n")
	close(h.let)
	var list struct{ Jobs []jobView }
	c.get("/v1/jobs").into(http.StatusOK, &list)
	if len(list.Jobs) != 1 || c.ended(list.Jobs[0].ID).State != stateDone {
		t.Fatalf("jobs %+v", list)
	}
	c.post("/v1/embed", f, "Idempotency-Key", "k").image()
	if n := len(h.asked); n != 0 {
		t.Error("it was done again")
	}
}

// Asked to end, the service takes nothing new and ends when what it has begun has.
func TestDrain(t *testing.T) {
	t.Parallel()
	h := hold()
	a := startWith(t, Config{Timeout: patience, Drain: patience}, h.parts())
	c := a.owner("dr-alice")
	f := fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "dr-alice"}
	running := c.later("/v1/embed", f)
	<-h.asked
	ended := make(chan struct{})
	go func() { a.end(); close(ended) }()
	for deadline := time.Now().Add(patience); !a.s.slots.draining.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not drain")
		}
	}
	c.get("/readyz").problem(codeDraining)
	c.post("/v1/embed", f).problem(codeDraining)
	if got := c.get("/healthz"); got.status != http.StatusOK {
		t.Errorf("status %d", got.status)
	}
	select {
	case <-ended:
		t.Error("it ended with a request under way")
	default:
	}
	close(h.let)
	(<-running).image()
	<-ended
	if _, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://")); err == nil {
		t.Error("it still listens")
	}
}

// What does not end in time is given up.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	h := hold()
	a := startWith(t, Config{Drain: 10 * time.Millisecond}, h.parts())
	c := a.owner("de-alice")
	c.post("/v1/embed", fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "de-alice"}, "Prefer", "respond-async")
	<-h.asked
	a.end()
}

// A thousand connections that say nothing keep nobody out.
func TestManyIdleConnections(t *testing.T) {
	t.Parallel()
	c := start(t, Config{InFlight: 1}).owner("mi-alice")
	for range 1000 {
		c.raw("POST /v1/embed HTTP/1.1\r\nHost: x\r\n")
	}
	c.post("/v1/embed", fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "mi-alice"}).image()
}
