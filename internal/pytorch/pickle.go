package pytorch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// The values that unpickle makes, beside int64, float64, string, bool and nil.
type (
	tuple []any
	list  struct{ items []any }

	// dict keeps the order. It stands for OrderedDict too.
	dict struct {
		keys, values []any
	}

	// class is a name that the pickle refers to, such as "torch.FloatStorage".
	class string

	// storage is a run of numbers in a file of its own.
	storage struct {
		key   string // names the file
		class class
		size  int64 // in elements
	}

	// tensor is a view of a storage.
	tensor struct {
		storage        storage
		offset         int64 // in elements, as are the strides
		shape, strides []int64
	}

	// mark is where a run of items on the stack begins.
	mark struct{}
)

// The classes that are called when a state dict is loaded. The names of storages are known by storageClass.
const (
	classDict      class = "collections.OrderedDict"
	classTensor    class = "torch._utils._rebuild_tensor_v2"
	classParameter class = "torch._utils._rebuild_parameter"
)

func (c class) isStorage() bool {
	return strings.HasPrefix(string(c), "torch.") && strings.HasSuffix(string(c), "Storage") && strings.Count(string(c), ".") == 1
}

// unpickler runs a pickle of protocol 2 as far as a state dict needs it. Every opcode consumes input and makes at most
// one small value of its own, so that memory and time are bounded by the length of the input.
type unpickler struct {
	in    []byte
	stack []any
	memo  map[uint32]any
}

// The opcodes that PyTorch's pickles consist of; their names are those of Python's pickle module.
const (
	opProto          = 0x80
	opStop           = '.'
	opMark           = '('
	opNone           = 'N'
	opNewTrue        = 0x88
	opNewFalse       = 0x89
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opLong1          = 0x8a
	opBinFloat       = 'G'
	opBinUnicode     = 'X'
	opEmptyTuple     = ')'
	opTuple          = 't'
	opTuple1         = 0x85
	opTuple2         = 0x86
	opTuple3         = 0x87
	opEmptyList      = ']'
	opAppend         = 'a'
	opAppends        = 'e'
	opEmptyDict      = '}'
	opSetItem        = 's'
	opSetItems       = 'u'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opGlobal         = 'c'
	opReduce         = 'R'
	opBuild          = 'b'
	opBinPersistent  = 'Q'
	protocol         = 2
	maxPickledString = 4096
)

var errCut = errors.New("the pickle ends too soon")

// unpickle returns the value that a pickle describes.
func unpickle(data []byte) (any, error) {
	u := &unpickler{in: data, memo: map[uint32]any{}}
	for {
		code, err := u.take(1)
		if err != nil {
			return nil, err
		}
		if code[0] == opStop {
			if len(u.stack) != 1 {
				return nil, fmt.Errorf("the pickle leaves %d values", len(u.stack))
			}
			return u.pop()
		}
		if err := u.step(code[0]); err != nil {
			return nil, err
		}
	}
}

func (u *unpickler) step(code byte) error {
	switch code {
	case opProto:
		b, err := u.take(1)
		if err == nil && b[0] != protocol {
			err = fmt.Errorf("the pickle has protocol %d, torch.save writes %d", b[0], protocol)
		}
		return err
	case opMark:
		return u.push(mark{}, nil)
	case opNone:
		return u.push(nil, nil)
	case opNewTrue, opNewFalse:
		return u.push(code == opNewTrue, nil)
	case opBinInt, opBinInt1, opBinInt2, opLong1:
		return u.push(u.integer(code))
	case opBinFloat:
		b, err := u.take(8)
		if err != nil {
			return err
		}
		return u.push(math.Float64frombits(binary.BigEndian.Uint64(b)), nil)
	case opBinUnicode:
		n, err := u.number(4)
		if err == nil && n > maxPickledString {
			err = fmt.Errorf("the pickle has a string of %d bytes", n)
		}
		if err != nil {
			return err
		}
		b, err := u.take(int(n))
		return u.push(string(b), err)
	case opEmptyTuple:
		return u.push(tuple(nil), nil)
	case opTuple1, opTuple2, opTuple3:
		items, err := u.popN(int(code-opTuple1) + 1)
		return u.push(tuple(items), err)
	case opTuple:
		items, err := u.popToMark()
		return u.push(tuple(items), err)
	case opEmptyList:
		return u.push(&list{}, nil)
	case opEmptyDict:
		return u.push(&dict{}, nil)
	case opAppend, opAppends, opSetItem, opSetItems:
		return u.extend(code)
	case opBinPut, opLongBinPut, opBinGet, opLongBinGet:
		return u.remember(code)
	case opGlobal:
		return u.global()
	case opReduce:
		return u.reduce()
	case opBuild:
		return u.build()
	case opBinPersistent:
		id, err := u.pop()
		if err != nil {
			return err
		}
		return u.push(persistent(id))
	}
	return fmt.Errorf("the pickle has the opcode %#02x, which no state dict needs", code)
}

