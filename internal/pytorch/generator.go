package pytorch

import (
	"fmt"
	"math"
)

// The Mersenne Twister MT19937 of Matsumoto and Nishimura (1998).
const (
	twisterWords = 624
	twisterShift = 397
	twisterA     = 0x9908b0df
	twisterUpper = 0x80000000
	twisterLower = 0x7fffffff
)

// Generator is PyTorch's default generator on the CPU. It is not safe for concurrent use.
type Generator struct {
	state [twisterWords]uint32
	next  int // of state; at twisterWords it has to be renewed
}

// NewGenerator is torch.manual_seed: of the seed, the CPU's generator takes the lower 32 bits.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{next: twisterWords}
	g.state[0] = uint32(seed)
	for i := 1; i < twisterWords; i++ {
		last := g.state[i-1]
		g.state[i] = 1812433253*(last^last>>30) + uint32(i)
	}
	return g
}

// word is the next output of the twister.
func (g *Generator) word() uint32 {
	if g.next == twisterWords {
		g.renew()
	}
	y := g.state[g.next]
	g.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (g *Generator) renew() {
	for i := range g.state {
		y := g.state[i]&twisterUpper | g.state[(i+1)%twisterWords]&twisterLower
		g.state[i] = g.state[(i+twisterShift)%twisterWords] ^ y>>1 ^ twisterA*(y&1)
	}
	g.next = 0
}

// uniform is in [0, 1): the lower 24 bits of a word.
func (g *Generator) uniform() float32 { return float32(g.word()&(1<<24-1)) * 0x1p-24 }

// block is how many values PyTorch makes normal at a time, half of them by the cosine and half by the sine.
const block = 16

// MinNormal is the least number of values that Normal draws. PyTorch draws fewer in another way.
const MinNormal = block

// Normal is tensor.normal_(0, deviation) on a contiguous float32 tensor of at least MinNormal elements, row-major; it
// panics if dst is shorter. All uniform values are drawn first and then made normal in blocks of 16 by Box and Muller
// (1958), the first half of a block with the second; a rest that fills no block is made of 16 fresh values, which
// take the place of the last 16.
//
// The bits are those of PyTorch's AVX2 code, which runs wherever the processor has it, AVX-512 included. Its code
// for other processors has another logarithm, sine and cosine: of deviations up to 0.06, a third of the values then
// differ, by 1.1e-7 at most.
func (g *Generator) Normal(dst []float32, deviation float64) {
	if len(dst) < MinNormal {
		panic(fmt.Sprintf("pytorch: %d normal values, the least is %d", len(dst), MinNormal))
	}
	for i := range dst {
		dst[i] = g.uniform()
	}
	whole := len(dst) / block * block
	for at := 0; at < whole; at += block {
		boxMuller((*[block]float32)(dst[at:]), float32(deviation))
	}
	if whole < len(dst) {
		last := (*[block]float32)(dst[len(dst)-block:])
		for i := range last {
			last[i] = g.uniform()
		}
		boxMuller(last, float32(deviation))
	}
}

// XavierNormal is torch.nn.init.xavier_normal_ on a convolution's weight, OIHW.
func (g *Generator) XavierNormal(dst []float32, shape [4]int) {
	field := shape[2] * shape[3]
	g.Normal(dst, math.Sqrt(2/float64((shape[1]+shape[0])*field)))
}

func boxMuller(values *[block]float32, deviation float32) {
	const half = block / 2
	for i := range half {
		radius := float32(math.Sqrt(float64(-2 * logarithm(1-values[i])))) // rounds once, as sqrtf does
		sine, cosine := sineCosine(float32(2*math.Pi) * values[i+half])
		// The mean that is added is 0; it makes a zero positive.
		values[i] = fused(float32(radius*cosine), deviation, 0)
		values[i+half] = fused(float32(radius*sine), deviation, 0)
	}
}

// logarithm is the natural one as in Cephes' logf (Moshier 1989), for normal x in (0, 1].
//
// PyTorch's compiler fuses a sum with the product beside it, here and in sineCosine; which product, where there are
// two, was found by comparing the bits. The conversions keep ours from fusing another.
func logarithm(x float32) float32 {
	bits := math.Float32bits(x)
	exponent := float32(int32(bits>>23) - 126)
	x = math.Float32frombits(bits&0x7fffff | 0x3f000000) // in [0.5, 1)
	if x < math.Sqrt2/2 {
		exponent--
		x = (x - 1) + x
	} else {
		x--
	}
	square := float32(x * x)
	var y float32 = 7.0376836292e-2
	for _, c := range [...]float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		y = fused(y, x, c)
	}
	y = fused(float32(y*x), square, float32(exponent*-2.12194440e-4))
	y = fused(square, -0.5, y)
	return fused(exponent, 0.693359375, x+y)
}

// sineCosine is as in Cephes' sinf and cosf (Moshier 1989), for x in [0, 8192).
func sineCosine(x float32) (sine, cosine float32) {
	octant := int32(x * (4 / math.Pi))
	octant += octant & 1
	// Subtract octant * pi/4 in three parts, whose products are exact or nearly so.
	y := float32(octant)
	x = fused(y, -0.78515625, x)
	x = fused(y, -2.4187564849853515625e-4, x)
	x = fused(y, -3.77489497744594108e-8, x)
	square := float32(x * x)

	cosine = fused(2.443315711809948e-5, square, -1.388731625493765e-3)
	cosine = fused(cosine, square, 4.166664568298827e-2)
	cosine = fused(float32(cosine*square), square, float32(square*-0.5)) + 1

	sine = fused(-1.9515295891e-4, square, 8.3321608736e-3)
	sine = fused(sine, square, -1.6666654611e-1)
	sine = fused(float32(sine*square), x, x)

	if octant&2 != 0 {
		sine, cosine = cosine, sine
	}
	if octant&4 != 0 {
		sine = -sine
	}
	if (octant+2)&4 != 0 {
		cosine = -cosine
	}
	return sine, cosine
}

// fused is a*b + c. The product is exact in float64; that the sum rounds there before it rounds to float32 has not
// been seen to change a bit.
func fused(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }
