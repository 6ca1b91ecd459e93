package htmlreport

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
)

var (
	//go:embed page.tmpl
	markup string
	//go:embed report.css
	style string
	//go:embed report.js
	script string
)

// templates has the page in two parts; the pictures are written between them.
var templates = template.Must(template.New("page").Funcs(template.FuncMap{
	"json":       jsonText,
	"level":      level,
	"shown":      shownData,
	"numeric":    Table.numeric,
	"columnName": Table.columnName,
}).Parse(markup))

// content is what the templates are given.
type content struct {
	*Page
	Sections []sectionView
	Style    template.CSS
	Script   template.JS
	Digest   string // of the script, as a content security policy names it
}

// Write writes the page as one HTML file. Nothing is written of a page that is not valid: the error wraps ErrPage. Other
// errors are the writer's. Pictures are encoded as they are written.
func Write(w io.Writer, p *Page) error {
	if err := p.validate(); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(script))
	data := content{
		Page:   p,
		Style:  template.CSS(style), //nolint:gosec // our own file
		Script: template.JS(script), //nolint:gosec // our own file
		Digest: base64.StdEncoding.EncodeToString(digest[:]),
	}
	for i := range p.Sections {
		view, err := p.Sections[i].view()
		if err != nil {
			return err
		}
		data.Sections = append(data.Sections, view)
	}
	out := bufio.NewWriter(w)
	if err := templates.ExecuteTemplate(out, "content", data); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	if err := p.writePictures(out); err != nil {
		return fmt.Errorf("write the pictures: %w", err)
	}
	if err := templates.ExecuteTemplate(out, "end", data); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// jsonText is JSON for an attribute, which the template escapes.
func jsonText(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}
