package paper

import (
	"fmt"
	"slices"
	"strings"

	"stegomq/report"
	"stegomq/study"
)

// Claim is something that the paper says, with the figures that bear on it and the verdict that follows from them.
type Claim struct {
	Claim   string `json:"claim"`
	Verdict string `json:"verdict"`
	// Words are the figures, a line for each case.
	Words []string `json:"words"`
}

// What our figures say to a claim.
const (
	shown         = "shown"          // in every case
	partlyShown   = "partly shown"   // in some cases
	contradicted  = "not shown"      // in no case, and some case is against it
	notDetermined = "cannot be told" // there is no case, or intervals decide none
)

// outcome is what one case says to a claim.
type outcome int

const (
	open outcome = iota // the figures do not decide
	holds
	fails
	uncounted // there is nothing to decide
)

// judgement collects the cases of a claim.
type judgement struct {
	Claim
	count [uncounted + 1]int
}

func judge(format string, args ...any) *judgement {
	return &judgement{Claim: Claim{Claim: fmt.Sprintf(format, args...), Words: []string{}}}
}

func (j *judgement) add(o outcome, format string, args ...any) {
	j.count[o]++
	j.Words = append(j.Words, fmt.Sprintf(format, args...)+".")
}

func (j *judgement) verdict() Claim {
	switch n := j.count; {
	case n[holds] > 0 && n[fails]+n[open] == 0:
		j.Verdict = shown
	case n[holds] > 0:
		j.Verdict = partlyShown
	case n[fails] > 0:
		j.Verdict = contradicted
	default:
		j.Verdict = notDetermined
	}
	if len(j.Words) == 0 {
		j.Words = append(j.Words, "Not measured.")
	}
	return j.Claim
}

// claims are the paper's own conclusions.
func (r *Report) claims() ([]Claim, error) {
	single, err := r.study.paired(MethodPUSNet)
	if err != nil {
		return nil, err
	}
	return []Claim{
		against(r.Reference+" outperforms all competing methods in recoverability (section 4).", r.Paired, blockRecoverability),
		against(r.Reference+" has substantially lower leakage in cross decoding than all others (section 4).", r.Paired, blockCross),
		against("The original PUSNet attains the best imperceptibility (section 4).", single, blockImperceptibility),
		r.leaks("With another registered key the output of "+r.Reference+" says nothing of the secret (Fig. 4: cover-like).", blockCross, blockCrossCover),
		r.leaks("With a random key the output of "+r.Reference+" says nothing of the secret (Fig. 4: non-informative).", blockRandom, blockRandomCover),
		r.scales(),
		r.separates(),
	}, nil
}

// against judges whether one method is better than the paper's others in a block, by PSNR.
func against(claim string, pairs []Paired, block string) Claim {
	j := judge("%s", claim)
	outcomes := map[study.Verdict]outcome{study.Better: holds, study.Worse: fails, study.CannotBeTold: open}
	for _, p := range pairs {
		switch _, inPaper := printed().Table1[block][p.Other]; {
		case p.Block != block || !inPaper:
		case p.Why != "":
			j.add(uncounted, "%s on %s: %s", p.Other, p.DataSet, p.Why)
		default:
			j.add(outcomes[p.PSNR.Verdict], "Against %s on %s: %s (%+.2f dB)", p.Other, p.DataSet, p.PSNR.Verdict, p.PSNR.Mean)
		}
	}
	return j.verdict()
}

// A wrong key shows something of the secret if its PSNR is this much above that of an unrelated image, in dB: on the mean, and on
// any one image pair.
const (
	leakLimit    = 0.3
	outlierLimit = 3.0
)

