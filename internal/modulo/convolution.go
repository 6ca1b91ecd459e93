package modulo

import "math"

// The convolutional code of rate 1/2 and constraint length 7 with the generators 171 and 133 (octal; NASA's, CCSDS 131.0-B): free
// distance 10. Six zeros end it. It is decoded by Viterbi's algorithm from soft values.
const (
	memory     = 6
	states     = 1 << memory
	generatorA = 0o171
	generatorB = 0o133
)

// coded is how many bits the code makes of so many.
func coded(bits int) int { return 2 * (bits + memory) }

// outputs of the encoder for a register: the newest bit is the highest of seven.
func outputs(register int) (a, b int) {
	return parity(register & generatorA), parity(register & generatorB)
}

func parity(x int) (p int) {
	for ; x != 0; x &= x - 1 {
		p ^= 1
	}
	return p
}

// encode makes coded(8 len(data)) bits, one a byte. The highest bit of a byte goes first.
func encode(data []byte) []byte {
	bits := make([]byte, 0, coded(8*len(data)))
	register := 0
	for i := range 8*len(data) + memory {
		bit := 0
		if i < 8*len(data) {
			bit = int(data[i/8] >> (7 - i%8) & 1)
		}
		register = register>>1 | bit<<memory
		a, b := outputs(register)
		bits = append(bits, byte(a), byte(b))
	}
	return bits
}

// decode finds the size bytes whose coded bits are nearest to soft values, above 0 where a bit is more likely 1. It takes any
// values, of which there must be coded(8 size).
func decode(soft []float64, size int) []byte {
	steps := 8*size + memory
	var sign [2 * states][2]float64 // of the outputs of each register
	for register := range sign {
		a, b := outputs(register)
		sign[register] = [2]float64{float64(2*a - 1), float64(2*b - 1)}
	}
	came := make([]uint64, steps) // for each state whether the bit that left the register was 1
	score := make([]float64, states)
	next := make([]float64, states)
	for s := range score[1:] {
		score[1+s] = math.Inf(-1)
	}
	for step := range steps {
		x, y := soft[2*step], soft[2*step+1]
		for s := range next {
			// The state holds the last six bits, the newest highest: before it came s<<1 or s<<1|1, less their highest bit.
			zero, one := s<<1, s<<1|1
			gainZero := score[zero&(states-1)] + sign[zero][0]*x + sign[zero][1]*y
			gainOne := score[one&(states-1)] + sign[one][0]*x + sign[one][1]*y
			if gainOne > gainZero {
				next[s], came[step] = gainOne, came[step]|1<<s
			} else {
				next[s] = gainZero
			}
		}
		score, next = next, score
	}
	data := make([]byte, size)
	state := 0
	for step := steps - 1; step >= 0; step-- {
		if step < 8*size {
			data[step/8] |= byte(state>>(memory-1)) << (7 - step%8)
		}
		state = (state<<1 | int(came[step]>>state&1)) & (states - 1)
	}
	return data
}
