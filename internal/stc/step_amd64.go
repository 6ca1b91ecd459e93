package stc

import "golang.org/x/sys/cpu"

// vectors says whether the processor has AVX2. Tests clear it.
var vectors = cpu.X86.HasAVX2

func step(to, from []uint16, ways []uint32, column uint32, zero, one uint16) {
	if !vectors {
		stepGo(to, from, ways, column, zero, one)
		return
	}
	stepAVX2(&to[:states][0], &from[:states][0], &ways[:words][0], column&(states-1), zero, one)
}

func shift(to, from []uint16, bit byte) {
	if !vectors {
		shiftGo(to, from, bit)
		return
	}
	shiftAVX2(&to[:states][0], &from[:states][0], uint64(bit))
}

//go:noescape
func stepAVX2(to, from *uint16, ways *uint32, column uint32, zero, one uint16)

//go:noescape
func shiftAVX2(to, from *uint16, bit uint64)