// take returns the next n bytes of the input.
func (u *unpickler) take(n int) ([]byte, error) {
	if n > len(u.in) {
		return nil, errCut
	}
	b := u.in[:n]
	u.in = u.in[n:]
	return b, nil
}

// number is an unsigned little-endian one of 1, 2 or 4 bytes.
func (u *unpickler) number(size int) (uint32, error) {
	b, err := u.take(size)
	if err != nil {
		return 0, err
	}
	var wide [4]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint32(wide[:]), nil
}

func (u *unpickler) integer(code byte) (int64, error) {
	switch code {
	case opBinInt:
		n, err := u.number(4)
		return int64(int32(n)), err
	case opBinInt1:
		n, err := u.number(1)
		return int64(n), err
	case opBinInt2:
		n, err := u.number(2)
		return int64(n), err
	}
	size, err := u.number(1) // opLong1: two's complement of so many bytes
	if err == nil && size > 8 {
		err = fmt.Errorf("the pickle has an integer of %d bytes", size)
	}
	if err != nil {
		return 0, err
	}
	b, err := u.take(int(size))
	if err != nil || size == 0 {
		return 0, err
	}
	var wide [8]byte
	copy(wide[8-size:], b)
	return int64(binary.LittleEndian.Uint64(wide[:])) >> (64 - 8*size), nil
}

func (u *unpickler) push(v any, err error) error {
	if err == nil {
		u.stack = append(u.stack, v)
	}
	return err
}

