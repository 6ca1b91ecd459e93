package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/client"
	"stegomq/internal/keyring"
	"stegomq/internal/testrig/leaks"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
	"stegomq/service"
)

// The service that the tests share, on embedded servers with a worker in this process, and one beside it that does one request at a time.
var wide, narrow, admin string

var (
	people *users.File
	ring   string
	root   string // of the repository; the working directory is another, with cover.png and secret.png
)

func TestMain(m *testing.M) {
	code, err := withService(m.Run)
	if err == nil && code == 0 {
		http.DefaultClient.CloseIdleConnections()
		err = leaks.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withService runs f while the services serve.
func withService(f func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	state := filepath.Join(dir, "state")
	ring, people = filepath.Join(dir, "keyring.json"), users.In(state)
	err = keyring.Update(ring, keyring.Protection{}, func(r *keyring.Keyring) error {
		for _, id := range []string{"alice", "bob"} {
			pair, err := keyring.Generate(id, time.Now())
			if err == nil {
				err = r.Add(pair)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 1, err
	}
	// They need no runtime library, but for purifying.
	for name, from := range map[string]string{"sealed": "../models", "modulo": "../models", "tiny": "../internal/ort/testdata"} {
		if err := os.CopyFS(filepath.Join(dir, "models", name), os.DirFS(filepath.Join(from, name))); err != nil {
			return 1, err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "pictures"), 0o700); err != nil {
		return 1, err
	}
	for n := range uint64(4) {
		data, err := io.ReadAll(client.PNG(picture(n, 48)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "pictures", fmt.Sprint(n, ".png")), data, 0o600)
		}
		if err != nil {
			return 1, err
		}
	}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	front := func(s *pipeline.Services, stock pipeline.Stock) (func(context.Context) error, error) {
		var apis []*service.Service
		for _, inFlight := range []int{16, 1} {
			api, err := service.New(service.Config{
				Address: "127.0.0.1:0", InFlight: inFlight, Logger: log, DefaultModel: defaultModel, Datasets: map[string]string{"pictures": filepath.Join(dir, "pictures")},
			},
				service.Parts{Pipeline: s, Records: s.Cache, Users: people, Stock: stock})
			if err != nil {
				return nil, err
			}
			apis = append(apis, api)
		}
		wide, narrow = apis[0].URL(), apis[1].URL()
		return func(ctx context.Context) error {
			other := make(chan error, 1)
			go func() { other <- apis[1].Run(ctx) }()
			return errors.Join(apis[0].Run(ctx), <-other)
		}, nil
	}
	go func() {
		ended <- pipeline.Serve(ctx,
			pipeline.Options{
				Endpoints: pipeline.Endpoints{State: state, NATSListen: "127.0.0.1:0", RedisListen: "127.0.0.1:0"},
				Runtime:   pipeline.Runtime{Slots: 2}, Logger: log,
			},
			&pipeline.Library{Folders: []string{filepath.Join(dir, "models")}, Keyrings: []string{ring}, Logger: log},
			pipeline.Role{Work: true, Evaluate: true, Front: front, Ready: func(string, string, string) { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return 1, err
	}
	if _, admin, err = people.Admin(); err == nil {
		err = settle(dir)
	}
	if err == nil {
		code = f()
	}
	cancel()
	return code, errors.Join(err, <-ended)
}

// settle makes a folder what the example is run in.
func settle(dir string) error {
	var err error
	if root, err = filepath.Abs(".."); err != nil {
		return err
	}
	for n, name := range []string{"cover.png", "secret.png"} {
		data, err := io.ReadAll(client.PNG(picture(uint64(n), 64)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.Setenv("STEGOMQ_URL", wide), os.Setenv("STEGOMQ_TOKEN", admin), os.Chdir(dir))
}

func defaultModel(op schemas.Operation) string {
	if op == schemas.Operation_OPERATION_PURIFY {
		return "tiny"
	}
	return "sealed"
}

// within is a context that no test outlives.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return c
}

// picture is smooth, and has nothing in common with that of another n.
func picture(n uint64, side int) *image.NRGBA {
	r := rand.New(rand.NewPCG(n, 0))
	var wave [3][3]float64
	for c := range wave {
		wave[c] = [3]float64{1 + 3*r.Float64(), 1 + 3*r.Float64(), 6 * r.Float64()}
	}
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			var v [3]uint8
			for c, w := range wave {
				v[c] = uint8(128 + 80*math.Sin(w[0]*float64(x)/float64(side)*math.Pi+w[2])*math.Cos(w[1]*float64(y)/float64(side)*math.Pi))
			}
			m.SetNRGBA(x, y, color.NRGBA{v[0], v[1], v[2], 255})
		}
	}
	return m
}

// wantNear fails where an answer is not an image, at a distance in dB, of the pixels.
func wantNear(t *testing.T, got *client.Image, err error, want *image.NRGBA, least float64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	m, err := got.Decode()
	if err != nil || m.Bounds() != want.Bounds() {
		t.Fatalf("bounds %v: %v", m, err)
	}
	sum := 0.0
	for y := range want.Bounds().Dy() {
		for x := range want.Bounds().Dx() {
			r, g, b, _ := m.At(x, y).RGBA()
			w := want.NRGBAAt(x, y)
			for _, d := range []float64{float64(r>>8) - float64(w.R), float64(g>>8) - float64(w.G), float64(b>>8) - float64(w.B)} {
				sum += d * d
			}
		}
	}
	n := float64(3 * want.Bounds().Dx() * want.Bounds().Dy())
	if psnr := 10 * math.Log10(255*255/max(sum/n, 1e-9)); psnr < least {
		t.Errorf("the image is %.1f dB from what it should be, not %.0f", psnr, least)
	}
}

func wantProblem(t *testing.T, err error, want client.Code) {
	t.Helper()
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Code != want || p.Detail == "" || p.Status < 400 {
		t.Fatalf("the error is %v, not the problem %s", err, want)
	}
}

func TestEmbedAndRecover(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin}), within(t)
	cover, secret := picture(0, 64), picture(2, 64)
	for _, model := range []string{"", "modulo"} {
		file, err := os.Open("cover.png")
		if err != nil {
			t.Fatal(err)
		}
		stego, err := c.Embed(ctx, client.Embed{Key: "alice", Cover: file, Secret: client.PNG(secret), Model: model})
		wantNear(t, stego, err, cover, 38)
		if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the file is not closed: %v", err)
		}
		back, err := c.Recover(ctx, client.Recover{Key: "alice", Stego: bytes.NewReader(stego.PNG), Model: model})
		wantNear(t, back, err, secret, 28)
	}
	pure, err := c.Purify(ctx, client.Purify{Image: client.PNG(cover)})
	wantNear(t, pure, err, cover, 0)
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin}), within(t)
	stego, err := c.Embed(ctx, client.Embed{Key: "alice", Cover: client.PNG(picture(1, 64)), Secret: client.PNG(picture(2, 64)), Model: "modulo"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := stego.Decode()
	if err != nil {
		t.Fatal(err)
	}
	var lossy bytes.Buffer
	if err := jpeg.Encode(&lossy, m, nil); err != nil {
		t.Fatal(err)
	}
	back, err := c.Recover(ctx, client.Recover{Key: "alice", Stego: &lossy, Model: "modulo"})
	if err != nil || len(back.Warnings) == 0 || !strings.Contains(back.Warnings[0], "JPEG") {
		t.Errorf("warnings %v, %v", back, err)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin}), within(t)
	stego, err := c.Embed(ctx, client.Embed{Key: "alice", Cover: client.PNG(picture(1, 64)), Secret: client.PNG(picture(2, 64))})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(key string, image []byte) error {
		_, err := c.Recover(ctx, client.Recover{Key: key, Stego: bytes.NewReader(image)})
		return err
	}
	err = ask("bob", stego.PNG)
	wantProblem(t, err, client.Refused)
	if p := new(client.Problem); !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity || p.RequestID == "" || p.RetryAfter != 0 {
		t.Errorf("%+v", p)
	}
	wantProblem(t, ask("nobody", stego.PNG), client.UnknownKey)
	wantProblem(t, ask("alice", []byte("text")), client.BadImage)
	_, err = newClient(t, client.Config{URL: wide, Token: "stegomq_no"}).Keys(ctx)
	wantProblem(t, err, client.Unauthorized)
	_, err = c.Job(ctx, "no/such?job")
	wantProblem(t, err, client.UnknownJob)
	if _, err := c.Embed(ctx, client.Embed{Key: "alice", Cover: client.PNG(picture(1, 64))}); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("no secret: %v", err)
	}
	if _, err := c.Purify(ctx, client.Purify{Image: client.File("nowhere.png")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := c.Purify(ctx, client.Purify{Image: client.PNG(image.NewNRGBA(image.Rectangle{}))}); err == nil || !strings.Contains(err.Error(), "image") {
		t.Errorf("an empty image: %v", err)
	}
}

// The codes of this package are those of the service's document.
func TestCodes(t *testing.T) {
	t.Parallel()
	resp, err := http.Get(wide + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var document struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct {
						Code struct{ Enum []client.Code }
					}
				}
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	ours := []client.Code{
		client.BadRequest, client.Unauthorized, client.MissingScope, client.EmbedOnlyKey, client.NotFound, client.UnknownKey, client.UnknownModel, client.UnknownJob,
		client.UnknownRun, client.UnknownDataset, client.ImageGone, client.NoResults, client.TooManyRuns, client.RunDiffers,
		client.MethodNotAllowed, client.SlowBody, client.JobRunning, client.TooLarge, client.UnsupportedMediaType, client.BadImage, client.BadKey,
		client.UnsupportedOperation, client.Refused, client.IdempotencyKeyReused, client.TooManyRequests, client.Internal, client.Draining, client.Unavailable,
		client.StorageFull, client.Timeout,
	}
	for _, code := range document.Components.Schemas.Problem.Properties.Code.Enum {
		if !slices.Contains(ours, code) {
			t.Errorf("the package has no code %s", code)
		}
	}
	for _, code := range ours {
		if !slices.Contains(document.Components.Schemas.Problem.Properties.Code.Enum, code) {
			t.Errorf("the service has no code %s", code)
		}
	}
}

func TestUsersSeeWhatIsTheirs(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	token, err := people.Add(users.User{Name: "bob", Scopes: []users.Scope{users.Embed, users.Recover}, Keys: []string{"bob"}, EmbedFor: []string{"alice"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := people.Revoke("bob"); err != nil {
			t.Error(err)
		}
	})
	bob := newClient(t, client.Config{URL: wide, Token: token})
	keys, err := bob.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	allows := make(map[string]string)
	for _, k := range keys {
		allows[k.ID] = strings.Join(k.Allows, " ")
		if len(k.Fingerprint) != 32 {
			t.Errorf("%+v", k)
		}
	}
	if len(allows) != 2 || allows["alice"] != "embed" || allows["bob"] != "embed recover" {
		t.Errorf("keys %v", allows)
	}
	models, err := bob.Models(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(models, func(m client.Model) bool { return m.Name == "sealed" })
	if i < 0 || len(models) != 3 || fmt.Sprint(models[i].DefaultFor, models[i].Operations, models[i].Keys) != "[embed recover] [embed recover] [alice bob]" {
		t.Errorf("models %+v", models)
	}
	stego, err := bob.Embed(ctx, client.Embed{Key: "alice", Cover: client.PNG(picture(1, 64)), Secret: client.PNG(picture(2, 64))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bob.Recover(ctx, client.Recover{Key: "alice", Stego: bytes.NewReader(stego.PNG)})
	wantProblem(t, err, client.EmbedOnlyKey)
}

func TestJobs(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin}), within(t)
	cover, secret := picture(1, 72), picture(2, 72)
	embed := func(key string) client.Embed {
		return client.Embed{Key: "alice", Cover: client.PNG(cover), Secret: client.PNG(secret), IdempotencyKey: key}
	}
	job, err := c.Start(ctx, embed("once"))
	if err != nil || job.ID == "" || job.Operation != "embed" || job.Created.IsZero() {
		t.Fatalf("%+v, %v", job, err)
	}
	stego, err := c.Wait(ctx, job.ID)
	wantNear(t, stego, err, cover, 38)
	if again, err := c.Start(ctx, embed("once")); err != nil || again.ID != job.ID {
		t.Errorf("the same again is %+v, %v, not the job %s", again, err, job.ID)
	}
	if same, err := c.Embed(ctx, embed("once")); err != nil || !bytes.Equal(same.PNG, stego.PNG) {
		t.Errorf("the same again is another image: %v", err)
	}
	_, err = c.Recover(ctx, client.Recover{Key: "alice", Stego: bytes.NewReader(stego.PNG), IdempotencyKey: "once"})
	wantProblem(t, err, client.IdempotencyKeyReused)

	failed, err := c.Start(ctx, client.Recover{Key: "bob", Stego: bytes.NewReader(stego.PNG)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Wait(ctx, failed.ID)
	wantProblem(t, err, client.Refused)
	jobs, err := c.Jobs(ctx)
	at := func(id string) int { return slices.IndexFunc(jobs, func(j client.Job) bool { return j.ID == id }) }
	if err != nil || at(failed.ID) < 0 || at(job.ID) < at(failed.ID) || jobs[at(failed.ID)].State != client.Failed || jobs[at(job.ID)].State != client.Done {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
}

// upload begins an upload to the service that does one at a time, and returns once it has the place. end ends it.
func upload(t *testing.T) (end func()) {
	t.Helper()
	body, rest := io.Pipe()
	asked := make(chan struct{})
	ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{Got100Continue: func() { close(asked) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, narrow+"/v1/embed", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + admin}, "Content-Type": {"multipart/form-data; boundary=x"}, "Expect": {"100-continue"}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	end = sync.OnceFunc(func() {
		_ = rest.CloseWithError(io.ErrUnexpectedEOF)
		<-ended
	})
	t.Cleanup(end)
	select {
	case <-asked:
	case <-ended:
		t.Fatal("the upload ended")
	}
	return end
}

// turnedAway calls f when the service says that it is full.
type turnedAway func()

func (f turnedAway) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		f()
	}
	return resp, err
}

// One request at a time is done, and three are sent while an upload has the place: who is sent away comes again when told, and nothing is lost
// or out of order.
func TestBatchOnAFullService(t *testing.T) {
	t.Parallel()
	full := turnedAway(upload(t))
	c, ctx := newClient(t, client.Config{URL: narrow, Token: admin, HTTP: &http.Client{Transport: full}}), within(t)
	cover := picture(9, 200)
	var stegos [][]byte
	embeds := func(yield func(client.Operation) bool) {
		for n := range uint64(5) {
			secret := client.PNG(picture(n, 200))
			if n == 2 {
				secret = strings.NewReader("text")
			}
			if !yield(client.Embed{Key: "alice", Cover: client.PNG(cover), Secret: secret}) {
				return
			}
		}
	}
	for stego, err := range c.Batch(ctx, 3, embeds) {
		if len(stegos) == 2 {
			wantProblem(t, err, client.BadImage)
			stegos = append(stegos, nil)
			continue
		}
		wantNear(t, stego, err, cover, 38)
		stegos = append(stegos, stego.PNG)
	}
	if len(stegos) != 5 {
		t.Fatalf("%d results", len(stegos))
	}
	n := uint64(0)
	for back, err := range c.Batch(ctx, 1, func(yield func(client.Operation) bool) {
		for _, stego := range stegos {
			if stego != nil && !yield(client.Recover{Key: "alice", Stego: bytes.NewReader(stego)}) {
				return
			}
		}
	}) {
		if n == 2 {
			n++
		}
		wantNear(t, back, err, picture(n, 200), 28)
		n++
	}
	if n != 5 {
		t.Errorf("%d results", n)
	}
}

// gate lets nobody through until it is opened.
type gate struct {
	http.RoundTripper
	open    chan struct{}
	waiting atomic.Int64
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.waiting.Add(1)
	select {
	case <-g.open:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return g.RoundTripper.RoundTrip(r)
}

func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	g := &gate{RoundTripper: http.DefaultTransport, open: make(chan struct{})}
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin, HTTP: &http.Client{Transport: g}}), within(t)
	taken, ended := 0, false
	open := sync.OnceFunc(func() { close(g.open) })
	for _, err := range c.Batch(ctx, 3, func(yield func(client.Operation) bool) {
		defer func() { ended = true }()
		for {
			if taken++; taken == 4 { // the fourth is asked for while three run, and nobody was let through
				if n := g.waiting.Load(); n > 3 {
					t.Errorf("%d are under way", n)
				}
				open()
			}
			if !yield(client.Purify{Image: client.PNG(picture(1, 48))}) {
				return
			}
		}
	}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if !ended || taken != 4 {
		t.Errorf("%d operations were taken, and who gives them has ended: %v", taken, ended)
	}
}

func TestBatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := &gate{RoundTripper: http.DefaultTransport, open: make(chan struct{})}
	c := newClient(t, client.Config{URL: wide, Token: admin, HTTP: &http.Client{Transport: g}})
	ctx, cancel := context.WithCancel(within(t))
	n := 0
	for _, err := range c.Batch(ctx, 2, func(yield func(client.Operation) bool) {
		for range 3 {
			if !yield(client.Purify{Image: client.PNG(picture(1, 48))}) {
				return
			}
			cancel()
		}
	}) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
	if n != 3 {
		t.Errorf("%d results", n)
	}
}

// flaky answers as something between the client and the service would, and then lets through.
type flaky struct {
	answers []answer
	keys    []string
}

// answer is one that breaks off where it has no status.
type answer struct {
	status     int
	header     http.Header
	beforehand func()
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
	if len(f.answers) == 0 {
		return http.DefaultTransport.RoundTrip(r)
	}
	next := f.answers[0]
	f.answers = f.answers[1:]
	if next.beforehand != nil {
		next.beforehand()
	}
	if next.status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: next.status, Status: http.StatusText(next.status), Header: next.header, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
}

// What breaks off, and what a proxy answers while the service starts, is tried again: as the same request.
func TestTriesAgain(t *testing.T) {
	t.Parallel()
	f := &flaky{answers: []answer{{}, {status: http.StatusBadGateway, header: http.Header{"Retry-After": {"0"}}}}}
	c := newClient(t, client.Config{URL: wide, Token: admin, HTTP: &http.Client{Transport: f}})
	image, err := c.Purify(within(t), client.Purify{Image: client.PNG(picture(1, 48))})
	wantNear(t, image, err, picture(1, 48), 0)
	if len(f.keys) != 3 || f.keys[0] == "" || f.keys[1] != f.keys[0] || f.keys[2] != f.keys[0] {
		t.Errorf("idempotency keys %q", f.keys)
	}
}

func TestWhatIsNoService(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]answer{
		"another service": {status: http.StatusNotFound},
		"a redirect":      {status: http.StatusFound, header: http.Header{"Location": {"https://elsewhere.example/"}}},
		"a login page":    {status: http.StatusOK, header: http.Header{"Content-Type": {"text/html"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &flaky{answers: []answer{first, first}}
			keep := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			c := newClient(t, client.Config{URL: wide, Token: admin, HTTP: &http.Client{Transport: f, CheckRedirect: keep}})
			if _, err := c.Purify(within(t), client.Purify{Image: client.PNG(picture(1, 48))}); err == nil || !strings.Contains(err.Error(), "is the address right") {
				t.Errorf("the error is %v", err)
			}
			if _, err := c.Keys(within(t)); err == nil || !strings.Contains(err.Error(), "is the address right") {
				t.Errorf("the error is %v", err)
			}
			if len(f.keys) != 2 {
				t.Errorf("%d requests were sent", len(f.keys))
			}
		})
	}
}

func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	if _, err := newClient(t, client.Config{URL: address, Token: "secret-token", Patience: time.Nanosecond}).Keys(within(t)); err == nil || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("the error is %v", err)
	}
	// Who is patient still hears of the end of the context.
	ctx, cancel := context.WithCancelCause(within(t))
	enough := errors.New("enough")
	f := &flaky{answers: []answer{{beforehand: func() { cancel(enough) }}}}
	_, err = newClient(t, client.Config{URL: address, Token: "t", HTTP: &http.Client{Transport: f}}).Keys(ctx)
	if len(f.keys) != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d requests, %v", len(f.keys), err)
	}
}

// The lines of docs/http.md are those of the example, which is run.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(filepath.Join(root, "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(root, "client", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ = bytes.Cut(code, []byte("func Example() {\n"))
	code, _, found := bytes.Cut(code, []byte("\t// Output:"))
	want := "```go\n" + strings.TrimPrefix(strings.ReplaceAll("\n"+string(code), "\n\t", "\n"), "\n") + "```\n"
	if !found || !strings.Contains(string(docs), want) {
		t.Errorf("docs/http.md does not have\n%s", want)
	}
}

func TestConfig(t *testing.T) {
	t.Setenv("STEGOMQ_TOKEN", "")
	t.Setenv("STEGOMQ_URL", "")
	if _, err := client.New(client.Config{}); !errors.Is(err, client.ErrConfig) || !strings.Contains(err.Error(), "STEGOMQ_TOKEN") {
		t.Errorf("no token: %v", err)
	}
	for _, address := range []string{"127.0.0.1:8080", "nats://host", "http://", ":"} {
		if _, err := client.New(client.Config{URL: address, Token: "t"}); !errors.Is(err, client.ErrConfig) || !strings.Contains(err.Error(), client.DefaultURL) {
			t.Errorf("the address %q: %v", address, err)
		}
	}
	for _, token := range []string{"stegomq_a\nb", "stegomq_—"} {
		if _, err := client.New(client.Config{Token: token}); !errors.Is(err, client.ErrConfig) || strings.Contains(err.Error(), token) {
			t.Errorf("the token %q: %v", token, err)
		}
	}
	t.Setenv("STEGOMQ_TOKEN", admin+"\n") // as a file of a token ends
	t.Setenv("STEGOMQ_URL", wide+"/")
	if keys, err := newClient(t, client.Config{}).Keys(within(t)); err != nil || len(keys) < 2 {
		t.Errorf("keys %v, %v", keys, err)
	}
}
