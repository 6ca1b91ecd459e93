package sealed

import (
	"stegomq/internal/kem"
	"stegomq/internal/stc"
)

// regions are the elements of an image's parts. No sample is in two.
type regions struct {
	head, tag []int32 // samples
	rest      []int32 // pixels of the body
	pixels    int     // of the image
}

// The least and the most pixels of head and tag: at the least each element holds a bit, at the most a quarter of one.
const (
	leastHead, mostHead = (8*headSize + 2) / 3, (4*8*headSize + 2) / 3
	leastTag, mostTag   = (8*tagSize + 2) / 3, (4*8*tagSize + 2) / 3
)

// leastPixels is how many an image needs for head and tag alone.
const leastPixels = leastHead + leastTag

func regionSizes(pixels int) (head, tags int) {
	return min(mostHead, max(leastHead, pixels/32)), min(mostTag, max(leastTag, pixels/128))
}

// divide gives the regions of an image, which has leastPixels or more.
func divide(m Image, key kem.Keys) regions {
	order := stc.Permutation(kem.Stream(key.Known("regions", kem.StreamKey)), m.pixels())
	head, tags := regionSizes(m.pixels())
	r := regions{rest: order[head+tags:], pixels: m.pixels()}
	r.head, r.tag = r.samples(order[:head]), r.samples(order[head:][:tags])
	return r
}

// samples are the red ones of pixels, then the green and the blue ones.
func (r regions) samples(pixels []int32) []int32 {
	out := make([]int32, 0, 3*len(pixels))
	for plane := range 3 {
		for _, p := range pixels {
			out = append(out, p+int32(plane*r.pixels))
		}
	}
	return out
}

// bodyOrder are the elements of the body in the order in which they hold it.
func (r regions) bodyOrder(profile Profile, shared *kem.Secret) []int32 {
	elements := r.rest
	if profile == Plain {
		elements = r.samples(r.rest)
	}
	order := stc.Permutation(kem.Stream(shared.Export("body", kem.StreamKey)), len(elements))
	for i, at := range order {
		order[i] = elements[at]
	}
	return order
}
