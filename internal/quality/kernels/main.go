// Command kernels writes the AVX2 assembly of package quality, and its declarations. It is a module of its own, so that avo stays out of the
// program's dependencies. Each function does what its namesake in Go does, by the same floating-point operations in the same order and without
// fused ones, so that the two agree to the last bit.
package main

import (
	"log"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	window   = 11
	radius   = 5
	channels = 3
	moments  = 32 // bytes of s, d, ss and dd of one sample: one vector
)

func main() {
	ConstraintExpr("amd64")
	load()
	along()
	down()
	similarity()
	differences()
	Generate()
}

// load turns one pixel of both images into three samples: 8-bit to 32-bit integers, in which sums, differences and squares are exact.
func load() {
	TEXT("loadAVX2", NOSPLIT, "func(dst *float64, a, b *uint8, pixels int)")
	Doc("loadAVX2 is load for pixels of both images, at least one.")
	Pragma("noescape")
	dst, a, b, n := pointer("dst"), pointer("a"), pointer("b"), pointer("pixels")

	centre := constant32("centre", 255)
	c := XMM()
	VPBROADCASTD(centre, c)

	Label("pixel")
	x, y, s, d, ss, dd := XMM(), XMM(), XMM(), XMM(), XMM(), XMM()
	VPMOVZXBD(Mem{Base: a}, x)
	VPMOVZXBD(Mem{Base: b}, y)
	VPADDD(y, x, s)
	VPSUBD(c, s, s)
	VPSUBD(y, x, d)
	VPMULLD(s, s, ss)
	VPMULLD(d, d, dd)
	sdLow, sdHigh, squaresLow, squaresHigh := XMM(), XMM(), XMM(), XMM()
	VPUNPCKLDQ(d, s, sdLow)
	VPUNPCKHDQ(d, s, sdHigh)
	VPUNPCKLDQ(dd, ss, squaresLow)
	VPUNPCKHDQ(dd, ss, squaresHigh)
	red, green, blue := XMM(), XMM(), XMM()
	VPUNPCKLQDQ(squaresLow, sdLow, red)
	VPUNPCKHQDQ(squaresLow, sdLow, green)
	VPUNPCKLQDQ(squaresHigh, sdHigh, blue)
	for i, sample := range []VecVirtual{red, green, blue} {
		wide := YMM()
		VCVTDQ2PD(sample, wide)
		VMOVUPD(wide, Mem{Base: dst, Disp: i * moments})
	}
	ADDQ(U8(4), a)
	ADDQ(U8(4), b)
	ADDQ(U32(channels*moments), dst)
	DECQ(n)
	JNZ(LabelRef("pixel"))
	VZEROUPPER()
	RET()
}

// along takes two pixels at once. One vector holds one sample, and so its four moments.
func along() {
	TEXT("alongAVX2", NOSPLIT, "func(dst, src *float64, pairs int, weights *[6]float64)")
	Doc("alongAVX2 is along for two times pairs pixels of dst, at least two.")
	Pragma("noescape")
	dst, src, n, weights := pointer("dst"), pointer("src"), pointer("pairs"), weights()

	const pixel = channels * moments
	Label("pair")
	for c := range channels {
		sums := filter(weights, func(tap int) Mem { return Mem{Base: src, Disp: tap*pixel + c*moments} })
		for i, sum := range sums {
			VMOVUPD(sum, Mem{Base: dst, Disp: i*pixel + c*moments})
		}
	}
	ADDQ(U32(2*pixel), src)
	ADDQ(U32(2*pixel), dst)
	DECQ(n)
	JNZ(LabelRef("pair"))
	VZEROUPPER()
	RET()
}

