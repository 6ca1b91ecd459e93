package service

import (
	"net/http"
	"net/url"
	"strings"

	"stegomq/internal/users"
	"stegomq/service/page"
)

// pages are for users who are signed in. They call the same functions as the API, and so do nothing that it refuses.
var pages = []route{
	{http.MethodGet, "/{$}", "", (*Service).tryPage},
	{http.MethodPost, "/try", users.Embed, (*Service).try},
	{http.MethodGet, "/try/{id}", users.Embed, (*Service).triedPage},
	{http.MethodGet, "/try/{id}/{kind}", users.Embed, placed((*Service).triedImage)},
	{http.MethodGet, "/runs", users.Evaluate, (*Service).runsPage},
	{http.MethodPost, "/runs", users.Evaluate, traced((*Service).runsForm)},
	{http.MethodGet, "/runs/{id}", users.Evaluate, placed(withRun((*Service).runPage))},
	{http.MethodPost, "/runs/{id}/cancel", users.Evaluate, withRun((*Service).cancelForm)},
	{http.MethodPost, "/runs/{id}/delete", users.Evaluate, withRun((*Service).deleteForm)},
	{http.MethodGet, "/runs/{id}/image", users.Evaluate, placed(withRun((*Service).runImage))},
	{http.MethodGet, "/runs/{id}/files/{name}", users.Evaluate, placed(withRun((*Service).runFile))},
	{http.MethodGet, "/compare", users.Evaluate, placed((*Service).comparePage)},
	{http.MethodGet, "/queue", users.Admin, (*Service).queuePage},
	{http.MethodGet, "/dead", users.Admin, (*Service).deadPage},
	{http.MethodPost, "/dead/retry", users.Admin, letters(Pipeline.RetryDead)},
	{http.MethodPost, "/dead/drop", users.Admin, letters(Pipeline.DropDead)},
	{http.MethodGet, "/users", users.Admin, (*Service).usersPage},
	{http.MethodPost, "/users", users.Admin, (*Service).usersForm},
	{http.MethodPost, "/users/revoke", users.Admin, (*Service).revokeForm},
	{http.MethodGet, "/events", "", (*Service).streamEvents},
	{http.MethodPost, "/logout", "", (*Service).logout},
}

// openPages are for everybody.
var openPages = []route{
	{http.MethodGet, "/login", "", (*Service).loginPage},
	{http.MethodPost, "/login", "", (*Service).login},
	{http.MethodGet, "/assets/{name}", "", func(_ *Service, w http.ResponseWriter, c *call) *problem { page.ServeAsset(w, c.Request); return nil }},
	{http.MethodGet, "/samples/{name}", "", (*Service).sample},
}

// maxWords bounds a form without files, in bytes.
const maxWords = 64 << 10

// servePage answers with a page, or sends a user who is not signed in to /login.
func (s *Service) servePage(w http.ResponseWriter, r *http.Request, to route, closed bool) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	c := &call{Request: r, id: h.Get(requestIDHeader)}
	c.log = s.log.With("request", c.id, "route", to.path)
	why := func() *problem {
		// A form from another site is refused before anything else, since the browser sends the cookie along.
		if err := s.origins.Check(r); err != nil {
			p := newProblem(codeBadRequest, "the form came from another site: open this page itself, and send it from there")
			p.Status = http.StatusForbidden
			return c.refuse(p, "")
		}
		if closed {
			var ok bool
			var err error
			if c.user, ok, err = s.signedIn(r); err != nil {
				c.log.Error("users cannot be checked", "error", err)
				return newProblem(codeUnavailable, "users cannot be checked now: the operator finds the reason in the log")
			} else if !ok {
				return newProblem(codeUnauthorized, "sign in first")
			}
			if to.scope != "" && !c.user.Has(to.scope) {
				return c.refuse(newProblem(codeMissingScope, "you may not do this: it needs the scope "+string(to.scope)), "")
			}
			// Config.Rate counts forms alone: a browser asks for a page with all its images at once.
			if c.Method == http.MethodPost {
				if why := s.inPace(c); why != nil {
					return why
				}
			}
		}
		if why := s.readWords(w, c); why != nil {
			return why
		}
		return to.serve(s, w, c)
	}()
	if why != nil {
		s.showProblem(w, c, why)
	}
}

