package paper_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study/paper"
)

// line finds a line of Table 1.
func line(t *testing.T, r *paper.Report, block, method, set, pair string) paper.Line {
	t.Helper()
	for _, b := range r.Table1.Blocks {
		for _, l := range b.Lines {
			if b.Name == block && l.Method == method && l.DataSet == set && l.KeyPair == pair {
				return l
			}
		}
	}
	t.Fatalf("there is no line %s, %s, %s, %s", block, method, set, pair)
	return paper.Line{}
}

// mean is that of the scores that a line is about.
func mean(run paper.Run, role schemas.Role, embed, decode string, of func(*schemas.Metrics) float64) float64 {
	sum, n := 0.0, 0.0
	for _, s := range run.Scores {
		if s.Role() == role && s.GetEmbedKey() == embed && (s.GetDecodeKey() == decode || decode == "*") {
			sum += of(s.GetMetrics())
			n++
		}
	}
	return sum / n
}

func TestTable1AgreesWithScores(t *testing.T) {
	t.Parallel()
	s := small(t, "")
	// A third key must not move what the table says of the first two.
	run := made{set: "imagenet", pairs: 6, keys: []string{"alice", "bob", "carol"}, random: 2, levels: good, lowered: 2}.run(t)
	s.Rows[1].Runs["imagenet"] = run
	r := build(t, s)
	for _, c := range []struct {
		block, pair, embed, decode string
		role                       schemas.Role
		n                          int
	}{
		{"imperceptibility", "a", "alice", "", schemas.Imperceptibility, 6},
		{"imperceptibility", "b", "bob", "", schemas.Imperceptibility, 6},
		{"recoverability", "a", "alice", "alice", schemas.Recoverability, 6},
		{"recoverability", "b", "bob", "bob", schemas.Recoverability, 6},
		{"cross_decoding", "a", "alice", "bob", schemas.Leakage(schemas.Reader_READER_MISMATCHED), 6},
		{"cross_decoding", "b", "bob", "alice", schemas.Leakage(schemas.Reader_READER_MISMATCHED), 6},
		{"cross_decoding_cover", "a", "alice", "bob", schemas.LeakageCover(schemas.Reader_READER_MISMATCHED), 6},
		{"random_key", "b", "bob", "*", schemas.Leakage(schemas.Reader_READER_RANDOM), 12},
		{"random_key_cover", "a", "alice", "*", schemas.LeakageCover(schemas.Reader_READER_RANDOM), 12},
	} {
		l := line(t, r, c.block, paper.MethodPUSNetMK, "imagenet", c.pair)
		for name, m := range map[string]struct {
			figure paper.Figure
			of     func(*schemas.Metrics) float64
		}{
			"psnr": {l.PSNR, (*schemas.Metrics).GetPsnr}, "ssim": {l.SSIM, (*schemas.Metrics).GetSsim}, "mae": {l.MAE, (*schemas.Metrics).GetMae},
		} {
			want := mean(run, c.role, c.embed, c.decode, m.of)
			if m.figure.Ours == nil || math.Abs(m.figure.Ours.Mean-want) > 1e-9 {
				t.Errorf("%s %s, %s: %+v, want a mean of %v", c.block, c.pair, name, m.figure.Ours, want)
				continue
			}
			if ci := m.figure.Ours.CI95; ci == nil || ci.Low > want || ci.High < want || m.figure.Ours.Std <= 0 {
				t.Errorf("%s %s, %s: deviation %v, interval %+v", c.block, c.pair, name, m.figure.Ours.Std, ci)
			}
		}
		if l.N != c.n || l.Items != 6 || l.EmbedKey != c.embed {
			t.Errorf("%s %s has %d scores of %d pairs of %q", c.block, c.pair, l.N, l.Items, l.EmbedKey)
		}
	}
	if l := line(t, r, "cross_decoding", paper.MethodPUSNetMK, "imagenet", "a"); l.Excess == nil || math.Abs(l.Excess.Mean-0.05) > 1e-9 {
		t.Errorf("excess of the wrong key %+v, want 8.5 - 8.45", l.Excess)
	}
	if l := line(t, r, "cross_decoding", "unrelated images", "bsds", "a"); l.PSNR.Ours == nil || l.N != 6 {
		t.Errorf("unrelated images: %+v", l)
	}
}

func TestTable1BesideThePaper(t *testing.T) {
	t.Parallel()
	r := build(t, small(t, ""))
	for _, c := range []struct {
		block, method, pair string
		psnr, ssim, mae     float64
	}{ // of ImageNet
		{"imperceptibility", paper.MethodPUSNetMK, "a", 34.05, 0.951, 0.016},
		{"recoverability", paper.MethodPUSNetMK, "b", 32.28, 0.943, 0.019},
		{"cross_decoding", paper.MethodPUSNetMK, "a", 8.48, 0.207, 0.318},
		{"cross_decoding", paper.MethodUDH, "a", 25.70, 0.87, 0.042},
		{"recoverability", paper.MethodHiDDeN, "b", 22.15, 0.725, 0.059},
		{"imperceptibility", paper.MethodBaluja, "a", 27.13, 0.903, 0.036},
	} {
		l := line(t, r, c.block, c.method, "imagenet", c.pair)
		for name, m := range map[string]struct {
			got  *float64
			want float64
		}{"psnr": {l.PSNR.Paper, c.psnr}, "ssim": {l.SSIM.Paper, c.ssim}, "mae": {l.MAE.Paper, c.mae}} {
			if m.got == nil || *m.got != m.want {
				t.Errorf("%s, %s %s, %s: the paper's is %v, want %v", c.block, c.method, c.pair, name, m.got, m.want)
			}
		}
	}
	for _, c := range []struct{ method, set, why string }{
		{paper.MethodPUSNetMK, "DIV2K", "not at hand"}, {paper.MethodPUSNetMK, "COCO", "not at hand"}, {paper.MethodBaluja, "imagenet", "not run"},
	} {
		if l := line(t, r, "recoverability", c.method, c.set, "a"); l.Why != c.why || l.PSNR.Ours != nil || l.PSNR.Paper == nil {
			t.Errorf("%s on %s: %+v, want %q beside the paper's figure", c.method, c.set, l, c.why)
		}
	}
	if l := line(t, r, "recoverability", paper.MethodPUSNetMK, "bsds", "a"); l.PSNR.Paper != nil || l.PSNR.Ours == nil {
		t.Errorf("bsds, which the paper has not: %+v", l)
	}
	if l := line(t, r, "random_key", paper.MethodHiNet, "imagenet", "a"); l.Why != "no random keys" {
		t.Errorf("a network for each key under random keys: %+v", l)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	r, files := wholeReport(t)
	for _, name := range []string{
		"report.md", "report.json", "report.html", "differences.md", "fig5.svg", "fig5.png", "fig1.svg", "fig1.png",
		"table1.md", "table1.csv", "table1.json", "table1.tex", "fig5.md", "fig5.csv", "fig5.json", "fig5.tex",
		"paired.md", "paired.csv", "paired.json", "paired.tex", "ablation.md", "ablation.csv", "ablation.json", "ablation.tex",
	} {
		if files[name] == "" {
			t.Errorf("%s is not there, or empty", name)
		}
	}
	var all, again paper.Report
	if err := json.Unmarshal([]byte(files["report.json"]), &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(files["table1.json"]), &again.Table1); err != nil {
		t.Fatal(err)
	}
	want := line(t, r, "recoverability", paper.MethodPUSNet, "imagenet", "b").PSNR.Ours
	for name, got := range map[string]*paper.Report{"report.json": &all, "table1.json": &again} {
		if l := line(t, got, "recoverability", paper.MethodPUSNet, "imagenet", "b").PSNR.Ours; l == nil || l.Mean != want.Mean || *l.CI95 != *want.CI95 {
			t.Errorf("%s has %+v, want %+v", name, l, want)
		}
	}
	for name, text := range files {
		switch {
		case strings.HasSuffix(name, ".csv"):
			expectCSV(t, name, text)
		case strings.HasSuffix(name, ".tex"):
			expectTeX(t, name, text)
		case strings.HasSuffix(name, ".md"):
			expectMarkdown(t, name, text)
		}
		if strings.HasSuffix(name, ".png") || strings.HasSuffix(name, ".html") {
			continue // photographs and scripts have anything in them
		}
		if strings.Contains(text, "%!") || strings.Contains(text, "NaN") {
			t.Errorf("%s has a figure that was not formatted", name)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(files["table1.csv"])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row []string, column string) string { return row[slices.Index(rows[0], column)] }
	found := false
	for _, row := range rows[1:] {
		if at(row, "block") == "recoverability" && at(row, "method") == paper.MethodPUSNet && at(row, "data_set") == "imagenet" && at(row, "key_pair") == "b" && at(row, "metric") == "psnr" {
			found = true
			for column, want := range map[string]float64{"mean": want.Mean, "std": want.Std, "ci95_low": want.CI95.Low, "ci95_high": want.CI95.High, "n": 6, "paper": 29.09, "training_seconds": 900, "parameters": 287008} {
				if got, err := strconv.ParseFloat(at(row, column), 64); err != nil || got != want {
					t.Errorf("table1.csv, %s: %q, want %v", column, at(row, column), want)
				}
			}
		}
	}
	if lines := len(rows) - 1; !found || lines != (8*4*2*6+4)*3 {
		t.Errorf("table1.csv has %d rows, and the one of PUSNet is there: %v", lines, found)
	}
	if !strings.Contains(files["table1.md"], "900 s, 4100 steps") || !strings.Contains(files["table1.md"], "500 epochs") {
		t.Error("the budgets are not in Table 1 itself")
	}
	for _, phrase := range []string{"not at hand", "| 37.97/37.92 |", "| 38.35/38.37 |", "Unrelated images"} {
		if !strings.Contains(files["table1.md"], phrase) {
			t.Errorf("table1.md does not say %q", phrase)
		}
	}
	if !strings.Contains(files["table1.tex"], `Mine\_2 \& 50\% \{x\}\textbar{}y`) || !strings.Contains(files["table1.md"], `Mine_2 & 50% {x}\|y`) {
		t.Error("a method's name is not escaped")
	}
}

// expectCSV wants as many columns in every row, and numbers where there is something in a column of numbers.
func expectCSV(t *testing.T, name, text string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // checks the number of columns
	if err != nil || len(rows) < 2 {
		t.Errorf("%s: %d rows, %v", name, len(rows), err)
		return
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if head := rows[0][i]; cell != "" && (strings.Contains(head, "mean") || strings.Contains(head, "ci95") || strings.HasPrefix(head, "paper")) {
				if _, err := strconv.ParseFloat(cell, 64); err != nil {
					t.Errorf("%s, %s: %q is no number", name, head, cell)
				}
			}
		}
	}
}

// expectTeX wants a whole document whose environments and braces match and whose rows have the columns that were declared.
func expectTeX(t *testing.T, name, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "\\documentclass{article}\n\\usepackage{booktabs}\n") || strings.Count(text, "\\usepackage") != 1 {
		t.Errorf("%s does not stand by itself with booktabs alone", name)
	}
	if a, b := strings.Count(text, "\\begin{"), strings.Count(text, "\\end{"); a != b {
		t.Errorf("%s begins %d environments and ends %d", name, a, b)
	}
	bare := strings.NewReplacer(`\\`, "", `\{`, "", `\}`, "", `\&`, "", `\%`, "").Replace(text)
	depth := 0
	for _, c := range bare {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 || strings.Contains(bare, "%") {
		t.Errorf("%s: braces are off by %d, or a line is cut by a comment", name, depth)
	}
	columns, tables := 0, 0
	for text := range strings.Lines(bare) {
		text = strings.TrimSuffix(text, "\n")
		switch {
		case strings.HasPrefix(text, "\\begin{tabular}"):
			columns = strings.Count(text, "l}")*0 + strings.Count(strings.TrimPrefix(text, "\\begin{tabular}"), "l") + strings.Count(strings.TrimPrefix(text, "\\begin{tabular}"), "r")
			tables++
		case strings.HasPrefix(text, "\\end{tabular}"):
			columns = 0
		case columns > 0 && !strings.HasPrefix(text, "\\"):
			if n := strings.Count(text, "&") + 1; n != columns {
				t.Errorf("%s: %d cells in a table of %d columns: %s", name, n, columns, text)
			}
		}
	}
	if tables == 0 {
		t.Errorf("%s has no table", name)
	}
}

// expectMarkdown wants tables whose rows have the columns of their head.
func expectMarkdown(t *testing.T, name, text string) {
	t.Helper()
	columns, tables := 0, 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") - 1
		if columns == 0 {
			columns, tables = n, tables+1
		}
		if n != columns {
			t.Errorf("%s: %d cells in a table of %d columns: %s", name, n, columns, line)
		}
	}
	if tables == 0 {
		t.Errorf("%s has no table", name)
	}
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	sets := []paper.DataSet{{Name: "bsds", AtHand: true}}
	run := made{set: "bsds", pairs: 2, keys: two, levels: good}.run(t)
	for name, c := range map[string]struct {
		study paper.Study
		says  string
	}{
		"a method twice":        {paper.Study{DataSets: sets, Rows: []paper.Row{{Method: "A"}, {Method: "A"}}}, "method A is there twice"},
		"no method":             {paper.Study{DataSets: sets, Rows: []paper.Row{{}}}, "has no method"},
		"a data set twice":      {paper.Study{DataSets: []paper.DataSet{{Name: "COCO"}, {Name: "coco"}}}, "coco is there twice"},
		"an unknown data set":   {paper.Study{DataSets: sets, Rows: []paper.Row{{Method: "A", Runs: map[string]paper.Run{"other": run}}}}, `on "other"`},
		"a gradient":            {paper.Study{DataSets: sets, Ablation: []paper.Ablated{{Gradient: "left"}}}, `"left"`},
		"an alpha":              {paper.Study{DataSets: sets, Grid: []paper.Scalability{{Keys: 2, Alpha: 2}}}, "2 keys at alpha 2"},
		"unknown, of a grid":    {paper.Study{DataSets: sets, Grid: []paper.Scalability{{Keys: 2, Alpha: 0.9, DataSet: "x", Run: run}}}, `on "x"`},
		"unknown, of ablations": {paper.Study{DataSets: sets, Ablation: []paper.Ablated{{Gradient: "right", Alpha: 0.9, Run: run}}}, `on ""`},
	} {
		if _, err := paper.Build(c.study); !errors.Is(err, paper.ErrStudy) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		}
	}
}
