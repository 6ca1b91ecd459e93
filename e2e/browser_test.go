package e2e

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"stegomq/internal/testrig/browser"
)

// open shows a file in a headless Chromium of its own.
func open(t *testing.T, file string) *browser.Tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	started, _, err := browser.Launch(ctx)
	must(t, err)
	p := &browser.Tab{T: t, Context: started}
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(file)}
	p.Do(chromedp.EmulateViewport(1400, 900), chromedp.Navigate(address.String()))
	return p
}

// browse sorts and filters the items of a report of three methods, and opens a cell of a matrix.
func browse(t *testing.T, file string) {
	t.Helper()
	p := open(t, file)
	column := slices.Index(p.Texts(".items thead th"), "stego PSNR dB") + 1
	if column == 0 {
		t.Fatalf("the items have the columns %q", p.Texts(".items thead th"))
	}
	head := fmt.Sprintf(".items thead th:nth-child(%d)", column)
	stego := func() (values []float64) {
		for _, text := range p.Texts(fmt.Sprintf(".items tbody tr > :nth-child(%d)", column)) {
			v, err := strconv.ParseFloat(text, 64)
			must(t, err)
			values = append(values, v)
		}
		return values
	}
	p.Click(head + " button") // the worst first
	p.Until(`document.querySelector('` + head + `').ariaSort === 'ascending'`)
	if got := stego(); len(got) < 6 || !slices.IsSorted(got) {
		t.Errorf("sorted, the items are %v", got)
	}
	p.Click(head + " button")
	p.Until(`document.querySelector('` + head + `').ariaSort === 'descending'`)
	got := stego()
	if slices.Reverse(got); !slices.IsSorted(got) {
		t.Errorf("sorted the other way, the items are %v", got)
	}

	p.Do(chromedp.SendKeys(chromedp.CSS(".items select[name=method]"), "HiNet"))
	p.Until(`[...document.querySelectorAll('.items tbody tr > :first-child')].every(e => e.textContent === 'HiNet')`)
	if rows := p.Texts(".items tbody tr"); len(rows) == 0 || len(rows) >= len(got) {
		t.Errorf("of %d rows the filter leaves %d", len(got), len(rows))
	}

	p.Click("figure.matrix td button")
	p.Until(`document.querySelector('#viewer').open && document.querySelectorAll('#viewer img').length >= 3 &&
		[...document.querySelectorAll('#viewer img')].every(i => i.complete && i.naturalWidth > 0)`)
	if text := strings.Join(p.Texts("#viewer figcaption"), " "); !strings.Contains(text, "secret") || !strings.Contains(text, "recovered") {
		t.Errorf("the cell shows %q", text)
	}
}
