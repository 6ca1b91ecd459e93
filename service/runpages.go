package service

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"stegomq/internal/model"
	"stegomq/internal/users"
	"stegomq/schemas"
	"stegomq/service/page"
	"stegomq/study"
)

func (s *Service) runsPage(w http.ResponseWriter, c *call) *problem {
	views, why := s.runsOf(c)
	if why != nil {
		return why
	}
	_, mine, why := s.keysOf(c)
	if why != nil {
		return why
	}
	var ids []string
	for _, pair := range mine {
		if c.user.May(users.Evaluate, pair.ID) && !pair.Recover.IsZero() {
			ids = append(ids, pair.ID)
		}
	}
	return s.show(w, c, http.StatusOK, "runs", page.View{Title: "Runs", Tab: "runs", Reload: reload(views...), Data: map[string]any{
		"Runs": views, "Keys": ids, "Datasets": slices.Sorted(maps.Keys(s.cfg.Datasets)), "Models": s.modelsThat(model.OpRecover),
	}})
}

// modelsThat returns the models that do an operation.
func (s *Service) modelsThat(op model.Operation) (list []*model.Model) {
	for _, m := range s.Models {
		if m.Manifest.Does(op) {
			list = append(list, m)
		}
	}
	return list
}

// reload is the number of seconds after which a browser without scripts asks for the page again; 0 where every run has ended.
func reload(views ...runView) int {
	if slices.ContainsFunc(views, func(v runView) bool { return v.Unfinished() }) {
		return 5
	}
	return 0
}

func (s *Service) runsForm(w http.ResponseWriter, c *call) *problem {
	asked := &runRequest{Name: c.PostForm.Get("name"), Dataset: c.PostForm.Get("dataset"), Model: c.PostForm.Get("model"), Keys: c.PostForm["key"]}
	var random int
	for name, to := range map[string]*int{"limit": &asked.Limit, "size": &asked.Size, "random_keys": &random} {
		var why *problem
		if *to, why = number(c.PostForm, name, 0, 0, math.MaxInt32); why != nil {
			return why
		}
	}
	if c.PostForm.Get("random_keys") != "" {
		asked.RandomKeys = &random
	}
	r, why := s.begin(c, asked, "")
	if why != nil {
		return why
	}
	return see(w, c, "/runs/"+r.ID)
}

func (s *Service) cancelForm(w http.ResponseWriter, c *call) *problem {
	if why := s.stopRun(c); why != nil {
		return why
	}
	return see(w, c, "/runs/"+c.run.ID)
}

func (s *Service) deleteForm(w http.ResponseWriter, c *call) *problem {
	if why := s.removeRun(c); why != nil {
		return why
	}
	return see(w, c, "/runs")
}

// groupRow is a role's scores in a table.
type groupRow struct {
	Name                   string
	N                      int
	PSNR, Worst, SSIM, MAE float64
	Interval, Refused      string
}

// pairRow is an image pair embedded with a key, in the gallery.
type pairRow struct {
	Name, Key string
	Pictures  []shown
}

// galleryPairs is how many pairs a page of the gallery has.
const galleryPairs = 6

func (s *Service) runPage(w http.ResponseWriter, c *call) *problem {
	r := c.run
	gain, why := gainOf(c)
	if why != nil {
		return why
	}
	from, why := number(c.URL.Query(), "from", 0, 0, math.MaxInt32)
	if why != nil {
		return why
	}
	view := s.view(c.Context(), r)
	data := struct {
		Run            *runView
		Figures        []figure
		Groups         []groupRow
		Pairs          []pairRow
		Others         []runView
		Gain           int
		Earlier, Later string
	}{Run: &view, Gain: gain}
	title := cmp.Or(view.Request.Name, "Run")
	if r.State == runWaiting {
		return s.show(w, c, http.StatusOK, "run", page.View{Title: title, Tab: "runs", Reload: reload(view), Data: data})
	}
	res, why := s.results(c, r)
	switch {
	case why == nil:
		data.Groups, data.Figures = groupsOf(res.Summary)
		all := gallery(res.Spec, res.Scores)
		n := len(all)
		all = all[min(from, n):]
		for _, g := range all[:min(galleryPairs, len(all))] {
			data.Pairs = append(data.Pairs, g.row(r.ID, gain))
		}
		at := func(from int) string { return fmt.Sprintf("/runs/%s?from=%d&gain=%d", r.ID, from, gain) }
		if from > 0 {
			data.Earlier = at(max(from-galleryPairs, 0))
		}
		if from+galleryPairs < n {
			data.Later = at(from + galleryPairs)
		}
		if data.Others, why = s.others(c, r); why != nil {
			return why
		}
	case why.Code != codeNoResults:
		return why
	}
	return s.show(w, c, http.StatusOK, "run", page.View{Title: title, Tab: "runs", Reload: reload(view), Data: data})
}

