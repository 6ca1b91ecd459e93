package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
	"stegomq/service/page"
)

// rates remember how many messages had come when somebody last looked, so that the next look gives a rate.
type rates struct {
	mu   sync.Mutex
	at   time.Time
	ever map[string]uint64
	last map[string]float64 // messages a second, between the two looks before
}

// ratesApart is the shortest time between two looks that give a rate.
const ratesApart = time.Second

// look returns the rate of each stream, in messages a second; a stream whose rate is not known yet is missing.
func (r *rates) look(now time.Time, st *pipeline.QueueStatus) map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ever := make(map[string]uint64)
	for _, stream := range st.Streams {
		ever[stream.Name] = stream.Ever
	}
	if passed := now.Sub(r.at); r.ever == nil || passed >= ratesApart {
		if r.ever != nil {
			r.last = make(map[string]float64)
			for name, n := range ever {
				r.last[name] = float64(max(n, r.ever[name])-r.ever[name]) / passed.Seconds()
			}
		}
		r.at, r.ever = now, ever
	}
	return r.last
}

// figure is a number with its name.
type figure struct{ Name, Value string }

type streamRow struct {
	Name            string
	Messages, Bytes uint64
	MaxBytes        uint64
	Oldest          time.Time
	Rate            string
}

func (s *Service) queuePage(w http.ResponseWriter, c *call) *problem {
	st, err := s.Pipeline.QueueStatus(c.Context())
	if err != nil {
		return s.away(c, err)
	}
	rates := s.rates.look(time.Now(), st)
	var rows []streamRow
	var oldest time.Time
	for _, stream := range st.Streams {
		row := streamRow{Name: stream.Name, Messages: stream.Messages, Bytes: stream.Bytes, MaxBytes: uint64(max(stream.MaxBytes, 0)), Oldest: stream.Oldest, Rate: "–"}
		if rate, known := rates[stream.Name]; known {
			row.Rate = fmt.Sprintf("%.1f", rate)
		}
		rows = append(rows, row)
		for _, class := range schemas.Classes() {
			if stream.Name == schemas.JobStream(class) && !stream.Oldest.IsZero() && (oldest.IsZero() || stream.Oldest.Before(oldest)) {
				oldest = stream.Oldest
			}
		}
	}
	waits := "none"
	if !oldest.IsZero() {
		waits = time.Since(oldest).Round(100 * time.Millisecond).String()
	}
	read := s.Metrics.Read()
	return s.show(w, c, http.StatusOK, "queue", page.View{Title: "Workers and queues", Tab: "queue", Reload: 5, Data: map[string]any{
		"Server": fmt.Sprintf("%s, NATS %s", st.URL, st.Version), "Streams": rows, "Workers": st.Workers, "Jobs": read.Jobs,
		"Weights": map[string]any{"Hits": read.Weights.Hits, "Misses": read.Weights.Misses, "Bytes": uint64(max(read.Weights.Bytes, 0))},
		"Figures": []figure{
			{"jobs wait", fmt.Sprint(st.JobsWaiting)}, {"jobs are worked on", fmt.Sprint(st.JobsInFlight)}, {"oldest job", waits},
			{"results wait", fmt.Sprint(st.ResultsWaiting)}, {"dead letters", fmt.Sprint(st.DeadLetters)}, {"workers", fmt.Sprint(len(st.Workers))},
		},
	}})
}

// shownLetters is how many dead letters a page shows.
const shownLetters = 200

func (s *Service) deadPage(w http.ResponseWriter, c *call) *problem {
	all, err := s.Pipeline.DeadLetters(c.Context(), pipeline.DeadFilter{})
	if err != nil {
		return s.away(c, err)
	}
	type row struct {
		Reason string
		Count  int
	}
	var reasons []row
	want := c.URL.Query().Get("reason")
	var letters []pipeline.DeadRow
	for _, letter := range all {
		i := slices.IndexFunc(reasons, func(r row) bool { return r.Reason == letter.Reason })
		if i < 0 {
			i = len(reasons)
			reasons = append(reasons, row{Reason: letter.Reason})
		}
		reasons[i].Count++
		if want == "" || want == letter.Reason {
			letters = append(letters, letter)
		}
	}
	slices.SortFunc(reasons, func(a, b row) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason)) })
	more := max(len(letters)-shownLetters, 0)
	return s.show(w, c, http.StatusOK, "dead", page.View{Title: "Dead letters", Tab: "dead", Reload: 10, Data: map[string]any{
		"Reasons": reasons, "Reason": want, "Letters": letters[:len(letters)-more], "More": more,
	}})
}

