package pytorch_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/pytorch"
)

var members = []string{"weight", "row", "turned", "half", "count", "inf", "parameter"}

func sample(name string) string { return filepath.Join("testdata", name) }

func open(t *testing.T, path string) *pytorch.StateDict {
	t.Helper()
	s, err := pytorch.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// What PyTorch saved is read, with the names as DataParallel gives them and inside of another dict.
func TestStateDict(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"old-state.pt", "new-state.pt", "old-nested.pt", "new-nested.pt"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, sample(name))
			if got := s.Names(); !slices.Equal(got, members) {
				t.Errorf("names %q, want %q", got, members)
			}
			want := make([]float32, 24)
			for i := range want {
				want[i] = float32(i) / 8
			}
			for name, c := range map[string]struct {
				shape []int
				want  []float32
			}{
				"weight":    {[]int{2, 3, 2, 2}, want},
				"row":       {[]int{2, 2}, want[20:]},
				"parameter": {[]int{2}, []float32{0.5, -0.25}},
			} {
				got, err := s.Float32(name, c.shape...)
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
				}
			}
			for name, c := range map[string]struct {
				shape []int
				says  string
			}{
				"weights":   {[]int{2, 3, 2, 2}, `no "weights"`},
				"weight":    {[]int{2, 3, 4, 1}, "shape [2 3 2 2], not [2 3 4 1]"},
				"row":       {[]int{4}, "shape"},
				"turned":    {[]int{3, 2, 2, 2}, "contiguous"},
				"half":      {[]int{3}, "HalfStorage"},
				"count":     {nil, "LongStorage"},
				"inf":       {[]int{2}, "element 1"},
				"parameter": {nil, "shape"},
			} {
				if _, err := s.Float32(name, c.shape...); !errors.Is(err, pytorch.ErrTensor) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v, want ErrTensor that says %q", name, err, c.says)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "notes.pt")
	write(t, text, []byte("no checkpoint"))
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	old := filepath.Join(t.TempDir(), "older.pt")
	write(t, old, tar)
	for path, c := range map[string]struct {
		err  error
		says string
	}{
		"nowhere.pt":            {os.ErrNotExist, "nowhere.pt"},
		"testdata":              {pytorch.ErrFormat, "regular file"},
		text:                    {pytorch.ErrFormat, "zip"},
		old:                     {pytorch.ErrLegacy, "torch.save"},
		sample("old-legacy.pt"): {pytorch.ErrLegacy, "torch.save"},
		sample("new-legacy.pt"): {pytorch.ErrLegacy, "torch.save"},
		sample("new-two.pt"):    {pytorch.ErrFormat, "[model ema]"},
		sample("new-module.pt"): {pytorch.ErrFormat, "torch.nn.modules.linear.Linear"},
		sample("normal.json"):   {pytorch.ErrFormat, "zip"},
	} {
		_, err := pytorch.Open(path)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v that says %q", path, err, c.err, c.says)
		}
	}
}

