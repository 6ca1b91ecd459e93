package ort

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
)

// variants is the fixture of testdata/variants.py: a network for each of two keys, the first with noise.
func variants(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Load(filepath.Join("testdata", "variant"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// variantKey is the n-th key of the fixture. Its bytes have no part.
func variantKey(t testing.TB, m *model.Model, op model.Operation, n int) *Key {
	role, _ := op.Role()
	return &Key{Fingerprint: m.Keys()[n].Fingerprint, Role: role, Bytes: func() []byte {
		t.Error("a variant's key was asked for its bytes")
		return nil
	}}
}

// convolve is a 3x3 convolution of one image with zeros around it, in float64, as the fixture's graphs compute it.
func convolve(in pixel.Tensor, n int, w []float32) []float64 {
	out := make([]float64, 3*in.H*in.W)
	at := func(c, y, x int) float64 {
		if y < 0 || x < 0 || y >= in.H || x >= in.W {
			return 0
		}
		return float64(in.Data[((n*3+c)*in.H+y)*in.W+x])
	}
	for o := range 3 {
		for y := range in.H {
			for x := range in.W {
				sum := 0.0
				for i := range w[:27] {
					sum += float64(w[27*o+i]) * at(i/9, y+i/3%3-1, x+i%3-1)
				}
				out[(o*in.H+y)*in.W+x] = sum
			}
		}
	}
	return out
}

// fixtureWant computes what the fixture's graph does, without the runtime: see testdata/variants.py.
func fixtureWant(t testing.TB, m *model.Model, op model.Operation, key int, in []pixel.Tensor) []float32 {
	t.Helper()
	data, err := m.VariantGraph(op, m.Keys()[key].Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	file := &onnxpb.Model{}
	if err := proto.Unmarshal(data, file); err != nil {
		t.Fatal(err)
	}
	var w []float32
	for _, c := range file.Graph.Initializer {
		if c.GetName() == "weight" {
			w, _ = floats(c)
		}
	}
	height, width := in[0].H, in[0].W
	halfWidth := (width + 1) / 2
	z := make([]float32, 12*((height+1)/2)*halfWidth)
	weights.Normal(z, 0)
	var want []float32
	for n := range in[0].N {
		for i, v := range convolve(in[len(in)-1], n, w) {
			c, y, x := i/(height*width), i/width%height, i%width
			switch {
			case op == model.OpEmbed:
				v = float64(in[0].Data[n*3*height*width+i]) + v/8
			case key == 0:
				v += float64(z[((4*c+2*(y%2)+x%2)*((height+1)/2)+y/2)*halfWidth+x/2]) / 16
			}
			want = append(want, float32(v))
		}
	}
	return want
}

// Every variant computes what its graph says, at odd and even sizes and in batches, with the same noise for every
// image and every run.
func TestVariantsCompute(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := variants(t)
	add(t, e, m)
	for _, op := range []model.Operation{model.OpEmbed, model.OpRecover} {
		for key := range m.Keys() {
			for _, s := range []struct{ n, h, w int }{{1, 16, 16}, {3, 17, 40}, {2, 33, 31}} {
				in := images(t, op, s.n, s.h, s.w)
				got := mustRun(t, e, m, op, variantKey(t, m, op, key), in)
				if got.N != s.n || got.C != 3 || got.H != s.h || got.W != s.w {
					t.Fatalf("%s of %+v gave %dx%dx%dx%d", op, s, got.N, got.C, got.H, got.W)
				}
				if d := distance(got.Data, fixtureWant(t, m, op, key, in)); !(d < 1e-5) {
					t.Errorf("%s, key %d, %+v: off by %g", op, key, s, d)
				}
				if again := mustRun(t, e, m, op, variantKey(t, m, op, key), in); distance(again.Data, got.Data) != 0 {
					t.Errorf("%s, key %d, %+v: the same again is another image", op, key, s)
				}
			}
		}
	}
	if s := e.Stats(); s.Sessions != 4 || s.Entries != 4 || s.Misses != 4 || s.Bytes <= 0 || s.Runs != 24 {
		t.Errorf("want a session for each key and operation: %+v", s)
	}
	if n := len(opened(e)); n != 0 {
		t.Errorf("%d graphs with keyed weights", n)
	}
}

func TestVariantsRefuse(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := variants(t)
	add(t, e, m)
	stranger := testKey(model.OpRecover, 1)
	_, err := e.Run(t.Context(), m.Digest, model.OpRecover, stranger, images(t, model.OpRecover, 1, 16, 16)...)
	if !errors.Is(err, model.ErrNoVariant) || !strings.Contains(err.Error(), "demo-1") {
		t.Errorf("another key: %v, want ErrNoVariant with the keys that there are", err)
	}
	_, err = e.Run(t.Context(), m.Digest, model.OpPurify, nil, images(t, model.OpPurify, 1, 16, 16)...)
	if !errors.Is(err, ErrOperation) || !strings.Contains(err.Error(), "purify") {
		t.Errorf("purify: %v, want ErrOperation", err)
	}
	if err := e.Prepare(m.Digest, model.OpPurify); !errors.Is(err, ErrOperation) {
		t.Errorf("prepare purify: %v, want ErrOperation", err)
	}
	_, err = e.Run(t.Context(), m.Digest, model.OpRecover, nil, images(t, model.OpRecover, 1, 16, 16)...)
	if !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v, want ErrKey", err)
	}
	if s := e.Stats(); s.Entries != 0 || s.Sessions != 0 || s.Runs != 0 {
		t.Errorf("something is left of what failed: %+v", s)
	}
}

func TestPrepareOpensEveryVariant(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := variants(t)
	add(t, e, m)
	if err := e.Prepare(m.Digest); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); s.Sessions != 4 || s.Entries != 4 {
		t.Errorf("%+v, want four sessions", s)
	}
}

// Where the bound has room for one session, one lives, and what it computes is right each time. The weights of another
// model are under the same bound.
func TestVariantsAreUnderTheBound(t *testing.T) {
	t.Parallel()
	m, other := variants(t), tiny(t)
	e := start(t, Config{CacheBytes: 4000, Workers: 1})
	add(t, e, m)
	add(t, e, other)
	op := model.OpRecover
	in := images(t, op, 1, 16, 16)
	for i := range 6 {
		key := i % 2
		got := mustRun(t, e, m, op, variantKey(t, m, op, key), in)
		if d := distance(got.Data, fixtureWant(t, m, op, key, in)); !(d < 1e-5) {
			t.Errorf("run %d: off by %g", i, d)
		}
		if s := e.Stats(); s.Sessions != 1 || s.Entries != 1 || s.Bytes > 4000 {
			t.Errorf("run %d: %+v, want one session", i, s)
		}
	}
	mustRun(t, e, other, op, testKey(op, 1), in)
	if s := e.Stats(); s.Entries != 0 || s.Bytes != 0 || s.Sessions != 1 { // the session of the other model's graph
		t.Errorf("after weights that are over the bound: %+v", s)
	}
}

// Runs with several keys at once, while sessions come and go.
func TestVariantsAtOnce(t *testing.T) {
	t.Parallel()
	m := variants(t)
	e := start(t, Config{CacheBytes: 4000, Workers: 3})
	add(t, e, m)
	op := model.OpRecover
	in := images(t, op, 1, 16, 16)
	want := [][]float32{fixtureWant(t, m, op, 0, in), fixtureWant(t, m, op, 1, in)}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 8 {
				key := (worker + i) % 2
				out, err := e.Run(t.Context(), m.Digest, op, variantKey(t, m, op, key), in...)
				if err != nil {
					t.Error(err)
				} else if d := distance(out.Data, want[key]); !(d < 1e-5) {
					t.Errorf("key %d: off by %g", key, d)
				}
			}
		})
	}
	wg.Wait()
}

