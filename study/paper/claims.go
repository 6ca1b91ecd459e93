package paper

import (
	"fmt"
	"slices"
	"strings"

	"stegomq/report"
	"stegomq/report/stats"
	"stegomq/study"
)

// Claim is something that the paper says, and what our figures say to it.
type Claim struct {
	Claim string `json:"claim"`
	// Verdict is one of the verdicts below.
	Verdict string   `json:"verdict"`
	Words   []string `json:"words"`
}

// What our figures say to a claim.
const (
	shown         = "shown"
	partlyShown   = "partly shown"
	contradicted  = "not shown"
	notDetermined = "cannot be told"
)

// claims are the paper's own conclusions.
func (r *Report) claims() ([]Claim, error) {
	reference := r.Reference
	best, err := r.bestImperceptibility()
	if err != nil {
		return nil, err
	}
	return []Claim{
		against(reference+" outperforms all competing methods in recoverability (section 4).", pairedIn(r.Paired, blockRecoverability)),
		against(reference+" has substantially lower leakage in cross decoding than all others (section 4).", pairedIn(r.Paired, blockCross)),
		best,
		r.leaks("With another registered key the output of "+reference+" says nothing of the secret (Fig. 4: cover-like).", blockCross, blockCrossCover),
		r.leaks("With a random key the output of "+reference+" says nothing of the secret (Fig. 4: non-informative).", blockRandom, blockRandomCover),
		r.scales(),
		r.separates(),
	}, nil
}

// pairedIn are the comparisons of a block with the paper's own methods: our classical row is not among its claims.
func pairedIn(all []Paired, block string) []Paired {
	var in []Paired
	for _, p := range all {
		if _, printed := printedTable[block][p.Other]; printed && p.Block == block {
			in = append(in, p)
		}
	}
	return in
}

// against judges a claim that one method is better than others, by PSNR; it has a sentence for each data set.
func against(claim string, pairs []Paired) Claim {
	c := Claim{Claim: claim, Verdict: notDetermined, Words: []string{}}
	count := make(map[study.Verdict]int)
	var sets []string
	found := make(map[string]map[study.Verdict][]string) // data set, verdict, methods
	for _, p := range pairs {
		if found[p.DataSet] == nil {
			sets = append(sets, p.DataSet)
			found[p.DataSet] = make(map[study.Verdict][]string)
		}
		verdict, words := p.PSNR.Verdict, fmt.Sprintf("%s (%+.2f dB)", p.Other, p.PSNR.Mean)
		if p.Why != "" {
			verdict, words = incomparable, fmt.Sprintf("%s (%s)", p.Other, p.Why)
		}
		count[verdict]++
		found[p.DataSet][verdict] = append(found[p.DataSet][verdict], words)
	}
	for _, set := range sets {
		var parts []string
		for _, v := range []struct {
			verdict study.Verdict
			words   string
		}{
			{study.Better, "better than "}, {study.Worse, "worse than "}, {study.CannotBeTold, "no difference that can be told from "}, {incomparable, "not to be compared with "},
		} {
			if names := found[set][v.verdict]; len(names) > 0 {
				parts = append(parts, v.words+strings.Join(names, ", "))
			}
		}
		c.Words = append(c.Words, fmt.Sprintf("On %s: %s.", set, strings.Join(parts, "; ")))
	}
	switch judged := count[study.Better] + count[study.Worse] + count[study.CannotBeTold]; {
	case judged == 0:
		c.Words = append(c.Words, "No two methods were measured on the same pairs.")
	case count[study.Better] == judged:
		c.Verdict = shown
	case count[study.Better] > 0:
		c.Verdict = partlyShown
	case count[study.Worse] > 0:
		c.Verdict = contradicted
	}
	return c
}

// incomparable stands for the verdict of two runs that cannot be compared.
const incomparable = "incomparable"

func (r *Report) bestImperceptibility() (Claim, error) {
	var pairs []Paired
	for _, set := range r.Table1.DataSets {
		mine := r.study.run(MethodPUSNet, set.Name)
		if !set.AtHand || !mine.Made() {
			continue
		}
		for _, row := range r.study.Rows {
			if row.Method == MethodPUSNet || !row.Runs[set.Name].Made() {
				continue
			}
			lines, err := comparePairs(set.Name, MethodPUSNet, row.Method, mine, row.Runs[set.Name])
			if err != nil {
				return Claim{}, err
			}
			pairs = append(pairs, lines...)
		}
	}
	return against("The original PUSNet attains the best imperceptibility (section 4).", pairedIn(pairs, blockImperceptibility)), nil
}

// How much nearer to the secret than an unrelated image wrong keys may come, in dB, before we say that they show something: on
// the mean, and on any one image pair.
const (
	leakLimit    = 0.3
	outlierLimit = 3.0
)

