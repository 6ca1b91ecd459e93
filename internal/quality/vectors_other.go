//go:build !amd64

package quality

func load(dst []moments, a, b []uint8) { loadGo(dst, a, b) }

func along(dst, src []moments) { alongGo(dst, src) }

func down(dst *[2][]moments, rows *[window + 1][]moments) { downGo(dst, rows) }

func similarity(means []moments, sum float64) float64 { return similarityGo(means, sum) }

func rowDifferences(p, q []uint8) (absolute, squared uint64) { return rowDifferencesGo(p, q) }
