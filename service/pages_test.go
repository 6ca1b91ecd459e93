package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stegomq/internal/users"
)

// reader is a browser without a window: it keeps a cookie, and follows nothing.
type reader struct {
	*client
	cookie *http.Cookie
}

func (r *reader) ask(method, path, contentType string, body io.Reader, header ...string) *answered {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.cookie != nil {
		req.AddCookie(r.cookie)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for _, c := range resp.Cookies() {
		r.cookie = c
	}
	a := &answered{t: r.t, status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *reader) form(path string, v url.Values, header ...string) *answered {
	r.t.Helper()
	return r.ask(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(v.Encode()), header...)
}

// reading signs somebody in.
func (c *client) reading() *reader {
	c.t.Helper()
	r := &reader{client: c}
	if a := r.form("/login", url.Values{"token": {c.token}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/" {
		c.t.Fatalf("%d %v", a.status, a.header)
	}
	return r
}

// Who signs in has a cookie that scripts do not read and other sites do not send, which the API does not take, and which is nothing any more when its
// user is revoked or signs out. A page allows nothing but itself.
func TestSession(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.owner("se-alice")
	r := c.reading()
	if k := r.cookie; !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "" || k.Secure || len(k.Value) < 43 || strings.Contains(c.token, k.Value) {
		t.Errorf("cookie %v", k)
	}
	for _, cfg := range []Config{{Address: "0.0.0.0:80", Plain: true}, {Address: "127.0.0.1:80", CertFile: "x"}} {
		if s := (&Service{cfg: cfg}); !s.secure() || s.cookieName() != "__Host-stegomq" {
			t.Errorf("%s: the cookie goes without TLS", cfg.Address)
		}
	}
	page := r.ask(http.MethodGet, "/", "", nil)
	if policy := page.header.Get("Content-Security-Policy"); page.status != http.StatusOK || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("%d %s", page.status, policy)
	}
	if got := r.ask(http.MethodGet, "/v1/keys", "", nil); got.status != http.StatusUnauthorized {
		t.Errorf("the API takes the cookie: %d", got.status)
	}
	// A token is no cookie.
	stolen := &reader{client: c, cookie: &http.Cookie{Name: "stegomq", Value: c.token}}
	if got := stolen.ask(http.MethodGet, "/", "", nil); got.status != http.StatusSeeOther {
		t.Errorf("a token in a cookie: %d", got.status)
	}
	before := *r.cookie
	if got := r.form("/logout", nil); got.status != http.StatusSeeOther || r.cookie.MaxAge >= 0 {
		t.Errorf("%d %v", got.status, r.cookie)
	}
	r.cookie = &before
	if got := r.ask(http.MethodGet, "/", "", nil); got.header.Get("Location") != "/login" {
		t.Errorf("who has signed out gets %d", got.status)
	}
	again := c.reading()
	if err := parts.Users.Revoke("se-alice"); err != nil {
		t.Fatal(err)
	}
	other := a.user(users.User{Name: "se-alice", Scopes: both})
	if got := again.ask(http.MethodGet, "/", "", nil); got.header.Get("Location") != "/login" {
		t.Errorf("who was revoked gets %d", got.status)
	}
	if got := again.form("/try", nil); got.status != http.StatusUnauthorized {
		t.Errorf("who was revoked sends a form: %d", got.status)
	}
	other.reading()
	if got := (&reader{client: c}).form("/login", url.Values{"token": {"stegomq_x"}}); got.status != http.StatusUnauthorized || len(got.header.Values("Set-Cookie")) > 0 {
		t.Errorf("a wrong token: %d %v", got.status, got.header)
	}
}

// A token is valid for whole days, or for ever.
func TestDaysOfATokenAreWhole(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	r := a.user(users.User{Name: "da-admin", Scopes: []users.Scope{users.Admin}}).reading()
	for _, days := range []string{"0", "-1", "1.5", "3651", "x"} {
		if got := r.form("/users", url.Values{"name": {"da-new"}, "scope": {"embed"}, "days": {days}}); got.status != http.StatusUnprocessableEntity {
			t.Errorf("a token for %q days: %d", days, got.status)
		}
	}
}

// A form of another site does nothing, whether the browser says so by Sec-Fetch-Site or by Origin.
func TestFormsOfOtherSites(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	admin := a.user(users.User{Name: "fo-admin", Scopes: []users.Scope{users.Admin}})
	r := admin.reading()
	host, _ := strings.CutPrefix(a.url, "http://")
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://elsewhere.example"}, {"Origin", "null"}, {"Origin", "http://127.0.0.1:1"},
	} {
		if got := r.form("/users", url.Values{"name": {"fo-new"}, "scope": {"admin"}}, header...); got.status != http.StatusForbidden {
			t.Errorf("%v: %d", header, got.status)
		}
		if got := (&reader{client: admin}).form("/login", url.Values{"token": {admin.token}}, header...); got.status != http.StatusForbidden {
			t.Errorf("signing in, %v: %d", header, got.status)
		}
	}
	all, err := parts.Users.Users()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		if u.Name == "fo-new" {
			t.Error("a form of another site has made a user")
		}
	}
	if got := r.form("/users/revoke", url.Values{"name": {"fo-nobody"}}, "Sec-Fetch-Site", "same-origin", "Origin", "http://"+host); got.status != http.StatusSeeOther {
		t.Errorf("a form of the page: %d", got.status)
	}
	if got := r.form("/users/revoke", url.Values{"name": {"fo-admin"}}); got.status != http.StatusBadRequest {
		t.Errorf("an administrator revokes herself: %d", got.status)
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/runs?x=1": "/runs?x=1", "/": "/", "": "/", "//elsewhere.example": "/", "https://elsewhere.example/": "/", `/\elsewhere.example`: "/", "runs": "/", "/\telsewhere": "/",
		"javascript:alert(1)": "/", "/%zz": "/",
	} {
		if got := local(next); got != want {
			t.Errorf("%q: %q, not %q", next, got, want)
		}
	}
}

