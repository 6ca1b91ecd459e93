//go:build !amd64

package quality

func load(dst []moments, a, b []uint8) { loadGo(dst, a, b) }

func filter(dst, src []moments, to, from, n, lines int) { filterGo(dst, src, to, from, n, lines) }

func similarity(first, second []moments, sums *[2]float64) { similarityGo(first, second, sums) }

func rowDifferences(p, q []uint8) (absolute, squared uint64) { return rowDifferencesGo(p, q) }
