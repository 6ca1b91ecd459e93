package report_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	cdp "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stegomq/internal/testrig/browser"
	"stegomq/report"
)

// head is the selector of the heading of the n-th column of the items.
func head(n int) string { return fmt.Sprintf(".items thead th:nth-child(%d) button", n) }

// sorted is the aria-sort of every column.
func sorted(b *tab) []string {
	return browser.Value[[]string](&b.Tab, `[...document.querySelectorAll('.items thead th')].map(th => th.getAttribute('aria-sort') ?? '')`)
}

// numbers are the numbers of a column, missing ones left out.
func numbers(t *testing.T, texts []string) []float64 {
	t.Helper()
	var numbers []float64
	for _, text := range texts {
		if text == "–" {
			continue
		}
		v, err := strconv.ParseFloat(strings.Replace(text, "∞", "Inf", 1), 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, v)
	}
	return numbers
}

// all turns the pages of the items and is the n-th column of all of them.
func all(b *tab, n int) []string {
	b.Helper()
	texts := b.column(n)
	for !browser.Value[bool](&b.Tab, `document.querySelector('.items .next').disabled`) {
		b.Click(".items .next")
		texts = append(texts, b.column(n)...)
	}
	return texts
}

func TestItemsStartWithTheWorst(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	psnr := b.column(3)
	if len(psnr) != 50 || psnr[0] != "5.00" || !slices.IsSorted(numbers(t, psnr)) {
		t.Errorf("the first page shows %d rows, PSNR %q", len(psnr), psnr)
	}
	if got := sorted(b); !slices.Equal(got, []string{"", "", "ascending", "", ""}) {
		t.Errorf("columns are sorted %q", got)
	}
	if got := b.Texts(".items [role=status]"); !slices.Equal(got, []string{"130 rows, worst PSNR dB first"}) {
		t.Errorf("the page says %q", got)
	}
}

func TestItemsSort(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	b.Click(head(3)) // it is in ascending order already
	b.Until(`document.querySelector('.items thead th:nth-child(3)').ariaSort === 'descending'`)
	psnr := all(b, 3)
	got := numbers(t, psnr)
	slices.Reverse(got)
	if len(psnr) != sampleRows || psnr[0] != "∞" || psnr[sampleRows-1] != "–" || !slices.IsSorted(got) {
		t.Errorf("descending PSNR is %q", psnr)
	}
	b.Click(head(3))
	b.Until(`document.querySelector('.items thead th:nth-child(3)').ariaSort === 'ascending'`)
	if psnr = all(b, 3); psnr[sampleRows-1] != "–" || !slices.IsSorted(numbers(t, psnr)) {
		t.Errorf("ascending PSNR is %q", psnr)
	}

	b.Click(head(4)) // lower is better: the worst are the highest
	if got := sorted(b); !slices.Equal(got, []string{"", "", "", "descending", ""}) {
		t.Errorf("columns are sorted %q", got)
	}
	if mae := b.column(4); mae[0] != "1.0000" || mae[1] != "0.5000" {
		t.Errorf("descending MAE is %q", mae)
	}

	b.Click(head(5)) // names, the numbers in them by size
	if names := b.column(5); !slices.Contains(names, "bird 2.png") || slices.Index(names, "bird 5.png") > slices.Index(names, "bird 11.png") {
		t.Errorf("ascending files are %q", names)
	}

	b.Click(head(2)) // equal values stay in the order of the start
	methods := all(b, 2)
	if !slices.IsSorted(methods) {
		t.Errorf("ascending methods are %q", methods)
	}
	b.Click(".items .previous")
	b.Click(".items .previous")
	if got := numbers(t, b.column(3)); !slices.IsSorted(got) {
		t.Errorf("within one method, PSNR is %v", got)
	}

	b.Do(chromedp.Focus(chromedp.CSS(head(1)))) // by the keyboard
	b.press(kb.Enter)
	if pairs := b.column(1); pairs[0] != "0000" || !slices.IsSorted(pairs) {
		t.Errorf("ascending pairs are %q", pairs)
	}
}

