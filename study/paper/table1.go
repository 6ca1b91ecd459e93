package paper

import (
	"fmt"
	"slices"
	"strconv"

	"stegomq/report"
	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

// The blocks of Table 1, as they are called in its files.
const (
	blockImperceptibility = "imperceptibility"
	blockRecoverability   = "recoverability"
	blockCross            = "cross_decoding"
	blockCrossCover       = "cross_decoding_cover"
	blockRandom           = "random_key"
	blockRandomCover      = "random_key_cover"
)

// blockKind says what a block compares.
type blockKind struct {
	name, title string
	role        schemas.Role
	of          func(*study.Summary) study.Group
	// better is +1 where more likeness is better, -1 where less is.
	better float64
}

// blockKinds are the paper's three blocks, and then those that they are compared with.
var blockKinds = []blockKind{
	{blockImperceptibility, "Imperceptibility: cover against stego", schemas.Imperceptibility,
		func(s *study.Summary) study.Group { return s.Imperceptibility }, +1},
	{blockRecoverability, "Recoverability: secret against what the matched key recovers", schemas.Recoverability,
		func(s *study.Summary) study.Group { return s.Recoverability }, +1},
	{blockCross, "Cross decoding: secret against what the other key recovers", schemas.Leakage(schemas.Reader_READER_MISMATCHED),
		func(s *study.Summary) study.Group { return s.LeakageMismatched }, -1},
	{blockCrossCover, "Cross decoding: cover against what the other key recovers", schemas.LeakageCover(schemas.Reader_READER_MISMATCHED),
		func(s *study.Summary) study.Group { return s.LeakageMismatchedCover }, +1},
	{blockRandom, "Random keys: secret against what an unregistered key recovers", schemas.Leakage(schemas.Reader_READER_RANDOM),
		func(s *study.Summary) study.Group { return s.LeakageRandom }, -1},
	{blockRandomCover, "Random keys: cover against what an unregistered key recovers", schemas.LeakageCover(schemas.Reader_READER_RANDOM),
		func(s *study.Summary) study.Group { return s.LeakageRandomCover }, +1},
}

// paperBlocks are the blocks that the paper has.
var paperBlocks = blockKinds[:3]

// methodUnrelated is the line of cover against secret: two images that have nothing to do with each other.
const methodUnrelated = "unrelated images"

// Why there is no figure.
const (
	whyNotAtHand = "not at hand"
	whyNotRun    = "not run"
	whyOneKey    = "one key only"
	whyNoRandom  = "no random keys"
	whyNoScores  = "no scores"
	whyRefused   = string(schemas.EndRefused)
)

// Table1 is the paper's Table 1, ours and the printed one.
type Table1 struct {
	DataSets []DataSet `json:"data_sets"`
	Methods  []Row     `json:"methods"`
	Blocks   []Block   `json:"blocks"`
}

// Block is one of the table's blocks.
type Block struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Lines are there for every method, data set and key pair.
	Lines []Line `json:"lines"`
}

// Line is a method on a data set with a key pair: a is what the run's first key embeds, b what its second does.
type Line struct {
	Method    string `json:"method"`
	DataSet   string `json:"data_set"`
	KeyPair   string `json:"key_pair"`
	EmbedKey  string `json:"embed_key,omitempty"`
	DecodeKey string `json:"decode_key,omitempty"`
	// Why says why there is no figure of ours; empty where there is one.
	Why string `json:"why,omitempty"`
	// N counts the scores, Items the image pairs that they are of.
	N     int `json:"n"`
	Items int `json:"items"`
	// Refused counts the images that recovery refused, of N + Refused, which are in no mean. Where it refused all, Why says so.
	Refused int    `json:"refused,omitempty"`
	PSNR    Figure `json:"psnr"`
	SSIM    Figure `json:"ssim"`
	MAE     Figure `json:"mae"`
	// Worst is the image pair of the least PSNR, or in blocks where more likeness is worse, of the largest.
	Worst *Worst `json:"worst_psnr,omitempty"`
	// Excess is the PSNR less that of the same pair's cover against its secret, in dB: what a wrong key shows beyond what any
	// other image would.
	Excess *stats.Moments `json:"excess_psnr,omitempty"`
	// ExcessMax is the largest of it, of one image pair and key.
	ExcessMax float64 `json:"excess_psnr_max,omitempty"`
}

