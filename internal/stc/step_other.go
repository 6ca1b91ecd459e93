//go:build !amd64

package stc

func step(to, from []uint16, ways []uint32, column uint32, zero, one uint16) {
	stepGo(to, from, ways, column, zero, one)
}

func shift(to, from []uint16, bit byte) { shiftGo(to, from, bit) }
