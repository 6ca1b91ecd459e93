package pytorch

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
)

var (
	// ErrFormat: the file is not a state dict that torch.save wrote, or is damaged.
	ErrFormat = errors.New("not a PyTorch state dict")
	// ErrLegacy: the file has the format that PyTorch wrote before 1.6.
	ErrLegacy = errors.New("saved in the old format of PyTorch")
	// ErrTensor: the state dict does not have the tensor that is asked for, or has it in another shape or type.
	ErrTensor = errors.New("tensor does not fit")
)

// maxPickle bounds the pickle, which holds names and shapes: a few kilobytes in a state dict, and the reader may
// need a hundred times as much memory.
const maxPickle = 1 << 20

// modulePrefix is what DataParallel puts before every name.
const modulePrefix = "module."

// StateDict is the open file of a state dict. The numbers are read when they are asked for. It is not safe for
// concurrent use.
type StateDict struct {
	file    *os.File
	records map[string]*zip.File // by their names without the archive's folder
	names   []string
	tensors map[string]tensor
}

// Open reads the names and shapes of a state dict. The dict may be the only one in a dict, as in {"state_dict": ...,
// "epoch": 7}; where every name begins with "module.", Open takes that off. The errors are those of the file system,
// ErrFormat and ErrLegacy.
func Open(name string) (_ *StateDict, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, fmt.Errorf("open checkpoint %s: %w: it is not a regular file", name, ErrFormat)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open checkpoint %s: %w", name, err), file.Close())
		}
	}()
	s := &StateDict{file: file}
	if err := s.readRecords(info.Size()); err != nil {
		return nil, err
	}
	data, err := s.record("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	root, err := unpickle(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := s.index(root); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *StateDict) Close() error { return s.file.Close() }

// Names are those of all tensors, in the order in which they were saved.
func (s *StateDict) Names() []string { return slices.Clone(s.names) }

// Float32 reads a tensor of a shape, row-major. It must be float32, contiguous and finite; otherwise, and where there
// is no such tensor, the error is ErrTensor. ErrFormat tells of numbers that are missing.
func (s *StateDict) Float32(name string, shape ...int) ([]float32, error) {
	t, ok := s.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%w: there is no %q", ErrTensor, name)
	}
	if t.storage.class != "torch.FloatStorage" {
		return nil, fmt.Errorf("%w: %q is a %s, not a torch.FloatStorage: save it as float32", ErrTensor, name, t.storage.class)
	}
	size := int64(1)
	fits := len(t.shape) == len(shape)
	for i := len(shape) - 1; fits && i >= 0; i-- {
		fits = t.shape[i] == int64(shape[i])
		if t.strides[i] != size && shape[i] > 1 {
			return nil, fmt.Errorf("%w: %q is not contiguous: save it as .contiguous()", ErrTensor, name)
		}
		size *= int64(shape[i])
	}
	if !fits {
		return nil, fmt.Errorf("%w: %q has the shape %v, not %v", ErrTensor, name, t.shape, shape)
	}
	if t.offset < 0 || size > t.storage.size || t.offset > t.storage.size-size {
		return nil, fmt.Errorf("%w: %q lies outside of its storage", ErrFormat, name)
	}
	values, err := s.floats(t.storage, t.offset, size)
	if err != nil {
		return nil, fmt.Errorf("%w (of %q)", err, name)
	}
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("%w: element %d of %q is %v", ErrTensor, i, name, v)
		}
	}
	return values, nil
}

// floats reads size numbers of a storage.
func (s *StateDict) floats(from storage, offset, size int64) ([]float32, error) {
	name := "data/" + from.key
	packed, err := s.record(name, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if len(packed)%4 != 0 || int64(len(packed)/4) != from.size {
		return nil, fmt.Errorf("%w: %s has %d bytes for %d numbers", ErrFormat, name, len(packed), from.size)
	}
	packed = packed[4*offset:]
	values := make([]float32, size)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
	}
	return values, nil
}

