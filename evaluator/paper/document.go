package paper

import (
	"fmt"
	"slices"
	"strings"
)

// section is a part of the report, the same in Markdown and in HTML.
type section struct {
	id, title          string
	paragraphs, points []string
	tables             []table
	figures            []drawing
}

// drawing is a figure in its two formats. One that could not be drawn has why and no bytes.
type drawing struct {
	name, caption, why string
	svg, png           []byte
	// small is a PNG for the page where the others are too large for it; nil where they are not.
	small []byte
}

// intervalNote says what the intervals are.
const intervalNote = "In brackets: the 95 % interval of the mean, Student's t on the image pairs. It says what other images would give with the same models."

// sections are the report in its order.
func (r *Report) sections(figures []drawing) []section {
	figure := func(prefix string) []drawing {
		return slices.DeleteFunc(slices.Clone(figures), func(d drawing) bool { return !strings.HasPrefix(d.name, prefix) })
	}
	return []section{
		r.atAGlance(), r.table1Section(), r.pairedSection(),
		{
			id: "fig-1", title: "Fig. 1: recovery features under right and wrong keys", figures: figure("fig1"),
			tables: []table{separationTable(r.Fig1)},
		},
		{id: "fig-3", title: "Fig. 3: stego and recovered images", figures: figure("fig3")},
		{id: "fig-4", title: "Fig. 4: what the keys a, b and a random one show", figures: figure("fig4")},
		r.fig5Section(figure("fig5")), r.ablationSection(), r.differencesSection(),
	}
}

func (r *Report) atAGlance() section {
	s := section{id: "at-a-glance", title: "At a glance", tables: []table{claimTable(r.Claims)}}
	sets := table{title: "Data sets", left: 4, head: []string{"data set", "at hand", "digest", "drawn", "pairs"}}
	for _, d := range r.Table1.DataSets {
		row := []string{d.Name, "yes", "-", "all", "-"}
		if !d.AtHand {
			row[1], row[3] = "no: "+d.Why, "-"
		} else {
			if d.Digest != "" {
				row[2] = fmt.Sprintf("%.12s", d.Digest)
			}
			if d.Sample != nil {
				row[3] = fmt.Sprintf("%d of %d, seed %d", d.Sample.Pairs, d.Sample.Of, d.Sample.Seed)
			}
			if d.Pairs > 0 {
				row[4] = fmt.Sprint(d.Pairs)
			}
		}
		sets.rows = append(sets.rows, row)
	}
	models := table{title: "Models and budgets", left: 4, head: []string{"method", "model", "digest", "keys act as", "parameters", "training", "images", "hardware"}}
	for _, m := range r.Table1.Methods {
		row := []string{m.Method, m.Model.Name, fmt.Sprintf("%.12s", m.Model.Digest), m.Model.Keying, m.Model.size(), m.Model.budget(), "-", "-"}
		if m.Why != "" {
			row[1] = m.Why
		}
		if row[3] == "" && m.Why == "" {
			row[3] = "weights"
		}
		if t := m.Model.Training; t != nil {
			row[6], row[7] = fmt.Sprint(t.Images), t.Hardware
		}
		models.rows = append(models.rows, row)
	}
	models.notes = []string{"Every model of the paper: " + printedBudget + "."}
	s.tables = append(s.tables, sets, models)
	if len(r.Missing) > 0 {
		s.paragraphs = append(s.paragraphs, "What is missing:")
		s.points = r.Missing
	}
	return s
}

func (r *Report) table1Section() section {
	s := section{
		id: "table-1", title: "Table 1",
		paragraphs: []string{
			"a is what the run's first key embeds, b what its second does; cross decoding of a: embedded with a, decoded with b. Means over the image pairs; PSNR in dB, MAE on [0,1]. The last table has standard deviations, n and 95 % intervals, as does table1.csv. Where the paper has no figure for a data set it says none.",
		},
	}
	for i := range r.Table1.Blocks {
		b := &r.Table1.Blocks[i]
		s.tables = append(s.tables, r.Table1.grid(b, r.Table1.setsOf(b)))
	}
	s.tables = append(s.tables, r.Table1.long())
	return s
}

// setsOf are the data sets of a block: those that are not at hand have no place in a block that the paper does not have.
func (t *Table1) setsOf(b *Block) []DataSet {
	if printedTable[b.Name] != nil {
		return t.DataSets
	}
	return slices.DeleteFunc(slices.Clone(t.DataSets), func(d DataSet) bool { return !d.AtHand })
}