// A word in the place of a number stands last in both orders, with and without the script, and can be searched for.
func TestItemsWithAWordForANumber(t *testing.T) {
	t.Parallel()
	page := sample(t)
	items := page.Sections[len(page.Sections)-1].Items
	items.Rows = items.Rows[:3]
	for i, v := range []report.Value{{Number: 2}, {Text: "refused", Number: math.NaN()}, {Number: 1}} {
		items.Rows[i].Values[2] = v
	}
	b := show(t, page, "")
	for _, want := range [][]string{{"1.00", "2.00", "refused"}, {"2.00", "1.00", "refused"}, {"1.00", "2.00", "refused"}} {
		if got := b.column(3); !slices.Equal(got, want) {
			t.Errorf("PSNR is %q, want %q", got, want)
		}
		b.Click(head(3))
	}
	b.Do(chromedp.SendKeys(chromedp.CSS(".items input"), "refused"))
	b.Until(`document.querySelectorAll('.items tbody tr').length === 1`)
	if got := b.column(3); !slices.Equal(got, []string{"refused"}) {
		t.Errorf("searched for it, PSNR is %q", got)
	}
}

func TestItemsFilter(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	b.Do(chromedp.SendKeys(chromedp.CSS(".items input"), "DOG png"))
	b.Until(`document.querySelector('.items [role=status]').textContent.startsWith('42 of 130 rows')`)
	for _, name := range all(b, 5) {
		if !strings.Contains(name, "dog") {
			t.Errorf("the filter lets %q through", name)
		}
	}
	b.Do(chromedp.SendKeys(chromedp.CSS(".items select[name=method]"), "PUSNet"))
	b.Until(`document.querySelector('.items [role=status]').textContent.startsWith('21 of 130 rows')`)
	if methods := b.column(2); slices.Contains(methods, "HiNet") || len(methods) != 21 {
		t.Errorf("the list lets %q through", methods)
	}
	b.Do(chromedp.SendKeys(chromedp.CSS(".items input"), " nonesuch"))
	b.Until(`document.querySelectorAll('.items tbody tr').length === 1`)
	if got := b.column(1); !slices.Equal(got, []string{"No row matches."}) {
		t.Errorf("where nothing matches the table says %q", got)
	}
	b.Click(".items .reset")
	b.Until(`document.querySelector('.items [role=status]').textContent === '130 rows, worst PSNR dB first'`)
	if hash := browser.Value[string](&b.Tab, `location.hash`); hash != "#items" {
		t.Errorf("the address of the view at the start ends in %q", hash)
	}
}