// leaks judges whether wrong keys of the reference show nothing of the secret.
func (r *Report) leaks(claim, secret, cover string) Claim {
	j := judge("%s", claim)
	for _, set := range r.Table1.DataSets {
		for _, name := range []string{"a", "b"} {
			where := fmt.Sprintf("Key pair %s on %s", name, set.Name)
			l := r.Table1.block(secret).line(r.Reference, set.Name, name)
			if l.Why == whyRefused {
				j.add(holds, "%s: refused %s", where, l.refused())
				continue
			}
			if l.Excess == nil || l.Excess.CI95 == nil {
				continue
			}
			words := fmt.Sprintf("%s: %s dB over unrelated images, at most %+.2f", where, signed("%.2f", l.Excess), l.ExcessMax)
			if to := r.Table1.block(cover).line(r.Reference, set.Name, name); to.PSNR.Ours != nil {
				words += fmt.Sprintf("; against the cover %.2f dB, SSIM %.3f", to.PSNR.Ours.Mean, to.SSIM.Ours.Mean)
			}
			switch {
			case l.Excess.CI95.Low > leakLimit:
				j.add(fails, "%s; the mean is above %g", words, leakLimit)
			case l.ExcessMax > outlierLimit:
				j.add(fails, "%s; some image pair is above %g", words, outlierLimit)
			case l.Excess.CI95.High > leakLimit:
				j.add(open, "%s; the interval holds %g", words, leakLimit)
			default:
				j.add(holds, "%s", words)
			}
		}
	}
	return j.verdict()
}

// scales judges Fig. 5: matched keys recover more than any wrong one, and wrong ones no more than unrelated images.
func (r *Report) scales() Claim {
	j := judge("Whatever K and alpha, matched keys recover well and the other entries stay at a low level (Fig. 5).")
	for _, m := range r.Fig5 {
		if m.Diagonal == nil || m.OffDiagonal == nil {
			continue
		}
		o := fails
		if m.Diagonal.Min > m.OffDiagonal.Max && m.Excess != nil && m.Excess.CI95 != nil && m.Excess.CI95.High <= leakLimit {
			o = holds
		}
		j.add(o, "%s: matched keys from %.2f dB, wrong keys up to %.2f dB, %s dB over unrelated images", m.name(), m.Diagonal.Min, m.OffDiagonal.Max, signed("%.2f", m.Excess))
	}
	return j.verdict()
}

// twoGroups is the silhouette from which on two groups count as apart.
const twoGroups = 0.25

// separates judges Fig. 1, by the distance and by the silhouette.
func (r *Report) separates() Claim {
	j := judge("The features of matched and mismatched keys are entangled in PUSNet and apart in %s (Fig. 1).", r.Reference)
	at := func(method string) *Separation {
		i := slices.IndexFunc(r.Fig1, func(s Separation) bool { return s.Method == method && s.Why == "" })
		if i < 0 {
			return nil
		}
		return &r.Fig1[i]
	}
	single, multi := at(MethodPUSNet), at(r.Reference)
	if single == nil || multi == nil {
		for _, s := range r.Fig1 {
			if s.Why != "" {
				j.add(uncounted, "%s: %s", s.Method, s.Why)
			}
		}
		return j.verdict()
	}
	a, b := single.Mismatched, multi.Mismatched
	is := func(yes bool) outcome { return pick(yes, holds, fails) }
	j.add(is(b.Distance > a.Distance), "Distance of the groups, in spreads: %s %.2f, PUSNet %.2f", r.Reference, b.Distance, a.Distance)
	j.add(is(b.Silhouette > a.Silhouette), "Silhouette: %s %.3f, PUSNet %.3f", r.Reference, b.Silhouette, a.Silhouette)
	j.add(is(b.Silhouette > a.Silhouette && b.Silhouette >= twoGroups), "Two groups have a silhouette of %g or more", twoGroups)
	return j.verdict()
}

// claimTable is the claims in short.
func claimTable(claims []Claim) report.Table {
	t := report.Table{Title: "What the paper says, and what our figures say to it", Words: 3, Head: []string{"the paper", "here", "by these figures"}}
	for _, c := range claims {
		t.Rows = append(t.Rows, []string{c.Claim, c.Verdict, strings.Join(c.Words, " ")})
	}
	return t
}