// others returns the runs with which a run may be compared.
func (s *Service) others(c *call, r *run) ([]runView, *problem) {
	if r.Unfinished() {
		return nil, nil
	}
	views, why := s.runsOf(c)
	return slices.DeleteFunc(views, func(v runView) bool {
		return v.ID == r.ID || v.State != runDone || v.Request.Dataset != r.Request.Dataset
	}), why
}

// groupsOf returns a row for each role that has scores, and the figures at the head of the page.
func groupsOf(sum *study.Summary) (rows []groupRow, figures []figure) {
	add := func(name string, g study.Group, leaks bool, head string) {
		if g.Of() == 0 {
			return
		}
		switch {
		case head == "":
		case g.N > 0:
			figures = append(figures, figure{head, fmt.Sprintf("%.1f dB", g.PSNR.Mean)})
		case g.Refused > 0:
			figures = append(figures, figure{head, "refused"})
		}
		row := groupRow{Name: name, N: g.N, PSNR: g.PSNR.Mean, Worst: g.PSNR.Min, SSIM: g.SSIM.Mean, MAE: g.MAE.Mean, Interval: "–", Refused: g.RefusedText()}
		if leaks {
			row.Worst = g.PSNR.Max
		}
		if i := g.PSNR.CI95; i != nil {
			row.Interval = fmt.Sprintf("%.2f to %.2f", i.Low, i.High)
		}
		rows = append(rows, row)
	}
	add("stego against cover", sum.Imperceptibility, false, "stego")
	add("recovered with the right key, against the secret", sum.Recoverability, false, "recovered")
	add("another user's key, against the secret", sum.LeakageMismatched, true, "another user's key")
	add("a random key, against the secret", sum.LeakageRandom, true, "a random key")
	add("a key one bit off, against the secret", sum.LeakageNear, true, "")
	add("halves exchanged, against the secret", sum.LeakageSwapped, true, "")
	add("no key, against the secret", sum.LeakageUnkeyed, true, "")
	for _, a := range sum.Robustness {
		add("recovered after "+a.Attack, a.Group, false, "")
	}
	add("cover against the secret", sum.BaselineCoverSecret, true, "")
	add("purified", sum.Purification, false, "")
	return rows, figures
}

// shownPair is an image pair embedded with a key, with its scores.
type shownPair struct {
	name, key               string
	stego, recovered, wrong *schemas.Score
}

// gallery returns the pairs of a run, the worst recovered first.
func gallery(spec *schemas.RunSpec, scores []*schemas.Score) []*shownPair {
	names := make(map[string]string)
	for _, p := range spec.GetPairs() {
		names[p.GetItem()] = p.GetSecret().GetName() + " in " + p.GetCover().GetName()
	}
	found := make(map[[2]string]*shownPair)
	var list []*shownPair
	for _, sc := range scores {
		if sc.GetEmbedKey() == "" {
			continue
		}
		id := [2]string{sc.GetItem(), sc.GetEmbedKey()}
		p := found[id]
		if p == nil {
			p = &shownPair{name: names[sc.GetItem()], key: sc.GetEmbedKey()}
			found[id] = p
			list = append(list, p)
		}
		switch sc.Role() {
		case schemas.Imperceptibility:
			p.stego = sc
		case schemas.Recoverability:
			p.recovered = sc
		case schemas.Leakage(schemas.Reader_READER_MISMATCHED), schemas.Leakage(schemas.Reader_READER_RANDOM):
			// Of all wrong keys the page shows the one that comes nearest to the secret.
			if p.wrong == nil || sc.GetMetrics().GetPsnr() > p.wrong.GetMetrics().GetPsnr() {
				p.wrong = sc
			}
		}
	}
	list = slices.DeleteFunc(list, func(p *shownPair) bool { return p.stego == nil || p.recovered == nil })
	slices.SortStableFunc(list, func(a, b *shownPair) int { return worse(a.recovered, b.recovered) })
	return list
}

