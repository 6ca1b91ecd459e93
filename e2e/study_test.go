package e2e

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"testing"
)

// maxModels bounds what the models weigh in the repository; larger ones are trained by make targets.
const maxModels = 60 << 20

// Every model that the study of the paper names ships, and is complete; together they are not too large.
func TestStudyModelsShip(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	var study map[string][]struct{ Model string }
	must(t, json.Unmarshal(read(t, filepath.Join(shippedModels(), "study.json")), &study))
	args := []string{"models", "verify"}
	for _, rows := range study {
		for _, row := range rows {
			args = append(args, filepath.Join(shippedModels(), row.Model))
		}
	}
	if len(study["table1"]) < 7 || len(study["fig5"]) != 12 || len(study["gradient"]) < 4 {
		t.Errorf("the study has %d rows, %d matrices and %d gradients", len(study["table1"]), len(study["fig5"]), len(study["gradient"]))
	}
	h.ok(args...)

	var size int64
	must(t, filepath.WalkDir(shippedModels(), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	}))
	if size > maxModels {
		t.Errorf("the models weigh %d MiB, over the bound of %d", size>>20, maxModels>>20)
	}
}
