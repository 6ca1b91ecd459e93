package study

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"stegomq/internal/quality"
	"stegomq/schemas"
)

// ErrNotSaved is the class of folders that hold no run that can be read again.
var ErrNotSaved = errors.New("not the folder of a run")

// ReadRun reads what WriteFiles wrote into a folder, as much of it as Compare needs. The error wraps ErrNotSaved.
func ReadRun(dir string) (Measured, error) {
	sum, err := readSummary(filepath.Join(dir, summaryFile))
	if err != nil {
		return Measured{}, fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	if len(sum.Pairs) == 0 {
		return Measured{}, fmt.Errorf("%w: %s does not name its pairs: make it again with `stegomq report %s --out %s`", ErrNotSaved, filepath.Join(dir, summaryFile), sum.Run, dir)
	}
	file, err := os.Open(filepath.Join(dir, itemsFile))
	if err != nil {
		return Measured{}, fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	defer func() { _ = file.Close() }()
	scores, err := readItems(file)
	if err != nil {
		return Measured{}, fmt.Errorf("%w: %s: %w", ErrNotSaved, file.Name(), err)
	}
	return Measured{Summary: sum, Scores: scores}, nil
}

// HasRun says whether a folder looks like one that WriteFiles wrote.
func HasRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, summaryFile))
	return err == nil
}

const (
	summaryFile  = "summary.json"
	itemsFile    = "items.csv"
	markdownFile = "report.md"
	pageFile     = "report.html"
)

func readSummary(path string) (*Summary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a summary, which `stegomq evaluate --out` writes: %w", err)
	}
	s := &Summary{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s is not a summary.json: %w", path, err)
	}
	return s, nil
}

// readItems reads items.csv, without the names of files.
func readItems(r io.Reader) ([]*schemas.Score, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	head, err := in.Read()
	if err != nil {
		return nil, err
	}
	column := make(map[string]int)
	for i, name := range head {
		column[name] = i
	}
	for _, name := range []string{"item", "role", "embed_key", "decode_key", "outcome", "psnr", "ssim", "mae", "rmse"} {
		if _, there := column[name]; !there {
			return nil, fmt.Errorf("no column %s", name)
		}
	}
	var scores []*schemas.Score
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return scores, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		role, known := schemas.ParseRole(record[column["role"]])
		if i, there := column["attack"]; there {
			role.Attack = record[i]
		}
		s := schemas.NewScore(role, record[column["item"]], record[column["embed_key"]], record[column["decode_key"]])
		if !known || role.Token() != record[column["role"]] {
			return nil, fmt.Errorf("line %d: the role %q is unknown", line, record[column["role"]])
		}
		switch schemas.End(record[column["outcome"]]) {
		case schemas.EndRefused:
			s.Refusal = &schemas.Refusal{}
		case schemas.EndDone:
			s.Metrics = &schemas.Metrics{}
			for _, m := range quality.Metrics {
				i, there := column[m.Name]
				if m.Optional() && (!there || record[i] == "") {
					continue
				}
				v, err := strconv.ParseFloat(record[i], 64)
				if err != nil {
					return nil, fmt.Errorf("line %d: %s: %w", line, m.Name, err)
				}
				s.Metrics.Set(m.Name, v)
			}
		default:
			return nil, fmt.Errorf("line %d: the outcome %q is unknown", line, record[column["outcome"]])
		}
		scores = append(scores, s)
	}
}
