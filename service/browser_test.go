package service

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stegomq/internal/testrig/browser"
	"stegomq/internal/users"
)

// chromium is one headless Chromium for all tests. It starts with the first.
var chromium = sync.OnceValues(func() (ctx context.Context, err error) {
	ctx, stop, err := browser.Launch(context.Background())
	if err == nil {
		stopBrowser = stop
	}
	return ctx, err
})

var stopBrowser = func() error { return nil }

// tab is somebody's at the page of a service. When its test ends, nothing but the service may have been asked, and the console must be empty.
type tab struct {
	browser.Tab
	url     string
	scripts bool // of pages run

	mu       sync.Mutex
	requests []string
	console  []string
}

func (a *api) tab() *tab {
	t, ok := a.t.(*testing.T)
	if !ok {
		a.t.Fatal("a benchmark has no tab")
	}
	t.Helper()
	parent, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{Tab: browser.Tab{T: t}, url: a.url, scripts: true}
	ctx, closeTab := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.Context, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	if _, err := chromedp.Call(b.Context, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.Context, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	b.Do(chromedp.EmulateViewport(1280, 900))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range b.requests {
			if !strings.HasPrefix(r, b.url+"/") && !strings.HasPrefix(r, "data:") && !strings.HasPrefix(r, "blob:") {
				t.Errorf("the page asked %s", r)
			}
		}
		if len(b.console) > 0 {
			t.Errorf("the console says %q", b.console)
		}
		if len(b.requests) == 0 {
			t.Error("no request was seen: nobody watched")
		}
	})
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.console = append(b.console, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.console = append(b.console, string(e.Type))
	case *log.EventEntryAdded:
		if !strings.Contains(e.Entry.Text, "the server responded with a status of 4") { // which the tests look for
			b.console = append(b.console, e.Entry.Text)
		}
	}
}

// open shows a page, and gives its status.
func (b *tab) open(path string) int64 {
	b.Helper()
	return b.goes(chromedp.Navigate(b.url + path))
}

// goes does what leads to another page, and gives its status.
func (b *tab) goes(step chromedp.Action[chromedp.Void]) int64 {
	b.Helper()
	resp, err := chromedp.RunResponse(b.Context, step)
	if err != nil {
		b.Fatal(err)
	}
	return resp.Status
}

// press clicks what leads to another page.
func (b *tab) press(selector string) int64 {
	b.Helper()
	// What has the focus is not replaced by what comes by itself (page.js). Without that, something else may be there when the click comes.
	if !browser.Value[bool](&b.Tab, fmt.Sprintf(`(e => { e.focus(); return document.activeElement === e })(document.querySelector(%q))`, selector)) {
		b.Fatalf("%s does not take the focus", selector)
	}
	if b.scripts {
		b.Aim(selector)
	} else { // nothing of the page tells of a frame, but a picture has one
		b.Do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
		if _, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot()); err != nil {
			b.Fatal(err)
		}
	}
	return b.goes(chromedp.Click(chromedp.CSS(selector)))
}

// arrives waits until the tab has come to an address by itself. What is asked of it on its way has no answer.
func (b *tab) arrives(path string) {
	b.Helper()
	for {
		there, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](fmt.Sprintf(`location.pathname === %q && document.readyState === "complete"`, path)))
		if err == nil && there {
			return
		}
		if b.Context.Err() != nil {
			b.Fatalf("the tab does not come to %s: %v", path, err)
		}
	}
}

func (b *tab) path() string { b.Helper(); return browser.Value[string](&b.Tab, "location.pathname") }

// text is what an element says.
func (b *tab) text(selector string) string {
	b.Helper()
	return strings.Join(b.Texts(selector), "\n")
}

// signIn signs somebody in by hand.
func (b *tab) signIn(token string) {
	b.Helper()
	b.open("/login")
	b.Do(chromedp.SendKeys(chromedp.CSS("#token"), token))
	if status := b.press("button[type=submit]"); status != http.StatusOK {
		b.Fatalf("signing in: %d", status)
	}
}