// Worst is the worst case of a line, in dB.
type Worst struct {
	PSNR float64 `json:"psnr"`
	Item string  `json:"item"`
}

// Figure is a mean of ours beside the one that the paper prints. PSNR is in dB and at most 100, MAE on [0,1].
type Figure struct {
	Ours  *stats.Moments `json:"ours"`
	Paper *float64       `json:"paper"`
}

// metric is a figure of a line with the way it is written.
type metric struct {
	name, head, format string
	of                 func(*Line) *Figure
}

var metrics = []metric{
	{"psnr", "PSNR", "%.2f", func(l *Line) *Figure { return &l.PSNR }},
	{"ssim", "SSIM", "%.3f", func(l *Line) *Figure { return &l.SSIM }},
	{"mae", "MAE", "%.3f", func(l *Line) *Figure { return &l.MAE }},
}

// table1 makes the table.
func (s *Study) table1() Table1 {
	t := Table1{DataSets: s.dataSets(), Methods: []Row{}, Blocks: []Block{}}
	for _, kind := range blockKinds {
		t.Blocks = append(t.Blocks, Block{Name: kind.name, Title: kind.title, Lines: []Line{}})
	}
	for _, row := range s.rows() {
		if len(row.Runs) == 0 && row.Why == "" {
			row.Why = whyNotRun
		}
		t.Methods = append(t.Methods, row)
		for _, set := range t.DataSets {
			run := row.Runs[set.Name]
			of := run.byPair()
			for i, kind := range blockKinds {
				for p, name := range []string{"a", "b"} {
					line := Line{Method: row.Method, DataSet: set.Name, KeyPair: name}
					switch {
					case !set.AtHand:
						line.Why = whyNotAtHand
					case !run.Made():
						line.Why = whyNotRun
					default:
						line.measure(kind, run, p, of[p])
					}
					line.print(kind.name, p)
					t.Blocks[i].Lines = append(t.Blocks[i].Lines, line)
				}
			}
		}
	}
	cross := t.block(blockCross)
	for _, set := range t.DataSets {
		cross.Lines = append(cross.Lines, s.unrelated(set))
	}
	return t
}

// measure puts in what a key pair measured, or why there is nothing. The summary is nil where the run has no such pair.
func (l *Line) measure(kind blockKind, run Run, number int, sum *study.Summary) {
	if sum == nil {
		l.Why = whyOneKey
		return
	}
	p := run.pairs()[number]
	l.EmbedKey = p.Embed
	switch kind.name {
	case blockRecoverability:
		l.DecodeKey = p.Embed
	case blockCross, blockCrossCover:
		if l.DecodeKey = p.Wrong; p.Wrong == "" {
			l.Why = whyOneKey
			return
		}
	case blockRandom, blockRandomCover:
		if len(run.Summary.RandomKeys) == 0 {
			l.Why = whyNoRandom
			return
		}
		l.DecodeKey = "random"
	}
	l.put(kind.of(sum), kind.better)
}

// put takes over the means of a group, and its worst case where better says which likeness is better.
func (l *Line) put(g study.Group, better float64) {
	l.Refused = g.Refused
	if g.N == 0 {
		l.Why = pick(g.Refused > 0, whyRefused, whyNoScores)
		return
	}
	l.N, l.Items = g.N, g.Items
	l.PSNR.Ours, l.SSIM.Ours, l.MAE.Ours = &g.PSNR.Moments, &g.SSIM.Moments, &g.MAE.Moments
	l.Worst = &Worst{g.PSNR.Min, g.PSNR.MinOf.Item}
	if better < 0 {
		l.Worst = &Worst{g.PSNR.Max, g.PSNR.MaxOf.Item}
	}
	if g.Excess != nil {
		l.Excess, l.ExcessMax = &g.Excess.PSNR.Moments, g.Excess.PSNR.Max
	}
}

