package paper

import (
	"fmt"
	"strings"
)

// table is one table of the report, the same in every format.
type table struct {
	title string
	head  []string
	rows  [][]string
	notes []string // lines below it
	left  int      // how many of the columns are words
}

// markdown writes the table without its title.
func (t table) markdown(out *strings.Builder) {
	cells := func(row []string) {
		for _, c := range row {
			fmt.Fprintf(out, "| %s ", markdownText(c))
		}
		out.WriteString("|\n")
	}
	cells(t.head)
	for i := range t.head {
		if i < t.left {
			out.WriteString("|---")
		} else {
			out.WriteString("|---:")
		}
	}
	out.WriteString("|\n")
	for _, row := range t.rows {
		cells(row)
	}
	for _, n := range t.notes {
		fmt.Fprintf(out, "\n%s\n", markdownText(n))
	}
}

var markdownEscapes = strings.NewReplacer("\\", "\\\\", "|", "\\|", "\n", " ", "\r", " ", "*", "\\*", "_", "\\_", "`", "\\`", "<", "&lt;", "[", "\\[")

// markdownText takes the meaning off the characters that end a cell or begin markup: names come from users.
func markdownText(s string) string { return markdownEscapes.Replace(s) }

// tex writes the table as a tabular of booktabs.
func (t table) tex(out *strings.Builder) {
	columns := strings.Repeat("l", t.left) + strings.Repeat("r", len(t.head)-t.left)
	fmt.Fprintf(out, "\\begin{tabular}{@{}%s@{}}\n\\toprule\n", columns)
	cells := func(row []string) {
		for i, c := range row {
			if i > 0 {
				out.WriteString(" & ")
			}
			out.WriteString(texText(c))
		}
		out.WriteString(" \\\\\n")
	}
	cells(t.head)
	out.WriteString("\\midrule\n")
	for i, row := range t.rows {
		// The lines of a method belong together.
		if i > 0 && t.left > 1 && row[0] != t.rows[i-1][0] {
			out.WriteString("\\addlinespace[2pt]\n")
		}
		cells(row)
	}
	out.WriteString("\\bottomrule\n\\end{tabular}\n")
}

var texEscapes = strings.NewReplacer(
	"\\", "\\textbackslash{}", "{", "\\{", "}", "\\}", "&", "\\&", "%", "\\%", "$", "\\$", "#", "\\#", "_", "\\_",
	"~", "\\textasciitilde{}", "^", "\\textasciicircum{}", "<", "$<$", ">", "$>$", "|", "\\textbar{}", "\"", "''",
	"[", "{[}", "]", "{]}", "±", "$\\pm$", "\n", " ", "\r", " ",
)

// texText writes text so that LaTeX sets it as it is. Brackets are wrapped, because one that begins a line would be read
// as the argument of the line break before it.
func texText(s string) string { return texEscapes.Replace(s) }

// texDocument is a document of tables, one on a page: it needs booktabs and nothing else.
func texDocument(caption string, tables []table) string {
	var out strings.Builder
	out.WriteString("\\documentclass{article}\n\\usepackage{booktabs}\n")
	// Room for wide tables without a package.
	out.WriteString("\\setlength{\\oddsidemargin}{-0.6in}\\setlength{\\textwidth}{7.6in}\\setlength{\\tabcolsep}{3pt}\n\\begin{document}\n")
	for _, t := range tables {
		size := pick(len(t.head) > 8, "\\tiny", "\\scriptsize")
		fmt.Fprintf(&out, "\\begin{table}[p]\n\\centering%s\n\\caption{%s. %s.}\n", size, texText(caption), texText(t.title))
		t.tex(&out)
		for _, n := range t.notes {
			fmt.Fprintf(&out, "\\par\\smallskip %s\n", texText(n))
		}
		out.WriteString("\\end{table}\n\\clearpage\n") // LaTeX holds few tables back
	}
	out.WriteString("\\end{document}\n")
	return out.String()
}