// readRecords opens the archive.
func (s *StateDict) readRecords(size int64) error {
	var head [512]byte
	n, err := s.file.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if isLegacy(head[:n]) {
		return fmt.Errorf("%w: load it with PyTorch and save it again, torch.save(torch.load(FILE), FILE)", ErrLegacy)
	}
	archive, err := zip.NewReader(s.file, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s.records = make(map[string]*zip.File, len(archive.File))
	for _, f := range archive.File {
		_, name, ok := strings.Cut(f.Name, "/")
		if !ok || path.Clean(f.Name) != f.Name {
			return fmt.Errorf("%w: it holds a file %.100q", ErrFormat, f.Name)
		}
		if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 || f.UncompressedSize64 > uint64(size) {
			return fmt.Errorf("%w: its file %.100q is compressed, which torch.save does not do", ErrFormat, f.Name)
		}
		if s.records[name] != nil {
			return fmt.Errorf("%w: it holds the file %.100q twice", ErrFormat, name)
		}
		s.records[name] = f
	}
	if s.records["byteorder"] == nil {
		return nil // before PyTorch 2.0
	}
	order, err := s.record("byteorder", 16)
	if err == nil && string(order) != "little" {
		err = fmt.Errorf("%w: the order of its bytes is %q: save it on a little-endian machine", ErrFormat, order)
	}
	return err
}

// isLegacy knows the formats before PyTorch 1.6: a bare pickle, of which the first value is a magic number, and before
// that a tar archive.
func isLegacy(head []byte) bool {
	magic := []byte{0x80, 2, opLong1, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, opStop}
	return bytes.HasPrefix(head, magic) || len(head) == 512 && string(head[257:262]) == "ustar"
}

// record reads a file of the archive, and checks its checksum. A record is no longer than the archive.
func (s *StateDict) record(name string, most uint64) ([]byte, error) {
	f, ok := s.records[name]
	if !ok {
		return nil, fmt.Errorf("%w: the archive has no %s", ErrFormat, name)
	}
	if f.UncompressedSize64 > most {
		return nil, fmt.Errorf("%w: its %s has %d bytes, at most %d are read", ErrFormat, name, f.UncompressedSize64, most)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	return data, nil
}

// index finds the state dict.
func (s *StateDict) index(root any) error {
	top, ok := root.(*dict)
	if !ok {
		return fmt.Errorf("%w: it holds no dict: save model.state_dict()", ErrFormat)
	}
	if !top.isState() {
		var inside []*dict
		var keys []any
		for i, v := range top.values {
			if d, ok := v.(*dict); ok && d.isState() {
				inside = append(inside, d)
				keys = append(keys, top.keys[i])
			}
		}
		if len(inside) != 1 {
			return fmt.Errorf("%w: it holds %d dicts of tensors, under %.100q: save model.state_dict() alone", ErrFormat, len(inside), fmt.Sprint(keys))
		}
		top = inside[0]
	}
	prefix := modulePrefix
	for _, key := range top.keys {
		if !strings.HasPrefix(key.(string), modulePrefix) {
			prefix = ""
		}
	}
	s.tensors = make(map[string]tensor, len(top.keys))
	for i, key := range top.keys {
		name := strings.TrimPrefix(key.(string), prefix)
		if _, again := s.tensors[name]; again {
			return fmt.Errorf("%w: it has two tensors %.100q", ErrFormat, name)
		}
		s.names = append(s.names, name)
		s.tensors[name] = top.values[i].(tensor)
	}
	return nil
}

// isState reports whether the dict consists of named tensors.
func (d *dict) isState() bool {
	for i, key := range d.keys {
		_, isName := key.(string)
		_, isTensor := d.values[i].(tensor)
		if !isName || !isTensor {
			return false
		}
	}
	return len(d.keys) > 0
}
