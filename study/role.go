package study

import (
	"fmt"
	"maps"
	"slices"

	"stegomq/schemas"
)

// better is +1 where more likeness is better, -1 where less is, and 0 where neither is. The last are what a wrong key shows of the cover, and
// images that the model did not make.
func better(r schemas.Role) float64 {
	switch {
	case r == schemas.Imperceptibility, r == schemas.Purification, r.Reader == schemas.Reader_READER_MATCHED:
		return +1
	case r.Leaks():
		return -1
	}
	return 0
}

// percent writes a share as people read it.
func percent(permille int) string { return fmt.Sprintf("%g %%", float64(permille)/10) }

// sortedRoles lists roles by their order in files, then by share and attack.
func sortedRoles[V any](m map[schemas.Role]V) []schemas.Role {
	return slices.SortedFunc(maps.Keys(m), schemas.Role.Compare)
}
