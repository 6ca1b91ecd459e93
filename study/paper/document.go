package paper

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stegomq/report"
)

// intervalNote says what the intervals are.
const intervalNote = "In brackets: the 95 % interval of the mean, Student's t on the image pairs. It says what other images would give with the same models."

// Document is the report; its figures are drawn.
func (r *Report) Document() (*report.Document, error) {
	figures, err := r.figures()
	if err != nil {
		return nil, err
	}
	return &report.Document{
		Title: "The paper's evaluation, repeated", Subtitle: "Table 1, Fig. 1, 3, 4 and 5, paired comparisons and what differs",
		Generated: strings.Trim(r.Date+" "+r.Command, " "), Facts: r.facts(), Sections: append(r.sections(figures), r.items()), Room: maxPictures,
	}, nil
}

// sections are the report in its order.
func (r *Report) sections(figures []report.Figure) []report.Section {
	figure := func(prefix string) []report.Figure {
		return slices.DeleteFunc(slices.Clone(figures), func(d report.Figure) bool { return !strings.HasPrefix(d.Name, prefix) })
	}
	return []report.Section{
		r.atAGlance(), r.table1Section(), r.pairedSection(),
		{
			ID: "fig-1", Title: "Fig. 1: recovery features under right and wrong keys", Figures: figure("fig1"),
			Tables: []report.Table{separationTable(r.Fig1)},
		},
		{ID: "fig-3", Title: "Fig. 3: stego and recovered images", Figures: figure("fig3")},
		{ID: "fig-4", Title: "Fig. 4: what the keys a, b and a random one show", Figures: figure("fig4")},
		r.fig5Section(figure("fig5")), r.ablationSection(), r.differencesSection(),
	}
}

func (r *Report) atAGlance() report.Section {
	s := report.Section{ID: "at-a-glance", Title: "At a glance", Tables: []report.Table{claimTable(r.Claims)}}
	sets := report.Table{Title: "Data sets", Words: 4, Head: []string{"data set", "at hand", "digest", "drawn", "pairs"}}
	for _, d := range r.Table1.DataSets {
		row := []string{d.Name, "yes", cmp.Or(fmt.Sprintf("%.12s", d.Digest), "-"), "all", cmp.Or(whole(d.Pairs), "-")}
		switch {
		case !d.AtHand:
			row = []string{d.Name, "no: " + d.Why, "-", "-", "-"}
		case d.Sample != nil:
			row[3] = fmt.Sprintf("%d of %d, seed %d", d.Sample.Pairs, d.Sample.Of, d.Sample.Seed)
		}
		sets.Rows = append(sets.Rows, row)
	}
	models := report.Table{Title: "Models and budgets", Words: 4, Head: []string{"method", "model", "digest", "keys act as", "parameters", "published parameters", "training", "images", "hardware"}}
	for _, m := range r.Table1.Methods {
		row := []string{m.Method, m.Model.Name, fmt.Sprintf("%.12s", m.Model.Digest), m.Model.Keying, m.Model.size(), size(printed().Parameters[m.Method]), m.Model.budget(), "-", "-"}
		if m.Why != "" {
			row[1] = m.Why
		}
		if row[3] == "" && m.Why == "" {
			row[3] = "weights"
		}
		if t := m.Model.Training; t != nil {
			row[7], row[8] = fmt.Sprint(t.Images), t.Hardware
		}
		models.Rows = append(models.Rows, row)
	}
	models.Notes = []string{fmt.Sprintf("Every model of the paper: %s, tested at %dx%d. Published: in the public implementation, hiding and recovery together.", printedBudget, printedSide, printedSide)}
	s.Tables = append(s.Tables, sets, models)
	if len(r.Missing) > 0 {
		s.Paragraphs = append(s.Paragraphs, "What is missing:")
		s.Points = r.Missing
	}
	return s
}

func (r *Report) table1Section() report.Section {
	s := report.Section{
		ID: "table-1", Title: "Table 1",
		Paragraphs: []string{
			"a is what the run's first key embeds, b what its second does; cross decoding of a: embedded with a, decoded with b. Means over the image pairs; PSNR in dB, MAE on [0,1]. The last table has standard deviations, n and 95 % intervals, as does table1.csv. Where the paper has no figure for a data set it says none; what it prints for data sets that are not at hand is in table1.csv and table1.tex.",
		},
	}
	for i := range r.Table1.Blocks {
		b := &r.Table1.Blocks[i]
		s.Tables = append(s.Tables, r.Table1.grid(b, r.Table1.atHand()))
	}
	s.Tables = append(s.Tables, r.Table1.long())
	for _, of := range r.study.runs() {
		s.Matrices = append(s.Matrices, confusion(of.method+" on "+of.set, of.run))
	}
	return s
}