// print puts the paper's figures beside ours.
func (l *Line) print(block string, pair int) {
	if c, ok := printedAt(block, l.Method, l.DataSet); ok {
		l.PSNR.Paper, l.SSIM.Paper, l.MAE.Paper = &c.PSNR[pair], &c.SSIM[pair], &c.MAE[pair]
	}
}

// unrelated is the line of cover against secret. It is the same for every method on the same pairs, and is taken from the reference, or else
// from the first method that has it.
func (s *Study) unrelated(set DataSet) Line {
	l := Line{Method: methodUnrelated, DataSet: set.Name, KeyPair: "a", Why: whyNotRun}
	if !set.AtHand {
		l.Why = whyNotAtHand
		return l
	}
	for _, run := range append([]Run{s.run(reference, set.Name)}, s.runsOn(set.Name)...) {
		if run.Made() && run.Summary.BaselineCoverSecret.N > 0 {
			l.Why = ""
			l.put(run.Summary.BaselineCoverSecret, -1)
			break
		}
	}
	return l
}

func (t *Table1) block(name string) *Block {
	for i := range t.Blocks {
		if t.Blocks[i].Name == name {
			return &t.Blocks[i]
		}
	}
	return nil
}

// line finds a line, nil where there is none.
func (b *Block) line(method, set, keyPair string) *Line {
	for i := range b.Lines {
		if l := &b.Lines[i]; l.Method == method && l.DataSet == set && l.KeyPair == keyPair {
			return l
		}
	}
	return nil
}

// text writes one figure of ours; a word where there is none.
func (m metric) text(l *Line) string {
	if f := m.of(l); f.Ours != nil {
		return fmt.Sprintf(m.format, f.Ours.Mean)
	}
	return l.Why
}

// ours writes a/b.
func (m metric) ours(a, b *Line) string {
	if a.Why != "" && a.Why == b.Why {
		return a.Why
	}
	return m.text(a) + "/" + m.text(b)
}

// paper writes the printed a/b, or "none".
func (m metric) paper(a, b *Line) string {
	fa, fb := m.of(a), m.of(b)
	if fa.Paper == nil || fb.Paper == nil {
		return "none"
	}
	return fmt.Sprintf(m.format+"/"+m.format, *fa.Paper, *fb.Paper)
}

// grid is a block in the paper's form for some data sets: two rows for a method, ours and the paper's.
func (t *Table1) grid(b *Block, sets []DataSet) report.Table {
	out := report.Table{Title: b.Title, Words: 4, Head: []string{"method", "", "training", "parameters"}}
	for _, set := range sets {
		for _, m := range metrics {
			out.Head = append(out.Head, set.Name+" "+m.head)
		}
	}
	for _, method := range t.Methods {
		ours := []string{method.Method, "ours", method.Model.budget(), method.Model.size()}
		if method.Why != "" {
			ours[2], ours[3] = method.Why, "-"
		}
		theirs := []string{method.Method, "paper", printedBudget, "-"}
		for _, set := range sets {
			x, y := b.line(method.Method, set.Name, "a"), b.line(method.Method, set.Name, "b")
			for _, m := range metrics {
				ours = append(ours, m.ours(x, y))
				theirs = append(theirs, m.paper(x, y))
			}
		}
		out.Rows = append(out.Rows, ours)
		if _, there := printed().Table1[b.Name][method.Method]; there {
			out.Rows = append(out.Rows, theirs)
		}
	}
	out.Notes = append(out.Notes, b.refusals(sets)...)
	if b.Name == blockCross {
		row := []string{methodUnrelated, "ours", "-", "-"}
		for _, set := range sets {
			for _, m := range metrics {
				row = append(row, m.text(b.line(methodUnrelated, set.Name, "a")))
			}
		}
		out.Rows = append(out.Rows, row)
		out.Notes = append(out.Notes, "Unrelated images: cover against secret. A wrong key that shows no more than this shows nothing of the secret.")
	}
	return out
}

