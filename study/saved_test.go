package study_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
)

// TestRunsFromFolders: a comparison of what was written is the comparison of what is stored.
func TestRunsFromFolders(t *testing.T) {
	t.Parallel()
	a, b := twoRuns()
	share, attacked, refused := row("00002-b", schemas.Leakage(schemas.Reader_READER_PARTIAL), "alice", "partial-250-alice", 11), row("00002-b", schemas.Robustness("jpeg-75"), "alice", "alice", 12),
		row("00004-d", schemas.Recoverability, "alice", "alice", 0)
	refused.Metrics, refused.Test, refused.Refusal = nil, "", &schemas.Refusal{Detail: "no"}
	a.Scores = append(a.Scores, share, attacked, refused)
	other, otherAttacked := row("2", schemas.Leakage(schemas.Reader_READER_PARTIAL), "carol", "partial-250-carol", 10), row("2", schemas.Robustness("jpeg-75"), "carol", "carol", 13)
	b.Scores = append(b.Scores, other, otherAttacked)
	want, err := compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var read [2]study.Measured
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for i, m := range []scored{a, b} {
		if err := study.WriteFiles(dirs[i], study.Summarise(m.Spec, m.Scores, nil, study.Invocation{}), m.Scores); err != nil {
			t.Fatal(err)
		}
		if read[i], err = study.ReadRun(dirs[i]); err != nil || !study.HasRun(dirs[i]) {
			t.Fatal(err)
		}
	}
	if got, err := study.Compare(read[0], read[1]); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("of the folders %+v (%v), of the runs %+v", got, err, want)
	}
	for name, c := range map[string]struct {
		file, from, to string
		says           string
	}{
		"an older summary": {"summary.json", `"pairs": [`, `"pears": [`, "stegomq report run-1 --out"},
		"no summary":       {"summary.json", "{", "[", "summary.json"},
		"no column":        {"items.csv", "decode_key", "key", "no column decode_key"},
		"a bad number":     {"items.csv", ",33,", ",x,", "line 2: psnr"},
		"a bad role":       {"items.csv", "imperceptibility", "beauty", `line 2: the role "beauty"`},
		"a bad outcome":    {"items.csv", ",done", ",lost", `line 2: the outcome "lost"`},
		"a bad line":       {"items.csv", ",done", ",done,more", "wrong number of fields"},
	} {
		dir := t.TempDir()
		for _, file := range []string{"summary.json", "items.csv"} {
			data, err := os.ReadFile(filepath.Join(dirs[0], file))
			if err != nil {
				t.Fatal(err)
			}
			changed := string(data)
			if file == c.file {
				if changed = strings.Replace(changed, c.from, c.to, 1); changed == string(data) {
					t.Fatalf("%s: %q is not in %s", name, c.from, file)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := study.ReadRun(dir); !errors.Is(err, study.ErrNotSaved) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrNotSaved that says %q", name, err, c.says)
		}
	}
	if _, err := study.ReadRun(t.TempDir()); !errors.Is(err, study.ErrNotSaved) || study.HasRun(t.TempDir()) {
		t.Errorf("an empty folder: %v", err)
	}
}
