package service

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"stegomq/internal/users"
)

// session is somebody who is signed in to the page. It has no token: who is revoked is out at once.
type session struct {
	name, hash string // as users.User
	used       time.Time
}

// sessions are those of this process, by the digest of their cookie.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// Bounds of sessions: how long one lasts that is not used, and how many there are. The one that was not used for longest makes room.
const (
	sessionIdle  = 12 * time.Hour
	mostSessions = 1000
)

func newSessions() *sessions { return &sessions{all: make(map[[sha256.Size]byte]*session)} }

// begin signs a user in, and gives the cookie's value: 256 random bits.
func (s *sessions) begin(u users.User) string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	value := base64.RawURLEncoding.EncodeToString(random[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= mostSessions {
		var oldest [sha256.Size]byte
		var at time.Time
		for key, one := range s.all {
			if at.IsZero() || one.used.Before(at) {
				oldest, at = key, one.used
			}
		}
		delete(s.all, oldest)
	}
	s.all[sha256.Sum256([]byte(value))] = &session{u.Name, u.Hash, time.Now()}
	return value
}

// find is the session of a cookie's value.
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

// secure says whether browsers reach the service over TLS, as all but this machine's do.
func (s *Service) secure() bool { return s.cfg.CertFile != "" || !Loopback(s.cfg.Address) }

// cookieName has the prefix with which browsers take a cookie from this host alone, and over TLS.
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

// signedIn is the user of a request's cookie.
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
