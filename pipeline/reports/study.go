package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"stegomq/internal/model"
	"stegomq/study/paper"
)

// studyName is the file, in the folder of the models, that assigns models to the paper's methods and figures.
const studyName = "study.json"

// Study assigns models to the methods and the figures of the paper. A model is a directory, relative to the file,
// or the name of one.
type Study struct {
	Table1 []struct {
		Method string `json:"method"`
		Model  string `json:"model"`
	} `json:"table1"`
	Fig5 []struct {
		Keys  int     `json:"keys"`
		Alpha float64 `json:"alpha"`
		Model string  `json:"model"`
	} `json:"fig5"`
	// Gradient compares the right gradient with that of the public code.
	Gradient []struct {
		Gradient string  `json:"gradient"`
		Alpha    float64 `json:"alpha"`
		Seed     int     `json:"seed"` // of the training
		Model    string  `json:"model"`
	} `json:"gradient"`

	dir string
}

// ReadStudy reads the file of a study: the one that is named, or the first beside the models.
func ReadStudy(path string, roots []string) (*Study, error) {
	if path == "" {
		for _, root := range roots {
			if file := filepath.Join(root, studyName); exists(file) {
				path = file
				break
			}
		}
	}
	if path == "" {
		return nil, fmt.Errorf("no %s in %v: --models names the folders of the models, --study a file", studyName, roots)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--study: %w", err)
	}
	st := &Study{dir: filepath.Dir(path)}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(st); err != nil {
		return nil, fmt.Errorf("--study: %s: %w", path, err)
	}
	if len(st.Table1)+len(st.Fig5)+len(st.Gradient) == 0 {
		return nil, fmt.Errorf("--study: %s names no models", path)
	}
	return st, nil
}

// find is the directory of a model of the study, or the name as it stands where there is none.
func (st *Study) find(name string) string {
	if dir := filepath.Join(st.dir, filepath.FromSlash(name)); exists(dir) {
		return dir
	}
	return name
}

// exists says whether there is a file or a folder.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// paperModel is what a report says about a model.
func paperModel(m *model.Model) paper.Model {
	f := m.Manifest
	return paper.Model{
		Name: m.Name, Digest: m.Digest, Backbone: f.Backbone, Keying: f.Keying, Parameters: f.Parameters, Alpha: f.Alpha, Training: (*paper.Training)(f.Training),
	}
}
