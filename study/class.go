package study

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"stegomq/schemas"
)

// class names scores that are summarised together: those of one role, of partial keys those with one share that is
// right, of attacks those after one of them.
type class struct {
	role     schemas.Role
	permille int
	attack   string
}

func classOf(s *schemas.Score) class {
	c := class{role: s.GetRole(), attack: s.GetAttack()}
	if c.partial() {
		c.permille, _ = schemas.PartialShare(s.GetDecodeKey())
	}
	return c
}

func (c class) partial() bool {
	return c.role == schemas.Role_ROLE_LEAKAGE_PARTIAL || c.role == schemas.Role_ROLE_LEAKAGE_PARTIAL_COVER
}

// Leaks says whether scores compare what a wrong key, or no key, shows with the secret.
func Leaks(r schemas.Role) bool {
	switch r {
	case schemas.Role_ROLE_LEAKAGE_MISMATCHED, schemas.Role_ROLE_LEAKAGE_RANDOM, schemas.Role_ROLE_LEAKAGE_NEAR,
		schemas.Role_ROLE_LEAKAGE_SWAPPED, schemas.Role_ROLE_LEAKAGE_PARTIAL, schemas.Role_ROLE_LEAKAGE_UNKEYED:
		return true
	}
	return false
}

// better is +1 where more likeness is better, -1 where less is, and 0 where neither is: of what a wrong key shows of the cover, and of what
// is not made by the model.
func (c class) better() float64 {
	switch c.role {
	case schemas.Role_ROLE_IMPERCEPTIBILITY, schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_PURIFICATION, schemas.Role_ROLE_ROBUSTNESS:
		return +1
	}
	if Leaks(c.role) {
		return -1
	}
	return 0
}

// percent writes a share as people read it.
func percent(permille int) string { return fmt.Sprintf("%g %%", float64(permille)/10) }

// sortedClasses lists classes by role, share and attack.
func sortedClasses[V any](m map[class]V) []class {
	return slices.SortedFunc(maps.Keys(m), func(a, b class) int {
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.permille, b.permille), cmp.Compare(a.attack, b.attack))
	})
}