// loaded waits until all images of the page are there.
func (b *tab) loaded() {
	b.Helper()
	// Images that come by themselves meanwhile are lazy again.
	b.Until(`[...document.images].every(i => { i.loading = "eager"; return i.hidden || i.complete })`)
	if bad := browser.Value[[]string](&b.Tab, `[...document.images].filter(i => !i.hidden && i.complete && i.naturalWidth === 0).map(i => i.src)`); len(bad) > 0 {
		b.Errorf("%s: the images %q are not there", b.path(), bad)
	}
}

// shot writes what the whole page looks like into the folder STEGOMQ_SCREENSHOTS, for people: by day and by night, and on a phone.
func (b *tab) shot(name string) {
	b.Helper()
	dir := os.Getenv("STEGOMQ_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{{"", "light", 1280, 900}, {"-dark", "dark", 1280, 900}, {"-phone", "light", 390, 844}} {
		b.Do(chromedp.EmulateViewport(look.width, look.height))
		if _, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		}); err != nil {
			b.Fatal(err)
		}
		png, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+look.name+".png"), png, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Do(chromedp.EmulateViewport(1280, 900))
}

// Every page of an administrator, by day, by night and on a phone: no page is wider than the screen, has an image without words, or a field without a name;
// and every text has contrast.
func TestPages(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Datasets: datasets(t, 8)})
	newKey(t, "pg-alice")
	newKey(t, "pg-bob")
	a.user(users.User{Name: "pg-alice", Scopes: both, Keys: []string{"pg-alice"}})
	c := a.user(users.User{Name: "pg-admin", Scopes: []users.Scope{users.Admin}})
	events := c.events("")
	var runs []runView
	for _, model := range []string{"modulo", "sealed"} {
		run := c.newRun(`{"dataset": "some", "model": "` + model + `", "keys": ["pg-alice", "pg-bob"], "size": 64, "name": "with ` + model + `"}`)
		events.until(run.ID, runDone)
		runs = append(runs, run)
	}
	a.user(users.User{Name: "pg-" + strings.Repeat("w", 28), Scopes: both}) // as wide as a name can be
	die(t, "pg")
	b := a.tab()
	b.open("/login")
	b.shot("login")
	b.signIn(c.token)
	for _, one := range []struct{ name, path, heading string }{
		{"try", "/", "Hide an image in another"},
		{"runs", "/runs", "Runs"},
		{"run", "/runs/" + runs[0].ID, "with modulo"},
		{"run-sealed", "/runs/" + runs[1].ID, "with sealed"},
		{"compare", "/compare?a=" + runs[0].ID + "&b=" + runs[1].ID, "Two runs, pair by pair"},
		{"queue", "/queue", "Workers and queues"},
		{"dead", "/dead", "Dead letters"},
		{"users", "/users", "Users and keys"},
		{"unknown", "/runs/http-0", "You have no such run"},
	} {
		b.open(one.path)
		if got := b.text("h1"); got != one.heading {
			t.Errorf("%s: the heading is %q", one.path, got)
		}
		b.loaded()
		b.look(one.name)
		b.shot(one.name)
	}
	if status := b.open("/nothing"); status != http.StatusNotFound {
		t.Errorf("an address that is none: %d", status)
	}
}

