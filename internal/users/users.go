// Package users owns who may use the HTTP API, and what each user may do with which keys. A file in the state folder says so.
//
// Invariants:
//   - A token has 256 random bits and is shown once, when it is made. The file has the SHA-256 of the token alone, and only the owner of the file can
//     read it. Errors and logs have neither the token nor its hash.
//   - A key has one owner. Others may embed with it, for the owner, and never recover.
//   - A key that a user has no grant for is unknown to the user, whether or not it exists.
//   - The file is replaced whole or not at all, and is read anew for every request, so that a revoked token is refused from the next request on.
package users

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"stegomq/internal/keyring"
	"stegomq/schemas"
)

var (
	// ErrToken: no user has the token.
	ErrToken = errors.New("no user has this token")
	// ErrExpired: the user's token was valid until a time that has passed.
	ErrExpired = errors.New("the token has expired")
	// ErrUser: the user's name, scopes or keys are not allowed.
	ErrUser = errors.New("not a user")
	// ErrTaken: the name, or the key, is another user's.
	ErrTaken = errors.New("taken")
	// ErrUnknown: there is no user of that name.
	ErrUnknown = errors.New("no such user")
	// ErrPermissions: others can read the file.
	ErrPermissions = errors.New("others can read it")
	// ErrFormat: the file is not one of users that this version understands.
	ErrFormat = errors.New("not a file of users")
)

// Scope is something that a user may do.
type Scope string

// The scopes.
const (
	// Embed also allows purifying, which takes no key.
	Embed   Scope = "embed"
	Recover Scope = "recover"
	// Evaluate allows runs.
	Evaluate Scope = "evaluate"
	// Admin is the operator's: it allows everything, with every key of the service.
	Admin Scope = "admin"
)

// Scopes lists the scopes.
func Scopes() []Scope { return []Scope{Embed, Recover, Evaluate, Admin} }

// User is somebody with a token.
type User struct {
	// Name is as in schemas.ValidTenant, and not the operator's. On the message queue the user's jobs and images belong to the tenant of this name.
	Name   string  `json:"name"`
	Scopes []Scope `json:"scopes"`
	// Keys are the ids of the user's own keys, EmbedFor those of others' that the user may embed with.
	Keys     []string  `json:"keys,omitempty"`
	EmbedFor []string  `json:"embed_for,omitempty"`
	Created  time.Time `json:"created"`
	// Expires is when the token stops being valid; zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Hash is the SHA-256 of the token, in lowercase hex. It tells a user from an earlier one of the same name.
	Hash string `json:"token_sha256,omitempty"`
}

// Has says whether the user has a scope.
func (u User) Has(s Scope) bool {
	return slices.Contains(u.Scopes, s) || slices.Contains(u.Scopes, Admin)
}

// Knows says whether the user may know of a key.
func (u User) Knows(key string) bool {
	return u.owns(key) || slices.Contains(u.EmbedFor, key)
}

// May says whether the user may use a key for a scope.
func (u User) May(s Scope, key string) bool {
	return u.Has(s) && (u.owns(key) || s == Embed && slices.Contains(u.EmbedFor, key))
}

// owns says whether a key is the user's own. An administrator owns every key that can be stored, but no key that is derived from one.
func (u User) owns(key string) bool {
	return slices.Contains(u.Keys, key) || slices.Contains(u.Scopes, Admin) && !keyring.Derived(key)
}

// expired says whether the user's token is no longer valid.
func (u User) expired() bool { return !u.Expires.IsZero() && !time.Now().Before(u.Expires) }

// check returns ErrUser with what is wrong, or nil.
func (u User) check() error {
	switch {
	case !schemas.ValidTenant(u.Name):
		return fmt.Errorf("%w: a name has 1 to 31 lowercase letters, digits, '_' and '-', not %q", ErrUser, u.Name)
	case u.Name == schemas.MainTenant:
		return fmt.Errorf("%w: %s is the operator's name on the message queue: choose another", ErrUser, u.Name)
	case len(u.Scopes) == 0:
		return fmt.Errorf("%w: %s has no scope: give embed, recover, evaluate or admin", ErrUser, u.Name)
	}
	for _, s := range u.Scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("%w: %q is not a scope: give embed, recover, evaluate or admin", ErrUser, s)
		}
	}
	for _, key := range slices.Concat(u.Keys, u.EmbedFor) {
		if !keyring.ValidID(key) || keyring.Derived(key) {
			return fmt.Errorf("%w: %q is not the id of a key that is stored", ErrUser, key)
		}
	}
	return nil
}

// conflict returns ErrTaken if the name or a key of a new user already belongs to another user.
func conflict(all []User, u User) error {
	for _, other := range all {
		if other.Name == u.Name {
			return fmt.Errorf("%w: there is a user %s: choose another name, or revoke that one first", ErrTaken, u.Name)
		}
		for _, key := range u.Keys {
			if slices.Contains(other.Keys, key) {
				return fmt.Errorf("%w: the key %s is %s's: let %s embed with it by --embed-for, or choose another", ErrTaken, key, other.Name, u.Name)
			}
		}
	}
	return nil
}

// tokenPrefix shows whoever finds a token what it is for.
const tokenPrefix = "stegomq_"

// newToken makes a token and its hash.
func newToken() (token, hash string) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return token, hashOf(token)
}

func hashOf(token string) string { return schemas.Digest([]byte(token)) }

// find returns the user of a token. It takes the same time whoever the user is.
func find(all []User, token string) (found User, err error) {
	hash, err := []byte(hashOf(token)), ErrToken
	for _, u := range all {
		if subtle.ConstantTimeCompare(hash, []byte(u.Hash)) == 1 {
			found, err = u, nil
		}
	}
	return found, err
}
