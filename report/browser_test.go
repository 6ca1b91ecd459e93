package report_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stegomq/internal/testrig/browser"
	"stegomq/report"
)

// patience bounds every test that has a browser: a condition that never comes true fails by name.
const patience = 3 * time.Minute

// chromium is one headless Chromium for all tests; each has a tab of its own. It starts with the first.
var chromium = sync.OnceValues(func() (ctx context.Context, err error) {
	ctx, stop, err := browser.Launch(context.Background())
	if err == nil {
		stopBrowser = stop
	}
	return ctx, err
})

var stopBrowser = func() error { return nil }

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopBrowser(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the browser:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// tab shows a file. When its test ends, nothing but that file may have been requested, and the console must be empty.
type tab struct {
	browser.Tab
	url string

	mu       sync.Mutex
	requests []string
	console  []string
}

// newTab opens an empty tab.
func newTab(t *testing.T) *tab {
	t.Helper()
	parent, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{Tab: browser.Tab{T: t}}
	ctx, closeTab := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.Context, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	call(b, network.Enable, network.EnableParams{})
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	b.Do(chromedp.EmulateViewport(1200, 800))
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
		b.console = append(b.console, e.Entry.Text)
	}
}

// foreign are the requests for anything but the file and what it holds.
func (b *tab) foreign() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var foreign []string
	for _, request := range b.requests {
		file, _, _ := strings.Cut(request, "#")
		if file != b.url && !strings.HasPrefix(request, "data:") && request != "about:blank" {
			foreign = append(foreign, request)
		}
	}
	return foreign
}

// show writes a page into a file and opens it, with a fragment of its address.
func show(t *testing.T, page *report.Document, fragment string) *tab {
	t.Helper()
	b := newTab(t)
	b.navigate(written(t, page), fragment)
	b.mustStayQuiet()
	return b
}

func (b *tab) mustStayQuiet() {
	b.Cleanup(func() {
		if foreign := b.foreign(); len(foreign) > 0 {
			b.Errorf("the page made the requests %q", foreign)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.console) > 0 {
			b.Errorf("the console says %q", b.console)
		}
		if len(b.requests) == 0 {
			b.Error("no request was seen, not even that for the page: nobody watched")
		}
	})
}

func (b *tab) navigate(file, fragment string) {
	b.Helper()
	b.url = (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
	b.Do(chromedp.Navigate(b.url + fragment))
}

// written is the file of a page.
func written(t *testing.T, page *report.Document) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := page.HTML(file, images); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.Context, command, params); err != nil {
		b.Fatalf("%s: %v", command.Method, err)
	}
}

// press presses keys where the focus is.
func (b *tab) press(keys string) {
	b.Helper()
	b.Do(chromedp.KeyEvent(keys))
}

// column is a column of the items that are shown, counted from 1.
func (b *tab) column(n int) []string {
	b.Helper()
	return b.Texts(fmt.Sprintf(".items tbody tr > :nth-child(%d)", n))
}
