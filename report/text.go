package report

import (
	"fmt"
	"slices"
	"strings"
)

// Text is the document for a terminal: without figures and drawings.
func (d *Document) Text() string {
	var out strings.Builder
	for _, f := range d.Facts {
		out.WriteString(f.text() + "\n")
	}
	for _, p := range d.Paragraphs {
		out.WriteString(p + "\n")
	}
	for i := range d.Sections {
		s := &d.Sections[i]
		if len(s.Drawings) > 0 {
			continue
		}
		if s.Title != "" {
			fmt.Fprintf(&out, "\n%s\n", s.Title)
		} else {
			out.WriteString("\n")
		}
		for _, p := range slices.Concat(s.Paragraphs, s.Points) {
			fmt.Fprintf(&out, "  %s\n", p)
		}
		for _, f := range s.Findings {
			fmt.Fprintf(&out, "%-8s  %s\n", f.Outcome, f.Title)
			for _, line := range wrapped(f.Text, 110) {
				fmt.Fprintf(&out, "          %s\n", line)
			}
		}
		for _, t := range s.Tables {
			if t.Title != "" {
				out.WriteString("\n" + t.Title + "\n")
			}
			out.WriteString(t.Text())
		}
	}
	return out.String()
}

// text is the fact on one line.
func (f Fact) text() string {
	if f.Name == "" {
		return f.Value
	}
	return f.Name + ": " + f.Value
}

// wrapped breaks a text into lines of at most so many characters, but never within a word.
func wrapped(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// Markdown is the document in Markdown, without items. Figures are links to their files.
func (d *Document) Markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", markdown(d.Title))
	var facts []string
	for _, f := range d.Facts {
		facts = append(facts, f.text())
	}
	out.WriteString(list(facts))
	for _, p := range d.Paragraphs {
		fmt.Fprintf(&out, "\n%s\n", markdown(p))
	}
	for i := range d.Sections {
		if d.Sections[i].Items == nil { // the rows are in a file of their own
			out.WriteString("\n" + d.Sections[i].markdown(2))
		}
	}
	return out.String()
}

// Markdown is the section as a document of its own.
func (s *Section) Markdown() string { return s.markdown(1) }

// markdown writes the section with a heading of a level.
func (s *Section) markdown(level int) string {
	var out strings.Builder
	heading := strings.Repeat("#", level)
	fmt.Fprintf(&out, "%s %s\n", heading, markdown(s.Title))
	for _, p := range s.Paragraphs {
		fmt.Fprintf(&out, "\n%s\n", markdown(p))
	}
	out.WriteString(list(s.Points))
	if len(s.Findings) > 0 {
		out.WriteString("\n| test | finding | |\n|---|---|---|\n")
	}
	for _, f := range s.Findings {
		fmt.Fprintf(&out, "| %s | **%s** | %s |\n", markdown(f.Title), markdown(f.Outcome), markdown(f.Text))
	}
	for _, f := range s.Figures {
		if f.Why != "" {
			fmt.Fprintf(&out, "\nNot drawn: %s.\n", markdown(f.Why))
			continue
		}
		fmt.Fprintf(&out, "\n![%s](%s.svg)\n\n%s ([PNG](%s.png))\n", markdown(s.Title), f.Name, markdown(f.Caption), f.Name)
	}
	for _, t := range s.Tables {
		if t.Title != "" && t.Title != s.Title {
			fmt.Fprintf(&out, "\n%s# %s\n", heading, markdown(t.Title))
		}
		out.WriteString("\n" + t.Markdown())
	}
	for _, drawing := range s.Drawings {
		fmt.Fprintf(&out, "\n```\n%s```\n", drawing)
	}
	return out.String()
}