// down takes two rows at once.
func down() {
	TEXT("downAVX2", NOSPLIT, "func(first, second *float64, rows *[12]*float64, samples int, weights *[6]float64)")
	Doc("downAVX2 is down for at least one sample.")
	Pragma("noescape")
	table, n, weights := pointer("rows"), pointer("samples"), weights()
	// Offsets up to zero from the ends, as there is no register left for a count.
	offset := n
	SHLQ(U8(5), offset)
	end := func(p Register) Mem {
		ADDQ(offset, p)
		return Mem{Base: p, Index: offset, Scale: 1}
	}
	dst := [2]Mem{end(pointer("first")), end(pointer("second"))}
	var rows [window + 1]Mem
	for i := range rows {
		row := table // the last one takes its place
		if i < window {
			row = GP64()
		}
		MOVQ(Mem{Base: table, Disp: 8 * i}, row)
		rows[i] = end(row)
	}
	NEGQ(offset)

	Label("sample")
	for i, sum := range filter(weights, func(tap int) Mem { return rows[tap] }) {
		VMOVUPD(sum, dst[i])
	}
	ADDQ(U8(moments), offset)
	JNZ(LabelRef("sample"))
	VZEROUPPER()
	RET()
}

// filter weighs 12 vectors for two sums, the first 11 and the last 11, from the middle outwards. Each vector is read once: the additions
// are what takes the time.
func filter(weights [radius + 1]VecVirtual, at func(tap int) Mem) (sums [2]VecVirtual) {
	var taps [window + 1]VecVirtual
	read := func(tap int) Op {
		taps[tap] = YMM()
		VMOVUPD(at(tap), taps[tap])
		return taps[tap]
	}
	for i := range sums {
		sums[i] = YMM()
		VMULPD(read(radius+i), weights[0], sums[i])
	}
	for k := 1; k <= radius; k++ {
		read(radius - k)
		read(radius + 1 + k)
		for i, sum := range sums {
			pair := YMM()
			VADDPD(taps[radius+i+k], taps[radius+i-k], pair)
			VMULPD(weights[k], pair, pair)
			VADDPD(pair, sum, sum)
		}
	}
	return sums
}

// similarity turns the vectors of four samples into one vector for each moment, and adds the four similarities one after the other, as their
// order counts.
func similarity() {
	TEXT("similarityAVX2", NOSPLIT, "func(src *float64, fours int, sum float64) float64")
	Doc("similarityAVX2 is similarity for four times fours samples, at least four.")
	Pragma("noescape")
	src, n := pointer("src"), pointer("fours")
	total := XMM()
	VMOVSD(address(Param("sum")), total)
	mean, half := constant64("mean", 255), constant64("half", 0.5)
	c1, c2 := constant64("c1", (0.01*255)*(0.01*255)), constant64("c2", (0.03*255)*(0.03*255))

	Label("four")
	s, d, ss, dd := transpose(src)
	vs, vd, d2 := YMM(), YMM(), YMM()
	VMULPD(s, s, vs)
	VSUBPD(vs, ss, vs)
	VMULPD(d, d, d2)
	VSUBPD(d2, dd, vd)
	VADDPD(mean, s, s)
	s2 := s
	VMULPD(s, s, s2)
	part := func(op func(...Op), a, b VecVirtual, c VecVirtual) VecVirtual {
		v := YMM()
		op(b, a, v)
		VMULPD(half, v, v)
		VADDPD(c, v, v)
		return v
	}
	numerator := part(VSUBPD, s2, d2, c1)
	VMULPD(part(VSUBPD, vs, vd, c2), numerator, numerator)
	denominator := part(VADDPD, s2, d2, c1)
	VMULPD(part(VADDPD, vs, vd, c2), denominator, denominator)
	VDIVPD(denominator, numerator, numerator)

	high := XMM()
	VEXTRACTF128(U8(1), numerator, high)
	for _, pair := range []Op{numerator.AsX(), high} {
		second := XMM()
		VPERMILPD(U8(1), pair, second)
		VADDSD(pair, total, total)
		VADDSD(second, total, total)
	}
	ADDQ(U32(4*moments), src)
	DECQ(n)
	JNZ(LabelRef("four"))
	VMOVSD(total, address(ReturnIndex(0)))
	VZEROUPPER()
	RET()
}