// Wherever the file is cut, there is an error and no panic.
func TestTruncated(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(sample("new-state.pt"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.pt")
	for n := 0; n < len(whole); n += 11 {
		write(t, path, whole[:n])
		if _, err := pytorch.Open(path); !errors.Is(err, pytorch.ErrFormat) {
			t.Fatalf("%d of %d bytes: %v, want ErrFormat", n, len(whole), err)
		}
	}
}

// A changed number is found by its checksum.
func TestDamaged(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(sample("new-state.pt"))
	if err != nil {
		t.Fatal(err)
	}
	var number [4]byte
	binary.LittleEndian.PutUint32(number[:], math.Float32bits(21.0/8))
	at := bytes.Index(whole, number[:])
	if at < 0 {
		t.Fatal("the fixture does not hold 21/8")
	}
	whole[at] ^= 1
	path := filepath.Join(t.TempDir(), "damaged.pt")
	write(t, path, whole)
	if _, err := open(t, path).Float32("weight", 2, 3, 2, 2); !errors.Is(err, pytorch.ErrFormat) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%v, want ErrFormat about the checksum", err)
	}
}

// Pieces of pickles.
const (
	begin = "\x80\x02"
	end   = "."
	// A float32 tensor of 2 elements at offset 0 of storage "0", which has 2.
	floats = "ctorch\nFloatStorage\n"
	two    = "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage" + floats + "X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ" +
		"K\x00K\x02\x85K\x01\x85\x89}tR"
	name = "X\x01\x00\x00\x00w"
)

func dictOf(value string) string { return begin + "}" + name + value + "s" + end }

// archive writes a checkpoint with a pickle and a storage of two numbers.
func archive(t *testing.T, pickle string, extra ...zip.FileHeader) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.pt")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	add := func(h zip.FileHeader, data string) {
		f, err := w.CreateHeader(&h)
		if err == nil {
			_, err = f.Write([]byte(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if pickle != "" {
		add(zip.FileHeader{Name: "made/data.pkl"}, pickle)
	}
	add(zip.FileHeader{Name: "made/data/0"}, "\x00\x00\x80\x3f\x00\x00\x00\x40")
	for _, h := range extra {
		add(h, "big")
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMadePickle(t *testing.T) {
	t.Parallel()
	got, err := open(t, archive(t, dictOf(two))).Float32("w", 2)
	if err != nil || !slices.Equal(got, []float32{1, 2}) {
		t.Errorf("%v, %v, want 1 and 2", got, err)
	}
}

// Nothing that a pickle could do is done, and what it claims is not believed.
func TestMaliciousPickles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ pickle, says string }{
		"runs a command":       {begin + "cos\nsystem\nX\x02\x00\x00\x00id\x85R" + end, "os.system"},
		"runs, protocol 0":     {"cposix\nsystem\n(S'id'\ntR.", "posix.system"},
		"evaluates":            {begin + "c__builtin__\neval\nX\x01\x00\x00\x001\x85R" + end, "__builtin__.eval"},
		"deeper name":          {begin + "ctorch.hub\nmyStorage\n" + end, "torch.hub.myStorage"},
		"loads a storage":      {dictOf("ctorch\nFloatStorage\n)R"), "call"},
		"by stack global":      {begin + "X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93" + end, "0x93"},
		"by instance":          {begin + "(ios\nsystem\n" + end, "0x69"},
		"by object":            {begin + "(cos\nsystem\no" + end, "os.system"},
		"new object":           {begin + "ccollections\nOrderedDict\n)\x81" + end, "0x81"},
		"by extension":         {begin + "\x82\x01" + end, "0x82"},
		"sets state":           {begin + "ccollections\nOrderedDict\n}b" + end, "attributes"},
		"other protocol":       {"\x80\x04" + end, "protocol 4"},
		"calls with a list":    {begin + "ccollections\nOrderedDict\n]R" + end, "arguments"},
		"calls with items":     {begin + "ccollections\nOrderedDict\n]\x85R" + end, "call"},
		"string without end":   {begin + "X\xff\xff\xff\x7f", "string"},
		"string too long":      {begin + "X\x01\x10\x00\x00", "string"},
		"integer too long":     {begin + "\x8a\xff", "integer"},
		"class without end":    {begin + "ctorch", "too soon"},
		"nothing":              {begin, "too soon"},
		"stops at once":        {begin + end, "0 values"},
		"stops with two":       {begin + "K\x01K\x01" + end, "2 values"},
		"pops too much":        {begin + "\x85" + end, "not there"},
		"pops a mark":          {begin + "(\x85" + end, "mark"},
		"no mark":              {begin + "t" + end, "no mark"},
		"unknown memo":         {begin + "h\x07" + end, "value 7"},
		"appends to a number":  {begin + "K\x01K\x01a" + end, "neither"},
		"appends to a dict":    {begin + "}K\x01a" + end, "dict"},
		"keys in a list":       {begin + "]K\x01K\x01s" + end, "list"},
		"key without a value":  {begin + "}(K\x01u" + end, "key without"},
		"storage of nothing":   {dictOf("K\x01Q"), "storage"},
		"storage, bad size":    {dictOf(strings.Replace(two, "K\x02tQ", "J\xff\xff\xff\xfftQ", 1)), "storage wrongly"},
		"tensor of nothing":    {dictOf("ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01K\x01K\x01K\x01K\x01tR"), "tensor wrongly"},
		"parameter of nothing": {dictOf("ctorch._utils\n_rebuild_parameter\nK\x01K\x01K\x01\x87R"), "parameter"},
		"a number":             {begin + "K\x01" + end, "no dict"},
		"an empty dict":        {begin + "}" + end, "0 dicts"},
		"a name that is none":  {begin + "}K\x01" + two + "s" + end, "0 dicts"},
		"no tensor":            {dictOf("K\x01"), "0 dicts"},
		"two of a name":        {begin + "}" + name + two + "s" + name + two + "s" + end, "two tensors"},
		"in itself":            {begin + "}q\x00" + name + "h\x00s" + end, "0 dicts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := pytorch.Open(archive(t, c.pickle)); !errors.Is(err, pytorch.ErrFormat) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want ErrFormat that says %q", err, c.says)
			}
		})
	}
}

