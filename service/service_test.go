package service

import (
	"bytes"
	"context"
	"errors"
	"image"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/internal/users"
	"stegomq/schemas"
)

func comparePSNR(t *testing.T, a image.Image, b *image.NRGBA) float64 {
	t.Helper()
	n := image.NewNRGBA(a.Bounds())
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			n.Set(x, y, a.At(x, y))
		}
	}
	db, err := quality.PSNR(n, b)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// What was embedded comes back, with every model, and with the first one where none is named.
func TestEmbedAndRecover(t *testing.T) {
	t.Parallel()
	c := start(t, Config{}).owner("er-alice")
	cover, secret := picture(t, 1, 96), picture(t, 2, 96)
	for _, model := range []string{"", "sealed", "modulo"} {
		with := func(f fields) fields {
			if f["key"] = "er-alice"; model != "" {
				f["model"] = model
			}
			return f
		}
		a := c.post("/v1/embed", with(fields{"cover": cover, "secret": secret}), "X-Request-Id", "my.request-1")
		if got := psnr(t, cover, a.image()); got < 38 {
			t.Errorf("%s: stego at %.1f dB", model, got)
		}
		if id := a.header.Get("X-Request-Id"); id != "my.request-1" {
			t.Errorf("the request's id came back as %q", id)
		}
		if got := psnr(t, secret, c.post("/v1/recover", with(fields{"stego": a.body})).image()); got < 28 {
			t.Errorf("%s: recovered at %.1f dB", model, got)
		}
	}
}

func TestPurify(t *testing.T) {
	t.Parallel()
	c := start(t, Config{}).user(users.User{Name: "pf-alice", Scopes: []users.Scope{users.Embed}})
	if m := c.post("/v1/purify", fields{"image": picture(t, 1, 32)}).image(); m.Rect.Dx() != 32 {
		t.Errorf("size %v", m.Rect)
	}
	c.post("/v1/purify", fields{"image": picture(t, 1, 32), "model": "sealed"}).problem(codeOperation)
	c.post("/v1/purify", fields{"image": picture(t, 1, 32), "key": "x"}).problem(codeBadRequest)
}

// A job is taken at once, and asked for until it has ended; what it answers then is what the request would have been answered with.
func TestAsync(t *testing.T) {
	t.Parallel()
	c := start(t, Config{}).owner("as-alice")
	a := c.post("/v1/embed", fields{"cover": picture(t, 1, 64), "secret": picture(t, 2, 64), "key": "as-alice"}, "Prefer", "respond-async, wait=1")
	var v jobView
	a.into(http.StatusAccepted, &v)
	if a.header.Get("Location") != "/v1/jobs/"+v.ID || a.header.Get("Preference-Applied") != "respond-async" || v.Operation != "embed" {
		t.Errorf("%+v, %v", v, a.header)
	}
	done := c.ended(v.ID)
	if done.State != stateDone {
		t.Fatalf("%+v", done)
	}
	stego := c.get(done.Output)
	stego.image()
	c.post("/v1/recover", fields{"stego": stego.body, "key": "as-alice"}, "Prefer", "respond-async").into(http.StatusAccepted, &v)
	if r := c.ended(v.ID); r.State != stateDone {
		t.Fatalf("%+v", r)
	}
	c.get("/v1/jobs/" + v.ID + "/output").image()

	// One that fails.
	c.post("/v1/recover", fields{"stego": picture(t, 3, 64), "key": "as-alice"}, "Prefer", "respond-async").into(http.StatusAccepted, &v)
	failed := c.ended(v.ID)
	if failed.State != stateFailed || failed.Problem.Code != codeRefused {
		t.Errorf("%+v", failed)
	}
	c.get("/v1/jobs/" + v.ID + "/output").problem(codeRefused)

	var list struct{ Jobs []jobView }
	c.get("/v1/jobs").into(http.StatusOK, &list)
	if len(list.Jobs) != 3 || list.Jobs[0].ID != v.ID {
		t.Errorf("jobs %+v", list.Jobs)
	}
	c.get("/v1/jobs/0123").problem(codeUnknownJob)
}