// look holds a page against what all pages promise.
func (b *tab) look(name string) {
	b.Helper()
	for _, width := range []int64{1280, 390} {
		b.Do(chromedp.EmulateViewport(width, 844))
		if wide := browser.Value[float64](&b.Tab, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			b.Errorf("%s: the page is %v pixels wider than a screen of %d", name, wide, width)
		}
	}
	b.Do(chromedp.EmulateViewport(1280, 900))
	nameless := browser.Value[[]string](&b.Tab, `[
		...[...document.images].filter(i => !i.alt),
		...[...document.querySelectorAll("input:not([type=hidden]), select")].filter(i => !i.labels.length && !i.ariaLabel),
		...[...document.querySelectorAll("button, a")].filter(i => !i.textContent.trim() && !i.ariaLabel && !i.querySelector("img")),
		...[...document.querySelectorAll("[style], style, script:not([src])")],
	].map(e => e.outerHTML)`)
	if len(nameless) > 0 {
		b.Errorf("%s: %q", name, nameless)
	}
	for _, scheme := range []string{"light", "dark"} {
		if _, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		}); err != nil {
			b.Fatal(err)
		}
		if faint := browser.Value[[]string](&b.Tab, contrastScript); len(faint) > 0 {
			b.Errorf("%s, %s: too little contrast: %q", name, scheme, faint)
		}
	}
}

// contrastScript gives the texts whose contrast with what is behind them is under 4.5:1 (WCAG 2.2, 1.4.3).
const contrastScript = `(() => {
	const numbers = colour => colour.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	const faint = new Set();
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility()) continue;
		const a = light(numbers(getComputedStyle(e).color)), b = light(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) faint.add(ratio.toFixed(2) + " " + n.data.trim().slice(0, 40));
	}
	return [...faint];
})()`

