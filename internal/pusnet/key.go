package pusnet

import (
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"stegomq/internal/keyring"
	"stegomq/internal/pytorch"
	"stegomq/internal/weights"
)

const keyringNote = "The keys of an imported checkpoint. They are public: anyone can make them of two integers and read what they embed."

// Pair is the key pair that stands for two integer keys of the public code. Its bytes name the stored fill and are
// used for nothing else: k_e | k_r are the first 64 bytes of
//
//	SHAKE-256(LP("stegomq.imported") | u32(1) | u64(embed seed) | u64(recover seed))
//
// with little-endian numbers and LP(b) = u32(len(b)) | b. The id is imported-<embed seed>-<recover seed>.
func Pair(embedSeed, recoverSeed uint64) keyring.Pair {
	const domain = "stegomq.imported"
	in := binary.LittleEndian.AppendUint32(nil, uint32(len(domain)))
	in = append(in, domain...)
	in = binary.LittleEndian.AppendUint32(in, 1)
	in = binary.LittleEndian.AppendUint64(in, embedSeed)
	in = binary.LittleEndian.AppendUint64(in, recoverSeed)
	both := sha3.SumSHAKE256(in, 2*keyring.KeySize)
	return keyring.Pair{
		ID:      fmt.Sprintf("imported-%d-%d", embedSeed, recoverSeed),
		Embed:   mustKey(both[:keyring.KeySize]),
		Recover: mustKey(both[keyring.KeySize:]),
	}
}

func mustKey(b []byte) keyring.Key {
	key, err := keyring.NewKey(b)
	if err != nil {
		panic(err) // the length is right
	}
	return key
}

// draw is what the public code initialises all convolutions with from a seed, one after another.
func draw(seed uint64, layers []weights.Layer) []float32 {
	g := pytorch.NewGenerator(seed)
	var all []float32
	for _, l := range layers {
		values := make([]float32, l.Len())
		g.XavierNormal(values, l.Shape)
		all = append(all, values...)
	}
	return all
}

// What the mask has to bear. PyTorch's code for other processors than ours draws values that differ by 1.1e-7 at most,
// so weights this near to the threshold may fall on either side of it. And a trained weight can be zero by chance.
const (
	nearly   = 2e-7
	byChance = 1e-4 // of all weights
)

// magnitudeMask is the mask in the form of weights.StoredMask: shared is a weight whose initial value is larger in size
// than the n-th largest, n = alpha times the number of weights. w, the weights of the checkpoint, must be zero where the
// mask has keyed weights, and nowhere else: ErrMask. Where it is too near to tell, w decides.
func magnitudeMask(w, initial []float32, alpha float64) ([]byte, error) {
	sizes := make([]float32, len(initial))
	for i, v := range initial {
		sizes[i] = float32(math.Abs(float64(v)))
	}
	sorted := slices.Sorted(slices.Values(sizes))
	n := int(float64(len(sizes)) * alpha)
	if n < 1 {
		return nil, fmt.Errorf("%w: alpha %v shares none of %d weights", ErrOption, alpha, len(sizes))
	}
	threshold := sorted[len(sorted)-n]

	bits := make([]byte, (len(w)+7)/8)
	notZero, zero, zeros := 0, 0, 0
	for i, size := range sizes {
		shared := size > threshold
		if math.Abs(float64(size)-float64(threshold)) < nearly {
			shared = w[i] != 0
		}
		switch {
		case shared && w[i] == 0:
			zero++
		case !shared && w[i] != 0:
			notZero++
		}
		if w[i] == 0 {
			zeros++
		}
		if shared {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	if notZero > 0 || float64(zero) > byChance*float64(len(w)) {
		return nil, fmt.Errorf("%w: %d keyed weights are not zero and %d shared ones are; its zeros look like alpha %.2f; "+
			"where that is so it has another mask seed, or was saved with its fill", ErrMask, notZero, zero, 1-float64(zeros)/float64(len(w)))
	}
	return bits, nil
}
