package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// evaluating is a user who evaluates, with a key of the user's name.
func (a *api) evaluating(name string) *client {
	a.t.Helper()
	newKey(a.t, name)
	return a.user(users.User{Name: name, Scopes: []users.Scope{users.Embed, users.Recover, users.Evaluate}, Keys: []string{name}})
}

// some is what a test calls its data set. Services of other tests, which share the queue, have none of that name.
func some(t testing.TB) string { return strings.ReplaceAll(t.Name(), "/", "-") }

// datasets is a folder of n images, as the test's data set: "some" in what sendJSON sends.
func datasets(t testing.TB, n int) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), picture(t, i, 40), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{some(t): dir}
}

// sendJSON sends a body as JSON.
func (c *client) sendJSON(method, path, body string, header ...string) *answered {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(strings.ReplaceAll(body, `"some"`, `"`+some(c.t)+`"`)))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return c.roundTrip(req, true)
}

// newRun asks for a run.
func (c *client) newRun(body string) runView {
	c.t.Helper()
	var v runView
	a := c.sendJSON(http.MethodPost, "/v1/runs", body)
	a.into(http.StatusCreated, &v)
	if a.header.Get("Location") != "/v1/runs/"+v.ID || v.State != runWaiting {
		c.t.Errorf("%+v, %v", v, a.header)
	}
	return v
}

// stream is a stream of events that is read.
type stream struct {
	t     testing.TB
	lines *bufio.Scanner
	close func()
	last  string // the id of the last event
}

func (c *client) events(lastID string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/events", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	end := func() { cancel(); _ = resp.Body.Close() }
	c.t.Cleanup(end)
	return &stream{t: c.t, lines: bufio.NewScanner(resp.Body), close: end}
}

// next is the next event; ok is false at the end of the stream.
func (s *stream) next() (kind, data string, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			s.last = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				return kind, data, true
			}
		}
	}
	return "", "", false
}

// until waits for the event of a run in a state.
func (s *stream) until(run, state string) runView {
	s.t.Helper()
	for {
		kind, data, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s was %s: %v", run, state, s.lines.Err())
		}
		var v runView
		if kind != eventRun {
			continue
		}
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			s.t.Fatal(err)
		}
		if v.ID != run {
			s.t.Errorf("an event of the run %s: %s", v.ID, data)
		}
		if v.State == state {
			return v
		}
		if v.State == runFailed {
			s.t.Fatalf("%+v", v.Problem)
		}
	}
}

