package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
)

// lastActivations are what goes into the last convolution of a recover graph, computed with constant weights in a session
// that gives nothing else: channels by height by width for each image.
func lastActivations(t *testing.T, e *Engine, m *model.Model, key *Key, in pixel.Tensor) [][]float32 {
	t.Helper()
	g, err := parse(outputsOf(model.OpRecover, m, false), m, m.Graph(model.OpRecover))
	if err != nil {
		t.Fatal(err)
	}
	at := len(g.file.Graph.Node) - 1
	for g.file.Graph.Node[at].GetOpType() != "Conv" {
		at--
	}
	name := g.file.Graph.Node[at].GetInput()[0]
	g.file.Graph.Output = []*onnxpb.ValueInfo{{Name: name}}

	w := make([]float32, len(m.Weights))
	m.Mask.Apply(w, m.Weights, key.Role, key.Bytes())
	data, err := g.withConstants(func(l weights.Layer) []float32 { return w[l.Offset : l.Offset+l.Len()] })
	if err != nil {
		t.Fatal(err)
	}
	session, err := newSession(data, g.op.Inputs(), []string{name}, e.sessionConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Destroy()
	image, err := e.tensor([]int64{int64(in.N), 3, int64(in.H), int64(in.W)}, in.Data)
	if err != nil {
		t.Fatal(err)
	}
	out := []onnx.Value{nil} // the runtime knows the shape
	if err := runSession(context.Background(), session, []onnx.Value{image}, out); err != nil {
		t.Fatal(err)
	}
	e.destroy(image)
	values := slices.Clone(out[0].(*onnx.Tensor[float32]).GetData())
	out[0].Destroy()
	return slices.Collect(slices.Chunk(values, len(values)/in.N))
}

// Features are the means of what goes into the last convolution, and the images beside them are those of Run: in batches, at
// odd sizes, for several keys, with the weights in the runtime's layout and bound to a device.
func TestFeatures(t *testing.T) {
	t.Parallel()
	m := tiny(t)
	if m.Manifest.Features != 16 {
		t.Fatalf("the model has %d features, want its width", m.Manifest.Features)
	}
	for _, bind := range []bool{false, true} {
		e := start(t, Config{})
		e.bind = bind
		add(t, e, m)
		var before []float32
		for n := range 3 {
			key, in := testKey(model.OpRecover, n), images(t, model.OpRecover, 2, 33, 18)
			recovered, features, err := e.Features(t.Context(), m.Digest, key, in[0])
			if err != nil {
				t.Fatal(err)
			}
			if want := mustRun(t, e, m, model.OpRecover, key, in); !slices.Equal(recovered.Data, want.Data) {
				t.Errorf("key %d: the image is another than without features", n)
			}
			if len(features) != 2 || slices.Equal(features[0], features[1]) || slices.Equal(features[0], before) {
				t.Fatalf("key %d: %d rows, which must depend on the image and the key", n, len(features))
			}
			before = features[0]
			for i, activations := range lastActivations(t, e, m, key, in[0]) {
				if len(features[i]) != 16 {
					t.Fatalf("key %d: image %d has %d features", n, i, len(features[i]))
				}
				for c, channel := range slices.Collect(slices.Chunk(activations, len(activations)/16)) {
					sum := 0.0
					for _, v := range channel {
						sum += float64(v)
					}
					if mean := sum / float64(len(channel)); math.Abs(mean-float64(features[i][c])) > 1e-5*(1+math.Abs(mean)) {
						t.Errorf("key %d, image %d: feature %d is %v, the mean is %v", n, i, c, features[i][c], mean)
					}
				}
			}
		}
		if s := e.Stats(); s.Sessions != 2 || s.Runs != 6 {
			t.Errorf("want a session with features and one without: %+v", s)
		}
		if p := opened(e); len(p) != 2 || !p[0].layout.native || !p[1].layout.native || !p[0].wanted || p[1].wanted {
			t.Errorf("%d graphs are open, or not those wanted", len(p))
		}
	}
}

// The session of Run does not have the features in it: nobody pays who does not ask.
func TestRunHasNoFeatures(t *testing.T) {
	t.Parallel()
	m := tiny(t)
	kinds := func(o outputs) (names []string) {
		g, err := parse(o, m, m.Graph(o.op))
		if err != nil {
			t.Fatal(err)
		}
		// Of what the session gets, not of what was parsed.
		file := &onnxpb.Model{}
		if err := proto.Unmarshal(g.bytes, file); err != nil {
			t.Fatal(err)
		}
		for _, n := range file.Graph.Node {
			names = append(names, n.GetOpType())
		}
		return names
	}
	purify := kinds(outputsOf(model.OpPurify, m, false)) // of this backbone it is the same graph
	if got := kinds(outputsOf(model.OpRecover, m, false)); !slices.Equal(got, purify) {
		t.Errorf("the graph is\n%q, want\n%q", got, purify)
	}
	if got, want := kinds(outputsOf(model.OpRecover, m, true)), append(purify, "GlobalAveragePool", "Flatten"); !slices.Equal(got, want) {
		t.Errorf("the graph with features is\n%q, want\n%q", got, want)
	}
}

// A variant gives features too, in a session of its own.
func TestVariantFeatures(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := variants(t)
	add(t, e, m)
	for n := range m.Keys() {
		key, in := variantKey(t, m, model.OpRecover, n), images(t, model.OpRecover, 2, 17, 20)
		recovered, features, err := e.Features(t.Context(), m.Digest, key, in[0])
		if err != nil {
			t.Fatal(err)
		}
		want := mustRun(t, e, m, model.OpRecover, key, in)
		if d := distance(recovered.Data, want.Data); !(d < 1e-6) {
			t.Errorf("key %d: the image is off by %g from that without features", n, d)
		}
		for i, channel := range slices.Collect(slices.Chunk(want.Data, 17*20)) {
			sum := 0.0
			for _, v := range channel {
				sum += float64(v)
			}
			if got := float64(features[i/3][i%3]); math.Abs(got-sum/float64(len(channel))) > 1e-5 {
				t.Errorf("key %d, image %d: feature %d is %v, want %v", n, i/3, i%3, got, sum/float64(len(channel)))
			}
		}
	}
	if s := e.Stats(); s.Sessions != 4 || s.Misses != 4 {
		t.Errorf("want two sessions for each key: %+v", s)
	}
}

// Models exported before there were features run as ever, and say that they give none.
func TestModelWithoutFeatures(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	before, now := withFeatures(t, 0, func(g *onnxpb.Model) { dropFeatures(g.Graph) }), tiny(t)
	add(t, e, before)
	add(t, e, now)
	key, in := testKey(model.OpRecover, 1), images(t, model.OpRecover, 1, 16, 16)
	if !slices.Equal(mustRun(t, e, before, model.OpRecover, key, in).Data, mustRun(t, e, now, model.OpRecover, key, in).Data) {
		t.Error("the model recovers another image without features")
	}
	if _, _, err := e.Features(t.Context(), before.Digest, key, in[0]); !errors.Is(err, ErrOperation) || !strings.Contains(err.Error(), "features") {
		t.Errorf("features: %v, want ErrOperation", err)
	}
}

// The graph has the features that the manifest says, and none that it does not.
func TestFeaturesAreChecked(t *testing.T) {
	t.Parallel()
	tensor := func(g *onnxpb.Model) *onnxpb.Type_Tensor { return g.Graph.Output[1].Type.GetTensorType() }
	for name, c := range map[string]struct {
		manifest int
		change   func(*onnxpb.Model)
		want     string
	}{
		"not in the manifest": {0, func(*onnxpb.Model) {}, "outputs are"},
		"not in the graph":    {16, func(g *onnxpb.Model) { g.Graph.Output = g.Graph.Output[:1] }, "outputs are"},
		"another width":       {17, func(*onnxpb.Model) {}, "[batch, 17]"},
		"not float32":         {16, func(g *onnxpb.Model) { tensor(g).ElemType = 7 }, "[batch, 16]"},
		"another rank":        {16, func(g *onnxpb.Model) { tensor(g).Shape.Dim = tensor(g).Shape.Dim[1:] }, "[batch, 16]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, Config{})
			m := withFeatures(t, c.manifest, c.change)
			add(t, e, m)
			if err := e.Prepare(m.Digest, model.OpRecover); !errors.Is(err, ErrGraph) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want ErrGraph about %q", err, c.want)
			}
		})
	}
}

