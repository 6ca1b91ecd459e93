package quality

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd kernels && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg quality"

// vectors says whether the processor has what the assembly needs. Tests clear it.
var vectors = cpu.X86.HasAVX2 && cpu.X86.HasFMA

func load(dst []moments, a, b []uint8) {
	if pairs := len(dst) / (2 * channels); vectors && pairs > 0 {
		loadAVX2(&dst[0].s, &a[:8*pairs][0], &b[:8*pairs][0], pairs)
		dst, a, b = dst[2*channels*pairs:], a[8*pairs:], b[8*pairs:]
	}
	loadGo(dst, a, b)
}

func filter(dst, src []moments, to, from, n, lines int) {
	if !vectors || n <= 0 || lines <= 0 {
		filterGo(dst, src, to, from, n, lines)
		return
	}
	_, _ = dst[(n-1)*to+lines-1], src[(n+window-2)*from+lines-1]
	const size = 32 // bytes of moments
	filterAVX2(&dst[0].s, &src[0].s, to*size, from*size, n, lines, &weights)
}

func similarity(first, second []moments, sums *[2]float64) {
	if fours := len(first) / 4; vectors && fours > 0 {
		similarityAVX2(&first[0].s, &second[:len(first)][0].s, fours, sums)
		first, second = first[4*fours:], second[4*fours:]
	}
	similarityGo(first, second, sums)
}

func rowDifferences(p, q []uint8) (absolute, squared uint64) {
	if n := len(p) / 32; vectors && n > 0 {
		absolute, squared = differencesAVX2(&p[0], &q[:32*n][0], n)
		p, q = p[32*n:], q[32*n:]
	}
	l1, l2 := rowDifferencesGo(p, q)
	return absolute + l1, squared + l2
}
