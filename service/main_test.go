package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/testrig/leaks"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// The pipeline that the tests share: an embedded message queue, a real redis-server, and a worker with real models, in this process.
var (
	parts    Parts
	services *pipeline.Services // those of parts
	stateDir string
	ringFile string
)

const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	code, err := withPipeline(m.Run)
	err = errors.Join(err, stopBrowser())
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

// withPipeline runs f while the pipeline works.
func withPipeline(f func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "service") // a socket's path must be short
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	redis, stop, err := startRedis(dir)
	if err != nil {
		return 1, err
	}
	defer stop()
	stateDir, ringFile = filepath.Join(dir, "state"), filepath.Join(dir, "keyring.json")
	if err := keyring.Update(ringFile, keyring.Protection{}, func(*keyring.Keyring) error { return nil }); err != nil {
		return 1, err
	}
	models := filepath.Join(dir, "models")
	for name, from := range map[string]string{"sealed": "../models", "modulo": "../models", "tiny": "../internal/ort/testdata"} {
		if err := os.CopyFS(filepath.Join(models, name), os.DirFS(filepath.Join(from, name))); err != nil {
			return 1, err
		}
	}
	log := slog.New(slog.DiscardHandler)
	opts := pipeline.Options{
		Endpoints: pipeline.Endpoints{State: stateDir, NATSListen: "127.0.0.1:0", Redis: redis},
		Runtime:   pipeline.Runtime{Slots: 2}, Logger: log,
	}
	library := &pipeline.Library{Folders: []string{models}, Keyrings: []string{ringFile}, Logger: log}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- pipeline.Serve(ctx, opts, library, pipeline.Role{
			Work: true, Evaluate: true,
			Front: func(s *pipeline.Services, stock pipeline.Stock) (func(context.Context) error, error) {
				services = s
				parts = Parts{Pipeline: s, Records: s.Cache, Users: users.In(stateDir), Stock: stock}
				return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
			},
			Ready: func(string, string, string) { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return 1, err
	}
	code = f()
	cancel()
	return code, <-ended
}

// startRedis starts a redis-server with its socket in a folder, and waits until it answers.
func startRedis(dir string) (url string, stop func(), err error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, fmt.Errorf("these tests need a real redis-server: run `make redis` (%w)", err)
	}
	socket := filepath.Join(dir, "sock")
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "eady to accept connections") {
			return "unix://" + socket, stop, nil
		}
	}
	stop()
	return "", nil, errors.New("redis-server did not start")
}

// api is a service of its own on the shared pipeline.
type api struct {
	t   testing.TB
	url string
	log *transcript
	s   *Service
	end func() // asks it to end, and waits
}

func defaultModel(op schemas.Operation) string {
	if op == schemas.Operation_OPERATION_PURIFY {
		return "tiny"
	}
	return "sealed"
}

func start(t testing.TB, cfg Config) *api { return startWith(t, cfg, parts) }

func startWith(t testing.TB, cfg Config, p Parts) *api {
	t.Helper()
	log := &transcript{}
	cfg.Address, cfg.DefaultModel, cfg.Logger = "127.0.0.1:0", defaultModel, slog.New(slog.NewTextHandler(log, nil))
	s, err := New(cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		end()
		if t.Failed() {
			t.Log(log)
		}
	})
	return &api{t: t, url: s.URL(), log: log, s: s, end: end}
}

type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newKey makes a key of a name that no other test uses, for as long as this one runs.
func newKey(t testing.TB, id string) keyring.Pair {
	t.Helper()
	pair, err := keyring.Generate(id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	store(t, pair)
	return pair
}

func store(t testing.TB, pair keyring.Pair) {
	t.Helper()
	if err := keyring.Update(ringFile, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Add(pair) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := keyring.Update(ringFile, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Remove(pair.ID) })
		if err != nil && !errors.Is(err, keyring.ErrUnknownKey) { // the test may have done so
			t.Error(err)
		}
	})
}