// A run is asked for, made, told of, shown with its items, files and images, and deleted.
func TestRun(t *testing.T) {
	t.Parallel()
	from := datasets(t, 4)
	c := start(t, Config{Datasets: from}).evaluating("ru-alice")
	var sets struct{ Datasets []struct{ Name string } }
	c.get("/v1/datasets").into(http.StatusOK, &sets)
	if len(sets.Datasets) != 1 || sets.Datasets[0].Name != some(t) {
		t.Errorf("%+v", sets)
	}
	events := c.events("")
	if kind, _, _ := events.next(); kind != eventReady {
		t.Errorf("the stream begins with %s", kind)
	}
	begun := events.last
	asked := c.newRun(`{"dataset": "some", "model": "modulo", "keys": ["ru-alice"], "size": 32, "random_keys": 2, "name": "mine"}`)
	done := events.until(asked.ID, runDone)
	// Of each pair: the baseline; stego; recovered; and with two random keys against secret and cover.
	if done.Pairs != 2 || done.Total != 2*(1+1+1+2*2) || done.Scores != done.Total || done.Failed != 0 || done.Request.Name != "mine" {
		t.Errorf("%+v", done)
	}
	events.close()
	// Who comes back has what was missed, and who comes from elsewhere is told so.
	again := c.events(begun)
	if kind, data, _ := again.next(); kind != eventReady {
		t.Errorf("resumed with %s %s", kind, data)
	}
	again.until(asked.ID, runDone)
	if kind, _, _ := c.events("0123abcd-1").next(); kind != eventReset {
		t.Errorf("another process' event is resumed with %s", kind)
	}

	var shown runView
	c.get("/v1/runs/"+asked.ID).into(http.StatusOK, &shown)
	if shown.State != runDone || shown.Owner != "ru-alice" || shown.Finished.IsZero() {
		t.Errorf("%+v", shown)
	}
	var items struct {
		Items []scoreView
		Total int
	}
	c.get("/v1/runs/"+asked.ID+"/items?role=recoverability&order=worst").into(http.StatusOK, &items)
	if items.Total != 2 || *items.Items[0].PSNR > *items.Items[1].PSNR || *items.Items[0].PSNR < 25 {
		t.Errorf("%+v", items)
	}
	for _, of := range []string{items.Items[0].Reference, items.Items[0].Test, strings.Replace(items.Items[0].Test, "of=test", "of=residual&gain=20", 1)} {
		if m := c.get(of).image(); m.Rect.Dx() != 32 {
			t.Errorf("%s: %v", of, m.Rect)
		}
	}
	c.get("/v1/runs/"+asked.ID+"/items?offset=1&limit=3").into(http.StatusOK, &items)
	if items.Total != done.Total || len(items.Items) != 3 {
		t.Errorf("%d of %d", len(items.Items), items.Total)
	}
	for _, query := range []string{"role=x", "order=best", "limit=-1", "limit=10001", "offset=x"} {
		c.do(http.MethodGet, "/v1/runs/"+asked.ID+"/items?"+query, nil).problem(codeBadRequest)
	}
	var files struct{ Files []fileView }
	c.get("/v1/runs/"+asked.ID+"/files").into(http.StatusOK, &files)
	if len(files.Files) != 4 {
		t.Errorf("%+v", files)
	}
	for _, f := range files.Files {
		a := c.get(f.URL)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != f.Type || bytes.Contains(a.body, []byte(from[some(t)])) {
			t.Errorf("%s: %d %v %.200s", f.Name, a.status, a.header, a.body)
		}
		if f.Name == "summary.json" && !bytes.Contains(a.body, []byte(`"path": "`+some(t)+`"`)) {
			t.Errorf("the summary does not call the data set by its name: %.500s", a.body)
		}
		// What a browser shows may not act as the service's page.
		shown, policy := a.header.Get("Content-Disposition"), a.header.Get("Content-Security-Policy")
		if page := f.Name == reportPage; strings.HasPrefix(shown, "inline;") != page || strings.HasPrefix(policy, "sandbox allow-scripts;") != page ||
			page != bytes.Contains(a.body, []byte("Every image pair")) {
			t.Errorf("%s: %q, %q, %.200s", f.Name, shown, policy, a.body)
		}
	}
	c.get("/v1/runs/" + asked.ID + "/files/keyring.json").problem(codeNotFound)
	c.get("/v1/runs/" + asked.ID + "/image?role=recoverability&of=test&item=zzz").problem(codeImageGone)
	c.get("/v1/runs/" + asked.ID + "/image?role=recoverability&of=all").problem(codeBadRequest)

	if a := c.do(http.MethodDelete, "/v1/runs/"+asked.ID, nil); a.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", a.status, a.body)
	}
	c.get("/v1/runs/" + asked.ID).problem(codeUnknownRun)
}

