package modulo

import (
	"crypto/rand"
	"crypto/sha3"
	"encoding/binary"
	"math"

	"stegomq/internal/kem"
)

// The header is the encapsulation and the encrypted scales. Without channel noise its bits are the lowest bits of samples. With noise they are
// coded and repeated, and each bit decides to which of two lattices a host coefficient moves (quantisation index modulation, Chen and
// Wornell 2001). The keys alone say where the bits lie and how the lattices are shifted.

const encapsulation = kem.Size

// free marks a sample whose lowest bit may be anything.
const free = 2

// words draws n of a key: SHAKE-256 over LP("stegomq.modulo") | LP(role) | LP(key), little-endian, LP as in package rotation.
func words(role string, key []byte, n int) []uint32 {
	shake := sha3.NewSHAKE256()
	for _, field := range [][]byte{[]byte("stegomq.modulo"), []byte(role), key} {
		shake.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(field))))
		shake.Write(field)
	}
	drawn := make([]byte, 4*n)
	shake.Read(drawn)
	w := make([]uint32, n)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(drawn[4*i:])
	}
	return w
}

// places draws take different numbers below n.
func places(key []byte, take, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	for i, x := range words("places", key, take) {
		j := i + int(uint64(x)*uint64(n-i)>>32)
		all[i], all[j] = all[j], all[i]
	}
	return all[:take]
}

// lowBits says for each sample which lowest bit it must have, or that it is free.
func lowBits(header, key []byte, samples int) []byte {
	low := make([]byte, samples)
	for i := range low {
		low[i] = free
	}
	for i, at := range places(key, 8*len(header), samples) {
		low[at] = header[i/8] >> (7 - i%8) & 1
	}
	return low
}

// readLowBits is the inverse of lowBits.
func readLowBits(image, key []byte, size int) []byte {
	header := make([]byte, size)
	for i, at := range places(key, 8*size, len(image)) {
		header[i/8] |= image[at] & 1 << (7 - i%8)
	}
	return header
}

// match gives samples outside the blocks their lowest bits, by one step up or down at random.
func match(image, low []byte, inside []bool) {
	var coin [1]byte
	for i, bit := range low {
		if inside[i] || bit == free || image[i]&1 == bit {
			continue
		}
		rand.Read(coin[:])
		if up := coin[0]&1 == 1; image[i] == 0 || up && image[i] < 255 {
			image[i]++
		} else {
			image[i]--
		}
	}
}

// lattice says which values the host coefficients of a header may have, and which bit each of them holds. The coefficient of block b and of
// frequency i of the plan's header is at b header frequencies + i. Its values are a grid with steps of strength and a shift of its own, and half
// a step further for a bit that is 1.
type lattice struct {
	strength float64
	shift    []float64 // of each coefficient
	bit      []int     // of each coefficient, its number in the coded header
}

func (p Profile) lattice(made *plan, key []byte) lattice {
	n := made.host.Blocks() * len(made.header)
	bits := coded(8 * made.headerSize())
	l := lattice{p.strength, make([]float64, n), make([]int, n)}
	for i, at := range places(key, n, n) {
		l.bit[at] = i % bits
	}
	for i, x := range words("shifts", key, n) {
		l.shift[i] = p.strength * float64(x) * 0x1p-32
	}
	return l
}

// near is the admissible value that is nearest to a coefficient.
func (l lattice) near(i int, x float64, bits []byte) float64 {
	shift := l.shift[i] + l.strength/2*float64(bits[l.bit[i]])
	return shift + l.strength*math.Round((x-shift)/l.strength)
}

// weigh adds what a coefficient tells about its bit: the difference of its squared distances from the two lattices.
func (l lattice) weigh(i int, x float64, soft []float64) {
	at := (x - l.shift[i]) / l.strength
	zero := at - math.Round(at)
	one := at - 0.5 - math.Round(at-0.5)
	soft[l.bit[i]] += zero*zero - one*one
}