func TestFragmentHoldsTheView(t *testing.T) {
	t.Parallel()
	page := sample(t)
	b := show(t, page, "")
	b.Do(chromedp.SendKeys(chromedp.CSS(".items select[name=method]"), "PUSNet"))
	b.Do(chromedp.SendKeys(chromedp.CSS(".items input"), "png &"))
	b.Click(head(4))
	b.Click(head(4))
	b.Click(".items .next")
	hash, rows := browser.Value[string](&b.Tab, `location.hash`), b.column(1)
	if want := "#items?text=png+%26&method=PUSNet+%26+co&sort=mae&page=2"; hash != want {
		t.Errorf("the address ends in %q, want %q", hash, want)
	}

	other := show(t, page, hash)
	if got := other.column(1); !slices.Equal(got, rows) || len(rows) != 15 {
		t.Errorf("the address restores %q, want %q", got, rows)
	}
	if got := browser.Value[[]string](&other.Tab, `[...document.querySelectorAll('.tools input, .tools select')].map(e => e.value)`); !slices.Equal(got, []string{"png &", "PUSNet & co"}) {
		t.Errorf("the address restores the filters %q", got)
	}
	if top := browser.Value[float64](&other.Tab, `document.getElementById('items').getBoundingClientRect().top`); top > 100 {
		t.Errorf("the items begin %g pixels below the top of the window", top)
	}

	// A link to the section leaves the view as it is. The event comes after the address has changed, and the page hears of it before who listens later.
	b.Do(chromedp.Evaluate[chromedp.Void](`addEventListener('hashchange', () => { document.body.dataset.went = 'yes' })`))
	b.Click("nav a[href='#items']")
	b.Until(`document.body.dataset.went === 'yes' && document.getElementById('items').getBoundingClientRect().top < 100`)
	if got := b.column(1); !slices.Equal(got, rows) || browser.Value[string](&b.Tab, `location.hash`) != hash {
		t.Errorf("a link to the section shows %q", got)
	}

	other.Do(chromedp.Evaluate[chromedp.Void](`location.hash = '#items?sort=-nonesuch&page=999&method=nobody'`)) // another link, a bad one
	other.Until(`document.querySelector('.items .pages').textContent === '101–130'`)
	if got := sorted(other)[2]; got != "ascending" {
		t.Errorf("a link to a column that is not there leaves PSNR sorted %q", got)
	}
}

// loaded waits until every picture in the dialog is decoded.
func loaded(b *tab) {
	b.Helper()
	b.Until(`document.getElementById('viewer').open && (images => images.length && images.every(i => i.complete && i.naturalWidth > 0))([...document.querySelectorAll('#viewer img')])`)
}

func TestMatrixCellOpensItsImages(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	if n := browser.Value[int](&b.Tab, `[...document.images].filter(i => !i.closest('.drawing')).length`); n != 0 {
		t.Errorf("the page decodes %d pictures that nobody has opened", n)
	}
	b.Click(".matrix tbody td button")
	loaded(b)
	if got := b.Texts("#viewer figcaption"); !slices.Equal(got, []string{"cover", "secret", "stego", "recovered31.20 dB, SSIM 0.940"}) {
		t.Errorf("captions are %q", got)
	}
	if got := browser.Value[[]int](&b.Tab, `[...document.querySelectorAll('#viewer img')].map(i => i.naturalWidth)`); !slices.Equal(got, []int{40, 41, 42, 43}) {
		t.Errorf("pictures are %v wide", got)
	}
	if got := browser.Value[[]string](&b.Tab, `[...document.querySelectorAll('#viewer img')].map(i => i.alt)`); !slices.Equal(got, []string{"cover", "secret", "stego", "recovered"}) {
		t.Errorf("alternative texts are %q", got)
	}
	if got := b.Texts("#viewer .facts div > *"); !slices.Equal(got, []string{"embedded with", "a", "decoded with", "a", "PSNR dB", "31.20", "SSIM", "0.940"}) {
		t.Errorf("the dialog says %q", got)
	}
	b.press(kb.ArrowRight)
	b.press(kb.ArrowRight) // past the cell that opens nothing
	loaded(b)
	if got := b.Texts("#viewer h2, #viewer .position"); !slices.Equal(got, []string{"K = 2: " + hostile + ", b", "3 of 3"}) {
		t.Errorf("the third cell is %q", got)
	}
	b.press(kb.Escape)
	b.Until(`!document.getElementById('viewer').open && document.querySelectorAll('#viewer img').length === 0`)
	b.Until(`document.activeElement === document.querySelector('.matrix tbody td button')`)
	b.press(kb.Enter)
	loaded(b)
	b.Click("#viewer .close")
	b.Until(`!document.getElementById('viewer').open`)
}

