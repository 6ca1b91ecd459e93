package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"stegomq/evaluator/figure"
)

// WriteFiles writes audit.json, audit.md and the figures as SVG and PNG into dir, each file whole or not at all.
func (a *Audit) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the output folder: %w", err)
	}
	write := func(name string, data []byte) error {
		if err := renameio.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
		}
		return nil
	}
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
		if err := errors.Join(write(f.name+".svg", svg), write(f.name+".png", png)); err != nil {
			return err
		}
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
	return errors.Join(write("audit.json", append(data, '\n')), write("audit.md", report.Bytes()))
}