// client is somebody with a token.
type client struct {
	*api
	token string
}

func (a *api) user(u users.User) *client {
	a.t.Helper()
	token, err := parts.Users.Add(u)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if err := parts.Users.Revoke(u.Name); err != nil && !errors.Is(err, users.ErrUnknown) { // the test may have done so
			a.t.Error(err)
		}
	})
	return &client{a, token}
}

// both are the scopes of who embeds and recovers.
var both = []users.Scope{users.Embed, users.Recover}

// owner is a user with a key of the user's name.
func (a *api) owner(name string) *client {
	a.t.Helper()
	newKey(a.t, name)
	return a.user(users.User{Name: name, Scopes: both, Keys: []string{name}})
}

// fields are those of a form: text, or the bytes of an image.
type fields map[string]any

func (f fields) body(t testing.TB) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		var err error
		switch v := f[name].(type) {
		case string:
			err = w.WriteField(name, v)
		case []byte:
			var part io.Writer
			if part, err = w.CreateFormFile(name, name+".png"); err == nil {
				_, err = part.Write(v)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// answered is an answer that was read.
type answered struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// do sends a request, and holds what comes back against the document.
func (c *client) do(method, path string, f fields, header ...string) *answered {
	c.t.Helper()
	return c.send(method, path, f, true, header...)
}

func (c *client) send(method, path string, f fields, check bool, header ...string) *answered {
	c.t.Helper()
	var body io.Reader
	contentType := ""
	if f != nil {
		var data []byte
		contentType, data = f.body(c.t)
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if f != nil {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return c.roundTrip(req, check)
}

func (c *client) roundTrip(req *http.Request, check bool) *answered {
	c.t.Helper()
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := &answered{t: c.t, status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	if check {
		documented(c.t, req, resp, a.body)
	}
	return a
}

func (c *client) get(path string) *answered { c.t.Helper(); return c.do(http.MethodGet, path, nil) }

func (c *client) post(path string, f fields, header ...string) *answered {
	c.t.Helper()
	return c.do(http.MethodPost, path, f, header...)
}

// image gives the PNG that was answered.
func (a *answered) image() *image.NRGBA {
	a.t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "image/png" {
		a.t.Fatalf("status %d: %.500s", a.status, a.body)
	}
	m, err := png.Decode(bytes.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	out := image.NewNRGBA(m.Bounds())
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			out.Set(x, y, m.At(x, y))
		}
	}
	return out
}

// problem holds what was answered against a code.
func (a *answered) problem(want code) {
	a.t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("status %d is no problem: %.500s", a.status, a.body)
	}
	if p.Code != want || p.Status != a.status || p.RequestID == "" || p.RequestID != a.header.Get(requestIDHeader) || p.Detail == "" {
		a.t.Errorf("status %d, problem %+v; want the code %s", a.status, p, want)
	}
}

// into reads a JSON answer of a status.
func (a *answered) into(status int, v any) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, not %d: %.500s", a.status, status, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

// ended waits until a job has.
func (c *client) ended(id string) jobView {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var v jobView
		c.get("/v1/jobs/"+id).into(http.StatusOK, &v)
		if v.State != stateRunning {
			return v
		}
	}
	c.t.Fatal("the job did not end")
	return jobView{}
}

// picture makes an image that differs with n.
func picture(t testing.TB, n, side int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.SetNRGBA(x, y, color.NRGBA{R: uint8(60 + x + 7*n), G: uint8(70 + y + 3*n), B: uint8(90 + (x*y)/side + 11*n), A: 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// psnr of two images of one size, in dB.
func psnr(t *testing.T, a []byte, b *image.NRGBA) float64 {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(a))
	if err != nil || m.Bounds() != b.Bounds() {
		t.Fatalf("sizes %v, %v: %v", m.Bounds(), b.Bounds(), err)
	}
	return comparePSNR(t, m, b)
}
