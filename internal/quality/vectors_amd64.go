package quality

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd kernels && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg quality"

// vectors says whether the processor has AVX2. Tests clear it.
var vectors = cpu.X86.HasAVX2

func load(dst []moments, a, b []uint8) {
	if n := len(dst) / channels; vectors && n > 0 {
		loadAVX2(&dst[0].s, &a[:4*n][0], &b[:4*n][0], n)
		return
	}
	loadGo(dst, a, b)
}

func along(dst, src []moments) {
	if n := len(dst); vectors && n > 0 {
		alongAVX2(&dst[0].s, &src[:n+(window-1)*channels][0].s, n, &gauss)
		return
	}
	alongGo(dst, src)
}

func across(rows *[window][]moments, sum float64) float64 {
	fours := 0
	if n := len(rows[0]); vectors && n >= 4 {
		var first [window]*float64
		for i, row := range rows {
			first[i] = &row[:n][0].s
		}
		fours = n / 4
		sum = acrossAVX2(&first, fours, &gauss, sum)
	}
	return acrossGo(rows, 4*fours, sum)
}

func rowDifferences(p, q []uint8) (absolute, squared uint64) {
	if n := len(p) / 32; vectors && n > 0 {
		absolute, squared = differencesAVX2(&p[0], &q[:32*n][0], n)
		p, q = p[32*n:], q[32*n:]
	}
	l1, l2 := rowDifferencesGo(p, q)
	return absolute + l1, squared + l2
}