// row is the pair with the addresses of its images.
func (p *shownPair) row(run string, gain int) pairRow {
	row := pairRow{Name: p.name, Key: p.key}
	note := func(sc *schemas.Score) string {
		return fmt.Sprintf("%.1f dB, SSIM %.3f", sc.GetMetrics().GetPsnr(), sc.GetMetrics().GetSsim())
	}
	add := func(title string, sc *schemas.Score, of string) {
		one := shown{Title: title, Alt: title + " of " + p.name}
		if sc.End() == schemas.EndRefused && of == "test" {
			one.Why = "no image comes out"
		} else {
			one.URL = scoreImage("", run, sc, of)
			if of == "test" {
				one.Note = note(sc)
			}
		}
		if of == "residual" {
			one.Residual = true
			one.URL += "&" + url.Values{"gain": {strconv.Itoa(gain)}}.Encode()
		}
		row.Pictures = append(row.Pictures, one)
	}
	add("Cover", p.stego, "reference")
	add("Stego", p.stego, "test")
	add("Residual", p.stego, "residual")
	add("Secret", p.recovered, "reference")
	add("Recovered", p.recovered, "test")
	if p.wrong != nil {
		add("Wrong key "+p.wrong.GetDecodeKey(), p.wrong, "test")
	}
	return row
}

// comparedRow is a difference of two runs in a table.
type comparedRow struct {
	Role, Metric, A, B, Mean, Interval, Words string
	N                                         int
	Verdict                                   study.Verdict
}

func (s *Service) comparePage(w http.ResponseWriter, c *call) *problem {
	var runs [2]*run
	var measured [2]study.Measured
	for i, name := range []string{"a", "b"} {
		var why *problem
		if runs[i], why = s.findRun(c, c.URL.Query().Get(name)); why != nil {
			return why
		}
		res, why := s.results(c, runs[i])
		if why != nil {
			return why
		}
		measured[i] = res.Measured
	}
	a, b := s.view(c.Context(), runs[0]), s.view(c.Context(), runs[1])
	data := struct {
		A, B    *runView
		Problem string
		Rows    []comparedRow
		LeftOut []string
		Least   int
	}{A: &a, B: &b, Least: study.VerdictPairs}
	paired, err := study.Compare(measured[0], measured[1])
	switch {
	case errors.Is(err, study.ErrIncomparable):
		data.Problem = err.Error()
	case err != nil:
		return s.away(c, err)
	default:
		for _, role := range paired.Roles {
			data.Rows = append(data.Rows, compared(role, "PSNR, dB", "%.2f", role.PSNR), compared(role, "SSIM", "%.4f", role.SSIM))
		}
		for _, one := range paired.LeftOut {
			data.LeftOut = append(data.LeftOut, one.Name+" is left out: "+one.Reason)
		}
	}
	return s.show(w, c, http.StatusOK, "compare", page.View{Title: "Two runs", Tab: "runs", Data: data})
}

func compared(r study.PairedRole, metric, format string, d study.Difference) comparedRow {
	row := comparedRow{
		Role: r.Role, Metric: metric, N: r.N, Verdict: d.Verdict, Words: string(d.Verdict), Interval: "–",
		A: fmt.Sprintf(format, d.A), B: fmt.Sprintf(format, d.B), Mean: fmt.Sprintf("%+"+format[1:], d.Mean),
	}
	if r.Attack != "" {
		row.Role += ", " + r.Attack
	}
	if d.CI95 != nil {
		row.Interval = fmt.Sprintf(format+" to "+format, d.CI95.Low, d.CI95.High)
	}
	return row
}
