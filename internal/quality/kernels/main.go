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
	across()
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

// along has one vector for a sample, and so for its four moments.
func along() {
	TEXT("alongAVX2", NOSPLIT, "func(dst, src *float64, samples int, taps *[6]float64)")
	Doc("alongAVX2 is along for samples of dst, at least one.")
	Pragma("noescape")
	dst, src, n := pointer("dst"), pointer("src"), pointer("samples")
	weights := taps()

	Label("sample")
	sum := YMM()
	filter(sum, weights, func(tap int) Mem { return Mem{Base: src, Disp: tap * channels * moments} })
	VMOVUPD(sum, Mem{Base: dst})
	ADDQ(U8(moments), src)
	ADDQ(U8(moments), dst)
	DECQ(n)
	JNZ(LabelRef("sample"))
	VZEROUPPER()
	RET()
}

// across filters four samples, turns the four vectors of moments into one vector for each moment, and adds the four similarities one after the
// other, as their order counts.
func across() {
	TEXT("acrossAVX2", NOSPLIT, "func(rows *[11]*float64, fours int, taps *[6]float64, sum float64) float64")
	Doc("acrossAVX2 is across for four times fours samples, at least four.")
	Pragma("noescape")
	table, n := pointer("rows"), pointer("fours")
	weights := taps()
	total := XMM()
	VMOVSD(address(Param("sum")), total)
	var rows [window]Register
	for i := range rows {
		row := GP64()
		MOVQ(Mem{Base: table, Disp: 8 * i}, row)
		rows[i] = row
	}
	offset := GP64()
	XORQ(offset, offset)

	Label("four")
	var m [4]VecVirtual
	for i := range m {
		m[i] = YMM()
		filter(m[i], weights, func(tap int) Mem { return Mem{Base: rows[tap], Index: offset, Scale: 1, Disp: i * moments} })
	}
	s, d, ss, dd := transpose(m)

	vs, vd, squares := YMM(), YMM(), YMM()
	VMULPD(s, s, squares)
	VSUBPD(squares, ss, vs)
	VMULPD(d, d, squares)
	VSUBPD(squares, dd, vd)
	VADDPD(constant64("mean", 255), s, s)
	VMULPD(s, s, s)
	// squares is d2.
	half, c1, c2 := constant64("half", 0.5), constant64("c1", (0.01*255)*(0.01*255)), constant64("c2", (0.03*255)*(0.03*255))
	part := func(op func(...Op), a, b VecVirtual, c Mem) VecVirtual {
		v := YMM()
		op(b, a, v)
		VMULPD(half, v, v)
		VADDPD(c, v, v)
		return v
	}
	numerator := part(VSUBPD, s, squares, c1)
	VMULPD(part(VSUBPD, vs, vd, c2), numerator, numerator)
	denominator := part(VADDPD, s, squares, c1)
	VMULPD(part(VADDPD, vs, vd, c2), denominator, denominator)
	VDIVPD(denominator, numerator, numerator)

	low, high := numerator.AsX(), XMM()
	VEXTRACTF128(U8(1), numerator, high)
	for _, pair := range []Op{low, high} {
		second := XMM()
		VPERMILPD(U8(1), pair, second)
		VADDSD(pair, total, total)
		VADDSD(second, total, total)
	}
	ADDQ(U32(4*moments), offset)
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

// taps are the weights, each in every place of a vector.
func taps() (weights [radius + 1]VecVirtual) {
	table := pointer("taps")
	for i := range weights {
		weights[i] = YMM()
		VBROADCASTSD(Mem{Base: table, Disp: 8 * i}, weights[i])
	}
	return weights
}

// filter sums 11 vectors by their weights, from the middle outwards.
func filter(sum VecVirtual, weights [radius + 1]VecVirtual, at func(tap int) Mem) {
	VMULPD(at(radius), weights[0], sum)
	for k := 1; k <= radius; k++ {
		pair := YMM()
		VMOVUPD(at(radius-k), pair)
		VADDPD(at(radius+k), pair, pair)
		VMULPD(weights[k], pair, pair)
		VADDPD(pair, sum, sum)
	}
}

// transpose makes s, d, ss and dd of four samples out of their moments.
func transpose(m [4]VecVirtual) (s, d, ss, dd VecVirtual) {
	s02, d02, s13, d13 := YMM(), YMM(), YMM(), YMM() // the names of what stands in the lower half
	VUNPCKLPD(m[1], m[0], s02)
	VUNPCKHPD(m[1], m[0], d02)
	VUNPCKLPD(m[3], m[2], s13)
	VUNPCKHPD(m[3], m[2], d13)
	s, d, ss, dd = YMM(), YMM(), YMM(), YMM()
	VPERM2F128(U8(0x20), s13, s02, s)
	VPERM2F128(U8(0x20), d13, d02, d)
	VPERM2F128(U8(0x31), s13, s02, ss)
	VPERM2F128(U8(0x31), d13, d02, dd)
	return s, d, ss, dd
}

// constant64 is a vector of four times the same number.
func constant64(name string, v float64) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(math.Float64bits(v))) // avo writes F64(255) as an integer
	}
	constants[name] = m
	return m
}

func constant32(name string, v uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, U32(v))
	return m
}

var constants = make(map[string]Mem)
