//go:build race

package e2e

// The program is built with the race detector as well: a race that it finds shows as exit code 66.
func init() { buildFlags = append(buildFlags, "-race") }
