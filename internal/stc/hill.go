package stc

// Costs says how much a change of each sample is seen: HILL (Li, Wang, Huang and Li 2014). The samples are planes of
// height x width, one after another; each is looked at by itself. A cost is above 0; only ratios mean anything.
//
// A plane goes through the high-pass filter of Ker and Boehme, absolute values, a mean over 3x3, the reciprocal, and a
// mean over 15x15. Beyond the border the plane is mirrored.
func Costs(samples []byte, height, width int) []float32 {
	size := height * width
	costs := make([]float32, len(samples))
	residual, spare := make([]float32, size), make([]float32, size)
	for start := 0; start+size <= len(samples) && size > 0; start += size {
		highPass(residual, samples[start:start+size], height, width)
		boxMean(residual, spare, height, width, 1)
		for i, r := range residual {
			residual[i] = 1 / (r + flat)
		}
		boxMean(residual, spare, height, width, 7)
		copy(costs[start:], residual)
	}
	return costs
}

// flat keeps areas without any texture from costing infinitely much.
const flat = 1e-2

// highPass is the absolute value of the filter -1 2 -1 / 2 -4 2 / -1 2 -1.
func highPass(out []float32, in []byte, height, width int) {
	sums := make([]int32, width+2) // one column of weights -1 2 -1, and one more at each end
	for y := range height {
		above, here, below := in[mirror(y-1, height)*width:], in[y*width:], in[mirror(y+1, height)*width:]
		for x := range width {
			sums[x+1] = 2*int32(here[x]) - int32(above[x]) - int32(below[x])
		}
		sums[0], sums[width+1] = sums[mirror(-1, width)+1], sums[mirror(width, width)+1]
		for x := range width {
			v := sums[x] - 2*sums[x+1] + sums[x+2]
			out[y*width+x] = float32(max(v, -v))
		}
	}
}

// boxMean replaces a plane by the mean over the square of 2 radius + 1 around each place.
func boxMean(plane, spare []float32, height, width, radius int) {
	scale := 1 / float64((2*radius+1)*(2*radius+1))
	sums := make([]float64, width)
	for y := range height {
		row, out := plane[y*width:][:width], spare[y*width:][:width]
		sum := 0.0
		for d := -radius; d <= radius; d++ {
			sum += float64(row[mirror(d, width)])
		}
		for x := range width {
			out[x] = float32(sum)
			sum += float64(row[mirror(x+radius+1, width)]) - float64(row[mirror(x-radius, width)])
		}
	}
	for d := -radius; d <= radius; d++ {
		for x, v := range spare[mirror(d, height)*width:][:width] {
			sums[x] += float64(v)
		}
	}
	for y := range height {
		next, last := spare[mirror(y+radius+1, height)*width:], spare[mirror(y-radius, height)*width:]
		for x := range sums {
			plane[y*width+x] = float32(sums[x] * scale)
			sums[x] += float64(next[x]) - float64(last[x])
		}
	}
}

// mirror brings a coordinate back into 0..n-1: -1 is 0, n is n-1.
func mirror(i, n int) int {
	for i < 0 || i >= n {
		if i < 0 {
			i = -1 - i
		} else {
			i = 2*n - 1 - i
		}
	}
	return i
}