// refusals says of which lines of a block images were refused.
func (b *Block) refusals(sets []DataSet) []string {
	var notes []string
	all := false
	for _, l := range b.Lines {
		switch in := slices.ContainsFunc(sets, func(d DataSet) bool { return d.Name == l.DataSet }); {
		case !in || l.Refused == 0:
		case l.Why == whyRefused:
			all = true
		default:
			notes = append(notes, fmt.Sprintf("%s on %s, key pair %s: %s images were refused; the means are over the rest.", l.Method, l.DataSet, l.KeyPair, l.refused()))
		}
	}
	if all {
		notes = append(notes, "Refused: recovery is authenticated and gave no image, so that there is nothing to measure.")
	}
	return notes
}

// refused is "3 of 48".
func (l *Line) refused() string { return fmt.Sprintf("%d of %d", l.Refused, l.N+l.Refused) }

// long is every figure of ours with its deviation, interval and n.
func (t *Table1) long() report.Table {
	out := report.Table{
		Title: "Table 1 in full: mean ± standard deviation [95 % interval of the mean], n scores", Words: 4,
		Head:  []string{"block", "method", "data set", "key pair", "PSNR", "SSIM", "MAE", "worst PSNR (pair)", "n"},
		Notes: []string{intervalNote, "Worst: the least, and in cross decoding and of random keys, against the secret, the largest."},
	}
	for _, b := range t.Blocks {
		for _, l := range b.Lines {
			if l.Why != "" && l.Why != whyRefused {
				continue
			}
			row := []string{blockTitle(b.Name), l.Method, l.DataSet, l.KeyPair}
			for _, m := range metrics {
				if f := m.of(&l); f.Ours != nil {
					row = append(row, f.Ours.Text(m.format))
				} else {
					row = append(row, l.Why)
				}
			}
			worst, n := "-", fmt.Sprint(l.N)
			if l.Worst != nil {
				worst = fmt.Sprintf("%.2f (%s)", l.Worst.PSNR, l.Worst.Item)
			}
			if l.Refused > 0 {
				n += ", refused " + l.refused()
			}
			out.Rows = append(out.Rows, append(row, worst, n))
		}
	}
	return out
}

// rows are table1.csv: a row for each block, method, data set, key pair and metric.
func (t *Table1) rows() [][]string {
	rows := [][]string{{
		"block", "method", "data_set", "key_pair", "embed_key", "decode_key", "metric", "mean", "std", "ci95_low", "ci95_high", "n", "items", "refused",
		"paper", "why_not", "model", "parameters", "training_seconds", "training_steps", "training_images", "worst", "worst_pair", // of PSNR
	}}
	models := make(map[string]Model)
	for _, m := range t.Methods {
		models[m.Method] = m.Model
	}
	for _, b := range t.Blocks {
		for _, l := range b.Lines {
			model := models[l.Method]
			for _, m := range metrics {
				f, worst := m.of(&l), []string{"", ""}
				if l.Worst != nil && m.name == "psnr" {
					worst = []string{report.Exact(l.Worst.PSNR), l.Worst.Item}
				}
				rows = append(rows, slices.Concat(
					[]string{b.Name, l.Method, l.DataSet, l.KeyPair, l.EmbedKey, l.DecodeKey, m.name}, measured(f.Ours),
					[]string{strconv.Itoa(l.N), strconv.Itoa(l.Items), strconv.Itoa(l.Refused), optional(f.Paper), l.Why, model.Name, whole(model.Parameters)},
					model.Training.cells(), worst,
				))
			}
		}
	}
	return rows
}
