package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// page is a file in a headless Chromium of its own.
type page struct {
	*testing.T
	ctx context.Context
}

func open(t *testing.T, file string) *page {
	t.Helper()
	options := chromedp.DefaultExecAllocatorOptions[:]
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	p := &page{t, tab}
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(file)}
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1400, 900), chromedp.Navigate(address.String())); err != nil {
		t.Fatalf("open the report in a browser (`make chromium` installs one): %v", err)
	}
	return p
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	must(p.T, chromedp.Do(p.ctx, steps...))
}

// until waits until a JavaScript condition holds.
func (p *page) until(condition string) {
	p.Helper()
	wait := `new Promise(done => { (function look() { (` + condition + `) ? done(true) : setTimeout(look, 2) })() })`
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](wait, chromedp.EvalAwaitPromise)); err != nil {
		p.Fatalf("wait until %s: %v", condition, err)
	}
}

func (p *page) texts(selector string) []string {
	p.Helper()
	texts, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](
		fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent)`, selector)))
	must(p.T, err)
	return texts
}

// browse sorts and filters the items of a report of three methods, and opens a cell of a matrix.
func browse(t *testing.T, file string) {
	t.Helper()
	p := open(t, file)
	column := slices.Index(p.texts(".items thead th"), "stego, dB") + 1
	if column == 0 {
		t.Fatalf("the items have the columns %q", p.texts(".items thead th"))
	}
	head := fmt.Sprintf(".items thead th:nth-child(%d)", column)
	stego := func() (values []float64) {
		for _, text := range p.texts(fmt.Sprintf(".items tbody tr > :nth-child(%d)", column)) {
			v, err := strconv.ParseFloat(text, 64)
			must(t, err)
			values = append(values, v)
		}
		return values
	}
	p.do(chromedp.Click(chromedp.CSS(head + " button"))) // the worst first
	p.until(`document.querySelector('` + head + `').ariaSort === 'ascending'`)
	if got := stego(); len(got) < 6 || !slices.IsSorted(got) {
		t.Errorf("sorted, the items are %v", got)
	}
	p.do(chromedp.Click(chromedp.CSS(head + " button")))
	p.until(`document.querySelector('` + head + `').ariaSort === 'descending'`)
	got := stego()
	if slices.Reverse(got); !slices.IsSorted(got) {
		t.Errorf("sorted the other way, the items are %v", got)
	}

	p.do(chromedp.SendKeys(chromedp.CSS(".items select[name=method]"), "HiNet"))
	p.until(`[...document.querySelectorAll('.items tbody tr > :first-child')].every(e => e.textContent === 'HiNet')`)
	if rows := p.texts(".items tbody tr"); len(rows) == 0 || len(rows) >= len(got) {
		t.Errorf("of %d rows the filter leaves %d", len(got), len(rows))
	}

	p.do(chromedp.Click(chromedp.CSS("figure.matrix td button")))
	p.until(`document.querySelector('#viewer').open && document.querySelectorAll('#viewer img').length >= 3 &&
		[...document.querySelectorAll('#viewer img')].every(i => i.complete && i.naturalWidth > 0)`)
	if text := strings.Join(p.texts("#viewer figcaption"), " "); !strings.Contains(text, "secret") || !strings.Contains(text, "recovered") {
		t.Errorf("the cell shows %q", text)
	}
}