// leaks judges whether wrong keys of the reference show something of the secret, by the excess over unrelated images.
func (r *Report) leaks(claim, secret, cover string) Claim {
	c := Claim{Claim: claim, Verdict: notDetermined, Words: []string{}}
	clean, leaking, all := 0, 0, 0
	for _, set := range r.Table1.DataSets {
		var parts []string
		for _, name := range []string{"a", "b"} {
			l := r.Table1.block(secret).line(r.Reference, set.Name, name)
			if l.Why == whyRefused {
				all++
				clean++
				parts = append(parts, fmt.Sprintf("key pair %s is refused, %s: there is no image that could show something", name, l.refused()))
				continue
			}
			if l.Excess == nil || l.Excess.CI95 == nil {
				continue
			}
			all++
			words := fmt.Sprintf("key pair %s %s dB beyond unrelated images, %+.2f at most", name, signed("%.2f", l.Excess), l.ExcessMax)
			switch {
			case l.Excess.CI95.Low > leakLimit:
				leaking++
				words += fmt.Sprintf(": above %g on the mean, so it shows something", leakLimit)
			case l.ExcessMax > outlierLimit:
				leaking++
				words += fmt.Sprintf(": above %g on some image pair, so it shows something there", outlierLimit)
			case l.Excess.CI95.High > leakLimit:
				words += fmt.Sprintf(": whether it is below %g cannot be told", leakLimit)
			default:
				clean++
			}
			if to := r.Table1.block(cover).line(r.Reference, set.Name, name); to.PSNR.Ours != nil {
				words += fmt.Sprintf(" (against the cover %.2f dB, SSIM %.3f)", to.PSNR.Ours.Mean, to.SSIM.Ours.Mean)
			}
			parts = append(parts, words)
		}
		if len(parts) > 0 {
			c.Words = append(c.Words, fmt.Sprintf("On %s: %s.", set.Name, strings.Join(parts, "; ")))
		}
	}
	switch {
	case all == 0:
		c.Words = append(c.Words, "Not measured.")
	case clean == all:
		c.Verdict = shown
	case leaking == all:
		c.Verdict = contradicted
	case clean > 0:
		c.Verdict = partlyShown
	}
	return c
}

// scales judges Fig. 5: diagonals high, everything else as unrelated images, whatever K and alpha.
func (r *Report) scales() Claim {
	c := Claim{
		Claim:   "Whatever K and alpha, matched keys recover well and the other entries stay at a low level (Fig. 5).",
		Verdict: notDetermined, Words: []string{},
	}
	clean, all := 0, 0
	for _, m := range r.Fig5 {
		if m.Diagonal == nil || m.OffDiagonal == nil {
			continue
		}
		all++
		separate := m.Diagonal.Min > m.OffDiagonal.Max
		low := m.Excess != nil && m.Excess.CI95 != nil && m.Excess.CI95.High <= leakLimit
		if separate && low {
			clean++
		}
		words := fmt.Sprintf("%s: the least of the diagonal is %.2f dB, the largest beside it %.2f dB", m.name(), m.Diagonal.Min, m.OffDiagonal.Max)
		if m.Excess != nil {
			words += fmt.Sprintf("; %s dB beyond unrelated images", signed("%.2f", m.Excess))
		}
		if !separate {
			words += ": a wrong key recovers as much as a right one"
		}
		c.Words = append(c.Words, words+".")
	}
	switch {
	case all == 0:
		c.Words = append(c.Words, "Not measured.")
	case clean == all:
		c.Verdict = shown
	case clean > 0:
		c.Verdict = partlyShown
	default:
		c.Verdict = contradicted
	}
	return c
}

// apart is the silhouette from which on we call two groups apart.
const apart = 0.25

// separates judges Fig. 1.
func (r *Report) separates() Claim {
	c := Claim{
		Claim:   "The features of matched and mismatched keys are entangled in PUSNet and apart in " + r.Reference + " (Fig. 1).",
		Verdict: notDetermined, Words: []string{},
	}
	at := func(method string) *Separation {
		i := slices.IndexFunc(r.Fig1, func(s Separation) bool { return s.Method == method && s.Why == "" })
		if i < 0 {
			return nil
		}
		return &r.Fig1[i]
	}
	single, multi := at(MethodPUSNet), at(r.Reference)
	if single == nil || multi == nil || single == multi {
		for _, s := range r.Fig1 {
			if s.Why != "" {
				c.Words = append(c.Words, fmt.Sprintf("%s: %s.", s.Method, s.Why))
			}
		}
		return c
	}
	a, b := single.Mismatched, multi.Mismatched
	c.Words = append(c.Words, fmt.Sprintf("The groups of %s lie %.2f spreads apart (silhouette %.3f), those of PUSNet %.2f (%.3f).",
		r.Reference, b.Distance, b.Silhouette, a.Distance, a.Silhouette))
	switch {
	case b.Distance > a.Distance && b.Silhouette > a.Silhouette && b.Silhouette >= apart:
		c.Verdict = shown
	case b.Distance > a.Distance && b.Silhouette > a.Silhouette:
		c.Verdict = partlyShown
		c.Words = append(c.Words, fmt.Sprintf("Further apart, and still one cloud: a silhouette of %g would be two.", apart))
	case b.Distance > a.Distance || b.Silhouette > a.Silhouette:
		c.Verdict = partlyShown
		c.Words = append(c.Words, "The two measures disagree.")
	default:
		c.Verdict = contradicted
	}
	return c
}

// claimTable is the claims in short.
func claimTable(claims []Claim) report.Table {
	t := report.Table{Title: "What the paper says, and what our figures say to it", Words: 3, Head: []string{"the paper", "here", "by these figures"}}
	for _, c := range claims {
		t.Rows = append(t.Rows, []string{c.Claim, c.Verdict, strings.Join(c.Words, " ")})
	}
	return t
}

// holds says whether an interval holds a value.
func holds(i *stats.Interval, v float64) bool { return i != nil && i.Low <= v && v <= i.High }