// The images of a pair lie over each other, and the slider says how much of each is seen; the arrow keys then move it and not the list.
func TestSlider(t *testing.T) {
	t.Parallel()
	page := sample(t)
	for _, row := range page.Sections[4].Items.Rows[:2] {
		row.Pictures[2].Against, row.Pictures[3].Against = "cover", "none"
	}
	b := show(t, page, "#items?sort=pair")
	b.Click(".items tbody tr:nth-child(1) button")
	loaded(b)
	if got := b.Texts("#viewer .compare figcaption"); !slices.Equal(got, []string{"cover | stego"}) {
		t.Errorf("the sliders are %q", got)
	}
	shown := func() string {
		return browser.Value[string](&b.Tab, `getComputedStyle(document.querySelector('#viewer .stack img + img')).clipPath`)
	}
	if got := shown(); got != "inset(0px 0px 0px 50%)" {
		t.Errorf("at first the stego image is shown by %s", got)
	}
	b.Do(chromedp.Focus(chromedp.CSS("#viewer .compare input")))
	b.press(kb.ArrowRight)
	b.Until(`document.querySelector('#viewer .compare input').value === '51'`)
	if got := shown(); got != "inset(0px 0px 0px 51%)" {
		t.Errorf("moved by one it is shown by %s", got)
	}
	if got := b.Texts("#viewer .position"); !slices.Equal(got, []string{"1 of 130"}) {
		t.Errorf("the arrow key turned to %q", got)
	}
}

func TestItemOpensItsImages(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "#items?sort=pair")
	b.Click(".items tbody tr:nth-child(8) td:nth-child(5)")
	loaded(b)
	if got := b.Texts("#viewer h2, #viewer .position, #viewer dd"); !slices.Equal(got, []string{"Pair 0007", "8 of 130", "PUSNet & co", "37.25", "0.1250", hostile}) {
		t.Errorf("row 8 opens %q", got)
	}
	b.press(kb.ArrowLeft)
	b.Until(`document.querySelector('#viewer h2').textContent === 'Pair 0006'`)
	b.press(kb.Escape)
	b.Until(`!document.getElementById('viewer').open`)
	b.Do(chromedp.Focus(chromedp.CSS(".items tbody tr:nth-child(2) button")))
	b.press(kb.Enter)
	loaded(b)
	b.press(kb.Escape)
	b.Until(`!document.getElementById('viewer').open`)
	// Opened again before the event of the closing has come, it keeps its pictures.
	b.Do(chromedp.Focus(chromedp.CSS(".items tbody tr:nth-child(2) button")))
	b.press(kb.Enter)
	loaded(b)
	browser.Value[bool](&b.Tab, `(viewer => {
		viewer.addEventListener('close', () => { viewer.dataset.closed = 'yes' })
		viewer.close()
		document.querySelector('.items tbody tr:nth-child(3) button').click()
		return true
	})(document.getElementById('viewer'))`)
	b.Until(`document.getElementById('viewer').dataset.closed === 'yes'`)
	loaded(b)
	b.press(kb.Escape)
	b.Until(`!document.getElementById('viewer').open`)
	b.Click(".items tbody tr:nth-child(4)") // it has no pictures
	if browser.Value[bool](&b.Tab, `document.getElementById('viewer').open`) {
		t.Error("a row without pictures opens")
	}
}

func TestFigureOpensLarge(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	if got := browser.Value[[]int](&b.Tab, `[...document.querySelectorAll('.drawing img')].flatMap(i => [i.width, i.height])`); !slices.Equal(got, []int{200, 100, 90, 60}) {
		t.Errorf("the figures are %v", got)
	}
	b.Click("#fig-1 button")
	loaded(b)
	if wide := browser.Value[float64](&b.Tab, `document.querySelector('#viewer img').getBoundingClientRect().width`); wide < 800 {
		t.Errorf("the figure opens %g pixels wide", wide)
	}
}