// differences takes eight pixels at once.
func differences() {
	TEXT("differencesAVX2", NOSPLIT, "func(a, b *uint8, eights int) (absolute, squared uint64)")
	Doc("differencesAVX2 is differences for eight times eights pixels of one row, at least eight.")
	Pragma("noescape")
	a, b, n := pointer("a"), pointer("b"), pointer("eights")
	colour, zero, absolute, squared := YMM(), YMM(), YMM(), YMM()
	VPBROADCASTD(constant32("colour", 0x00ffffff), colour)
	for _, v := range []VecVirtual{zero, absolute, squared} {
		VPXOR(v, v, v)
	}

	Label("eight")
	x, y, v := YMM(), YMM(), YMM()
	VPAND(Mem{Base: a}, colour, x)
	VPAND(Mem{Base: b}, colour, y)
	VPSADBW(y, x, v)
	VPADDQ(v, absolute, absolute)
	// Words whose squares VPMADDWD adds in pairs; four of these fit 32 bits, a row of them may not.
	var squares [2]VecVirtual
	for i, unpack := range []func(...Op){VPUNPCKLBW, VPUNPCKHBW} {
		u, w := YMM(), YMM()
		unpack(zero, x, u)
		unpack(zero, y, w)
		VPSUBW(w, u, u)
		VPMADDWD(u, u, u)
		squares[i] = u
	}
	VPADDD(squares[1], squares[0], squares[0])
	for _, unpack := range []func(...Op){VPUNPCKLDQ, VPUNPCKHDQ} {
		u := YMM()
		unpack(zero, squares[0], u)
		VPADDQ(u, squared, squared)
	}
	ADDQ(U8(32), a)
	ADDQ(U8(32), b)
	DECQ(n)
	JNZ(LabelRef("eight"))

	for i, v := range []VecVirtual{absolute, squared} {
		high, second, sum := XMM(), XMM(), GP64()
		VEXTRACTI128(U8(1), v, high)
		VPADDQ(v.AsX(), high, high)
		VPSHUFD(U8(0b1110), high, second)
		VPADDQ(second, high, high)
		VMOVQ(high, sum)
		Store(sum, ReturnIndex(i))
	}
	VZEROUPPER()
	RET()
}

// pointer loads a parameter into a register.
func pointer(name string) Register { return Load(Param(name), GP64()) }

// address is where a parameter or a result lies.
func address(c Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return b.Addr
}

// weights are those of the filter, each in every place of a vector.
func weights() (vectors [radius + 1]VecVirtual) {
	list := pointer("weights")
	for i := range vectors {
		vectors[i] = YMM()
		VBROADCASTSD(Mem{Base: list, Disp: 8 * i}, vectors[i])
	}
	return vectors
}

// transpose makes vectors of s, d, ss and dd of the moments of four samples.
func transpose(src Register) (s, d, ss, dd VecVirtual) {
	var even, odd [2]VecVirtual // s and ss, d and dd of two samples
	for i := range 2 {
		first := YMM()
		even[i], odd[i] = YMM(), YMM()
		VMOVUPD(Mem{Base: src, Disp: 2 * i * moments}, first)
		VUNPCKLPD(Mem{Base: src, Disp: (2*i + 1) * moments}, first, even[i])
		VUNPCKHPD(Mem{Base: src, Disp: (2*i + 1) * moments}, first, odd[i])
	}
	s, d, ss, dd = YMM(), YMM(), YMM(), YMM()
	VPERM2F128(U8(0x20), even[1], even[0], s)
	VPERM2F128(U8(0x20), odd[1], odd[0], d)
	VPERM2F128(U8(0x31), even[1], even[0], ss)
	VPERM2F128(U8(0x31), odd[1], odd[0], dd)
	return s, d, ss, dd
}

// constant64 is a vector of four times the same number.
func constant64(name string, v float64) VecVirtual {
	bits := GLOBL(name, RODATA|NOPTR)
	DATA(0, U64(math.Float64bits(v))) // avo writes F64(255) as an integer
	vector := YMM()
	VBROADCASTSD(bits, vector)
	return vector
}

func constant32(name string, v uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, U32(v))
	return m
}
