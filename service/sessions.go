package service

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"stegomq/internal/users"
)

// session is a user who is signed in to the page. It has no token and is checked at every request: a user who is revoked is out at once.
type session struct {
	name, hash string // as users.User
	used       time.Time
}

// sessions are those of this process, by the digest of their cookie.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// Bounds of sessions: how long an unused one lasts, and how many there are. The one that was unused for longest makes room.
const (
	sessionIdle  = 12 * time.Hour
	mostSessions = 1000
)

func newSessions() *sessions { return &sessions{all: make(map[[sha256.Size]byte]*session)} }

// begin signs a user in and returns the value of the cookie: 256 random bits.
func (s *sessions) begin(u users.User) string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	value := base64.RawURLEncoding.EncodeToString(random[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= mostSessions {
		delete(s.all, slices.MinFunc(slices.Collect(maps.Keys(s.all)), func(a, b [sha256.Size]byte) int { return s.all[a].used.Compare(s.all[b].used) }))
	}
	s.all[sha256.Sum256([]byte(value))] = &session{u.Name, u.Hash, time.Now()}
	return value
}

// find returns the session of a cookie's value.
func (s *sessions) find(value string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(value))
	one, ok := s.all[key]
	if !ok {
		return session{}, false
	}
	if time.Since(one.used) > sessionIdle {
		delete(s.all, key)
		return session{}, false
	}
	one.used = time.Now()
	return *one, true
}

func (s *sessions) end(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(value)))
}

// secure says whether browsers reach the service over TLS. Those of this machine may not.
func (s *Service) secure() bool { return s.cfg.CertFile != "" || !Loopback(s.cfg.Address) }

// cookieName has the prefix __Host- where there is TLS: browsers then take the cookie from this host alone.
func (s *Service) cookieName() string {
	if s.secure() {
		return "__Host-stegomq"
	}
	return "stegomq"
}

func (s *Service) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is set wherever there is TLS; on loopback there is none
		Name: s.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode,
	})
}

// signedIn returns the user of a request's cookie.
func (s *Service) signedIn(r *http.Request) (u users.User, ok bool, err error) {
	cookie, err := r.Cookie(s.cookieName())
	if err != nil {
		return u, false, nil //nolint:nilerr // there is none
	}
	one, ok := s.sessions.find(cookie.Value)
	if !ok {
		return u, false, nil
	}
	if u, ok, err = s.Users.Find(one.name, one.hash); !ok && err == nil {
		s.sessions.end(cookie.Value)
	}
	return u, ok, err
}