// TestHostileNames shows that nothing of a name becomes markup: it is there, letter for letter, and does nothing.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "#items?text=onerror")
	for _, selector := range []string{"h1", ".title dd:last-child", "#words p:last-of-type", "#words li:last-child", ".table .note", ".items tbody td:last-child"} {
		if got := b.Texts(selector); len(got) == 0 || !strings.HasSuffix(got[len(got)-1], hostile) {
			t.Errorf("%s is %q", selector, got)
		}
	}
	b.Click(".items tbody button")
	loaded(b)
	if n := browser.Value[int](&b.Tab, `document.querySelectorAll('[onerror], img[src=x]').length`); n != 0 {
		t.Errorf("%d elements were made of names", n)
	}
	// alert would have blocked the tab, or the policy written to the console, which must be empty.
}

// TestWithoutJavaScript shows that what Go writes is what the script would draw, and that nothing moves when it does.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	page := sample(t)
	with := show(t, page, "")
	drawn := browser.Value[string](&with.Tab, `document.querySelector('.items table').outerHTML`)

	b := newTab(t)
	b.mustStayQuiet()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.navigate(written(t, page), "")
	if got := browser.Value[string](&b.Tab, `document.querySelector('.items table').outerHTML`); got != drawn {
		t.Errorf("without JavaScript the items are\n%s\nand with it\n%s", got, drawn)
	}
	note := "These are the first 50 of 130 rows, worst PSNR dB first.\nSorting, filtering and opening them needs JavaScript. All rows are in items.csv."
	if got := b.Texts(".items noscript p"); !slices.Equal(got, []string{note}) {
		t.Errorf("the note says %q", got)
	}
	if got := browser.Value[string](&b.Tab, `getComputedStyle(document.querySelector('.tools')).display`); got != "none" {
		t.Errorf("tools that do nothing are displayed: %s", got)
	}

	shift := `new Promise(done => new PerformanceObserver(list => done(list.getEntries().reduce((sum, e) => sum + e.value, 0))).observe({type: 'layout-shift', buffered: true}))`
	nothing := `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))`
	moved, err := chromedp.Run(with.Context, chromedp.Evaluate[float64](`Promise.race([`+shift+`, `+nothing+`])`, chromedp.EvalAwaitPromise))
	if err != nil || moved != 0 {
		t.Errorf("the layout shifts by %g: %v", moved, err)
	}
}