// Two images are uploaded, one is hidden in the other, and what comes back is shown; the gain moves, and the stego image that is downloaded is recovered
// by the API.
func TestTryInBrowser(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.owner("tb2-alice")
	dir := t.TempDir()
	secret := picture(t, 2, 90)
	for name, data := range map[string][]byte{"cover.png": picture(t, 1, 90), "secret.png": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := a.tab()
	b.signIn(c.token)
	for _, name := range []string{"cover", "secret"} {
		b.Do(chromedp.SetUploadFiles(chromedp.CSS("#"+name), []string{filepath.Join(dir, name+".png")}))
		b.Until(`document.getElementById("` + name + `-preview").naturalWidth === 90`)
	}
	for _, model := range []string{"sealed", "modulo"} {
		if model == "modulo" {
			b.open("/") // the samples
		}
		b.Do(chromedp.SetValue(chromedp.CSS("#model"), model))
		if status := b.press("form[data-busy] button[type=submit]"); status != http.StatusOK {
			t.Fatalf("%s: %d %s", model, status, b.text("main"))
		}
		b.loaded()
		b.look("tried " + model)
		b.shot("tried-" + model)
		pictures := strings.Join(b.Texts("figure"), "; ")
		if refused := strings.Contains(pictures, "Refused"); refused != (model == "sealed") {
			t.Errorf("%s: %s", model, pictures)
		}
		if n := len(b.Texts("tbody tr")); n != 4 {
			t.Errorf("%s: %d scores", model, n)
		}
		before := browser.Value[string](&b.Tab, `document.querySelector("img[data-residual]").src`)
		b.Do(chromedp.Evaluate[chromedp.Void](`{ const g = document.getElementById("gain"); g.value = 40; for (const k of ["input", "change"]) g.dispatchEvent(new Event(k, { bubbles: true })) }`))
		b.loaded()
		if after := browser.Value[string](&b.Tab, `document.querySelector("img[data-residual]").src`); before == after || !strings.HasSuffix(after, "gain=40") {
			t.Errorf("the residual went from %s to %s", before, after)
		}
		if model != "sealed" {
			continue
		}
		link := browser.Value[string](&b.Tab, `document.querySelector("a[href$='download=1']").getAttribute("href")`)
		stego := b.fetch(link)
		if db := psnr(t, secret, c.post("/v1/recover", fields{"stego": stego, "key": "tb2-alice"}).image()); db < 28 {
			t.Errorf("what was downloaded is recovered at %.1f dB", db)
		}
	}
	if n := len(a.s.tries.of(c.ownerName())); n != 2 {
		t.Errorf("%d are kept", n)
	}
}

// ownerName is the user as the service knows one.
func (c *client) ownerName() string {
	c.t.Helper()
	u, err := parts.Users.Authenticate(c.token)
	if err != nil {
		c.t.Fatal(err)
	}
	return (&call{user: u}).owner()
}

// fetch gets an address of the page with its cookie.
func (b *tab) fetch(path string) []byte {
	b.Helper()
	numbers, err := chromedp.Run(b.Context, chromedp.Evaluate[[]int](fmt.Sprintf(
		`fetch(%q).then(r => r.arrayBuffer()).then(d => [...new Uint8Array(d)])`, path), chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, len(numbers))
	for i, n := range numbers {
		data[i] = byte(n)
	}
	return data
}

// A run is asked for on the page, and its progress comes by itself, to its end, with the results and the images.
func TestRunInBrowser(t *testing.T) {
	t.Parallel()
	h := holdRuns()
	a := startWith(t, Config{Datasets: datasets(t, 4)}, h.parts())
	c := a.evaluating("rb-alice")
	b := a.tab()
	b.signIn(c.token)
	b.open("/runs")
	b.Do(chromedp.SetValue(chromedp.CSS("#model"), "modulo"), chromedp.SetValue(chromedp.CSS("#size"), "64"), chromedp.SendKeys(chromedp.CSS("#name"), "by hand"))
	b.Click("input[name=key]")
	if status := b.press("form[data-busy] button[type=submit]"); status != http.StatusOK {
		t.Fatalf("%d %s", status, b.text("main"))
	}
	if b.text("h1") != "by hand" {
		t.Errorf("%s", b.text("main"))
	}
	<-h.begun
	b.Until(`document.querySelector(".state").textContent === "running"`)
	close(h.let)
	b.Until(`document.querySelector(".state").textContent === "done"`)
	b.Until(`document.querySelectorAll(".pair").length === 2`)
	b.loaded()
	// What came by itself works as what was there at first.
	b.Do(chromedp.Evaluate[chromedp.Void](`{ const g = document.getElementById("gain"); g.value = 40; for (const k of ["input", "change"]) g.dispatchEvent(new Event(k, { bubbles: true })) }`))
	b.loaded()
	if n := browser.Value[int](&b.Tab, `document.querySelectorAll("img[data-residual][src$='gain=40']").length`); n != 2 {
		t.Errorf("%d residuals have the gain", n)
	}
	if got := b.text("#results"); !strings.Contains(got, "recovered with the right key") || !strings.Contains(got, "a random key") {
		t.Errorf("%s", got)
	}
	if !strings.Contains(b.text("#progress"), "of") || strings.Contains(b.text("#progress"), "0 of 0") {
		t.Errorf("%s", b.text("#progress"))
	}
	if len(b.fetch("/runs/"+strings.TrimPrefix(b.path(), "/runs/")+"/files/items.csv")) < 100 {
		t.Error("items.csv is not there")
	}
	// The report runs its script, and has an origin of its own: neither the session nor what the page may ask.
	run := b.path()
	if status := b.press(`a[href$="report.html"]`); status != http.StatusOK || len(b.Texts("#items tbody tr")) != 2 {
		t.Errorf("report.html: %d, %q", status, b.Texts("#items tbody tr"))
	}
	if origin := browser.Value[string](&b.Tab, `self.origin + (() => { try { return document.cookie } catch (e) { return " " + e.name } })()`); origin != "null SecurityError" {
		t.Errorf("report.html acts as %q", origin)
	}
	b.open(run)
	// Gone, after a question.
	b.Do(chromedp.Evaluate[chromedp.Void](`window.confirm = () => true`))
	if b.press("button.danger"); b.path() != "/runs" || strings.Contains(b.text("main"), "by hand") {
		t.Errorf("%s: %s", b.path(), b.text("main"))
	}
}

// Another user's run, what another tried, and the operator's pages are refused on the page as on the API; and nobody sees anything without signing in.
func TestTwoUsersPages(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Datasets: datasets(t, 4)})
	alice, bob := a.evaluating("tp-alice"), a.evaluating("tp-bob")
	events := alice.events("")
	run := alice.newRun(`{"dataset": "some", "model": "modulo", "keys": ["tp-alice"], "size": 64}`)
	events.until(run.ID, runDone)
	hers := a.tab()
	hers.signIn(alice.token)
	if status := hers.press("form[data-busy] button[type=submit]"); status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	tried := hers.path()
	hers.open("/runs/" + run.ID)
	hers.loaded()
	image := browser.Value[string](&hers.Tab, `document.querySelector(".pair img").getAttribute("src")`)

	his := a.tab()
	for _, path := range []string{"/", "/runs", "/runs/" + run.ID, tried, "/users"} {
		if his.open(path); his.path() != "/login" {
			t.Errorf("%s is shown to nobody in particular", path)
		}
	}
	his.signIn(bob.token)
	for path, want := range map[string]int64{
		"/runs/" + run.ID: 404, image: 404, "/runs/" + run.ID + "/files/items.csv": 404, "/compare?a=" + run.ID + "&b=" + run.ID: 404, tried: 404, tried + "/stego": 404,
		"/queue": 403, "/dead": 403, "/users": 403,
	} {
		if status := his.open(path); status != want {
			t.Errorf("%s: %d", path, status)
		}
		if got := his.text("body"); strings.Contains(got, "tp-alice") {
			t.Errorf("%s says %s", path, got)
		}
	}
	his.open("/runs/" + run.ID)
	nothing := strings.Split(his.text("main"), "Request")[0]
	his.open("/runs/http-" + randomID())
	if got := strings.Split(his.text("main"), "Request")[0]; got != nothing {
		t.Errorf("her run is %q, and nothing %q", nothing, got)
	}
	// By hand, what the page has no button for.
	for path, form := range map[string]string{
		"/runs/" + run.ID + "/delete": "", "/runs/" + run.ID + "/cancel": "", "/users": "name=x&scope=admin", "/users/revoke": "name=tp-alice", "/dead/drop": "number=1",
		"/runs": "dataset=" + some(t) + "&model=modulo&key=tp-alice",
	} {
		status := browser.Value[int](&his.Tab, fmt.Sprintf("(() => { const r = new XMLHttpRequest(); r.open('POST', %q, false); r.setRequestHeader('Content-Type', "+
			"'application/x-www-form-urlencoded'); r.send(%q); return r.status })()", path, form))
		if status != 403 && status != 404 {
			t.Errorf("POST %s: %d", path, status)
		}
	}
	his.open("/")
	if got := his.text("main") + his.text("nav"); strings.Contains(got, "alice") || strings.Contains(got, "Users") {
		t.Errorf("his page: %s", got)
	}
	if got := alice.get("/v1/runs/" + run.ID); got.status != http.StatusOK {
		t.Errorf("her run: %d", got.status)
	}
}

