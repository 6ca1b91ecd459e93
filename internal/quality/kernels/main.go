// Command kernels writes the AVX2 assembly of package quality, and its declarations. It is a module of its own, so that avo stays out of the
// program's dependencies. Each function does what its namesake in Go does, by the same floating-point operations in the same order, so that the two
// agree to the last bit; in particular a product is rounded before it is added to anything.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
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
	filter()
	similarity()
	differences()
	Generate()
}

// load turns two pixels of both images into six samples: 8-bit to 32-bit integers, in which sums, differences and squares are exact, the
// first pixel in the lower halves of the vectors.
func load() {
	TEXT("loadAVX2", NOSPLIT, "func(dst *float64, a, b *uint8, pairs int)")
	Doc("loadAVX2 is load for two times pairs pixels of both images, at least two.")
	Pragma("noescape")
	dst, a, b, n := pointer("dst"), pointer("a"), pointer("b"), pointer("pairs")
	centre := YMM()
	VPBROADCASTD(constant32("centre", 255), centre)

	Label("pair")
	x, y, s, d, ss, dd := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	VPMOVZXBD(Mem{Base: a}, x)
	VPMOVZXBD(Mem{Base: b}, y)
	VPADDD(y, x, s)
	VPSUBD(centre, s, s)
	VPSUBD(y, x, d)
	VPMULLD(s, s, ss)
	VPMULLD(d, d, dd)
	sdLow, sdHigh, squaresLow, squaresHigh := YMM(), YMM(), YMM(), YMM()
	VPUNPCKLDQ(d, s, sdLow)
	VPUNPCKHDQ(d, s, sdHigh)
	VPUNPCKLDQ(dd, ss, squaresLow)
	VPUNPCKHDQ(dd, ss, squaresHigh)
	red, green, blue := YMM(), YMM(), YMM()
	VPUNPCKLQDQ(squaresLow, sdLow, red)
	VPUNPCKHQDQ(squaresLow, sdLow, green)
	VPUNPCKLQDQ(squaresHigh, sdHigh, blue)
	for c, samples := range []VecVirtual{red, green, blue} {
		second, wide := XMM(), [2]VecVirtual{YMM(), YMM()}
		VCVTDQ2PD(samples.AsX(), wide[0])
		VMOVUPD(wide[0], Mem{Base: dst, Disp: c * moments})
		VEXTRACTI128(U8(1), samples, second)
		VCVTDQ2PD(second, wide[1])
		VMOVUPD(wide[1], Mem{Base: dst, Disp: (channels + c) * moments})
	}
	ADDQ(U8(8), a)
	ADDQ(U8(8), b)
	ADDQ(U32(2*channels*moments), dst)
	DECQ(n)
	JNZ(LabelRef("pair"))
	VZEROUPPER()
	RET()
}

// filter keeps the last 11 samples in registers, each a vector of its four moments, so that it reads every sample once; the loop is written out
// for the 11 places at which the oldest of them may be.
func filter() {
	TEXT("filterAVX2", NOSPLIT, "func(dst, src *float64, to, from, samples, lines int, weights *[6][4]float64)")
	Doc("filterAVX2 is filter for at least one sample of at least one line; the steps are in bytes.")
	Pragma("noescape")
	firstDst, firstSrc, to, from, lines, list := pointer("dst"), pointer("src"), pointer("to"), pointer("from"), pointer("lines"), pointer("weights")
	dst, src, n := GP64(), GP64(), GP64()
	var weights [radius + 1]Op
	for k := range weights {
		weights[k] = Mem{Base: list, Disp: 32 * k}
	}
	for k := range 2 { // as many as there are registers left for
		w := YMM()
		VMOVUPD(weights[k], w)
		weights[k] = w
	}
	ones := constant64("one", 1)
	var taps [window]VecVirtual
	read := func(tap VecVirtual) {
		VMOVUPD(Mem{Base: src}, tap)
		ADDQ(from, src)
	}

	Label("line")
	MOVQ(firstDst, dst)
	MOVQ(firstSrc, src)
	Load(Param("samples"), n)
	for i := range taps {
		taps[i] = YMM()
		if i < window-1 {
			read(taps[i])
		}
	}
	Label("sample")
	for oldest := range window {
		tap := func(i int) VecVirtual { return taps[(oldest+i)%window] }
		read(tap(window - 1))
		sum := YMM()
		VMULPD(weights[0], tap(radius), sum)
		for k := 1; k <= radius; k++ {
			// Ten additions and six multiplications: where a processor has as many units for the one as for the other, eight of each take
			// less time, and 1*x+y is exactly x+y.
			pair := YMM()
			if k < radius {
				VADDPD(tap(radius+k), tap(radius-k), pair)
			} else {
				pair = tap(0)
				VFMADD213PD(tap(window-1), ones, pair)
			}
			VMULPD(weights[k], pair, pair)
			if k != 2 {
				VADDPD(pair, sum, sum)
			} else {
				VFMADD213PD(pair, ones, sum)
			}
		}
		VMOVUPD(sum, Mem{Base: dst})
		ADDQ(to, dst)
		DECQ(n)
		JZ(LabelRef("done"))
	}
	JMP(LabelRef("sample"))
	Label("done")
	ADDQ(U8(moments), firstDst)
	ADDQ(U8(moments), firstSrc)
	DECQ(lines)
	JNZ(LabelRef("line"))
	VZEROUPPER()
	RET()
}

