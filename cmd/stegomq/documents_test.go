package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	block    = regexp.MustCompile("(?ms)^```(?:sh)?\n(.*?)^```$")
	inline   = regexp.MustCompile("`(?:\\.bin/)?(stegomq [^`\n]+)`")
	remark   = regexp.MustCompile(`\s+#\s.*$`)
	setting  = regexp.MustCompile(`^(?:[A-Z_]+=\S*\s+)+`)
	target   = regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*)")
	redirect = regexp.MustCompile(`\s[<>|].*$`)
)

// documents are the files that tell people what to type, by their paths. The changelog tells of what is gone, too.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "ops/*.md", "trainer/*.md", "models/*/README.md", "clients/*/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(file) != "CHANGELOG.md" {
				texts[file] = string(text)
			}
		}
	}
	if len(texts) < 20 {
		t.Fatalf("there are %d documents: the patterns of this test are wrong", len(texts))
	}
	return texts
}

// typed are the stegomq commands that a document tells to type, in blocks and in sentences.
func typed(text string) (commands []string) {
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(strings.ReplaceAll(m[1], "\\\n", " ")) {
			line = setting.ReplaceAllString(strings.TrimSpace(remark.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")), "")
			if line = strings.TrimPrefix(line, ".bin/"); strings.HasPrefix(line, "stegomq ") {
				commands = append(commands, line)
			}
		}
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		if !strings.ContainsAny(m[1], "|…") && !strings.Contains(m[1], "...") && !strings.HasPrefix(m[1], "stegomq COMMAND") {
			commands = append(commands, m[1])
		}
	}
	return commands
}

// Every command in a document is one that the program has, with flags that it has, and every target is one of the Makefile.
func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for file, text := range documents(t) {
		for _, command := range typed(text) {
			n++
			args := strings.Fields(strings.NewReplacer("'", "", `"`, "").Replace(redirect.ReplaceAllString(command, "")))[1:]
			root := newRoot()
			root.InitDefaultCompletionCmd()
			root.InitDefaultHelpCmd()
			cmd, rest, err := root.Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%s: `%s` is no command: %v", file, command, err)
			}
		}
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			for _, name := range strings.Fields(m[1]) {
				if !strings.Contains(string(makefile), "\n"+name+":") {
					t.Errorf("%s: `make %s`: there is no target %s", file, m[1], name)
				}
			}
		}
	}
	if n < 100 {
		t.Fatalf("%d commands found: this test does not read the documents", n)
	}
}

// Links between documents lead to files, and to headings that are there.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile("(?ms)^```.*?^```$")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	unwritten := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			to := file
			if path != "" {
				to = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
				continue
			}
			if anchor == "" {
				continue
			}
			there, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(string(there), -1) {
				anchors = append(anchors, strings.ReplaceAll(unwritten.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
			}
			if !slices.Contains(anchors, anchor) {
				t.Errorf("%s links to %s, which has the headings %q", file, m[1], anchors)
			}
		}
	}
}