func (r *Report) pairedSection() section {
	s := section{
		id: "paired", title: r.Reference + " against each other method, on the same image pairs",
		paragraphs: []string{fmt.Sprintf("%s less the other method, within each image pair. Won: the share of pairs on which %s is the better one: more alike in imperceptibility and recoverability, less alike in cross decoding. %s", r.Reference, r.Reference, intervalNote)},
	}
	for _, set := range r.Table1.DataSets {
		if t := pairedTable(r.Paired, set.Name); len(t.rows) > 0 {
			s.tables = append(s.tables, t)
		}
	}
	if n := 9 * len(r.Paired); n >= 20 {
		s.paragraphs = append(s.paragraphs, fmt.Sprintf("%d intervals: about one in twenty misses its mean by chance alone.", n))
	}
	if len(s.tables) == 0 {
		s.paragraphs = []string{"There are no two methods on one data set to compare, or " + r.Reference + " was not run."}
	}
	return s
}

func (r *Report) fig5Section(figures []drawing) section {
	s := section{
		id: "fig-5", title: "Fig. 5: number of keys and alpha", figures: figures,
		paragraphs: []string{"PSNR in dB / SSIM of what a key recovers; row: the key that embedded, column: the key that decoded. " + intervalNote},
		tables:     []table{scalability(r.Fig5)},
	}
	for i := range r.Fig5 {
		s.tables = append(s.tables, r.Fig5[i].table())
	}
	return s
}

func (r *Report) ablationSection() section {
	s := section{
		id: "ablation", title: "The gradient of the public code",
		paragraphs: []string{
			"The public code of PUSNet swaps weights in place between three forward passes and differentiates once, so that hiding and purifying are differentiated with the fill of recovery. The same method was trained with that gradient and with the right one, at the same budget.",
			intervalNote,
		},
		points: r.Ablation.Words,
	}
	if len(r.Ablation.Lines) > 0 {
		s.tables = r.Ablation.tables()
	}
	return s
}

func (r *Report) differencesSection() section {
	s := section{id: "differences", title: "Where ours differs from the paper, in which direction, and the likely cause", tables: []table{differenceTable(r.Differences)}}
	for _, set := range r.Table1.DataSets {
		if set.AtHand && !slices.ContainsFunc(printedSets, func(name string) bool { return strings.EqualFold(name, set.Name) }) {
			s.tables[0].notes = append(s.tables[0].notes, fmt.Sprintf("The paper has no figures for %s.", set.Name))
		}
	}
	if len(r.Differences) == 0 {
		s.tables = nil
		s.paragraphs = append(s.paragraphs, "No figure of the paper has one of ours beside it.")
	}
	for _, c := range r.Causes {
		for _, w := range c.Words {
			s.points = append(s.points, c.Method+": "+w)
		}
	}
	for _, n := range r.Notes {
		s.points = append(s.points, "On the printed figures: "+n)
	}
	return s
}

// markdown writes a section, its headings one level below level.
func (s *section) markdown(out *strings.Builder, level int) {
	heading := strings.Repeat("#", level)
	fmt.Fprintf(out, "\n%s %s\n", heading, markdownText(s.title))
	for _, p := range s.paragraphs {
		fmt.Fprintf(out, "\n%s\n", markdownText(p))
	}
	for i, p := range s.points {
		if i == 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(out, "- %s\n", markdownText(p))
	}
	for _, d := range s.figures {
		if d.why != "" {
			fmt.Fprintf(out, "\nNot drawn: %s.\n", markdownText(d.why))
			continue
		}
		fmt.Fprintf(out, "\n![%s](%s.svg)\n\n%s ([PNG](%s.png))\n", s.title, d.name, markdownText(d.caption), d.name)
	}
	for _, t := range s.tables {
		if t.title != "" {
			fmt.Fprintf(out, "\n%s# %s\n\n", heading, markdownText(t.title))
		}
		t.markdown(out)
	}
}

// markdown is the whole report.
func (r *Report) markdown(sections []section) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# The paper's evaluation, repeated\n\n")
	for _, line := range r.facts() {
		fmt.Fprintf(&out, "- %s: %s\n", line[0], markdownText(line[1]))
	}
	for _, s := range sections {
		s.markdown(&out, 2)
	}
	return out.String()
}

// facts stand over the report.
func (r *Report) facts() [][2]string {
	facts := [][2]string{{"paper", "Wei, Tseng, Lin, Tseng, Chen: Multi-user multi-key image steganography with key isolation"}}
	for _, f := range [][2]string{{"made by", r.Command}, {"date", r.Date}, {"compared with", r.Reference}} {
		if f[1] != "" {
			facts = append(facts, f)
		}
	}
	var sizes []string
	for _, row := range r.study.Rows {
		for _, run := range row.Runs {
			if g := run.Summary; g != nil {
				if size := fmt.Sprintf("%dx%d (%s)", g.Geometry.Width, g.Geometry.Height, g.Geometry.Resize); !slices.Contains(sizes, size) {
					sizes = append(sizes, size)
				}
			}
		}
	}
	slices.Sort(sizes)
	if len(sizes) > 0 {
		facts = append(facts, [2]string{"image size", strings.Join(sizes, ", ")})
	}
	return facts
}