func (u *unpickler) pop() (any, error) {
	items, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// popN takes n values, none of which is a mark.
func (u *unpickler) popN(n int) ([]any, error) {
	at := len(u.stack) - n
	if at < 0 {
		return nil, errors.New("the pickle takes a value that is not there")
	}
	items := append([]any(nil), u.stack[at:]...)
	for _, item := range items {
		if item == (mark{}) {
			return nil, errors.New("the pickle takes a mark for a value")
		}
	}
	u.stack = u.stack[:at]
	return items, nil
}

func (u *unpickler) popToMark() ([]any, error) {
	for at := len(u.stack) - 1; at >= 0; at-- {
		if _, ok := u.stack[at].(mark); ok {
			items := append([]any(nil), u.stack[at+1:]...)
			u.stack = u.stack[:at]
			return items, nil
		}
	}
	return nil, errors.New("the pickle has no mark where one is needed")
}

// extend adds items to the list or dict below them.
func (u *unpickler) extend(code byte) (err error) {
	var items []any
	switch code {
	case opAppend:
		items, err = u.popN(1)
	case opSetItem:
		items, err = u.popN(2)
	default:
		items, err = u.popToMark()
	}
	if err != nil {
		return err
	}
	into, err := u.pop()
	if err != nil {
		return err
	}
	toDict := code == opSetItem || code == opSetItems
	switch into := into.(type) {
	case *list:
		if toDict {
			return errors.New("the pickle sets an item of a list by a key")
		}
		into.items = append(into.items, items...)
	case *dict:
		if !toDict || len(items)%2 != 0 {
			return errors.New("the pickle gives a dict a key without a value")
		}
		for i := 0; i < len(items); i += 2 {
			into.keys = append(into.keys, items[i])
			into.values = append(into.values, items[i+1])
		}
	default:
		return errors.New("the pickle adds items to what is neither a list nor a dict")
	}
	return u.push(into, nil)
}

// remember puts the last value into the memo, or fetches one.
func (u *unpickler) remember(code byte) error {
	size := 1
	if code == opLongBinPut || code == opLongBinGet {
		size = 4
	}
	at, err := u.number(size)
	if err != nil {
		return err
	}
	if code == opBinGet || code == opLongBinGet {
		v, ok := u.memo[at]
		if !ok {
			return fmt.Errorf("the pickle refers to value %d, which it has not made", at)
		}
		return u.push(v, nil)
	}
	v, err := u.pop()
	if err != nil {
		return err
	}
	u.memo[at] = v
	return u.push(v, nil)
}

// global reads a module and a name, one a line, and lets those pass that a state dict needs.
func (u *unpickler) global() error {
	var parts [2]string
	for i := range parts {
		end := bytes.IndexByte(u.in[:min(len(u.in), maxPickledString)], '\n')
		if end < 0 {
			return errCut
		}
		parts[i], u.in = string(u.in[:end]), u.in[end+1:]
	}
	c := class(parts[0] + "." + parts[1])
	if c != classDict && c != classTensor && c != classParameter && !c.isStorage() {
		return fmt.Errorf("it holds a %.100q, which a state dict does not: save model.state_dict() and nothing else", string(c))
	}
	return u.push(c, nil)
}

// reduce calls a class with arguments: the few that there are.
func (u *unpickler) reduce() error {
	call, err := u.popN(2)
	if err != nil {
		return err
	}
	args, ok := call[1].(tuple)
	if !ok {
		return errors.New("the pickle calls something without arguments")
	}
	switch c := call[0]; {
	case c == classDict && len(args) == 0:
		return u.push(&dict{}, nil)
	case c == classTensor && len(args) >= 6: // storage, offset, shape, strides, requires_grad, hooks[, metadata]
		return u.push(rebuild(args))
	case c == classParameter && len(args) == 3: // tensor, requires_grad, hooks
		t, ok := args[0].(tensor)
		if !ok {
			return errors.New("the pickle makes a parameter of what is not a tensor")
		}
		return u.push(t, nil)
	}
	return errors.New("the pickle makes a call that no state dict needs")
}

// build sets attributes. Those of a state dict, its versions of modules, say nothing that is of use here.
func (u *unpickler) build() error {
	call, err := u.popN(2)
	if err != nil {
		return err
	}
	if _, ok := call[0].(*dict); !ok {
		return errors.New("the pickle sets attributes of what is not a dict")
	}
	return u.push(call[0], nil)
}

// persistent reads the id of a storage: ("storage", class, key, device, elements).
func persistent(id any) (storage, error) {
	parts, ok := id.(tuple)
	if !ok || len(parts) != 5 || parts[0] != "storage" {
		return storage{}, errors.New("the pickle refers to what is not a storage")
	}
	c, isClass := parts[1].(class)
	key, isString := parts[2].(string)
	size, isInt := parts[4].(int64)
	if !isClass || !c.isStorage() || !isString || !isInt || size < 0 {
		return storage{}, errors.New("the pickle describes a storage wrongly")
	}
	return storage{key: key, class: c, size: size}, nil
}

func rebuild(args tuple) (tensor, error) {
	s, isStorage := args[0].(storage)
	offset, isInt := args[1].(int64)
	shape, shapeOK := integers(args[2])
	strides, stridesOK := integers(args[3])
	if !isStorage || !isInt || !shapeOK || !stridesOK || len(shape) != len(strides) {
		return tensor{}, errors.New("the pickle describes a tensor wrongly")
	}
	return tensor{storage: s, offset: offset, shape: shape, strides: strides}, nil
}

func integers(v any) ([]int64, bool) {
	items, ok := v.(tuple)
	ints := make([]int64, len(items))
	for i, item := range items {
		var isInt bool
		ints[i], isInt = item.(int64)
		ok = ok && isInt
	}
	return ints, ok
}
