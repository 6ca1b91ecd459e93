package report

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// words is how many columns are words.
func (t *Table) words() int { return max(t.Words, 1) }

// Text is the table with its notes for a terminal.
func (t *Table) Text() string {
	w := table.NewWriter()
	row := func(cells []string) (r table.Row) {
		for _, c := range cells {
			r = append(r, c)
		}
		return r
	}
	w.AppendHeader(row(t.Head))
	for _, cells := range t.Rows {
		w.AppendRow(row(cells))
	}
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	var columns []table.ColumnConfig
	for i := t.words() + 1; i <= len(t.Head); i++ {
		columns = append(columns, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	out := w.Render() + "\n"
	for _, n := range t.Notes {
		out += "  " + n + "\n"
	}
	return out
}

// Markdown is the table with its notes, every row on one line.
func (t *Table) Markdown() string {
	var out strings.Builder
	cells := func(row []string) {
		for _, c := range row {
			fmt.Fprintf(&out, "| %s ", markdown(c))
		}
		out.WriteString("|\n")
	}
	cells(t.Head)
	for i := range t.Head {
		if i < t.words() {
			out.WriteString("|---")
		} else {
			out.WriteString("|---:")
		}
	}
	out.WriteString("|\n")
	for _, row := range t.Rows {
		cells(row)
	}
	out.WriteString(list(t.Notes))
	return out.String()
}

// markdownEscapes take the meaning off the characters that end a cell or begin markup: names come from users. A bracket means
// something before another one or a parenthesis alone, and so intervals stay as they are.
var markdownEscapes = strings.NewReplacer("\\", "\\\\", "|", "\\|", "\n", " ", "\r", " ", "*", "\\*", "<", "&lt;", "](", "\\](", "][", "\\][")

// edgeUnderscore is an underscore that might begin or end emphasis: one within a word does not.
var edgeUnderscore = regexp.MustCompile(`\b_|_\b`)

func markdown(s string) string {
	return edgeUnderscore.ReplaceAllString(markdownEscapes.Replace(s), `\_`)
}

// list is an empty line and a list; nothing for no points.
func list(points []string) string {
	var out strings.Builder
	for i, p := range points {
		if i == 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "- %s\n", markdown(p))
	}
	return out.String()
}

// tex writes the table as a tabular of booktabs.
func (t *Table) tex(out *strings.Builder) {
	fmt.Fprintf(out, "\\begin{tabular}{@{}%s%s@{}}\n\\toprule\n", strings.Repeat("l", t.words()), strings.Repeat("r", len(t.Head)-t.words()))
	cells := func(row []string) {
		for i, c := range row {
			if i > 0 {
				out.WriteString(" & ")
			}
			out.WriteString(tex(c))
		}
		out.WriteString(" \\\\\n")
	}
	cells(t.Head)
	out.WriteString("\\midrule\n")
	for i, row := range t.Rows {
		// Lines with the same first column belong together.
		if i > 0 && t.words() > 1 && row[0] != t.Rows[i-1][0] {
			out.WriteString("\\addlinespace[2pt]\n")
		}
		cells(row)
	}
	out.WriteString("\\bottomrule\n\\end{tabular}\n")
}

// texEscapes let LaTeX set text as it is. Brackets are wrapped, because one that begins a line would be read as the argument of
// the line break before it.
var texEscapes = strings.NewReplacer(
	"\\", "\\textbackslash{}", "{", "\\{", "}", "\\}", "&", "\\&", "%", "\\%", "$", "\\$", "#", "\\#", "_", "\\_",
	"~", "\\textasciitilde{}", "^", "\\textasciicircum{}", "<", "$<$", ">", "$>$", "|", "\\textbar{}", "\"", "''",
	"[", "{[}", "]", "{]}", "±", "$\\pm$", "\n", " ", "\r", " ",
)

func tex(s string) string { return texEscapes.Replace(s) }

// TeX is a document of tables, one on a page, which needs booktabs and nothing else. The caption stands before the title of each.
func TeX(caption string, tables []Table) string {
	var out strings.Builder
	out.WriteString("\\documentclass{article}\n\\usepackage{booktabs}\n")
	// Room for wide tables without a package.
	out.WriteString("\\setlength{\\oddsidemargin}{-0.6in}\\setlength{\\textwidth}{7.6in}\\setlength{\\tabcolsep}{3pt}\n\\begin{document}\n")
	for _, t := range tables {
		size := "\\scriptsize"
		if len(t.Head) > 8 {
			size = "\\tiny"
		}
		fmt.Fprintf(&out, "\\begin{table}[p]\n\\centering%s\n\\caption{%s. %s.}\n", size, tex(caption), tex(t.Title))
		t.tex(&out)
		for _, n := range t.Notes {
			fmt.Fprintf(&out, "\\par\\smallskip %s\n", tex(n))
		}
		out.WriteString("\\end{table}\n\\clearpage\n") // LaTeX holds few tables back
	}
	out.WriteString("\\end{document}\n")
	return out.String()
}

// class is how a page sets a cell apart.
func (t Table) class(row []string, column int) Class {
	if t.Class != nil {
		return t.Class(row, column)
	}
	if row[column] == "-" {
		return Missing
	}
	return Plain
}

// numeric says for each column whether a page sets its cells flush right: not the first, and others where every cell begins
// as a number does, or is a dash.
func (t Table) numeric() []bool {
	numeric := make([]bool, len(t.Head))
	for column := 1; column < len(t.Head); column++ {
		numeric[column] = true
		for _, row := range t.Rows {
			if s := row[column]; s != "" && !strings.ContainsRune("0123456789.+-−–—±∞<>~≈(", []rune(s)[0]) {
				numeric[column] = false
			}
		}
	}
	return numeric
}
