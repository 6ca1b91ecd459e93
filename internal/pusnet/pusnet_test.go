package pusnet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/pytorch"
	"stegomq/internal/weights"
)

// layers are those of a model of the network.
func layers() []weights.Layer {
	var all []weights.Layer
	offset := 0
	for _, c := range convs {
		l := weights.Layer{Name: c.layer, Shape: c.shape(), Offset: offset}
		all = append(all, l)
		offset += l.Len()
	}
	return all
}

// initial is the draw of the mask; it takes a while and is used by several tests.
var initial = sync.OnceValue(func() []float32 { return draw(1, layers()) })

func TestNetwork(t *testing.T) {
	t.Parallel()
	total, norms, names := 0, 1, map[string]bool{trailing.public: true}
	for _, c := range convs {
		total += c.out*c.in*kernel*kernel + c.out
		names[c.public()] = true
		if c.normed {
			norms++
			total += 2 * c.norm().channels
			names[c.norm().public] = true
		}
	}
	if total += 2 * trailing.channels; len(convs) != 20 || norms != 18 || total != 4_879_107 || len(names) != 38 {
		t.Errorf("%d convolutions, %d normalisations, %d names, %d parameters; want 20, 18, 38 and 4,879,107", len(convs), norms, len(names), total)
	}
}

// PyTorch wrote the digests: the draws and the mask are its own, bit for bit.
func TestDrawsAndMaskMatchPyTorch(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "pytorch", "testdata", "normal.json"))
	if err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	var golden struct {
		PUSNet map[string]string
		Mask   struct {
			Kept   int
			SHA256 string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatalf("golden vectors: %v", err)
	}
	for name, values := range map[string][]float32{"1": initial(), "10101": draw(10101, layers())} {
		h := sha256.New()
		if err := binary.Write(h, binary.LittleEndian, values); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != golden.PUSNet[name] {
			t.Errorf("the draw of seed %s has the digest %s, want %s", name, got, golden.PUSNet[name])
		}
	}
	bits, err := magnitudeMask(trained(initial(), 0.9), initial(), 0.9)
	if err != nil {
		t.Fatal(err)
	}
	shared, kept := make([]byte, len(initial())), 0
	for i := range shared {
		shared[i] = bits[i/8] >> (i % 8) & 1
		kept += int(shared[i])
	}
	if sum := sha256.Sum256(shared); kept != golden.Mask.Kept || hex.EncodeToString(sum[:]) != golden.Mask.SHA256 {
		t.Errorf("%d weights are shared, want %d; digest %x, want %s", kept, golden.Mask.Kept, sum, golden.Mask.SHA256)
	}
}

// trained are weights that are zero where the mask of a draw has keyed weights, and 0.5 elsewhere.
func trained(draw []float32, alpha float64) []float32 {
	sizes := sizesOf(draw)
	sorted := slices.Sorted(slices.Values(sizes))
	slices.Reverse(sorted)
	last := sorted[int(float64(len(draw))*alpha)-1] // the public code's threshold
	w := make([]float32, len(draw))
	for i, size := range sizes {
		if size > last {
			w[i] = 0.5
		}
	}
	return w
}

func sizesOf(draw []float32) []float32 {
	sizes := make([]float32, len(draw))
	for i := range draw {
		sizes[i] = float32(math.Abs(float64(draw[i])))
	}
	return sizes
}

func TestMagnitudeMask(t *testing.T) {
	t.Parallel()
	const n = 30_000
	draw := make([]float32, n)
	pytorch.NewGenerator(7).Normal(draw, 0.05)
	w := trained(draw, 0.7)
	good, err := magnitudeMask(w, draw, 0.7)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w {
		if shared := good[i/8]>>(i%8)&1 == 1; shared != (w[i] != 0) {
			t.Fatalf("weight %d: shared %v, the checkpoint has %v", i, shared, w[i])
		}
	}
	for name, c := range map[string]struct {
		change func(w []float32) float64
		err    error
		says   string
	}{
		"more alpha":        {func([]float32) float64 { return 0.9 }, ErrMask, "alpha 0.70"},
		"less alpha":        {func([]float32) float64 { return 0.5 }, ErrMask, "alpha 0.70"},
		"filled":            {func(w []float32) float64 { w[slices.Index(w, 0)] = 1; return 0.7 }, ErrMask, "1 keyed weights are not zero"},
		"two zeros":         {func(w []float32) float64 { w[slices.Index(w, 0.5)], w[slices.Index(w, 0.5)+1] = 0, 0; return 0.7 }, nil, ""},
		"too many zeros":    {func(w []float32) float64 { zero(w, 4); return 0.7 }, ErrMask, "4 shared ones are"},
		"nothing is shared": {func([]float32) float64 { return 1e-9 }, ErrOption, "alpha"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := slices.Clone(w)
			alpha := c.change(w)
			_, err := magnitudeMask(w, draw, alpha)
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v that says %q", err, c.err, c.says)
			}
		})
	}
	other := make([]float32, n)
	pytorch.NewGenerator(8).Normal(other, 0.05)
	if _, err := magnitudeMask(w, other, 0.7); !errors.Is(err, ErrMask) || !strings.Contains(err.Error(), "mask seed") {
		t.Errorf("another seed: %v, want ErrMask", err)
	}
}

// zero sets the first n weights that are not.
func zero(w []float32, n int) {
	for i := range w {
		if w[i] != 0 && n > 0 {
			w[i] = 0
			n--
		}
	}
}