// An image that is gone from the message queue before its time, as where somebody emptied that, is made anew for who repeats the request.
func TestOutputsThatAreGone(t *testing.T) {
	t.Parallel()
	c := start(t, Config{}).owner("og-alice")
	f := fields{"cover": picture(t, 1, 32), "secret": picture(t, 2, 32), "key": "og-alice"}
	c.post("/v1/embed", f, "Idempotency-Key", "k").image()
	var list struct{ Jobs []jobView }
	c.get("/v1/jobs").into(http.StatusOK, &list)
	images, err := services.Streams.Link.JS.Stream(t.Context(), schemas.BlobStream("og-alice"))
	if err == nil {
		err = images.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.get(list.Jobs[0].Output).problem(codeImageGone)
	c.post("/v1/embed", f, "Idempotency-Key", "k").problem(codeUnavailable)
	c.post("/v1/embed", f, "Idempotency-Key", "k").image()
}

// A request that is sent twice with one key is done once; another one with the key is refused.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.owner("id-alice")
	f := fields{"cover": picture(t, 1, 64), "secret": picture(t, 2, 64), "key": "id-alice"}
	one := c.post("/v1/embed", f, "Idempotency-Key", "k1")
	one.image()
	two := c.post("/v1/embed", f, "Idempotency-Key", "k1")
	if two.image(); string(one.body) != string(two.body) {
		t.Error("it was done twice: sealed is fresh every time")
	}
	if other := c.post("/v1/embed", f, "Idempotency-Key", "k2"); string(other.body) == string(one.body) && other.status == http.StatusOK {
		t.Log("another key gave the same image, from what the worker remembers")
	}
	var list struct{ Jobs []jobView }
	c.get("/v1/jobs").into(http.StatusOK, &list)
	if len(list.Jobs) != 2 {
		t.Errorf("%d jobs", len(list.Jobs))
	}
	f["secret"] = picture(t, 3, 64)
	c.post("/v1/embed", f, "Idempotency-Key", "k1").problem(codeOtherBody)
	c.post("/v1/embed", f, "Idempotency-Key", "with space").problem(codeBadRequest)
	// The key is the user's own.
	b := a.owner("id-bob")
	f["key"] = "id-bob"
	b.post("/v1/embed", f, "Idempotency-Key", "k1").image()
}

// What a user sends that is wrong is told with its code.
func TestWrongRequests(t *testing.T) {
	t.Parallel()
	c := start(t, Config{}).owner("wr-alice")
	cover, secret := picture(t, 1, 64), picture(t, 2, 64)
	for name, q := range map[string]struct {
		path string
		f    fields
		want code
	}{
		"no secret":       {"/v1/embed", fields{"cover": cover, "key": "wr-alice"}, codeBadRequest},
		"no key":          {"/v1/embed", fields{"cover": cover, "secret": secret}, codeBadRequest},
		"a field more":    {"/v1/embed", fields{"cover": cover, "secret": secret, "key": "wr-alice", "out": "x"}, codeBadRequest},
		"a long word":     {"/v1/embed", fields{"cover": cover, "secret": secret, "key": strings.Repeat("a", 300)}, codeBadRequest},
		"no image":        {"/v1/embed", fields{"cover": []byte("text"), "secret": secret, "key": "wr-alice"}, codeBadImage},
		"a whole header":  {"/v1/embed", fields{"cover": cover[:len(cover)/2], "secret": secret, "key": "wr-alice"}, codeBadImage},
		"nothing":         {"/v1/embed", fields{"cover": []byte{}, "secret": secret, "key": "wr-alice"}, codeBadImage},
		"another model":   {"/v1/embed", fields{"cover": cover, "secret": secret, "key": "wr-alice", "model": "../sealed"}, codeUnknownModel},
		"another key":     {"/v1/embed", fields{"cover": cover, "secret": secret, "key": "wr-nobody"}, codeUnknownKey},
		"a derived key":   {"/v1/recover", fields{"stego": cover, "key": "random-1-1"}, codeUnknownKey},
		"nothing hidden":  {"/v1/recover", fields{"stego": cover, "key": "wr-alice"}, codeRefused},
		"not for recover": {"/v1/recover", fields{"cover": cover, "key": "wr-alice"}, codeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			(&client{&api{t: t, url: c.url}, c.token}).post(q.path, q.f).problem(q.want)
		})
	}
	c.do(http.MethodPost, "/v1/embed", nil).problem(codeMediaType)
	if p := c.get("/v1/embed"); p.header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", p.header.Get("Allow"))
	} else {
		p.problem(codeMethod)
	}
	c.get("/v1/nothing").problem(codeNotFound)
	if a := c.do(http.MethodGet, "/v1/keys", nil, "X-Request-Id", "two words"); a.header.Get("X-Request-Id") == "two words" {
		t.Error("any text is taken as an id")
	}
	// A model that knows no new keys.
	c.post("/v1/embed", fields{"cover": cover, "secret": secret, "key": "wr-alice", "model": "tiny"})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	alice := a.owner("to-alice")
	for _, header := range []string{"", "Basic " + alice.token, "Bearer", "Bearer " + alice.token + "x"} {
		p := (&client{api: a}).do(http.MethodGet, "/v1/keys", nil, "Authorization", header)
		p.problem(codeUnauthorized)
		if p.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: %v", header, p.header)
		}
	}
	if err := parts.Users.Revoke("to-alice"); err != nil {
		t.Fatal(err)
	}
	alice.get("/v1/keys").problem(codeUnauthorized)
	for _, path := range []string{"/healthz", "/readyz"} {
		if p := (&client{api: a}).get(path); p.status != http.StatusOK {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}

// A token that has expired is refused with the time until which it was good, by the API, the page, and a session that it began; and the log says whose it was.
func TestExpiredTokens(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	gone := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	old := a.user(users.User{Name: "ex-alice", Scopes: both, Expires: gone})
	p := old.get("/v1/keys")
	if p.problem(codeUnauthorized); !bytes.Contains(p.body, []byte(gone.Format(time.RFC3339))) {
		t.Errorf("%s", p.body)
	}
	if log := a.log.String(); !strings.Contains(log, "msg=refused") || !strings.Contains(log, "user=ex-alice") || strings.Contains(log, old.token) {
		t.Errorf("the log is %s", log)
	}
	login, err := http.DefaultClient.PostForm(a.url+"/login", url.Values{"token": {old.token}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = login.Body.Close() }()
	if page, err := io.ReadAll(login.Body); err != nil || login.StatusCode != http.StatusUnauthorized || !bytes.Contains(page, []byte(gone.Format(time.RFC3339))) || bytes.Contains(page, []byte("Sign out")) {
		t.Errorf("%d, %v: %s", login.StatusCode, err, page)
	}
	all, err := parts.Users.Users()
	if err != nil {
		t.Fatal(err)
	}
	u := all[slices.IndexFunc(all, func(u users.User) bool { return u.Name == "ex-alice" })]
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: a.s.cookieName(), Value: a.s.sessions.begin(u)})
	if _, in, err := a.s.signedIn(r); in || err != nil {
		t.Errorf("a session is in: %v, %v", in, err)
	}
	a.user(users.User{Name: "ex-bob", Scopes: both, Expires: time.Now().Add(time.Hour)}).get("/v1/keys").into(http.StatusOK, &struct{}{})
}

