// Package pytorch reads what PyTorch leaves behind. It owns the format of a saved state dict (zip and pickle), and
// PyTorch's random generator on the CPU, from which a checkpoint's initial values can be drawn again.
//
// Invariants:
//   - Nothing of a checkpoint is executed. The reader knows the few opcodes of pickle and the few classes that a state
//     dict needs, builds plain values of them, and takes anything else as an error.
//   - What a file says of its own size is never believed: memory is bounded by the bytes that are there and by the
//     shapes that the caller asks for.
//   - Generator gives the bits that PyTorch gives. testdata/normal.json, which PyTorch 1.13 and 2.15 both write, binds it.
//   - Standard library only.
package pytorch
