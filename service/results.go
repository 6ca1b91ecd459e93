package service

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"stegomq/internal/pixel"
	"stegomq/internal/users"
	"stegomq/pipeline"
	drawing "stegomq/report/figure"
	"stegomq/schemas"
	"stegomq/study"
)

// Bounds of the requests that make images or results to show them (Service.showing): of all users, of one, and how long a request waits for a place.
const (
	showingPlaces, showingPerUser = 8, 4
	showingWait                   = 10 * time.Second
)

// placed is a handler that holds a place of Service.showing while it works.
func placed(serve handler) handler {
	return func(s *Service, w http.ResponseWriter, c *call) *problem {
		leave, why := s.showing.take(c.Context(), c.owner())
		if why != nil {
			return why
		}
		defer leave()
		return serve(s, w, c)
	}
}

// scoreView is a comparison of a run as it is answered. It has metrics if the comparison was made, and the addresses of images that were stored.
type scoreView struct {
	Item      string   `json:"item"`
	Role      string   `json:"role"`
	EmbedKey  string   `json:"embed_key,omitempty"`
	DecodeKey string   `json:"decode_key,omitempty"`
	Attack    string   `json:"attack,omitempty"`
	Outcome   string   `json:"outcome"`
	PSNR      *float64 `json:"psnr,omitempty"`
	SSIM      *float64 `json:"ssim,omitempty"`
	MAE       *float64 `json:"mae,omitempty"`
	RMSE      *float64 `json:"rmse,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Reference string   `json:"reference_image,omitempty"`
	Test      string   `json:"test_image,omitempty"`
}

func describeScore(run string, sc *schemas.Score) scoreView {
	v := scoreView{
		Item: sc.GetItem(), Role: sc.Role().Token(), EmbedKey: sc.GetEmbedKey(), DecodeKey: sc.GetDecodeKey(), Attack: sc.GetAttack(), Outcome: string(sc.End()),
	}
	if m := sc.GetMetrics(); m != nil {
		v.PSNR, v.SSIM, v.MAE, v.RMSE = &m.Psnr, &m.Ssim, &m.Mae, &m.Rmse
		v.Test = scoreImage("/v1", run, sc, "test")
	}
	if sc.GetReference() != "" {
		v.Reference = scoreImage("/v1", run, sc, "reference")
	}
	switch {
	case sc.GetFailure() != nil:
		v.Reason = sc.GetFailure().GetReason()
	case sc.GetRefusal() != nil:
		v.Reason = sc.GetRefusal().GetDetail()
	}
	return v
}

// scoreImage is the address of an image of a comparison: under is "/v1", or "" for the page.
func scoreImage(under, run string, sc *schemas.Score, of string) string {
	q := url.Values{"item": {sc.GetItem()}, "role": {sc.Role().Token()}, "of": {of}}
	for name, value := range map[string]string{"embed_key": sc.GetEmbedKey(), "decode_key": sc.GetDecodeKey(), "attack": sc.GetAttack()} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return under + "/runs/" + run + "/image?" + q.Encode()
}

// results returns the scores of a run, which the user may see.
func (s *Service) results(c *call, r *run) (*pipeline.Results, *problem) {
	res, err := s.Pipeline.Results(c.Context(), r.ID, false)
	switch {
	case pipeline.UnknownRun(err):
		return nil, newProblem(codeNoResults, "the run has no results yet: it waits, or is being planned")
	case err != nil:
		return nil, s.away(c, err)
	}
	return res, nil
}

// Bounds of a list of items.
const defaultItems, mostItems = 1000, 10000

func (s *Service) listItems(c *call) (any, *problem) {
	q := c.URL.Query()
	role, order := q.Get("role"), q.Get("order")
	if _, ok := schemas.ParseRole(role); role != "" && !ok {
		return nil, newProblem(codeBadRequest, "there is no such role: see Item in /v1/openapi.json")
	}
	if order != "" && order != "worst" {
		return nil, newProblem(codeBadRequest, "order must be worst, or left out")
	}
	offset, why := number(q, "offset", 0, 0, math.MaxInt32)
	if why != nil {
		return nil, why
	}
	limit, why := number(q, "limit", defaultItems, 0, mostItems)
	if why != nil {
		return nil, why
	}
	res, why := s.results(c, c.run)
	if why != nil {
		return nil, why
	}
	list := slices.DeleteFunc(slices.Concat(res.Scores, res.Failures), func(sc *schemas.Score) bool { return role != "" && sc.Role().Token() != role })
	if order == "worst" {
		slices.SortStableFunc(list, worse)
	}
	total := len(list)
	list = list[min(offset, total):]
	list = list[:min(limit, len(list))]
	views := make([]scoreView, len(list))
	for i, sc := range list {
		views[i] = describeScore(c.run.ID, sc)
	}
	return map[string]any{"items": views, "total": total, "offset": offset}, nil
}

// number reads a parameter that is a whole number from least to most; a missing one is without.
func number(q url.Values, name string, without, least, most int) (int, *problem) {
	text := q.Get(name)
	if text == "" {
		return without, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, newProblem(codeBadRequest, fmt.Sprintf("%s is a number from %d to %d", name, least, most))
	}
	return n, nil
}

// worse orders scores, the worst first: failures, then refusals, then the lowest PSNR. For leakages the highest PSNR comes first, and refusals last.
func worse(a, b *schemas.Score) int {
	rank := func(sc *schemas.Score) float64 {
		leak := sc.Role().Leaks()
		switch {
		case sc.GetFailure() != nil:
			return -2000
		case sc.GetRefusal() != nil && leak:
			return 2000
		case sc.GetRefusal() != nil:
			return -1000
		case leak:
			return -sc.GetMetrics().GetPsnr()
		}
		return sc.GetMetrics().GetPsnr()
	}
	return cmp.Compare(rank(a), rank(b))
}

// reportPage is the file of a run that browsers show as a page.
const reportPage = "report.html"

// runFiles are the names of a run's files, and their types.
var runFiles = [][2]string{
	{"summary.json", "application/json"}, {"items.csv", "text/csv; charset=utf-8"}, {"report.md", "text/markdown; charset=utf-8"}, {reportPage, "text/html; charset=utf-8"},
}

// reportPolicy lets a report run its script and do nothing else. In the sandbox the report has an origin of its own, without the service's cookies and
// storage, and it reaches no address. The report itself names that one script by its digest.
const reportPolicy = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// fileView is a file of a run as it is answered.
type fileView struct {
	Name string `json:"name"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

func (s *Service) listFiles(c *call) (any, *problem) {
	views := []fileView{}
	if c.run.State != runWaiting {
		for _, f := range runFiles {
			views = append(views, fileView{f[0], f[1], "/v1/runs/" + c.run.ID + "/files/" + f[0]})
		}
	}
	return map[string]any{"files": views}, nil
}

func (s *Service) runFile(w http.ResponseWriter, c *call) *problem {
	r, name := c.run, c.PathValue("name")
	i := slices.IndexFunc(runFiles, func(f [2]string) bool { return f[0] == name })
	if i < 0 {
		return newProblem(codeNotFound, "a run has the files summary.json, items.csv, report.md and report.html")
	}
	res, why := s.results(c, r)
	if why != nil {
		return why
	}
	f, err := study.OneFile(name, "", res.Summary, res.Scores)
	if err != nil {
		c.log.Error("a file of a run cannot be made", "run", r.ID, "error", err)
		return newProblem(codeInternal, "the files cannot be made: the operator finds the reason in the log")
	}
	h := w.Header()
	shown := "attachment"
	if name == reportPage {
		shown = "inline"
		h.Set("Content-Security-Policy", reportPolicy)
		h.Del("Cross-Origin-Opener-Policy") // browsers show nothing that has both this and a sandbox
	}
	h.Set("Content-Type", runFiles[i][1])
	h.Set("Content-Disposition", shown+`; filename="`+r.ID+"-"+name+`"`)
	_, _ = w.Write(f.Data) // the client has gone
	return nil
}

// runImage answers with an image of a comparison, in the size in which it was compared.
func (s *Service) runImage(w http.ResponseWriter, c *call) *problem {
	q := c.URL.Query()
	role, ok := schemas.ParseRole(q.Get("role"))
	role.Attack = q.Get("attack")
	sc := schemas.NewScore(role, q.Get("item"), q.Get("embed_key"), q.Get("decode_key"))
	of := q.Get("of")
	if !ok || role.Token() != q.Get("role") || of != "reference" && of != "test" && of != "residual" {
		return newProblem(codeBadRequest, "name the image: role must be a role of an item, and of must be reference, test or residual")
	}
	gain, why := gainOf(c)
	if why != nil {
		return why
	}
	// A key that was taken away serves nothing, not even what was made before.
	if why := s.stillUsable(c, c.run); why != nil {
		return why
	}
	scored := func(of string) (*image.NRGBA, error) {
		return s.Pipeline.ScoredImage(c.Context(), c.run.ID, sc, of == "reference")
	}
	var shown *image.NRGBA
	var err error
	if of == "residual" {
		shown, err = residual(scored, "reference", "test", gain)
	} else {
		shown, err = scored(of)
	}
	switch {
	case pipeline.Gone(err):
		return newProblem(codeImageGone, "there is no such image: nothing was compared there, or it was kept for its time and is gone")
	case err != nil:
		return s.away(c, err)
	}
	return s.writePNG(w, c, shown)
}

func (s *Service) writePNG(w http.ResponseWriter, c *call, m *image.NRGBA) *problem {
	data, err := pixel.EncodePNG(m)
	if err != nil {
		c.log.Error("an image cannot be coded", "error", err)
		return newProblem(codeInternal, "the image cannot be coded: the operator finds the reason in the log")
	}
	return answerPNG(w, data)
}

// stillUsable says why the user may no longer evaluate with a run's keys.
func (s *Service) stillUsable(c *call, r *run) *problem {
	for _, id := range r.Request.Keys {
		if _, why := s.granted(c, users.Evaluate, id); why != nil {
			return why
		}
	}
	return nil
}

// The gains of residuals.
const defaultGain, mostGain = 10, 100

func gainOf(c *call) (int, *problem) { return number(c.URL.Query(), "gain", defaultGain, 1, mostGain) }

var errSizes = errors.New("two images of different sizes have no residual")

// residual is drawing.Residual of two images of one size, which get reads by their names.
func residual(get func(name string) (*image.NRGBA, error), first, second string, gain int) (*image.NRGBA, error) {
	a, err := get(first)
	if err != nil {
		return nil, err
	}
	b, err := get(second)
	if err != nil {
		return nil, err
	}
	if a.Rect.Size() != b.Rect.Size() {
		return nil, errSizes
	}
	return drawing.Residual(a, b, float64(gain)), nil
}