// A request that comes again with its idempotency key is the same run, whichever process takes it; another one with the key is refused, and the key
// is its user's alone.
func TestRunsAreBegunOnce(t *testing.T) {
	t.Parallel()
	h := holdRuns()
	cfg := Config{Datasets: datasets(t, 4)}
	a := startWith(t, cfg, h.parts())
	alice, bob := a.evaluating("ro-alice"), a.evaluating("ro-bob")
	beside := &client{startWith(t, cfg, h.parts()), alice.token}
	with := func(name string) string {
		return `{"dataset": "some", "model": "modulo", "keys": ["` + name + `"], "size": 32, "random_keys": 0, "attacks": ["jpeg-90"]}`
	}
	ask := func(c *client, body, key string) *answered {
		return c.sendJSON(http.MethodPost, "/v1/runs", body, "Idempotency-Key", key)
	}
	var first, again runView
	ask(alice, with("ro-alice"), "mine").into(http.StatusCreated, &first)
	for _, c := range []*client{alice, beside} {
		same := ask(c, with("ro-alice"), "mine")
		if same.into(http.StatusCreated, &again); again.ID != first.ID || same.header.Get("Location") != "/v1/runs/"+first.ID {
			t.Errorf("%s is asked for again as %s", first.ID, again.ID)
		}
	}
	if bytes.Contains(ask(alice, with("ro-alice"), "mine").body, []byte(`"mine"`)) {
		t.Error("the key is answered")
	}
	ask(alice, strings.Replace(with("ro-alice"), "32", "48", 1), "mine").problem(codeOtherBody)
	ask(alice, with("ro-alice"), "a key with spaces").problem(codeBadRequest)
	var other runView
	ask(bob, with("ro-bob"), "mine").into(http.StatusCreated, &other)
	if other.ID == first.ID {
		t.Error("bob's run is alice's")
	}
	ask(bob, with("ro-alice"), "mine").problem(codeUnknownKey)
	// One that is deleted is forgotten, and a key that was taken away serves nothing.
	if got := alice.do(http.MethodDelete, "/v1/runs/"+first.ID, nil); got.status != http.StatusNoContent {
		t.Errorf("%d %s", got.status, got.body)
	}
	if ask(alice, with("ro-alice"), "mine").into(http.StatusCreated, &again); again.ID == first.ID {
		t.Error("what was deleted is there")
	}
	if err := keyring.Update(ringFile, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Remove("ro-alice") }); err != nil {
		t.Fatal(err)
	}
	ask(alice, with("ro-alice"), "mine").problem(codeUnknownKey)
	for _, run := range []struct {
		of *client
		id string
	}{{alice, again.ID}, {bob, other.ID}} {
		if got := run.of.do(http.MethodDelete, "/v1/runs/"+run.id, nil); got.status != http.StatusNoContent {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

// together are records that those who look for runs get together: each has looked before any has begun one.
type together struct {
	Records
	looking *sync.WaitGroup
}

func (p together) Asked(ctx context.Context) (map[string]string, error) {
	all, err := p.Records.Asked(ctx)
	p.looking.Done()
	p.looking.Wait()
	return all, err
}

// One request that reaches two services at the same moment begins one run; another user's request with the same key, at that moment, another.
func TestRunsAreBegunOnceByTwoServices(t *testing.T) {
	t.Parallel()
	owners := start(t, Config{})
	alice, bob := owners.evaluating("rt-alice"), owners.evaluating("rt-bob")
	asking := []*client{alice, alice, bob}
	looking := new(sync.WaitGroup)
	looking.Add(len(asking))
	p := parts
	p.Records = together{parts.Records, looking}
	sets := datasets(t, 4)
	begun, whys := make([]*run, len(asking)), make([]*problem, len(asking))
	var all sync.WaitGroup
	for i, of := range asking {
		// They are not served: what makes runs would look for some, too.
		s, err := New(Config{Address: "127.0.0.1:0", DefaultModel: defaultModel, Datasets: sets}, p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.listener.Close() })
		u, err := parts.Users.Authenticate(of.token)
		if err != nil {
			t.Fatal(err)
		}
		c := &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/runs", nil), user: u, log: s.log}
		all.Go(func() {
			begun[i], whys[i] = s.begin(c, &runRequest{Dataset: some(t), Model: "modulo", Size: 32}, "mine")
		})
	}
	all.Wait()
	for i, r := range begun {
		if whys[i] != nil {
			t.Fatal(whys[i])
		}
		if want := []string{"rt-alice", "rt-alice", "rt-bob"}[i]; r.Owner != want {
			t.Errorf("%s got a run of %s", want, r.Owner)
		}
		t.Cleanup(func() {
			if err := parts.Records.DropAsked(context.Background(), r.ID); err != nil {
				t.Error(err)
			}
		})
	}
	if begun[0].ID != begun[1].ID || begun[0].ID == begun[2].ID {
		t.Errorf("alice's run is %s and %s, bob's %s", begun[0].ID, begun[1].ID, begun[2].ID)
	}
	var mine struct{ Runs []runView }
	if alice.get("/v1/runs").into(http.StatusOK, &mine); len(mine.Runs) != 1 {
		t.Errorf("alice has %d runs", len(mine.Runs))
	}
}

// What cannot be run is refused when it is asked for, and names no folder.
func TestBadRuns(t *testing.T) {
	t.Parallel()
	sets := datasets(t, 4)
	sets["one"] = datasets(t, 1)[some(t)]
	a := start(t, Config{Datasets: sets})
	c := a.evaluating("br-alice")
	newKey(t, "br-other")
	both := a.user(users.User{Name: "br-bob", Scopes: users.Scopes()[:3], EmbedFor: []string{"br-alice"}})
	with := func(more string) string { return `{"dataset": "some", "model": "modulo", "size": 32` + more + `}` }
	for body, want := range map[string]code{
		`{"dataset": "` + sets[some(t)] + `", "model": "modulo"}`: codeUnknownDataset,
		`{"dataset": "../some", "model": "modulo"}`:               codeUnknownDataset,
		`{"dataset": "some", "model": "none"}`:                    codeUnknownModel,
		`{"dataset": "some"}`:                                     codeUnknownModel,
		`{"dataset": "one", "model": "modulo"}`:                   codeUnavailable,
		with(`, "keys": ["br-other"]`):                            codeUnknownKey,
		with(`, "keys": ["near-3-br-alice"]`):                     codeUnknownKey,
		with(`, "keys": ["br-alice", "br-alice"]`):                codeBadRequest,
		with(`, "keys": ["br-alice"], "demo_keys": 1`):            codeBadRequest,
		with(`, "demo_keys": 99`):                                 codeBadKey,
		with(`, "limit": -1`):                                     codeBadRequest,
		with(`, "limit": 100000`):                                 codeTooLarge,
		with(`, "random_keys": 9000`):                             codeTooLarge,
		with(`, "random_keys": -1`):                               codeBadRequest,
		with(`, "attacks": ["axe-3"]`):                            codeBadRequest,
		with(`, "data": "/etc"`):                                  codeBadRequest,
		`{"dataset": "some", "model": "modulo", "size": 5000}`:    codeTooLarge,
		`{"dataset": "some", "model": "modulo", "resize": "up"}`:  codeBadRequest,
		with(`} {`): codeBadRequest,
		`[]`:        codeBadRequest,
		``:          codeBadRequest,
		with(`, "name": "` + strings.Repeat("n", maxRunBody) + `"`):   codeTooLarge,
		with(`, "name": "` + strings.Repeat("n", maxRunName+1) + `"`): codeBadRequest,
	} {
		got := c.sendJSON(http.MethodPost, "/v1/runs", body)
		got.problem(want)
		if bytes.Contains(got.body, []byte(sets[some(t)])) || bytes.Contains(got.body, []byte(sets["one"])) {
			t.Errorf("%.100s: the answer names a folder: %s", body, got.body)
		}
	}
	both.sendJSON(http.MethodPost, "/v1/runs", with(`, "keys": ["br-alice"]`)).problem(codeEmbedOnly)
	c.post("/v1/runs", fields{"dataset": "some"}).problem(codeMediaType)
	a.owner("br-carol").sendJSON(http.MethodPost, "/v1/runs", with("")).problem(codeMissingScope)
	var list struct{ Runs []runView }
	if c.get("/v1/runs").into(http.StatusOK, &list); len(list.Runs) != 0 {
		t.Errorf("a run that was refused is there: %+v", list)
	}
}

// heldRuns holds runs before they are made.
type heldRuns struct {
	Pipeline
	begun chan string
	let   chan struct{} // closed: all go on

	mu   sync.Mutex
	lets map[string]chan struct{}
}

func holdRuns() *heldRuns {
	return &heldRuns{Pipeline: parts.Pipeline, begun: make(chan string, 100), let: make(chan struct{}), lets: make(map[string]chan struct{})}
}

// of is closed to let one run go on. The run may have been stopped by then.
func (h *heldRuns) of(run string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lets[run] == nil {
		h.lets[run] = make(chan struct{})
	}
	return h.lets[run]
}

func (h *heldRuns) Evaluate(ctx context.Context, req *pipeline.Request, watch pipeline.Watch) (*pipeline.Run, error) {
	h.begun <- req.Run
	select {
	case <-h.let:
	case <-h.of(req.Run):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return h.Pipeline.Evaluate(ctx, req, watch)
}

func (h *heldRuns) parts() Parts { p := parts; p.Pipeline = h; return p }

// Of two users, neither sees, stops, deletes or reads what is the other's; and cannot tell it from nothing. An administrator does all of it.
func TestTwoUsersRuns(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Datasets: datasets(t, 4)})
	alice, bob := a.evaluating("tr-alice"), a.evaluating("tr-bob")
	admin := a.user(users.User{Name: "tr-admin", Scopes: []users.Scope{users.Admin}})
	his := bob.events("")
	his.next()
	all := admin.events("")
	events := alice.events("")
	run := alice.newRun(`{"dataset": "some", "model": "sealed", "keys": ["tr-alice"], "size": 64}`)
	events.until(run.ID, runDone)
	all.until(run.ID, runDone)

	var items struct{ Items []scoreView }
	alice.get("/v1/runs/"+run.ID+"/items?role=recoverability").into(http.StatusOK, &items)
	image := strings.TrimPrefix(items.Items[0].Test, "/v1/runs/"+run.ID)
	nobody := "http-" + randomID()
	for _, ask := range []struct{ method, path string }{
		{http.MethodGet, ""}, {http.MethodGet, "/items"}, {http.MethodGet, "/files"}, {http.MethodGet, "/files/summary.json"}, {http.MethodGet, "/files/report.html"}, {http.MethodGet, image},
		{http.MethodPost, "/cancel"}, {http.MethodDelete, ""},
	} {
		nothing := bob.do(ask.method, "/v1/runs/"+nobody+ask.path, nil)
		nothing.problem(codeUnknownRun)
		sameAnswer(t, ask.method+" "+ask.path, bob.do(ask.method, "/v1/runs/"+run.ID+ask.path, nil), nothing)
	}
	if body := bob.get("/v1/runs").body; bytes.Contains(body, []byte("alice")) {
		t.Errorf("bob's list: %s", body)
	}
	// His own run has nothing of hers, whatever images they share: the same names, another key.
	own := bob.newRun(`{"dataset": "some", "model": "sealed", "keys": ["tr-bob"], "size": 64}`)
	his.until(own.ID, runDone) // it fails on an event of another run

	// With his own key he decodes nothing of hers: a run's images are those of the run.
	bob.get("/v1/runs/" + own.ID + "/image?role=leakage_mismatched&item=" + items.Items[0].Item + "&embed_key=tr-alice&decode_key=tr-bob&of=test").problem(codeImageGone)

	var list struct{ Runs []runView }
	admin.get("/v1/runs").into(http.StatusOK, &list)
	if text := fmt.Sprint(list.Runs); !strings.Contains(text, run.ID) || !strings.Contains(text, own.ID) {
		t.Errorf("an administrator sees %s", text)
	}
	admin.get("/v1/runs/" + run.ID + image).image()

	// A key that is taken away shows nothing any more; the scores stay.
	if err := keyring.Update(ringFile, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Remove("tr-alice") }); err != nil {
		t.Fatal(err)
	}
	alice.get("/v1/runs/" + run.ID + image).problem(codeUnknownKey)
	alice.get("/v1/runs/"+run.ID+"/items").into(http.StatusOK, &items)
	// A later user of the name finds nothing.
	if err := parts.Users.Revoke("tr-alice"); err != nil {
		t.Fatal(err)
	}
	other := a.user(users.User{Name: "tr-alice", Scopes: []users.Scope{users.Evaluate}})
	other.get("/v1/runs/" + run.ID).problem(codeUnknownRun)
	if _, _, ok := events.next(); ok {
		t.Error("who was revoked hears more")
	}
}