// The page's form has the limits of the API, and of its own.
func TestTryLimits(t *testing.T) {
	t.Parallel()
	c := start(t, Config{MaxBody: 1 << 20}).owner("tl2-alice")
	r := c.reading()
	try := func(r *reader, f fields) *answered {
		contentType, body := f.body(t)
		return r.ask(http.MethodPost, "/try", contentType, bytes.NewReader(body))
	}
	good := fields{"cover_sample": "hills", "secret_sample": "sea", "key": "tl2-alice", "model": "sealed"}
	with := func(name string, v any) fields {
		f := fields{}
		for k, was := range good {
			f[k] = was
		}
		f[name] = v
		return f
	}
	for name, c := range map[string]struct {
		f    fields
		want int
	}{
		"no image":        {with("cover", []byte("x")), http.StatusUnprocessableEntity},
		"no such sample":  {with("cover_sample", "../page.css"), http.StatusBadRequest},
		"a field more":    {with("run", "x"), http.StatusBadRequest},
		"a long word":     {with("key", strings.Repeat("k", 300)), http.StatusBadRequest},
		"another's key":   {with("key", "demo-1"), http.StatusNotFound},
		"no such model":   {with("model", "none"), http.StatusNotFound},
		"too many pixels": {with("cover", picture(t, 1, 2049)), http.StatusRequestEntityTooLarge},
		"good":            {good, http.StatusSeeOther},
	} {
		if got := try(r, c.f); got.status != c.want {
			t.Errorf("%s: %d %.300s", name, got.status, got.body)
		}
	}
	// Of a body that is too large so little is left that net/http reads it: a longer one is cut off, and its sender may see that before the answer.
	low := (&client{start(t, Config{MaxBody: 64 << 10}), c.token}).reading()
	if got := try(low, with("cover", make([]byte, 64<<10))); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("too many bytes: %d %.300s", got.status, got.body)
	}
	if got := r.form("/try", good2values(good)); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form without files: %d", got.status)
	}
	if got := r.form("/logout", url.Values{"x": {strings.Repeat("x", maxWords)}}); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long form: %d", got.status)
	}
}

func good2values(f fields) url.Values {
	v := url.Values{}
	for name, value := range f {
		v.Set(name, fmt.Sprint(value))
	}
	return v
}

// A user has so many places among those of all; who waits gets one that is given back, and who waits too long none.
func TestPlaces(t *testing.T) {
	t.Parallel()
	g := newPlaces(8, 4, time.Minute, "full", "yours")
	var leave []func()
	for _, user := range []string{"a", "b"} {
		for range g.perUser {
			out, why := g.take(t.Context(), user)
			if why != nil {
				t.Fatal(why)
			}
			leave = append(leave, out)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for user, says := range map[string]string{"a": "yours", "c": "full"} {
		if _, why := g.take(ended, user); why == nil || why.Code != codeTooMany || why.Detail != says {
			t.Errorf("%s: %v", user, why)
		}
	}
	in := make(chan func())
	go func() {
		out, _ := g.take(context.Background(), "c")
		in <- out
	}()
	leave[0]()
	(<-in)()
	for _, out := range leave[1:] {
		out()
	}
	if g.drain(t.Context()) != nil || !g.users["a"].TryAcquire(g.perUser) {
		t.Error("places are not given back")
	}
	if _, why := g.take(t.Context(), "b"); why == nil || why.Code != codeDraining {
		t.Errorf("a place is given after the end: %v", why)
	}
}

// The sessions that were not used for longest make room, and one that is not used ends.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSessions()
	first := s.begin(users.User{Name: "first"})
	second := s.begin(users.User{Name: "second"})
	for _, one := range s.all {
		if one.used = time.Now().Add(-time.Hour); one.name == "first" {
			one.used = time.Now().Add(-2 * time.Hour)
		}
	}
	for range mostSessions - 1 {
		s.begin(users.User{Name: "more"})
	}
	if _, ok := s.find(first); ok || len(s.all) != mostSessions {
		t.Errorf("the oldest is there %v, among %d", ok, len(s.all))
	}
	if _, ok := s.find(second); !ok {
		t.Error("one that was used later is gone")
	}
	for _, one := range s.all {
		one.used = time.Now().Add(-sessionIdle - time.Second)
	}
	if _, ok := s.find(second); ok {
		t.Error("one that was not used is there")
	}
}
