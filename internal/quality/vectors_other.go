//go:build !amd64

package quality

func load(dst []moments, a, b []uint8) { loadGo(dst, a, b) }

func along(dst, src []moments) { alongGo(dst, src) }

func down(dst *[2][]moments, rows *[window + 1][]moments) { downGo(dst, rows) }

func similarity(means *[2][]moments, sums *[2]float64) { similarityGo(means, sums) }

func rowDifferences(p, q []uint8) (absolute, squared uint64) { return rowDifferencesGo(p, q) }
