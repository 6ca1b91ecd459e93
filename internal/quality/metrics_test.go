package quality

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The table in docs/statistics.md has every metric as the list has it.
func TestMetricsInTheDocs(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/statistics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Metrics {
		better, asked := "higher", "always"
		if m.More < 0 {
			better = "lower"
		}
		if m.Optional() {
			asked = "`--more-metrics " + m.Name + "`"
		}
		row := fmt.Sprintf("| `%s` | %s | %g to %g | %s | %s | %s |\n", m.Name, m.Heading(), m.Low, m.High, better, asked, m.About)
		if !strings.Contains(string(docs), row) {
			t.Errorf("docs/statistics.md lacks the row\n%s", row)
		}
	}
}
