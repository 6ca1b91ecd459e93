package schemas

import (
	"cmp"
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

// Leakage is the role in which the output of a reader, other than the matched key, is compared with the secret.
func Leakage(r Reader) Role { return Role{Reader: r, Against: Against_AGAINST_SECRET} }

// LeakageCover is the role in which the output of a reader, other than the matched key, is compared with the cover.
func LeakageCover(r Reader) Role { return Role{Reader: r, Against: Against_AGAINST_COVER} }

// Robustness is the role in which the output of the matched key after an attack is compared with the secret.
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

// roleToken is the word of a role, which says neither the share nor the attack.
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

// number is the place of the role in roleTokens, -1 for a combination that is no role.
func (r Role) number() int {
	r.Permille = 0
	if r.Attack != "" {
		r.Attack = anyAttack
	}
	return slices.IndexFunc(roleTokens, func(t roleToken) bool { return t.role == r })
}

// Token is the role's word in tables, files and Redis fields, without a share and an attack; "unknown" for a combination that is no role.
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

// keyForm says who reads with a key by the form of its id: random-SEED-NUMBER, near-BIT-OWNER, swapped-OWNER or partial-PERMILLE-OWNER,
// where the owner is the key that it is derived from. Such keys are never registered: a random key is public, and one that is derived from
// another measures what a key that is almost right recovers. The reader is unspecified of any other key.
func keyForm(id string) (r Reader, owner string) {
	word, rest, _ := strings.Cut(id, "-")
	number, owner, _ := strings.Cut(rest, "-")
	switch {
	case !ValidKeyID(id):
	case word == "random" && isNumber(number, 20) && isNumber(owner, 20):
		return Reader_READER_RANDOM, ""
	case word == "near" && isNumber(number, 3) && ValidKeyID(owner):
		return Reader_READER_NEAR, owner
	case word == "swapped" && ValidKeyID(rest):
		return Reader_READER_SWAPPED, rest
	case word == "partial" && isPermille(number) && ValidKeyID(owner):
		return Reader_READER_PARTIAL, owner
	}
	return Reader_READER_UNSPECIFIED, ""
}

// DerivedKeyID says whether an id is of a random pair or of one that is derived from another.
func DerivedKeyID(id string) bool {
	form, _ := keyForm(id)
	return form != Reader_READER_UNSPECIFIED
}

// isNumber says whether s is 1 to most decimal digits.
func isNumber(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

// isPermille says whether s is a number from 0 to 1000 without zeros before it.
func isPermille(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 1000 && strconv.FormatUint(n, 10) == s
}

// readerOf says by the ids of two keys who reads, where one decodes what the other embedded.
func readerOf(embed, decode string) Reader {
	if embed == decode {
		return Reader_READER_MATCHED
	}
	if r, owner := keyForm(decode); r == Reader_READER_RANDOM || owner == embed && owner != "" {
		return r
	}
	return Reader_READER_MISMATCHED
}
