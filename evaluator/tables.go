package evaluator

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// block is one table of a report.
type block struct {
	title string
	head  table.Row
	rows  []table.Row
}

func (b block) writer() table.Writer {
	w := table.NewWriter()
	w.AppendHeader(b.head)
	w.AppendRows(b.rows)
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	var columns []table.ColumnConfig
	for i := 2; i <= len(b.head); i++ {
		columns = append(columns, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	return w
}

// metricHead is the head of every table of groups.
var metricHead = table.Row{"", "PSNR dB", "SSIM", "MAE", "RMSE", "n"}

func metricRow(name string, g Group) table.Row {
	if g.N == 0 {
		return table.Row{name, "-", "-", "-", "-", 0}
	}
	cell := func(format string, m Moments) string { return fmt.Sprintf(format+" ± "+format, m.Mean, m.Std) }
	return table.Row{name, cell("%.2f", g.PSNR), cell("%.3f", g.SSIM), cell("%.4f", g.MAE), cell("%.4f", g.RMSE), g.N}
}

// blocks are the tables of a run: the three blocks of the paper's Table 1, then what they are to be read
// against.
func (s *Summary) blocks() []block {
	all := []block{
		{"Imperceptibility (cover against stego)", metricHead, []table.Row{metricRow("stego", s.Imperceptibility)}},
		{"Recoverability (secret against recovered, matched key)", metricHead, []table.Row{metricRow("recovered", s.Recoverability)}},
		{"Cross decoding (what a wrong key shows; lower is better, the baseline is nothing at all)", metricHead, []table.Row{
			metricRow("mismatched key, against the secret", s.LeakageMismatched),
			metricRow("random key, against the secret", s.LeakageRandom),
			metricRow("baseline: cover against secret", s.BaselineCoverSecret),
			metricRow("mismatched key, against the cover", s.LeakageMismatchedCover),
			metricRow("random key, against the cover", s.LeakageRandomCover),
		}},
		{fmt.Sprintf("Purification (Gaussian noise, sigma %g of 255)", s.NoiseSigma), metricHead, []table.Row{
			metricRow("noisy", s.Noise), metricRow("purified", s.Purification),
		}},
	}
	return append(all,
		s.matrix("Recovered PSNR in dB: row = embedding key, column = decoding key", s.Confusion.PSNR, "%.2f"),
		s.matrix("Recovered SSIM: row = embedding key, column = decoding key", s.Confusion.SSIM, "%.3f"))
}

func (s *Summary) matrix(title string, cells [][]*float64, format string) block {
	b := block{title: title, head: table.Row{"embed \\ decode"}}
	for _, k := range s.Keys {
		b.head = append(b.head, k)
	}
	for i, k := range s.Keys {
		row := table.Row{k}
		for _, v := range cells[i] {
			if v == nil {
				row = append(row, "-")
				continue
			}
			row = append(row, fmt.Sprintf(format, *v))
		}
		b.rows = append(b.rows, row)
	}
	return b
}

// facts are the lines that stand over the tables.
func (s *Summary) facts() []string {
	lines := []string{
		fmt.Sprintf("run %s, model %s (%.12s)", s.Run, s.Model.Name, s.Model.Digest),
		fmt.Sprintf("%s: %d images, %d pairs, at %dx%d (%s); keys: %d, random keys: %d",
			s.Dataset.from(), s.Dataset.Images, s.Dataset.Pairs, s.Geometry.Width, s.Geometry.Height, s.Geometry.Resize, len(s.Keys), len(s.RandomKeys)),
		fmt.Sprintf("%d comparisons found in the cache, %d made, %.2f s, %.1f comparisons a second",
			s.Cache.Hits, s.Cache.Misses, s.ElapsedSeconds, s.ItemsPerSecond),
	}
	if !s.Model.Trained {
		lines = append(lines, "The model is NOT TRAINED (its weights are seed-initialised): the figures say nothing about the method.")
	}
	if n := len(s.Dataset.Failed); n > 0 {
		lines = append(lines, fmt.Sprintf("files that could not be used: %d (named at the end)", n))
	}
	if n := len(s.FailedItems); n > 0 {
		lines = append(lines, fmt.Sprintf("comparisons that FAILED: %d (named at the end)", n))
	}
	return lines
}

func (d Dataset) from() string {
	if d.Covers == "" {
		return d.Path
	}
	return fmt.Sprintf("%s (covers from %s)", d.Path, d.Covers)
}

// WriteText writes the tables for a terminal.
func (s *Summary) WriteText(w io.Writer) error {
	var out strings.Builder
	for _, line := range s.facts() {
		fmt.Fprintln(&out, line)
	}
	for _, b := range s.blocks() {
		fmt.Fprintf(&out, "\n%s\n%s\n", b.title, b.writer().Render())
	}
	writeFailed(&out, "Files that could not be used", "  %s: %s\n", s.Dataset.Failed)
	writeFailed(&out, "Comparisons that failed", "  %s: %s\n", s.FailedItems)
	_, err := io.WriteString(w, out.String())
	return err
}

// WriteMarkdown writes report.md.
func (s *Summary) WriteMarkdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Run %s\n\n", s.Run)
	for _, line := range s.facts() {
		fmt.Fprintf(&out, "- %s\n", line)
	}
	out.WriteString("\nMeans ± standard deviations over all pairs and keys. PSNR in dB (at most 100), MAE and RMSE on [0,1].\n")
	for _, b := range s.blocks() {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", b.title, b.writer().RenderMarkdown())
	}
	writeFailed(&out, "## Files that could not be used\n", "- `%s`: %s\n", s.Dataset.Failed)
	writeFailed(&out, "## Comparisons that failed\n", "- `%s`: %s\n", s.FailedItems)
	_, err := io.WriteString(w, out.String())
	return err
}

func writeFailed(out *strings.Builder, title, format string, list []Failed) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	for _, f := range list {
		fmt.Fprintf(out, format, f.Name, f.Reason)
	}
}
