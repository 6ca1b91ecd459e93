package study

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"stegomq/internal/quality"
	"stegomq/report"
	"stegomq/schemas"
)

// itemSide is the longer side of the thumbnails of items, in pixels.
const itemSide = 96

// shown are the metrics that a page has columns for: PSNR, SSIM, and of the optional ones those that any score has.
func shown(scores []*schemas.Score) []quality.Metric {
	return slices.DeleteFunc(slices.Clone(quality.Metrics), func(m quality.Metric) bool {
		measured := slices.ContainsFunc(scores, func(s *schemas.Score) bool { _, has := s.GetMetrics().Value(m.Name); return has })
		return m.Name != "psnr" && m.Name != "ssim" && !(m.Optional() && measured)
	})
}

// Items is a table with a row for each image pair and embedding key of runs, the worst recovered first. Its first columns name the
// run.
type Items struct {
	report.Items
	metrics []quality.Metric
}

// NewItems makes a table for runs with such scores; first are its first columns.
func NewItems(scores []*schemas.Score, first ...report.Column) *Items {
	it := &Items{Items: report.Items{Worst: "recovered", Elsewhere: "items.csv"}, metrics: shown(scores)}
	it.Columns = append(first, report.Column{Name: "item", Title: "image pair"}, report.Column{Name: "key", Title: "key", Kind: report.Choice})
	for _, what := range []string{"recovered", "stego"} {
		for _, m := range it.metrics {
			c := report.Column{Name: what + "-" + strings.ReplaceAll(m.Name, "_", "-"), Title: what + " " + m.Heading(), Kind: report.Number, Decimals: m.Decimals, Better: report.Better(m.More)}
			if m.Name == "psnr" {
				c.Name = what
			}
			it.Columns = append(it.Columns, c)
		}
	}
	for _, who := range []string{"wrong", "random"} {
		it.Columns = append(it.Columns, report.Column{Name: who + "-key", Title: who + " key, excess dB", Kind: report.Number, Decimals: 2, Better: report.Lower})
	}
	return it
}

// Section is the table with its heading.
func (it *Items) Section() report.Section {
	return report.Section{
		ID: "items", Title: "Every image pair", Items: &it.Items,
		Paragraphs: []string{"One row for each image pair and embedding key, the worst recovered first. Wrong key, random key: the PSNR of the one that shows most, less that of cover against secret."},
	}
}

// itemRow is what was measured of an image pair that a key embedded.
type itemRow struct {
	of     map[schemas.Role]*schemas.Metrics
	excess map[schemas.Role]float64 // the largest, in dB
	// refused are the roles of which recovery refused an image.
	refused map[schemas.Role]bool
}

// Add adds the rows of a run in the order of items and keys. Its images are in dir; first are the values of the first columns.
func (it *Items) Add(scores []*schemas.Score, dir string, first ...string) {
	type name struct{ item, key string }
	found := make(map[name]*itemRow)
	baselines := Baselines(scores)
	for _, s := range scores {
		if s.GetEmbedKey() == "" || s.GetAttack() != "" {
			continue
		}
		row := of(found, name{s.GetItem(), s.GetEmbedKey()})
		if row.of == nil {
			*row = itemRow{make(map[schemas.Role]*schemas.Metrics), make(map[schemas.Role]float64), make(map[schemas.Role]bool)}
		}
		if s.End() == schemas.EndRefused {
			row.refused[s.Role()] = true
			continue
		}
		row.of[s.Role()] = s.GetMetrics()
		if b := baselines[s.GetItem()]; b != nil && s.Role().Leaks() {
			excess := s.GetMetrics().GetPsnr() - b.GetPsnr()
			if before, has := row.excess[s.Role()]; !has || excess > before {
				row.excess[s.Role()] = excess
			}
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(found), func(a, b name) int { return cmp.Or(cmp.Compare(a.item, b.item), cmp.Compare(a.key, b.key)) }) {
		row := found[n]
		var out report.ItemRow
		for _, text := range append(first, n.item, n.key) {
			out.Values = append(out.Values, report.Value{Text: text})
		}
		add := func(role schemas.Role, v float64, has bool) {
			value := report.Value{Number: v}
			if !has {
				value.Number = math.NaN()
				if row.refused[role] {
					value.Text = string(schemas.EndRefused)
				}
			}
			out.Values = append(out.Values, value)
		}
		for _, role := range []schemas.Role{schemas.Recoverability, schemas.Imperceptibility} {
			for _, m := range it.metrics {
				v, has := row.of[role].Value(m.Name)
				add(role, v, has)
			}
		}
		for _, role := range []schemas.Role{schemas.Leakage(schemas.Reader_READER_MISMATCHED), schemas.Leakage(schemas.Reader_READER_RANDOM)} {
			v, has := row.excess[role]
			add(role, v, has)
		}
		note := ""
		if m := row.of[schemas.Recoverability]; m != nil {
			note = fmt.Sprintf("%.2f dB", m.GetPsnr())
		}
		out.Pictures = Pictures(dir, n.item, n.key, n.key, itemSide, "", note)
		it.Rows = append(it.Rows, out)
	}
}

// Pictures are cover, stego, secret and recovered image of an item, as SaveImages wrote them into dir; without a dir there are none. The note
// stands below the recovered image, prefix before every title.
func Pictures(dir, item, embed, decode string, side int, prefix, note string) []report.Picture {
	if dir == "" {
		return nil
	}
	file := func(kind string, keys ...string) string {
		return filepath.Join(dir, filepath.FromSlash(ImageFile(kind, item, keys...)))
	}
	recovered := "recovered"
	if embed != decode {
		recovered = "shown by " + decode
	}
	return []report.Picture{
		{File: file("cover"), Side: side, Title: prefix + "cover", Note: item},
		{File: file("stego", embed), Side: side, Title: prefix + "stego", Note: "embedded with " + embed, Against: prefix + "cover"},
		{File: file("secret"), Side: side, Title: prefix + "secret"},
		{File: file("recovered", embed, decode), Side: side, Title: prefix + recovered, Note: note, Against: prefix + "secret"},
	}
}
