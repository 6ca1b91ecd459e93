package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"stegomq/evaluator"
	"stegomq/report/figure"
)

// WriteFiles writes audit.json, audit.md and the figures as SVG and PNG into dir, each file whole or not at all.
func (a *Audit) WriteFiles(dir string) error {
	var files []evaluator.File
	there := make(map[string]bool)
	for _, f := range a.figures() {
		svg, err := f.SVG()
		if errors.Is(err, figure.ErrEmpty) {
			continue
		}
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.name, err)
		}
		png, err := f.PNG()
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.name, err)
		}
		files = append(files, evaluator.File{Name: f.name + ".svg", Data: svg}, evaluator.File{Name: f.name + ".png", Data: png})
		there[f.name] = true
	}
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("write audit.json: %w", err)
	}
	var report bytes.Buffer
	if err := a.writeMarkdown(&report, there); err != nil {
		return err
	}
	return evaluator.WriteFolder(dir, append(files,
		evaluator.File{Name: "audit.json", Data: append(data, '\n')}, evaluator.File{Name: "audit.md", Data: report.Bytes()}))
}