// atHand are the data sets that have columns, all where none is at hand: what the paper prints of the others is in table1.csv and table1.tex.
func (t *Table1) atHand() []DataSet {
	if sets := slices.DeleteFunc(slices.Clone(t.DataSets), func(d DataSet) bool { return !d.AtHand }); len(sets) > 0 {
		return sets
	}
	return t.DataSets
}

// setsOf are the data sets of a block in LaTeX: those that are not at hand have no place in a block that the paper does not have.
func (t *Table1) setsOf(b *Block) []DataSet {
	if printed().Table1[b.Name] != nil {
		return t.DataSets
	}
	return t.atHand()
}

func (r *Report) pairedSection() report.Section {
	s := report.Section{
		ID: "paired", Title: r.Reference + " against each other method, on the same image pairs",
		Paragraphs: []string{fmt.Sprintf("%s less the other method, within each image pair. Won: the share of pairs on which %s is the better one: more alike in imperceptibility and recoverability, less alike in cross decoding. %s", r.Reference, r.Reference, intervalNote)},
	}
	for _, set := range r.Table1.DataSets {
		if t := pairedTable(r.Paired, set.Name); len(t.Rows) > 0 {
			s.Tables = append(s.Tables, t)
		}
	}
	if n := 9 * len(r.Paired); n >= 20 {
		s.Paragraphs = append(s.Paragraphs, fmt.Sprintf("Of %d intervals, about one in twenty does not hold the true mean, by chance alone.", n))
	}
	if len(s.Tables) == 0 {
		s.Paragraphs = []string{"There are no two methods on one data set to compare, or " + r.Reference + " was not run."}
	}
	return s
}

func (r *Report) fig5Section(figures []report.Figure) report.Section {
	s := report.Section{
		ID: "fig-5", Title: "Fig. 5: number of keys and alpha", Figures: figures,
		Paragraphs: []string{"PSNR in dB / SSIM of what a key recovers; row: the key that embedded, column: the key that decoded. " + intervalNote},
		Tables:     []report.Table{scalability(r.Fig5)},
	}
	for i := range r.Fig5 {
		m := &r.Fig5[i]
		s.Tables = append(s.Tables, m.table())
		if m.Why != "" {
			continue
		}
		shown := confusion(m.name(), m.Run)
		if m.PaperDiagonal != nil {
			shown.Note += fmt.Sprintf(" The paper: diagonal %s, off the diagonal %s dB.", m.PaperDiagonal.text(), m.PaperOffDiagonal.text())
		} else {
			shown.Note += " Not in the paper."
		}
		s.Matrices = append(s.Matrices, shown)
	}
	return s
}

func (r *Report) ablationSection() report.Section {
	s := report.Section{
		ID: "ablation", Title: "The gradient of the public code",
		Paragraphs: []string{
			"The public code of PUSNet changes weights in place between three forward passes and differentiates once: it differentiates hiding and purifying with the weights of recovery. The same method was trained with that gradient and with the right one, at the same budget. The intervals say what other images would give, not what another training would.",
			intervalNote,
		},
		Tables: r.Ablation.tables(),
	}
	if len(r.Ablation.Lines) == 0 {
		s.Points, s.Tables = []string{"No models of the gradient ablation were given."}, nil
	}
	return s
}

func (r *Report) differencesSection() report.Section {
	s := report.Section{ID: "differences", Title: "Where ours differs from the paper, and in which direction", Tables: []report.Table{differenceTable(r.Differences)}}
	for _, set := range r.Table1.DataSets {
		if set.AtHand && !slices.ContainsFunc(printedSets, func(name string) bool { return strings.EqualFold(name, set.Name) }) {
			s.Tables[0].Notes = append(s.Tables[0].Notes, fmt.Sprintf("The paper has no figures for %s.", set.Name))
		}
	}
	if len(r.Differences) == 0 {
		s.Tables = nil
		s.Paragraphs = append(s.Paragraphs, "No figure of the paper has one of ours beside it.")
	}
	return s
}

// facts stand over the report.
func (r *Report) facts() []report.Fact {
	facts := []report.Fact{
		{Name: "paper", Value: "Wei, Tseng, Lin, Tseng, Chen: Multi-user multi-key image steganography with key isolation"},
		{Name: "made by", Value: r.Command}, {Name: "date", Value: r.Date}, {Name: "compared with", Value: r.Reference},
	}
	var sizes []string
	for _, row := range r.study.Rows {
		for _, run := range row.Runs {
			if g := run.Summary; g != nil {
				sizes = append(sizes, g.Geometry.Text())
			}
		}
	}
	slices.Sort(sizes)
	facts = append(facts, report.Fact{Name: "image size", Value: strings.Join(slices.Compact(sizes), ", ")})
	return slices.DeleteFunc(facts, func(f report.Fact) bool { return f.Value == "" })
}
