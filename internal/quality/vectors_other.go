//go:build !amd64

package quality

func load(dst []moments, a, b []uint8) { loadGo(dst, a, b) }

func along(dst, src []moments) { alongGo(dst, src) }

func across(rows *[window][]moments, sum float64) float64 { return acrossGo(rows, 0, sum) }

func rowDifferences(p, q []uint8) (absolute, squared uint64) { return rowDifferencesGo(p, q) }