// letters is a handler that does something with the dead letter of a number, or with all dead letters of a reason.
func letters(do func(Pipeline, context.Context, uint64) error) handler {
	return func(s *Service, w http.ResponseWriter, c *call) *problem {
		numbers, why := s.named(c)
		if why != nil {
			return why
		}
		for _, n := range numbers {
			if err := do(s.Pipeline, c.Context(), n); err != nil && !pipeline.Gone(err) { // somebody else may have been first
				return s.away(c, err)
			}
		}
		c.log.Info("dead letters", "user", c.user.Name, "letters", len(numbers))
		return see(w, c, "/dead")
	}
}

// named are the numbers of the dead letters that a form names.
func (s *Service) named(c *call) (numbers []uint64, why *problem) {
	reason := c.PostForm.Get("reason")
	if reason == "" {
		n, err := strconv.ParseUint(c.PostForm.Get("number"), 10, 64)
		if err != nil {
			return nil, newProblem(codeBadRequest, "name a dead letter by its number, or a reason")
		}
		return []uint64{n}, nil
	}
	rows, err := s.Pipeline.DeadLetters(c.Context(), pipeline.DeadFilter{Reason: schemas.Reason(reason)})
	if err != nil {
		return nil, s.away(c, err)
	}
	for _, row := range rows {
		numbers = append(numbers, row.Number)
	}
	return numbers, nil
}

// keyRow is a key of the service as the operator sees it: never its bytes.
type keyRow struct{ ID, Fingerprint, Owner, Halves string }

func (s *Service) usersPage(w http.ResponseWriter, c *call) *problem {
	return s.showUsers(w, c, http.StatusOK, "", "", "")
}

func (s *Service) showUsers(w http.ResponseWriter, c *call, status int, made, token, trouble string) *problem {
	all, err := s.Users.Users()
	if err != nil {
		return s.away(c, err)
	}
	ring, why := s.ring(c)
	if why != nil {
		return why
	}
	var keys []keyRow
	var free []string
	for _, pair := range ring.List() {
		row := keyRow{ID: pair.ID, Fingerprint: pair.Fingerprint(), Halves: "embeds and recovers"}
		if pair.Recover.IsZero() {
			row.Halves = "embeds"
		}
		for _, u := range all {
			if slices.Contains(u.Keys, pair.ID) {
				row.Owner = u.Name
			}
		}
		if row.Owner == "" {
			free = append(free, pair.ID)
		}
		keys = append(keys, row)
	}
	return s.show(w, c, status, "users", page.View{Title: "Users and keys", Tab: "users", Data: map[string]any{
		"Users": all, "Keys": keys, "Free": free, "Scopes": users.Scopes(), "Made": made, "Token": token, "Problem": trouble, "MostDays": mostDays,
	}})
}

// mostDays is the longest that a token made on the page is valid, where it is not for ever.
const mostDays = 3650

func (s *Service) usersForm(w http.ResponseWriter, c *call) *problem {
	u := users.User{Name: c.PostForm.Get("name"), Keys: c.PostForm["key"], EmbedFor: c.PostForm["embed_for"]}
	for _, scope := range c.PostForm["scope"] {
		u.Scopes = append(u.Scopes, users.Scope(scope))
	}
	if text := c.PostForm.Get("days"); text != "" {
		days, err := strconv.Atoi(text)
		if err != nil || days < 1 || days > mostDays {
			return s.showUsers(w, c, http.StatusUnprocessableEntity, "", "", fmt.Sprintf("a token is valid for 1 to %d days, or for ever where nothing is given", mostDays))
		}
		u.Expires = time.Now().UTC().AddDate(0, 0, days).Truncate(time.Second)
	}
	ring, why := s.ring(c)
	if why != nil {
		return why
	}
	for _, id := range slices.Concat(u.Keys, u.EmbedFor) {
		if _, err := ring.Get(id); err != nil {
			return s.showUsers(w, c, http.StatusUnprocessableEntity, "", "", "there is no key "+strconv.Quote(id))
		}
	}
	token, err := s.Users.Add(u)
	if errors.Is(err, users.ErrUser) || errors.Is(err, users.ErrTaken) {
		return s.showUsers(w, c, http.StatusUnprocessableEntity, "", "", err.Error())
	} else if err != nil {
		return s.away(c, err)
	}
	c.log.Info("a user was made", "user", c.user.Name, "made", u.Name)
	return s.showUsers(w, c, http.StatusOK, u.Name, token, "")
}

func (s *Service) revokeForm(w http.ResponseWriter, c *call) *problem {
	name := c.PostForm.Get("name")
	if name == c.user.Name {
		return newProblem(codeBadRequest, "you would lock yourself out: another administrator does this, or stegomq users revoke")
	}
	if err := s.Users.Revoke(name); err != nil && !errors.Is(err, users.ErrUnknown) {
		return s.away(c, err)
	}
	c.log.Info("a user was revoked", "user", c.user.Name, "revoked", name)
	return see(w, c, "/users")
}