// readWords reads the body of a form that has no files.
func (s *Service) readWords(w http.ResponseWriter, c *call) *problem {
	if c.Method != http.MethodPost || strings.HasPrefix(c.Header.Get("Content-Type"), "multipart/") {
		return nil
	}
	c.Body = http.MaxBytesReader(w, c.Body, maxWords)
	return s.inTime(w, c.ParseForm)
}

// show writes a page.
func (s *Service) show(w http.ResponseWriter, c *call, status int, name string, v page.View) *problem {
	v.User, v.Embeds, v.Evaluates, v.Admin = c.user.Name, c.user.Has(users.Embed), c.user.Has(users.Evaluate), c.user.Has(users.Admin)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := page.Render(w, name, v); err != nil {
		c.log.Error("a page was not written", "page", name, "error", err)
	}
	return nil
}

func (s *Service) showProblem(w http.ResponseWriter, c *call, p *problem) {
	if p.Code == codeUnauthorized && c.Method == http.MethodGet {
		to := "/login"
		if c.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(c.URL.RequestURI())
		}
		http.Redirect(w, c.Request, to, http.StatusSeeOther)
		return
	}
	if p.retryAfter != "" {
		w.Header().Set("Retry-After", p.retryAfter)
	}
	back := "/"
	if _, below, ok := strings.Cut(c.URL.Path, "/"); ok {
		if first, _, more := strings.Cut(below, "/"); more && first != "try" {
			back = "/" + first
		}
	}
	_ = s.show(w, c, p.Status, "problem", page.View{Title: p.Title, Data: map[string]string{"Detail": p.Detail, "RequestID": c.id, "Back": back}}) // it has no problem of its own
}

// see sends a browser on after a form.
func see(w http.ResponseWriter, c *call, to string) *problem {
	http.Redirect(w, c.Request, to, http.StatusSeeOther)
	return nil
}

// local returns next if it is an address of this service, or else that of the first page.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

func (s *Service) loginPage(w http.ResponseWriter, c *call) *problem {
	return s.showLogin(w, c, http.StatusOK, c.URL.Query().Get("next"), "")
}

func (s *Service) showLogin(w http.ResponseWriter, c *call, status int, next, problem string) *problem {
	return s.show(w, c, status, "login", page.View{Title: "Sign in", Data: map[string]string{"Next": local(next), "Problem": problem}})
}

func (s *Service) login(w http.ResponseWriter, c *call) *problem {
	next := c.PostForm.Get("next")
	why := s.authenticate(c, c.PostForm.Get("token"))
	if why != nil && why.Code == codeUnauthorized {
		c.user = users.User{} // nobody is signed in
		return s.showLogin(w, c, why.Status, next, strings.ToUpper(why.Detail[:1])+why.Detail[1:]+".")
	} else if why != nil {
		return why
	}
	s.setCookie(w, s.sessions.begin(c.user), 0)
	c.log.Info("signed in", "user", c.user.Name)
	return see(w, c, local(next))
}

func (s *Service) logout(w http.ResponseWriter, c *call) *problem {
	if cookie, err := c.Cookie(s.cookieName()); err == nil {
		s.sessions.end(cookie.Value)
	}
	s.setCookie(w, "", -1)
	return see(w, c, "/login")
}

func (s *Service) sample(w http.ResponseWriter, c *call) *problem {
	name, _ := strings.CutSuffix(c.PathValue("name"), ".png")
	data := page.SamplePNG(name)
	if data == nil {
		return newProblem(codeNotFound, "there is no such sample")
	}
	w.Header().Set("Cache-Control", "public, max-age=86400")
	return answerPNG(w, data)
}

// shown is an image on a page. Without a URL there is none, and Why says why.
type shown struct {
	Title, Note, URL, Alt, Why string
	Residual                   bool
}