// PyTorch's code for other processors draws values that differ in the last bits; where that moves a weight over the
// threshold, the checkpoint says on which side it was.
func TestMaskNearTheThreshold(t *testing.T) {
	t.Parallel()
	draw := make([]float32, 10_000)
	pytorch.NewGenerator(9).Normal(draw, 0.05)
	w := trained(draw, 0.9)
	sizes := sizesOf(draw)
	sorted := slices.Sorted(slices.Values(sizes))
	threshold := sorted[len(sorted)-9000]
	above, below := slices.Index(sizes, sorted[len(sorted)-8999]), slices.Index(sizes, threshold)
	draw[above] = threshold + 1e-7 // so near that another processor could have had it below
	w[above], w[below] = 0, 0.5
	bits, err := magnitudeMask(w, draw, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	if bits[above/8]>>(above%8)&1 != 0 || bits[below/8]>>(below%8)&1 != 1 {
		t.Error("the checkpoint did not decide")
	}
}

// The pair is fixed for ever: its fingerprint stands in manifests.
func TestPair(t *testing.T) {
	t.Parallel()
	p := Pair(10101, 1010)
	if p.ID != "imported-10101-1010" || p.Fingerprint() != "88ea2dfddd9799298b80f0b2d9b534e7" {
		t.Errorf("%s %s", p.ID, p.Fingerprint())
	}
	if Pair(1010, 10101).Fingerprint() == p.Fingerprint() || Pair(10101, 1011).Fingerprint() == p.Fingerprint() {
		t.Error("other seeds give the same pair")
	}
}

func tiny(t *testing.T) *model.Model {
	t.Helper()
	m, err := model.Load(filepath.Join("..", "ort", "testdata", "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckRefusesOtherNetworks(t *testing.T) {
	t.Parallel()
	m := tiny(t)
	if err := check(m); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "invertible") {
		t.Errorf("%v, want ErrNetwork about the backbone", err)
	}
	m.Manifest.Backbone = backbone
	if err := check(m); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "layers") {
		t.Errorf("%v, want ErrNetwork about the number of layers", err)
	}
	m.Layers = layers()
	if err := check(m); err != nil {
		t.Error(err)
	}
	m.Layers[3].Shape[0]++
	if err := check(m); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "first.0.0") {
		t.Errorf("%v, want ErrNetwork about first.0.0", err)
	}
}

// Other checkpoints are told by the first thing that is wrong.
func TestParametersMustFit(t *testing.T) {
	t.Parallel()
	state, err := pytorch.Open(filepath.Join("..", "pytorch", "testdata", "new-state.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if _, _, err := parameters(state, layers()); !errors.Is(err, ErrNetwork) || !errors.Is(err, pytorch.ErrTensor) || !strings.Contains(err.Error(), `"in_layers.0.weight"`) {
		t.Errorf("%v, want ErrNetwork about in_layers.0.weight", err)
	}
}

func TestWithAffines(t *testing.T) {
	t.Parallel()
	graph := tiny(t).Graph(model.OpEmbed)
	var file onnxpb.Model
	if err := proto.Unmarshal(graph, &file); err != nil {
		t.Fatal(err)
	}
	affines := map[string][]float32{}
	for _, init := range file.GetGraph().GetInitializer() {
		if isAffine(init.GetName()) {
			values := make([]float32, init.GetDims()[0])
			for i := range values {
				values[i] = float32(len(affines)) + float32(i)/64
			}
			affines[init.GetName()] = values
		}
	}
	if len(affines) == 0 {
		t.Fatal("the fixture has no biases")
	}
	made, err := withAffines(graph, affines)
	if err != nil {
		t.Fatal(err)
	}
	var changed onnxpb.Model
	if err := proto.Unmarshal(made, &changed); err != nil {
		t.Fatal(err)
	}
	for i, init := range changed.GetGraph().GetInitializer() {
		want := file.GetGraph().GetInitializer()[i].GetRawData()
		if values, ok := affines[init.GetName()]; ok {
			want = nil
			for _, v := range values {
				want = binary.LittleEndian.AppendUint32(want, math.Float32bits(v))
			}
		}
		if !slices.Equal(init.GetRawData(), want) {
			t.Errorf("%s holds other values", init.GetName())
		}
		init.RawData = file.GetGraph().GetInitializer()[i].RawData
	}
	if !proto.Equal(&changed, &file) {
		t.Error("something else changed too")
	}

	some := ""
	for name := range affines {
		some = max(some, name)
	}
	for what, change := range map[string]func(map[string][]float32){
		"one more":  func(a map[string][]float32) { a["stem.0.bias"] = []float32{1} },
		"one less":  func(a map[string][]float32) { delete(a, some) },
		"too large": func(a map[string][]float32) { a[some] = append(slices.Clone(a[some]), 1) },
	} {
		wrong := map[string][]float32{}
		for name, values := range affines {
			wrong[name] = values
		}
		change(wrong)
		if _, err := withAffines(graph, wrong); !errors.Is(err, ErrNetwork) {
			t.Errorf("%s: %v, want ErrNetwork", what, err)
		}
	}
	if _, err := withAffines([]byte("no graph"), affines); err == nil {
		t.Error("what is no graph was taken for one")
	}
}

func TestImportChecksAlphaFirst(t *testing.T) {
	t.Parallel()
	for _, alpha := range []float64{-1, 0, 1, 2, math.NaN()} {
		o := Defaults()
		o.Alpha = alpha
		if _, err := Import("nowhere.pt", tiny(t), filepath.Join(t.TempDir(), "new"), o); !errors.Is(err, ErrOption) {
			t.Errorf("alpha %v: %v, want ErrOption", alpha, err)
		}
	}
}