// A run that its service left is made by the one that is started after it, and only by one of two.
func TestRunsResume(t *testing.T) {
	t.Parallel()
	h := holdRuns()
	cfg := Config{Datasets: datasets(t, 4)}
	first := startWith(t, cfg, h.parts())
	c := first.evaluating("rr-alice")
	run := c.newRun(`{"dataset": "some", "model": "modulo", "keys": ["rr-alice"], "size": 32}`)
	if id := <-h.begun; id != run.ID {
		t.Fatalf("%s is made, not %s", id, run.ID)
	}
	if got := c.get("/v1/runs/" + run.ID); !bytes.Contains(got.body, []byte(runRunning)) {
		t.Errorf("%s", got.body)
	}
	// Another service that runs beside it leaves the run to it.
	second := startWith(t, cfg, h.parts())
	if err := second.s.runs.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case id := <-h.begun:
		t.Errorf("%s is made twice", id)
	default:
	}
	first.end()
	beside := &client{second, c.token}
	events := beside.events("")
	events.next()
	close(h.let)
	second.s.runs.rouse()
	if done := events.until(run.ID, runDone); done.Scores == 0 {
		t.Errorf("%+v", done)
	}
}

// A run that one service makes is cancelled and deleted through another as through the one that makes it: nothing of it goes on, and nothing stays.
func TestStopRunsOfAnotherService(t *testing.T) {
	t.Parallel()
	h := holdRuns()
	cfg := Config{Datasets: datasets(t, 4)}
	maker := startWith(t, cfg, h.parts()).evaluating("so-alice")
	beside := &client{startWith(t, Config{}, parts), maker.token} // it has no data set, and makes no run
	const body = `{"dataset": "some", "model": "modulo", "keys": ["so-alice"], "size": 32}`
	deleted, cancelled := maker.newRun(body), maker.newRun(body)
	// The first is deleted while it is being planned.
	<-h.begun
	events := maker.events("")
	events.next()
	if got := beside.do(http.MethodDelete, "/v1/runs/"+deleted.ID, nil); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	close(h.of(deleted.ID))
	// The second begins when the first has ended.
	<-h.begun
	if _, err := services.Run(t.Context(), deleted.ID); !pipeline.UnknownRun(err) {
		t.Errorf("the run that was deleted is there: %v", err)
	}
	if scores, failed, err := services.RunProgress(t.Context(), deleted.ID); scores != 0 || failed != 0 || err != nil {
		t.Errorf("it has %d scores and %d failures: %v", scores, failed, err)
	}
	beside.do(http.MethodPost, "/v1/runs/"+cancelled.ID+"/cancel", nil).into(http.StatusOK, &struct{}{})
	close(h.of(cancelled.ID))
	if done := events.until(cancelled.ID, runCancelled); done.Total != 0 && done.Scores == done.Total {
		t.Errorf("it went on: %+v", done)
	}
}

