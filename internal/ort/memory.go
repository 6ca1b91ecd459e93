package ort

import (
	"fmt"
	"syscall"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"
)

// The runtime keeps the address of a tensor's data for as long as the tensor
// lives. The binding hands it the address of whatever slice it is given, Go
// memory too, which cgo allows only while that memory is pinned. So:
//
//   - Weights live as long as a key is hot. They lie in memory of the kernel's
//     (an anonymous mapping), which the collector neither moves, frees nor scans
//     and whose address C may keep. It goes straight back to the system on
//     release, zeroed before anybody else sees it, and it does not count towards
//     the collector's pace, which is why the cache bounds it in bytes.
//   - Images live for one run. They stay in Go memory, pinned from before their
//     tensor is made until after it is destroyed (see run.go); nothing is copied.

// alignment of a tensor's data in bytes: a cache line, which is also the width of
// the widest vector registers.
const alignment = 64

// block is a mapping of zeroed float32 memory from which tensors are cut.
type block struct {
	mapped []byte
	used   int // bytes
}

// blockSize is the number of bytes that tensors of so many elements take.
func blockSize(elements ...int) int {
	size := 0
	for _, n := range elements {
		size += aligned(4 * n)
	}
	return size
}

func aligned(bytes int) int { return (bytes + alignment - 1) / alignment * alignment }

func newBlock(size int) (*block, error) {
	mapped, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for weights: %w", size, err)
	}
	return &block{mapped: mapped}, nil
}

// cut returns the next n elements.
func (b *block) cut(n int) []float32 {
	at := b.used
	b.used += aligned(4 * n)
	if b.used > len(b.mapped) {
		panic("ort: a block of weights is cut beyond its end")
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b.mapped[at])), n)
}

func (b *block) free() error { return syscall.Munmap(b.mapped) }

// tensor wraps data, which the runtime then points at until the tensor is
// destroyed. The engine counts the tensors that live.
func (e *Engine) tensor(dims []int64, data []float32) (onnx.Value, error) {
	t, err := onnx.NewTensor(onnx.Shape(dims), data)
	if err != nil {
		return nil, fmt.Errorf("make a tensor of the shape %v: %w", dims, err)
	}
	e.tensors.Add(1)
	return t, nil
}

func (e *Engine) destroy(tensors ...onnx.Value) {
	for _, t := range tensors {
		if t != nil {
			t.Destroy() // cannot fail: it frees
			e.tensors.Add(-1)
		}
	}
}
