package schemas

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Role is what a score measures: who read the test image, and what it is compared with. The scores of one role are summarised together.
type Role struct {
	Reader  Reader
	Against Against
	// Permille is the share of a partial key that is right, 0 to 1000; 0 of other readers.
	Permille int
	// Attack is what was done to the stego image before it was read; mostly nothing.
	Attack string
}

// The roles without a wrong key.
var (
	Imperceptibility = Role{Reader: Reader_READER_NONE, Against: Against_AGAINST_COVER}
	Recoverability   = Role{Reader: Reader_READER_MATCHED, Against: Against_AGAINST_SECRET}
	Baseline         = Role{Reader: Reader_READER_NONE, Against: Against_AGAINST_SECRET}
	Purification     = Role{Reader: Reader_READER_UNKEYED, Against: Against_AGAINST_CLEAN}
	Noise            = Role{Reader: Reader_READER_NONE, Against: Against_AGAINST_CLEAN}
)

// Leakage is the role of what a reader, other than the matched key, shows of the secret.
func Leakage(r Reader) Role { return Role{Reader: r, Against: Against_AGAINST_SECRET} }

// LeakageCover is the role of what a reader, other than the matched key, shows of the cover.
func LeakageCover(r Reader) Role { return Role{Reader: r, Against: Against_AGAINST_COVER} }

// Robustness is the role of what the matched key recovers after an attack.
func Robustness(attack string) Role {
	return Role{Reader: Reader_READER_MATCHED, Against: Against_AGAINST_SECRET, Attack: attack}
}

// Leaks says whether the role compares what a wrong key, or no key, shows with the secret.
func (r Role) Leaks() bool {
	return r.Against == Against_AGAINST_SECRET && r.Reader != Reader_READER_NONE && r.Reader != Reader_READER_MATCHED
}

// word is the reader's in the words of roles: mismatched, random and so on.
func (x Reader) word() string {
	return strings.ToLower(strings.TrimPrefix(Reader_name[int32(x)], "READER_"))
}

// keyed says whether the reader has a key, which recovery may refuse.
func (x Reader) keyed() bool { return x >= Reader_READER_MATCHED && x <= Reader_READER_PARTIAL }

// derived says whether the reader's key is derived from the one that embedded.
func (x Reader) derived() bool { return x >= Reader_READER_NEAR && x <= Reader_READER_PARTIAL }

// roleToken is the word of a role. It has neither a share, nor the name of an attack.
type roleToken struct {
	role  Role
	token string
}

// anyAttack stands for all attacks in roleTokens.
const anyAttack = "*"

// roleTokens are the words of all roles, in the order of files and reports.
var roleTokens = func() []roleToken {
	all := []roleToken{{Imperceptibility, "imperceptibility"}, {Recoverability, "recoverability"}, {Robustness(anyAttack), "robustness"}}
	for r := Reader_READER_MISMATCHED; r <= Reader_READER_UNKEYED; r++ {
		token := "leakage_" + r.word()
		all = append(all, roleToken{Leakage(r), token}, roleToken{LeakageCover(r), token + "_cover"})
	}
	return append(all, roleToken{Baseline, "baseline_cover_secret"}, roleToken{Purification, "purification"}, roleToken{Noise, "noise"})
}()

// number is the place of the role in roleTokens, -1 of what is no role.
func (r Role) number() int {
	r.Permille = 0
	if r.Attack != "" {
		r.Attack = anyAttack
	}
	return slices.IndexFunc(roleTokens, func(t roleToken) bool { return t.role == r })
}

// Token is the role's word in tables, files and Redis fields, without a share and an attack; "unknown" of what is no role.
func (r Role) Token() string {
	if n := r.number(); n >= 0 {
		return roleTokens[n].token
	}
	return "unknown"
}

// Compare orders roles as files and reports have them, then by share and attack.
func (r Role) Compare(o Role) int {
	return cmp.Or(cmp.Compare(r.number(), o.number()), cmp.Compare(r.Permille, o.Permille), cmp.Compare(r.Attack, o.Attack))
}

// ParseRole is the role of a word (Token), without a share and an attack; false where there is none.
func ParseRole(token string) (Role, bool) {
	for _, t := range roleTokens {
		if t.token == token {
			return Role{Reader: t.role.Reader, Against: t.role.Against}, true
		}
	}
	return Role{}, false
}

// NewScore names a comparison of an item in a role, with the keys that have a part in it. It has no images and no metrics.
func NewScore(r Role, item, embed, decode string) *Score {
	return &Score{Item: item, Reader: r.Reader, Against: r.Against, Attack: r.Attack, EmbedKey: embed, DecodeKey: decode}
}

// Role is what the score measures.
func (x *Score) Role() Role {
	r := Role{Reader: x.GetReader(), Against: x.GetAgainst(), Attack: x.GetAttack()}
	if r.Reader == Reader_READER_PARTIAL {
		number, _, _ := strings.Cut(strings.TrimPrefix(x.GetDecodeKey(), "partial-"), "-")
		r.Permille, _ = strconv.Atoi(number)
	}
	return r
}

// ScoreKey names a score within its run: item, role, embed key, decode key, and the attack where there was one. It is
// the field of the score in Redis.
func ScoreKey(s *Score) string {
	parts := []string{s.GetItem(), s.Role().Token(), s.GetEmbedKey(), s.GetDecodeKey()}
	if s.GetAttack() != "" {
		parts = append(parts, s.GetAttack())
	}
	return strings.Join(parts, "|")
}

// keyForms are the ids of keys that are never registered, by who reads with them: a random key is public, and one that is derived from
// another measures what a key that is almost right recovers.
var keyForms = map[Reader]*regexp.Regexp{
	Reader_READER_RANDOM:  regexp.MustCompile(`^random-[0-9]{1,20}-[0-9]{1,20}$`),
	Reader_READER_NEAR:    regexp.MustCompile(`^near-[0-9]{1,3}-([a-z0-9][a-z0-9_-]*)$`),
	Reader_READER_SWAPPED: regexp.MustCompile(`^swapped-([a-z0-9][a-z0-9_-]*)$`),
	Reader_READER_PARTIAL: regexp.MustCompile(`^partial-(?:0|[1-9][0-9]{0,2}|1000)-([a-z0-9][a-z0-9_-]*)$`),
}

// keyForm says who reads with a key by the form of its id, and the id of the key that it is derived from, which a random key has not.
// The reader is unspecified of any other key.
func keyForm(id string) (r Reader, owner string) {
	if !ValidKeyID(id) {
		return Reader_READER_UNSPECIFIED, ""
	}
	for r, form := range keyForms {
		if m := form.FindStringSubmatch(id); m != nil {
			return r, strings.Join(m[1:], "")
		}
	}
	return Reader_READER_UNSPECIFIED, ""
}

// readerOf says who reads where a key decodes what another, or the same, embedded. The ids say it.
func readerOf(embed, decode string) Reader {
	if embed == decode {
		return Reader_READER_MATCHED
	}
	if r, owner := keyForm(decode); r == Reader_READER_RANDOM || owner == embed && owner != "" {
		return r
	}
	return Reader_READER_MISMATCHED
}