// A run that is cancelled stops, whether it waits or is being made; a user's runs are made one after another.
func TestCancelRuns(t *testing.T) {
	t.Parallel()
	h := holdRuns()
	a := startWith(t, Config{Datasets: datasets(t, 4)}, h.parts())
	c := a.evaluating("cr-alice")
	const body = `{"dataset": "some", "model": "modulo", "keys": ["cr-alice"], "size": 32}`
	var runs []runView
	for range mostUnfinished {
		runs = append(runs, c.newRun(body))
	}
	c.sendJSON(http.MethodPost, "/v1/runs", body).problem(codeTooMany)
	if id := <-h.begun; id != runs[0].ID {
		t.Errorf("%s is made first, not %s", id, runs[0].ID)
	}
	c.get("/v1/runs/" + runs[1].ID + "/items").problem(codeNoResults)
	cancelled := func(run string) {
		t.Helper()
		var v runView
		c.do(http.MethodPost, "/v1/runs/"+run+"/cancel", nil).into(http.StatusOK, &v)
		if v.State != runCancelled {
			t.Errorf("%+v", v)
		}
	}
	cancelled(runs[1].ID)
	cancelled(runs[0].ID)
	if id := <-h.begun; id != runs[2].ID {
		t.Errorf("%s is made next, not %s", id, runs[2].ID)
	}
	cancelled(runs[0].ID)
	for _, run := range runs {
		if got := c.do(http.MethodDelete, "/v1/runs/"+run.ID, nil); got.status != http.StatusNoContent {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	var list struct{ Runs []runView }
	if c.get("/v1/runs").into(http.StatusOK, &list); len(list.Runs) != 0 {
		t.Errorf("%+v", list)
	}
}

// A command's run is an administrator's to see, cancel and delete, and nobody else's.
func TestRunsOfCommands(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	admin := a.user(users.User{Name: "rc-admin", Scopes: []users.Scope{users.Admin}})
	alice := a.evaluating("rc-alice")
	spec := &schemas.RunSpec{
		Id: "rc-commanded", Model: strings.Repeat("a", 64), ModelName: "modulo", Keys: []*schemas.KeyRef{{Id: "x", Fingerprint: strings.Repeat("1", 32)}},
		Geometry: &schemas.Geometry{Width: 32, Height: 32, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH}, Dataset: "/some/where", Images: 2, MetricsVersion: "1",
		Pairs: []*schemas.Pair{{Item: "0001", Cover: schemas.BlobRef(strings.Repeat("c", 64), "c.png"), Secret: schemas.BlobRef(strings.Repeat("d", 64), "s.png")}},
	}
	if _, err := services.Cache.StartRun(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	var v runView
	admin.get("/v1/runs/"+spec.GetId()).into(http.StatusOK, &v)
	if v.Owner != "" || v.State != runRunning || v.Request.Dataset != "/some/where" {
		t.Errorf("%+v", v)
	}
	if body := admin.get("/v1/runs").body; !bytes.Contains(body, []byte("rc-commanded")) {
		t.Errorf("%s", body)
	}
	sameAnswer(t, "a command's run", alice.get("/v1/runs/rc-commanded"), alice.get("/v1/runs/http-"+randomID()))
	admin.do(http.MethodPost, "/v1/runs/rc-commanded/cancel", nil).into(http.StatusOK, &v)
	if got := admin.do(http.MethodDelete, "/v1/runs/rc-commanded", nil); got.status != http.StatusNoContent {
		t.Errorf("%d %s", got.status, got.body)
	}
	admin.get("/v1/runs/rc-commanded").problem(codeUnknownRun)
}

// Administrators hear of dead letters, and nobody else.
func TestDeadLetterEvents(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	admin, alice := a.user(users.User{Name: "de-admin", Scopes: []users.Scope{users.Admin}}), a.evaluating("de-alice")
	hers := alice.events("")
	hers.next()
	his := admin.events("")
	his.next()
	// The service hears of what is sent once it listens. He hears of the letters of other tests, too.
	told := make(chan string, 1)
	go func() {
		for {
			kind, data, ok := his.next()
			if !ok || kind == eventDead && strings.Contains(data, `a job of the test de"`) {
				told <- data
				return
			}
		}
	}()
	for wait := 10 * time.Millisecond; ; wait *= 2 { // a page shows so many letters, and other tests look for theirs
		die(t, "de")
		select {
		case data := <-told:
			if !strings.Contains(data, "bad_message") {
				t.Errorf("%s", data)
			}
			hers.close()
			if kind, data, ok := hers.next(); ok {
				t.Errorf("alice hears of %s %s", kind, data)
			}
			return
		case <-time.After(wait):
			if wait > patience {
				t.Fatal("no dead letter was told of")
			}
		}
	}
}

// Streams end when the service does, and there are so many of one user.
func TestEventLimits(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.evaluating("el-alice")
	var streams []*stream
	for range userStreams {
		streams = append(streams, c.events(""))
	}
	c.get("/v1/events").problem(codeTooMany)
	a.end()
	for _, s := range streams {
		for _, _, ok := s.next(); ok; _, _, ok = s.next() {
		}
	}
}

// The hub keeps the last events, and says when some are missing.
func TestHub(t *testing.T) {
	t.Parallel()
	h := newHub()
	if list, last, missed, _ := h.since(0); len(list) != 0 || last != 0 || missed {
		t.Errorf("%v %d %v", list, last, missed)
	}
	for range keptEvents {
		h.publish(event{})
	}
	if list, last, missed, _ := h.since(0); len(list) != keptEvents || last != keptEvents || missed {
		t.Errorf("%d of %d, missed %v", len(list), last, missed)
	}
	h.publish(event{kind: "x"})
	if list, _, missed, _ := h.since(0); len(list) != keptEvents || !missed || list[keptEvents-1].kind != "x" {
		t.Errorf("%d, missed %v", len(list), missed)
	}
	if list, _, missed, _ := h.since(1); len(list) != keptEvents || missed {
		t.Errorf("%d, missed %v", len(list), missed)
	}
	for id, want := range map[string]bool{h.id(3): true, h.id(1025): true, h.id(1026): false, newHub().id(3): false, h.id(3)[2:]: false, "x-3": false, "": false} {
		if _, ok := h.resume(id); ok != want {
			t.Errorf("resume %q: %v", id, ok)
		}
	}
	// Ids do not count, nor tell whether others have had events in between.
	one, other := h.id(3), h.id(3)
	if from, _ := h.resume(other); from != 3 || one == other {
		t.Errorf("the ids of event %d are %s and %s", from, one, other)
	}
}

// die stores a dead letter of a job whose reason is bad_message, and gives its number.
func die(t testing.TB, run string) uint64 {
	t.Helper()
	job := &schemas.Job{
		Run: run, Operation: schemas.Operation_OPERATION_EMBED, Model: strings.Repeat("a", 64), Key: &schemas.KeyRef{Id: "nobody", Fingerprint: strings.Repeat("1", 32)},
		Geometry: &schemas.Geometry{Width: 32, Height: 32, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		Items: []*schemas.Item{{
			Id: "0001", Cover: schemas.BlobRef(strings.Repeat("c", 64), "c.png"), Secret: schemas.BlobRef(strings.Repeat("d", 64), "s.png"),
		}},
	}
	job.Id = schemas.JobID(job)
	message, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := schemas.Encode(&schemas.DeadLetter{
		Reason: string(schemas.ReasonBadMessage), Detail: "a job of the test " + run, Stream: schemas.JobStream(schemas.Bulk), Subject: schemas.JobSubject(job),
		Deliveries: 1, DiedAt: time.Now().UnixMilli(), Message: message,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := services.Streams.Link.PublishOnce(t.Context(), schemas.DeadSubject(schemas.ReasonBadMessage), randomID(), letter); err != nil {
		t.Fatal(err)
	}
	rows, err := services.DeadLetters(t.Context(), pipeline.DeadFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var number uint64
	for _, row := range rows {
		if strings.HasSuffix(row.Detail, run) {
			number = row.Number
		}
	}
	return number
}