// A dead letter is retried, and all of a reason are dropped; a page that is open shows it by itself.
func TestDeadLettersInBrowser(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.user(users.User{Name: "dl-admin", Scopes: []users.Scope{users.Admin}})
	n := die(t, "dl-one")
	b := a.tab()
	b.signIn(c.token)
	b.open("/dead")
	b.Until(`document.documentElement.dataset.events === "ready"`)
	b.look("dead letters")
	row := fmt.Sprintf("input[name=number][value='%d'] + button[aria-label^=Retry]", n)
	if b.press(row); b.path() != "/dead" {
		t.Errorf("%s", b.path())
	}
	if left := b.text("td[data-name=number]"); slices.Contains(strings.Fields(left), fmt.Sprint(n)) {
		t.Errorf("%d is still among %s", n, left)
	}
	if !strings.Contains(a.log.String(), "user=dl-admin letters=1") {
		t.Error("who retried is not in the log")
	}
	b.Until(`document.documentElement.dataset.events === "ready"`)
	b.Do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	n = die(t, "dl-two")
	b.Until(fmt.Sprintf(`document.querySelector("input[name=number][value='%d']") !== null`, n))
	b.Do(chromedp.Evaluate[chromedp.Void](`window.confirm = () => true`))
	b.press(fmt.Sprintf("input[name=number][value='%d'] + button.danger", n))
	if left := b.text("td[data-name=number]"); slices.Contains(strings.Fields(left), fmt.Sprint(n)) {
		t.Errorf("%d is still among %s", n, left)
	}
}

