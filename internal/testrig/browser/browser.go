// Package browser is shared by the tests of pages: a headless Chromium, and a reader's actions in one of its tabs. Only tests
// import it.
//
// Invariant: nothing sleeps. A tab waits for a condition of the page or for a drawn frame, within the time of the tab's context;
// a failure fails the test with the name of the step.
package browser

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Launch starts a headless Chromium, which ends with ctx or with stop. The error says how to get one.
func Launch(ctx context.Context) (browser context.Context, stop func() error, err error) {
	// A busy machine may take longer than the library's 20 seconds until the browser says where it is.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WSURLReadTimeout(3*time.Minute))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	allocator, end := chromedp.NewExecAllocator(ctx, options...)
	browser, _ = chromedp.NewContext(allocator)
	stop = func() error {
		defer end()
		return chromedp.Cancel(browser)
	}
	if err := chromedp.Do(browser); err != nil {
		end()
		return nil, nil, fmt.Errorf("start a browser (`make chromium` installs one): %w", err)
	}
	return browser, stop, nil
}

// Tab is a tab of a test.
type Tab struct {
	*testing.T
	Context context.Context
}

// Do runs steps, one after another.
func (t *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(t.Context, steps...); err != nil {
		t.Fatal(err)
	}
}

// Click clicks the first element that a CSS selector finds, where it is, with the mouse.
func (t *Tab) Click(selector string) {
	t.Helper()
	t.Aim(selector)
	t.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Aim scrolls to the first element that a CSS selector finds, and waits until the element is drawn there, ready to be clicked.
func (t *Tab) Aim(selector string) {
	t.Helper()
	t.Do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	t.drawn()
}

// drawn waits until the current state of the page is drawn. A click is resolved in the frame that was drawn last: before that frame
// shows a scroll, the click would miss the element.
func (t *Tab) drawn() {
	t.Helper()
	t.promise("the next frame", `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// Until waits until a JavaScript condition holds. (chromedp's own Poll compiles code in the page, which a page's policy may
// forbid.)
func (t *Tab) Until(condition string) {
	t.Helper()
	t.promise(condition, `new Promise(done => { (function look() { (`+condition+`) ? done(true) : setTimeout(look, 2) })() })`)
}

func (t *Tab) promise(what, script string) {
	t.Helper()
	if _, err := chromedp.Run(t.Context, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatalf("wait until %s: %v", what, err)
	}
}

// Texts are the texts of all elements that a CSS selector finds.
func (t *Tab) Texts(selector string) []string {
	t.Helper()
	return Value[[]string](t, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent)`, selector))
}

// Value is the value of a JavaScript expression.
func Value[V any](t *Tab, expression string) V {
	t.Helper()
	v, err := chromedp.Run(t.Context, chromedp.Evaluate[V](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

var anchors, anchor = regexp.MustCompile(` id="([^"]*)"`), regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// ExpectAnchors checks that each part of a page that has a name has one that a link can use, and none has that of another.
func ExpectAnchors(t *testing.T, page []byte) {
	t.Helper()
	seen := make(map[string]bool)
	for _, a := range anchors.FindAllSubmatch(page, -1) {
		name := string(a[1])
		if seen[name] || !anchor.MatchString(name) {
			t.Errorf("two parts of the page are named %q, or it is no name", name)
		}
		seen[name] = true
	}
}