// withFeatures copies the tests' model, changes its recover graph and the number of features, and vouches for both.
func withFeatures(t *testing.T, features int, change func(*onnxpb.Model)) *model.Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "tiny"))); err != nil {
		t.Fatal(err)
	}
	must := func(data []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var graph onnxpb.Model
	var manifest map[string]any
	must(nil, proto.Unmarshal(must(os.ReadFile(filepath.Join(dir, "recover.onnx"))), &graph))
	must(nil, json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "manifest.json"))), &manifest))
	change(&graph)
	data := must(proto.Marshal(&graph))
	sum := sha256.Sum256(data)
	manifest["files"].(map[string]any)["recover.onnx"] = hex.EncodeToString(sum[:])
	manifest["features"] = features
	must(nil, os.WriteFile(filepath.Join(dir, "recover.onnx"), data, 0o644))
	must(nil, os.WriteFile(filepath.Join(dir, "manifest.json"), must(json.Marshal(manifest)), 0o644))
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// BenchmarkFeatures compares recovery with features and without.
func BenchmarkFeatures(b *testing.B) {
	e := benchEngine(b, Config{Workers: 1})
	m := tiny(b)
	add(b, e, m)
	key, in := testKey(model.OpRecover, 1), images(b, model.OpRecover, 1, 256, 256)
	b.Run("without", func(b *testing.B) {
		for b.Loop() {
			mustRun(b, e, m, model.OpRecover, key, in)
		}
	})
	b.Run("with", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := e.Features(b.Context(), m.Digest, key, in[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
