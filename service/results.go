package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"stegomq/internal/pixel"
	"stegomq/internal/users"
	"stegomq/pipeline"
	drawing "stegomq/report/figure"
	"stegomq/schemas"
	"stegomq/study"
)

// gate bounds what makes images or results to show them: so many at once, and so many of one user. Who finds no place waits a moment.
type gate struct {
	all *semaphore.Weighted

	mu    sync.Mutex
	users map[string]*semaphore.Weighted
}

// The gate's places, and how long one waits for one.
const (
	gatePlaces, gatePerUser = 8, 4
	gateWait                = 10 * time.Second
)

func newGate() *gate {
	return &gate{all: semaphore.NewWeighted(gatePlaces), users: make(map[string]*semaphore.Weighted)}
}

// placed wraps a handler so that it holds a place of the gate while it works.
func placed(serve handler) handler {
	return func(s *Service, w http.ResponseWriter, c *call) *problem {
		leave, why := s.gate.enter(c.Context(), c.owner())
		if why != nil {
			return why
		}
		defer leave()
		return serve(s, w, c)
	}
}

// enter takes a place for a user; leave gives it back. It waits up to gateWait.
func (g *gate) enter(ctx context.Context, user string) (leave func(), why *problem) {
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	g.mu.Lock()
	mine := g.users[user]
	if mine == nil {
		mine = semaphore.NewWeighted(gatePerUser)
		g.users[user] = mine
	}
	g.mu.Unlock()
	full := newProblem(codeTooMany, "so much is being shown that there is no room for more: try again a little later")
	if mine.Acquire(ctx, 1) != nil {
		return nil, full
	}
	if g.all.Acquire(ctx, 1) != nil {
		mine.Release(1)
		return nil, full
	}
	return func() { g.all.Release(1); mine.Release(1) }, nil
}

// scoreView is a comparison of a run in an answer. It has metrics where the comparison was made, and addresses of the images that were stored.
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

// scoreImage is the address of an image of a comparison, below /v1 or the page.
func scoreImage(under, run string, sc *schemas.Score, of string) string {
	q := url.Values{"item": {sc.GetItem()}, "role": {sc.Role().Token()}, "of": {of}}
	for name, value := range map[string]string{"embed_key": sc.GetEmbedKey(), "decode_key": sc.GetDecodeKey(), "attack": sc.GetAttack()} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return under + "/runs/" + run + "/image?" + q.Encode()
}

