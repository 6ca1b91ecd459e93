package paper

import (
	"fmt"
	"strconv"

	"stegomq/report"
	"stegomq/report/stats"
)

// What stands in a CSV file. A cell is empty where there is no figure.

// optional is a number, or nothing.
func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return report.Exact(*v)
}

// whole is a number of things, or nothing.
func whole(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// measured are the mean, the deviation, and the bounds of the interval.
func measured(m *stats.Moments) []string {
	switch {
	case m == nil:
		return []string{"", "", "", ""}
	case m.CI95 == nil:
		return []string{report.Exact(m.Mean), report.Exact(m.Std), "", ""}
	}
	return []string{report.Exact(m.Mean), report.Exact(m.Std), report.Exact(m.CI95.Low), report.Exact(m.CI95.High)}
}

// cells are the seconds, the steps and the images.
func (t *Training) cells() []string {
	if t == nil {
		return []string{"", "", ""}
	}
	return []string{report.Exact(t.Seconds), strconv.Itoa(t.Steps), strconv.Itoa(t.Images)}
}

// What stands in a table.

// interval writes a mean with its interval.
func interval(format string, m *stats.Moments) string {
	if m == nil {
		return "-"
	}
	return fmt.Sprintf(format, m.Mean) + m.CI95.Text(format)
}

// signed writes a mean with its sign and its interval.
func signed(format string, m *stats.Moments) string { return interval("%+"+format[1:], m) }