// broken copies the fixture, changes a graph in it and vouches for the change.
func broken(t *testing.T, file string, change func(*onnxpb.Model)) *model.Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "variant")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "variant"))); err != nil {
		t.Fatal(err)
	}
	read := func(name string, into func([]byte) error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = into(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var graph onnxpb.Model
	var manifest map[string]any
	read(file, func(data []byte) error { return proto.Unmarshal(data, &graph) })
	read("manifest.json", func(data []byte) error { return json.Unmarshal(data, &manifest) })
	change(&graph)
	data, err := proto.Marshal(&graph)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	manifest["files"].(map[string]any)[file] = hex.EncodeToString(sum[:])
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{file: data, "manifest.json": text} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVariantGraphsAreChecked(t *testing.T) {
	t.Parallel()
	noise := func(g *onnxpb.Model, dims ...int64) { g.Graph.Input[1] = floatInput("z", dims) }
	for name, c := range map[string]struct {
		file, want string
		change     func(*onnxpb.Model)
	}{
		"another input":    {"recover.demo-2.onnx", "extra", func(g *onnxpb.Model) { g.Graph.Input = append(g.Graph.Input, floatInput("extra", nil)) }},
		"noise in embed":   {"embed.demo-1.onnx", "inputs are", func(g *onnxpb.Model) { g.Graph.Input = append(g.Graph.Input, floatInput("z", []int64{1, 12, 8, 8})) }},
		"no image":         {"recover.demo-1.onnx", "inputs are", func(g *onnxpb.Model) { g.Graph.Input = g.Graph.Input[1:] }},
		"another output":   {"recover.demo-1.onnx", "outputs are", func(g *onnxpb.Model) { g.Graph.Output[0].Name = "image" }},
		"noise of rank 3":  {"recover.demo-1.onnx", "four dimensions", func(g *onnxpb.Model) { noise(g, 1, 12, 8) }},
		"noise unbounded":  {"recover.demo-1.onnx", "0 channels", func(g *onnxpb.Model) { noise(g, 1, 0, 8, 8) }},
		"too much noise":   {"recover.demo-1.onnx", "4096 channels", func(g *onnxpb.Model) { noise(g, 1, 4096, 8, 8) }},
		"unknown operator": {"recover.demo-2.onnx", "make a session", func(g *onnxpb.Model) { g.Graph.Output[0].Type = nil; g.Graph.Node = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, Config{})
			m := broken(t, c.file, c.change)
			add(t, e, m)
			if err := e.Prepare(m.Digest); !errors.Is(err, ErrGraph) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want ErrGraph about %q", err, c.want)
			}
		})
	}
}

// A file that changes under a running worker is not used; put back, it is.
func TestVariantFileIsCheckedAgain(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := broken(t, "recover.demo-2.onnx", func(*onnxpb.Model) {})
	add(t, e, m)
	path := filepath.Join(m.Dir, "recover.demo-2.onnx")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	op := model.OpRecover
	in := images(t, op, 1, 16, 16)
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(append([]byte{0}, good[1:]...))
	if _, err := e.Run(t.Context(), m.Digest, op, variantKey(t, m, op, 1), in...); !errors.Is(err, model.ErrDigest) {
		t.Errorf("%v, want ErrDigest", err)
	}
	write(good)
	mustRun(t, e, m, op, variantKey(t, m, op, 1), in)
}
