// Package page owns how the service's web page looks: templates, style, a short script, and images to try the service with. Package service decides who
// may see what.
//
// Invariants:
//   - Everything is in the binary, and pages load nothing from other addresses.
//   - No style and no script is inside a page, so that the content security policy can forbid both.
//   - Every page can be read, and every form works, without the script. The script keeps pages up to date, and shows previews.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed *.html page.css page.js
var files embed.FS

// View is what a page shows.
type View struct {
	// Title is the page's title, and Tab the tab that it belongs to.
	Title, Tab string
	// User is the name of the user who is signed in; empty: nobody. The others say which tabs the user has.
	User                     string
	Embeds, Evaluates, Admin bool
	// Reload is the number of seconds after which a browser without scripts asks for the page again; 0: it does not.
	Reload int
	// Data is the input of the page's template.
	Data any
}

var functions = template.FuncMap{
	"db":      func(v float64) string { return fmt.Sprintf("%.2f", v) },
	"ratio":   func(v float64) string { return fmt.Sprintf("%.3f", v) },
	"time":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"short":   func(s string) string { return s[:min(len(s), 13)] },
	"join":    strings.Join,
	"bytes":   readable,
	"asset":   asset,
	"seconds": func(d time.Duration) string { return fmt.Sprintf("%.3g s", d.Seconds()) },
	"age":     func(t time.Time) string { return time.Since(t).Round(time.Second).String() },
}

// readable is a number of bytes for people.
func readable(n uint64) string {
	const units = "KMGT"
	f, unit := float64(n), -1
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	if unit < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// pages are the templates by name, each with the layout. They are parsed when the first page is shown: most processes show none.
var pages = sync.OnceValue(func() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "layout.html", "parts.html"))
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the binary is broken
	}
	all := make(map[string]*template.Template)
	for _, e := range entries {
		name, isPage := strings.CutSuffix(e.Name(), ".html")
		if isPage && name != "layout" && name != "parts" {
			all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, e.Name()))
		}
	}
	return all
})

// Render writes the page whose template has this name. Where the template fails, nothing is written.
func Render(w io.Writer, name string, v View) error {
	t, ok := pages()[name]
	if !ok {
		return fmt.Errorf("there is no page %s", name)
	}
	var out bytes.Buffer
	if err := t.ExecuteTemplate(&out, "layout.html", v); err != nil {
		return fmt.Errorf("make the page %s: %w", name, err)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// assets are the files that pages load. The address of a file has the head of its digest in it, so that a browser may keep the file for ever.
var assets, assetNames = func() (map[string][]byte, map[string]string) {
	byName, names := make(map[string][]byte), make(map[string]string)
	for _, name := range []string{"page.css", "page.js"} {
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // the binary is broken
		}
		sum := sha256.Sum256(data)
		hashed := hex.EncodeToString(sum[:6]) + "-" + name
		byName[hashed], names[name] = data, hashed
	}
	return byName, names
}()

func asset(name string) string { return "/assets/" + assetNames[name] }

// ServeAsset answers with a file that pages load, or with status 404.
func ServeAsset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	data, ok := assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data) // the client has gone
}