// results returns the scores of a run that the user may see.
func (s *Service) results(c *call, r *run) (*pipeline.Results, *problem) {
	res, err := s.Pipeline.Results(c.Context(), r.ID)
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

func (s *Service) listItems(w http.ResponseWriter, c *call, r *run) *problem {
	role, worst, offset, limit, why := itemsQuery(c.URL.Query())
	if why != nil {
		return why
	}
	res, why := s.results(c, r)
	if why != nil {
		return why
	}
	list := slices.DeleteFunc(slices.Concat(res.Scores, res.Failures), func(sc *schemas.Score) bool { return role != "" && sc.Role().Token() != role })
	if worst {
		slices.SortStableFunc(list, worse)
	}
	total := len(list)
	list = list[min(offset, total):]
	list = list[:min(limit, len(list))]
	views := make([]scoreView, len(list))
	for i, sc := range list {
		views[i] = describeScore(r.ID, sc)
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": views, "total": total, "offset": offset})
	return nil
}

func itemsQuery(q url.Values) (role string, worst bool, offset, limit int, why *problem) {
	bad := func(text string) *problem { return newProblem(codeBadRequest, text) }
	if role = q.Get("role"); role != "" {
		if _, ok := schemas.ParseRole(role); !ok {
			return "", false, 0, 0, bad("there is no such role: see Item in /v1/openapi.json")
		}
	}
	if order := q.Get("order"); order != "" && order != "worst" {
		return "", false, 0, 0, bad("order is worst, or left out")
	}
	if offset, why = number(q, "offset", 0, 0, math.MaxInt32); why == nil {
		limit, why = number(q, "limit", defaultItems, 0, mostItems)
	}
	return role, q.Get("order") == "worst", offset, limit, why
}

// number reads a parameter that is a whole number from least to most; where it is missing, the result is the one given.
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

// reportPage is the file of a run that browsers show.
const reportPage = "report.html"

// runFiles are the names of a run's files, and their types.
var runFiles = [][2]string{
	{"summary.json", "application/json"}, {"items.csv", "text/csv; charset=utf-8"}, {"report.md", "text/markdown; charset=utf-8"}, {reportPage, "text/html; charset=utf-8"},
}

// reportPolicy lets a report run its script, and do nothing else: in a sandbox it has an origin of its own, with neither cookies nor storage of the
// service's, and it reaches no address. The report says in itself which script that is, by its digest.
const reportPolicy = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// fileView is a file of a run as it is answered.
type fileView struct {
	Name string `json:"name"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

func (s *Service) listFiles(w http.ResponseWriter, _ *call, r *run) *problem {
	views := []fileView{}
	if r.State != runWaiting {
		for _, f := range runFiles {
			views = append(views, fileView{f[0], f[1], "/v1/runs/" + r.ID + "/files/" + f[0]})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"files": views})
	return nil
}

func (s *Service) runFile(w http.ResponseWriter, c *call, r *run) *problem {
	name := c.PathValue("name")
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
func (s *Service) runImage(w http.ResponseWriter, c *call, r *run) *problem {
	q := c.URL.Query()
	role, ok := schemas.ParseRole(q.Get("role"))
	role.Attack = q.Get("attack")
	sc := schemas.NewScore(role, q.Get("item"), q.Get("embed_key"), q.Get("decode_key"))
	of := q.Get("of")
	if !ok || role.Token() != q.Get("role") || of != "reference" && of != "test" && of != "residual" {
		return newProblem(codeBadRequest, "say which image: role is a role of an item, of is reference, test or residual")
	}
	gain, why := gainOf(c)
	if why != nil {
		return why
	}
	// Keys that were taken away serve nothing, not even what was made before.
	if why := s.stillUsable(c, r); why != nil {
		return why
	}
	image, err := s.scored(c.Context(), r.ID, sc, of, gain)
	switch {
	case pipeline.Gone(err):
		return newProblem(codeImageGone, "there is no such image: nothing was compared there, or it was kept for its time and is gone")
	case err != nil:
		return s.away(c, err)
	}
	return s.writePNG(w, c, image)
}

func (s *Service) scored(ctx context.Context, run string, sc *schemas.Score, of string, gain int) (*image.NRGBA, error) {
	if of != "residual" {
		return s.Pipeline.ScoredImage(ctx, run, sc, of == "reference")
	}
	reference, err := s.Pipeline.ScoredImage(ctx, run, sc, true)
	if err != nil {
		return nil, err
	}
	test, err := s.Pipeline.ScoredImage(ctx, run, sc, false)
	if err != nil {
		return nil, err
	}
	return residual(reference, test, gain)
}

func (s *Service) writePNG(w http.ResponseWriter, c *call, m *image.NRGBA) *problem {
	data, err := pixel.EncodePNG(m)
	if err != nil {
		c.log.Error("an image cannot be coded", "error", err)
		return newProblem(codeInternal, "the image cannot be coded: the operator finds the reason in the log")
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the client has gone
	return nil
}

// stillUsable says whether the user may still evaluate with a run's keys.
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

// residual is drawing.Residual of two images of one size.
func residual(a, b *image.NRGBA, gain int) (*image.NRGBA, error) {
	if a.Rect.Size() != b.Rect.Size() {
		return nil, errSizes
	}
	return drawing.Residual(a, b, float64(gain)), nil
}