// Who asks faster than the rate is told when to come again; another user is not.
func TestRate(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Rate: 0.001})
	alice, bob := a.owner("ra-alice"), a.owner("ra-bob")
	alice.get("/v1/keys").into(http.StatusOK, &struct{}{})
	p := alice.get("/v1/models")
	p.problem(codeTooMany)
	if seconds, err := strconv.Atoi(p.header.Get("Retry-After")); err != nil || seconds < 900 || seconds > 1000 {
		t.Errorf("%v", p.header)
	}
	if !strings.Contains(a.log.String(), `msg=refused`) || !strings.Contains(a.log.String(), "reason=too_many_requests") {
		t.Errorf("the log is %s", a.log)
	}
	bob.get("/v1/keys").into(http.StatusOK, &struct{}{})
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		if err := (&Config{Address: "127.0.0.1:0", Rate: bad}).Check(); !errors.Is(err, ErrLimit) {
			t.Errorf("a rate of %v: %v", bad, err)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.owner("li-alice")
	pair, err := keyring.Open(ringFile, keyring.Protection{})
	if err != nil {
		t.Fatal(err)
	}
	mine, err := pair.Get("li-alice")
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys []keyView }
	c.get("/v1/keys").into(http.StatusOK, &keys)
	if len(keys.Keys) != 1 || keys.Keys[0].ID != "li-alice" || keys.Keys[0].Fingerprint != mine.Fingerprint() || !slices.Equal(keys.Keys[0].Allows, both) {
		t.Errorf("keys %+v", keys)
	}
	var models struct{ Models []modelView }
	c.get("/v1/models").into(http.StatusOK, &models)
	if len(models.Models) != 3 {
		t.Fatalf("models %+v", models)
	}
	for _, m := range models.Models {
		// The tiny network is not trained, so that any key is as bad.
		if !slices.Equal(m.Keys, []string{"li-alice"}) || slices.Contains(m.Default, "purify") != (m.Name == "tiny") {
			t.Errorf("%+v", m)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, c := range map[string]Config{
		"0.0.0.0:0":        {},
		":0":               {},
		"example.org:80":   {},
		"127.0.0.1:0":      {CertFile: "x"},
		"127.0.0.1:999999": {},
		"":                 {},
	} {
		c.Address = address
		if s, err := New(c, parts); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, %v", address, s, err)
		}
	}
	for _, c := range []Config{{InFlight: -1}, {PerUser: -1}, {Timeout: -1}, {MaxBody: -1}, {Images: pixel.Limits{MaxPixels: -1}}} {
		c.Address = "127.0.0.1:0"
		if err := c.Check(); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:80", "[::1]:80"} {
		if c := (Config{Address: address}); c.Check() != nil {
			t.Errorf("%s: %v", address, c.Check())
		}
	}
}

// errPipeline is of a pipeline whose servers are away.
type away struct{ Pipeline }

func (away) Check(context.Context) error { return errors.New("NATS at 127.0.0.1:4222 is away") }

func TestNotReady(t *testing.T) {
	t.Parallel()
	p := parts
	p.Pipeline = away{parts.Pipeline}
	a := startWith(t, Config{}, p)
	got := (&client{api: a}).get("/readyz")
	if got.problem(codeUnavailable); strings.Contains(string(got.body), "4222") {
		t.Errorf("the answer says where the servers are: %s", got.body)
	}
	recorded := httptest.NewRecorder()
	parts.Metrics.Handler().ServeHTTP(recorded, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if want := `stegomq_http_requests_total{route="GET /readyz",status="503"}`; !strings.Contains(recorded.Body.String(), want) {
		t.Errorf("the metrics have no %s", want)
	}
	if !strings.Contains(a.log.String(), `route="GET /readyz" status=503`) {
		t.Errorf("the log has no line for the request: %s", a.log)
	}
	if !strings.Contains(a.log.String(), "4222") {
		t.Errorf("the log does not say what is away: %s", a.log)
	}
}
