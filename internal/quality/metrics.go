package quality

import (
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
)

// Metric is a measure of how alike two images are. Metrics is all that the rest of the program knows of one: flags, tables, columns of
// files, comparisons of runs and the table in docs/statistics.md follow from it.
type Metric struct {
	Name      string  // in flags, files and messages
	Title     string  // in tables
	Unit      string  // "dB", or none
	Decimals  int     // in tables
	More      int     // +1: more is more alike, -1: less is
	Low, High float64 // its range
	About     string  // its definition in a line
	// measure is of a metric that a run asks for by name; false where it is not defined for images of this size. It is nil of the first four,
	// which Compare measures together.
	measure func(reference, test *image.NRGBA) (float64, bool)
}

// Metrics are all there are, in the order of tables.
var Metrics = []Metric{
	{Name: "psnr", Title: "PSNR", Unit: "dB", Decimals: 2, More: +1, Low: 0, High: MaxPSNR, About: "20 log10(255 / RMSE); 100 where the images are the same"},
	{Name: "ssim", Title: "SSIM", Decimals: 3, More: +1, Low: -1, High: 1, About: "Wang, Bovik, Sheikh and Simoncelli 2004, 11x11 Gaussian window, the mean over the channels"},
	{Name: "mae", Title: "MAE", Decimals: 4, More: -1, Low: 0, High: 1, About: "mean absolute difference"},
	{Name: "rmse", Title: "RMSE", Decimals: 4, More: -1, Low: 0, High: 1, About: "root of the mean squared difference"},
	{Name: "ms_ssim", Title: "MS-SSIM", Decimals: 4, More: +1, Low: 0, High: 1, About: "Wang, Simoncelli and Bovik 2003, five scales; of images of at least 176 pixels a side", measure: msssim},
}

// Heading is the title with the unit.
func (m Metric) Heading() string { return strings.TrimSpace(m.Title + " " + m.Unit) }

// Format is of fmt, for a value in a table; Signed for a difference.
func (m Metric) Format() string { return fmt.Sprintf("%%.%df", m.Decimals) }

// Signed is Format for a difference.
func (m Metric) Signed() string { return fmt.Sprintf("%%+.%df", m.Decimals) }

// Optional says whether a run has the metric only where it asks for it.
func (m Metric) Optional() bool { return m.measure != nil }

// ErrMetric: there is no such metric that could be asked for.
var ErrMetric = errors.New("no such metric")

// VersionWith is Version for a run that asks for more metrics, in the order of the alphabet. The error wraps ErrMetric.
func VersionWith(names []string) (string, error) {
	version := Version
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		version += "+" + name
	}
	_, err := optional(version)
	return version, err
}

// Definitions are what a version names without what was asked for beyond the first four: scores of equal definitions can be compared.
func Definitions(version string) string {
	definitions, _, _ := strings.Cut(version, "+")
	return definitions
}

// optional are the metrics that a version names beyond the first four.
func optional(version string) ([]Metric, error) {
	names := strings.Split(version, "+")
	if names[0] != Version {
		return nil, fmt.Errorf("%w: version %q of the metrics; this program has %s", ErrMetric, names[0], Version)
	}
	var asked []Metric
	for _, name := range names[1:] {
		i := slices.IndexFunc(Metrics, func(m Metric) bool { return m.Name == name && m.Optional() })
		if i < 0 {
			return nil, fmt.Errorf("%w: %q; there are: %s", ErrMetric, name, strings.Join(Optional(), ", "))
		}
		asked = append(asked, Metrics[i])
	}
	return asked, nil
}

// Optional are the names that VersionWith takes.
func Optional() (names []string) {
	for _, m := range Metrics {
		if m.Optional() {
			names = append(names, m.Name)
		}
	}
	return names
}

// Measure compares test with reference by the metrics of a version, and hands each to put by its name. The error wraps ErrSize or ErrMetric.
func Measure(version string, reference, test *image.NRGBA, put func(name string, v float64)) error {
	asked, err := optional(version)
	if err != nil {
		return err
	}
	s, err := Compare(reference, test)
	if err != nil {
		return err
	}
	put("psnr", s.PSNR)
	put("ssim", s.SSIM)
	put("mae", s.MAE)
	put("rmse", s.RMSE)
	for _, m := range asked {
		if v, defined := m.measure(reference, test); defined {
			put(m.Name, v)
		}
	}
	return nil
}