func TestCopiesAsCSV(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "#items?text=dog&method=HiNet&sort=pair")
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		id := chromedp.FromContext(b.Context).BrowserContextID
		if _, err := chromedp.CallBrowser(b.Context, cdp.SetPermission, cdp.SetPermissionParams{
			Permission: &cdp.PermissionDescriptor{Name: name}, Setting: cdp.PermissionSettingGranted, BrowserContextID: id,
		}); err != nil {
			t.Fatal(err)
		}
	}
	copied := func(selector string) string {
		b.Click(selector)
		b.Until(fmt.Sprintf(`document.querySelector(%q).textContent === 'Copied'`, selector))
		text, err := chromedp.Run(b.Context, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	quoted := `"` + strings.ReplaceAll(hostile, `"`, `""`) + `"`
	want := "Method,PSNR,SSIM,PSNR of others,Remark\n" +
		"LSB-4,\"31.10 [30, 32]\",0.951,-,\"says \"\"no\"\", often\"\n" + quoted + ",33.77,0.959,9.1,1 of 2\n"
	if got := copied("figure.table .copy"); got != want {
		t.Errorf("the table is copied as\n%swant\n%s", got, want)
	}
	got := strings.Split(copied(".tools .copy"), "\n")
	if got[0] != "Pair,Method,PSNR dB,MAE,Cover file" || got[1] != "0004,HiNet,9.50,0.2000,dog 4.png" || len(got) != 23 {
		t.Errorf("the items are copied as %q", got)
	}
}

func TestThousandsOfRows(t *testing.T) {
	t.Parallel()
	page := sample(t)
	items := page.Sections[4].Items
	for len(items.Rows) < 6000 {
		items.Rows = append(items.Rows, items.Rows[:sampleRows]...)
	}
	b := show(t, page, "")
	for range 4 {
		b.Click(head(5))
		if n := browser.Value[int](&b.Tab, `document.querySelectorAll('.items tbody tr').length`); n != 50 {
			t.Errorf("%d rows are in the document", n)
		}
	}
	if got := b.Texts(".items [role=status]")[0]; !strings.HasPrefix(got, strconv.Itoa(len(items.Rows))+" rows") {
		t.Errorf("the page says %q", got)
	}
}

func TestNoRows(t *testing.T) {
	t.Parallel()
	page := sample(t)
	page.Sections[4].Items.Rows = nil
	b := show(t, page, "")
	if got := b.Texts(".items tbody, .items [role=status], .items .pages"); !slices.Equal(got, []string{"0 rows, worst PSNR dB first", "", "No row matches."}) {
		t.Errorf("a table without rows says %q", got)
	}
}

func TestNarrowWindowAndPaper(t *testing.T) {
	t.Parallel()
	b := show(t, sample(t), "")
	for _, width := range []int64{320, 768, 1600} {
		b.Do(chromedp.EmulateViewport(width, 800))
		if wide := browser.Value[int64](&b.Tab, `document.documentElement.scrollWidth`); wide > width {
			t.Errorf("in a window of %d pixels the page is %d wide", width, wide)
		}
	}
	b.Do(chromedp.ScrollIntoView(chromedp.CSS(".items")), chromedp.Evaluate[chromedp.Void](`document.querySelector('.items .scroll').scrollTop = 500`))
	if got := browser.Value[float64](&b.Tab, `document.querySelector('.items thead').getBoundingClientRect().top - document.querySelector('.items .scroll').getBoundingClientRect().top`); got != 0 {
		t.Errorf("the headings have moved %g pixels from the top of the table", got)
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	for selector, want := range map[string]string{".tools": "none", ".items .next": "none", ".items table": "table", ".drawing img": "block"} {
		if got := browser.Value[string](&b.Tab, fmt.Sprintf(`getComputedStyle(document.querySelector(%q)).display`, selector)); got != want {
			t.Errorf("on paper %s is displayed as %s, want %s", selector, got, want)
		}
	}
	if clipped := browser.Value[bool](&b.Tab, `[...document.querySelectorAll('.scroll')].some(e => e.scrollHeight > e.clientHeight)`); clipped {
		t.Error("on paper a table is cut")
	}
}

// TestPolicyForbidsTheNetwork smuggles markup into a report, as a fault in the escaping would, and looks whether anything
// gets out. It also shows that the watch over requests sees them.
func TestPolicyForbidsTheNetwork(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(server.Close)
	smuggled := strings.ReplaceAll(`<img src="URL/image"><script src="URL/script"></script><script>window.ran = true</script>
		<link rel="stylesheet" href="URL/style"><iframe src="URL/frame"></iframe><div style="background: url(URL/background)">.</div>`, "URL", server.URL)

	file := written(t, sample(t))
	report, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []bool{true, false} {
		text := strings.Replace(string(report), "<main", smuggled+"<main", 1)
		if !policy {
			text = strings.Replace(text, `http-equiv="Content-Security-Policy"`, "", 1)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newTab(t)
		b.navigate(file, "")
		for !policy && (hits.Load() < 5 || len(b.foreign()) < 5) { // a background is asked for when it is drawn, which may be after the page is loaded
			b.Until("true")
		}
		ran := browser.Value[bool](&b.Tab, `Boolean(window.ran)`)
		if policy && (hits.Load() > 0 || ran) {
			t.Errorf("%d requests arrived, requested were %q; a smuggled script ran: %v", hits.Load(), b.foreign(), ran)
		}
		if !policy && (hits.Load() < 5 || !ran || len(b.foreign()) < 5) {
			t.Errorf("without the policy %d requests arrived and %q were seen; a smuggled script ran: %v", hits.Load(), b.foreign(), ran)
		}
	}
}