// similarity turns the vectors of four samples into one vector for each moment, and adds the four similarities one after the other, as their
// order counts. It takes two rows in turn, as the additions of one wait for each other.
func similarity() {
	TEXT("similarityAVX2", NOSPLIT, "func(first, second *float64, fours int, sums *[2]float64)")
	Doc("similarityAVX2 is similarity for four times fours samples, at least four.")
	Pragma("noescape")
	rows, n, sums := [2]Register{pointer("first"), pointer("second")}, pointer("fours"), pointer("sums")
	mean, c1, c2 := constant64("mean", 255), constant64("c1", 2*(0.01*255)*(0.01*255)), constant64("c2", 2*(0.03*255)*(0.03*255))
	var totals [2]VecVirtual
	for i := range totals {
		totals[i] = XMM()
		VMOVSD(Mem{Base: sums, Disp: 8 * i}, totals[i])
	}

	Label("four")
	for i, row := range rows {
		s, d, ss, dd := transpose(row)
		vs, vd, d2 := YMM(), YMM(), YMM()
		VMULPD(s, s, vs)
		VSUBPD(vs, ss, vs)
		VMULPD(d, d, d2)
		VSUBPD(d2, dd, vd)
		s2 := YMM()
		VADDPD(mean, s, s2)
		VMULPD(s2, s2, s2)
		part := func(op func(...Op), a, b, c VecVirtual) VecVirtual {
			v := YMM()
			op(b, a, v)
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
			VADDSD(pair, totals[i], totals[i])
			VADDSD(second, totals[i], totals[i])
		}
		ADDQ(U32(4*moments), row)
	}
	DECQ(n)
	JNZ(LabelRef("four"))
	for i, total := range totals {
		VMOVSD(total, Mem{Base: sums, Disp: 8 * i})
	}
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

// transpose makes vectors of s, d, ss and dd of the moments of four samples.
func transpose(src Register) (s, d, ss, dd VecVirtual) {
	// halves has the first or the second half of a sample's moments, and of the next but one's.
	halves := func(sample, half int) VecVirtual {
		v := YMM()
		VBROADCASTF128(Mem{Base: src, Disp: sample*moments + half*moments/2}, v)
		VINSERTF128(U8(1), Mem{Base: src, Disp: (sample+2)*moments + half*moments/2}, v, v)
		return v
	}
	s, d, ss, dd = YMM(), YMM(), YMM(), YMM()
	even, odd := halves(0, 0), halves(1, 0)
	VUNPCKLPD(odd, even, s)
	VUNPCKHPD(odd, even, d)
	even, odd = halves(0, 1), halves(1, 1)
	VUNPCKLPD(odd, even, ss)
	VUNPCKHPD(odd, even, dd)
	return s, d, ss, dd
}

// constant64 is a vector of four times the same number.
func constant64(name string, v float64) VecVirtual {
	if _, there := constants[name]; !there {
		constants[name] = GLOBL(name, RODATA|NOPTR)
		DATA(0, U64(math.Float64bits(v))) // avo writes F64(255) as an integer
	}
	vector := YMM()
	VBROADCASTSD(constants[name], vector)
	return vector
}

var constants = make(map[string]Mem)

func constant32(name string, v uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, U32(v))
	return m
}
