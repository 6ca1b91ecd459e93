// Package weights turns a key into the convolution weights that it selects. It owns the derivation:
// the stream of fill values, the mask of a model, and how the two and the trained weights combine.
//
// Invariants:
//   - Pure and deterministic: the same layer, role and key give the same bits on every machine and in
//     the Python trainer. The golden vectors in schemas/testdata/derivation.json bind both; any change
//     that alters one bit needs a new Version.
//   - Nothing here keeps a key, or the values made from one, after the call returns.
//   - Standard library only.
//
// The stream of a layer is SHAKE-256 (FIPS 202) over
//
//	LP("stegomq.fill") | u32(Version) | LP(role) | LP(layer name) | u32(rank) | u32(dim)... | LP(key)
//
// where u32 is little-endian and LP(b) = u32(len(b)) | b. It is read as one little-endian uint32 x for
// each element, row-major, and u = (x >> 8) * 2^-24 lies in [0, 1).
package weights

import "math"

// Version of the derivation; it is part of the hashed input and of a model's manifest.
const Version = 1

// Role separates the streams that one key gives.
type Role string

// The roles of a key. Two others, of the mask and of which weights of a partial key are right, are public and stay inside
// this package.
const (
	RoleEmbed   Role = "embed"
	RoleRecover Role = "recover"
	roleMask    Role = "mask"
	rolePartial Role = "partial"
)

// Layer is one convolution's weight: its name, its shape (OIHW: output channels, input channels,
// kernel height, kernel width) and where it begins in the flat weights, counted in float32 elements.
type Layer struct {
	Name   string `json:"name"`
	Shape  [4]int `json:"shape"`
	Offset int    `json:"offset"`
}

// Len is the number of weights in the layer.
func (l Layer) Len() int { return l.Shape[0] * l.Shape[1] * l.Shape[2] * l.Shape[3] }

// bound is the half-width of the uniform distribution by Glorot and Bengio (2010), equation 16:
// sqrt(6 / (fan_in + fan_out)), in float64.
func (l Layer) bound() float64 {
	field := l.Shape[2] * l.Shape[3]
	return math.Sqrt(6 / float64(l.Shape[1]*field+l.Shape[0]*field))
}

// uniform is the u of one word of the stream, exactly.
func uniform(x uint32) float64 { return float64(x>>8) * 0x1p-24 }

// value maps one word of the stream to a weight in [-bound, bound). 2u - 1 is exact in float64, so
// there is one rounding in the product and one to float32.
func value(x uint32, bound float64) float32 {
	return float32((float64(x>>8)*0x1p-23 - 1) * bound)
}