// A tensor may lie about where it is. 1 << 62 elements of 4 bytes are 0 bytes in 64 bits.
func TestTensorsOutsideTheirStorage(t *testing.T) {
	t.Parallel()
	huge := "\x8a\x08\x02\x00\x00\x00\x00\x00\x00\x40"
	for name, pickle := range map[string]string{
		"offset":          strings.Replace(two, "K\x00K\x02\x85", "K\x01K\x02\x85", 1),
		"negative offset": strings.Replace(two, "K\x00K\x02\x85", "J\xff\xff\xff\xffK\x02\x85", 1),
		"huge offset":     strings.Replace(two, "K\x00K\x02\x85", huge+"K\x02\x85", 1),
		"short storage":   strings.Replace(two, "K\x02tQ", "K\x01tQ", 1),
		"long storage":    strings.Replace(two, "K\x02tQ", "K\x03tQ", 1),
		"huge storage":    strings.Replace(strings.Replace(two, "K\x02tQ", huge+"tQ", 1), "K\x00K\x02\x85", "K\x02K\x02\x85", 1),
		"other storage":   strings.Replace(two, "X\x01\x00\x00\x000", "X\x01\x00\x00\x001", 1),
		"path":            strings.Replace(two, "X\x01\x00\x00\x000", "X\x0b\x00\x00\x00../data.pkl", 1),
	} {
		if pickle == two {
			t.Fatalf("%s: nothing was replaced", name)
		}
		_, err := open(t, archive(t, dictOf(pickle))).Float32("w", 2)
		if !errors.Is(err, pytorch.ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestStrangeArchives(t *testing.T) {
	t.Parallel()
	for says, path := range map[string]string{
		"no data.pkl": archive(t, ""),
		"compressed":  archive(t, dictOf(two), zip.FileHeader{Name: "made/data/1", Method: zip.Deflate}),
		"twice":       archive(t, dictOf(two), zip.FileHeader{Name: "other/data.pkl"}),
		"../":         archive(t, dictOf(two), zip.FileHeader{Name: "made/../../data.pkl"}),
		"loose":       archive(t, dictOf(two), zip.FileHeader{Name: "loose"}),
		`"big"`:       archive(t, dictOf(two), zip.FileHeader{Name: "made/byteorder"}),
		"at most":     archive(t, dictOf(two)+strings.Repeat("\x00", 1<<20)),
	} {
		if _, err := pytorch.Open(path); !errors.Is(err, pytorch.ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want ErrFormat that says %q", err, says)
		}
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