// An administrator makes a user, whose token is shown once, and revokes the user again.
func TestUsersInBrowser(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.user(users.User{Name: "ub-admin", Scopes: []users.Scope{users.Admin}})
	newKey(t, "ub-key")
	b := a.tab()
	// By the link that is printed: what is after # goes to nobody.
	b.goes(chromedp.Navigate(a.url + "/login#" + c.token))
	b.arrives("/")
	b.open("/users")
	b.Do(chromedp.SendKeys(chromedp.CSS("#name"), "ub-new"))
	b.Do(chromedp.SendKeys(chromedp.CSS("#days"), "30"))
	b.Click("input[name=key][value=ub-key]")
	b.press("form[action='/users'] button")
	token := b.text(".token")
	u, err := parts.Users.Authenticate(token)
	if err != nil || u.Name != "ub-new" || !slices.Equal(u.Keys, []string{"ub-key"}) || !slices.Equal(u.Scopes, both) {
		t.Errorf("%+v, %v", u, err)
	}
	if days := time.Until(u.Expires).Hours() / 24; days < 29 || days > 30 {
		t.Errorf("the token is valid for %v days, want 30", days)
	}
	b.open("/users")
	if strings.Contains(b.text("body"), token) {
		t.Error("the token is shown again")
	}
	b.Do(chromedp.SendKeys(chromedp.CSS("#name"), "ub-new"))
	if status := b.press("form[action='/users'] button"); status != http.StatusUnprocessableEntity {
		t.Errorf("a second user of the name: %d", status)
	}
	b.Do(chromedp.Evaluate[chromedp.Void](`window.confirm = () => true`))
	b.press("input[name=name][value=ub-new] + button")
	if _, err := parts.Users.Authenticate(token); err == nil {
		t.Error("the user may still come in")
	}
	b.press(".who button")
	if b.open("/users"); b.path() != "/login" {
		t.Error("who has signed out is still in")
	}
	if strings.Contains(a.log.String(), token) || strings.Contains(a.log.String(), c.token) {
		t.Error("a token is in the log")
	}
}

// Without a script every page reads, and every form works.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Datasets: datasets(t, 4)})
	c := a.evaluating("ws-alice")
	b := a.tab()
	if _, err := chromedp.Call(b.Context, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.scripts = false
	b.signIn(c.token)
	if status := b.press("form[data-busy] button[type=submit]"); status != http.StatusOK || len(b.Texts("figure")) != 6 {
		t.Errorf("%d, %d pictures", status, len(b.Texts("figure")))
	}
	b.press(".slider button")
	b.open("/runs")
	if status := b.press("form[data-busy] button[type=submit]"); status != http.StatusOK || !strings.HasPrefix(b.path(), "/runs/http-") {
		t.Errorf("%d %s", status, b.path())
	}
	run := strings.TrimPrefix(b.path(), "/runs/")
	b.open("/") // a run that has not ended is asked for again by its page, which may come between the tab and where it goes
	c.events("").untilEnd(c, run)
	b.open("/runs/" + run)
	if len(b.Texts(".pair")) == 0 {
		t.Errorf("%s", b.text("main"))
	}
}

// untilEnd waits for the end of a run that may be at it already.
func (s *stream) untilEnd(c *client, run string) {
	s.t.Helper()
	for {
		var v runView
		if c.get("/v1/runs/"+run).into(http.StatusOK, &v); v.State == runDone {
			return
		}
		if _, data, ok := s.next(); !ok || v.State == runFailed {
			s.t.Fatalf("%+v %s", v, data)
		}
	}
}
