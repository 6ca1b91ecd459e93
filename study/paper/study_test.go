package paper_test

import (
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"stegomq/internal/pixel"
	"stegomq/schemas"
	"stegomq/study"
	"stegomq/study/paper"
)

// levels are the means that a made run has, in dB. SSIM is a fortieth of the PSNR and MAE what is left of it to 1, so that all
// three agree on what is alike.
type levels struct {
	stego, recovered, wrong, random, baseline float64
}

// typical levels of a method that works.
var good = levels{stego: 34, recovered: 31, wrong: 8.5, random: 8.6, baseline: 8.45}

// made makes a run: pairs image pairs of a data set, the given keys, two random ones unless there is only one key.
type made struct {
	set      string
	pairs    int
	keys     []string
	random   int
	levels   levels
	features float32 // how far the features of wrong keys lie from those of the right one; 0: there are none
	dir      string  // where to write images; "": nowhere
	lowered  float64 // what the second key pair recovers less, in dB; it hides half of that worse, and shows a quarter less
}

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func keyRef(id string) *schemas.KeyRef {
	return &schemas.KeyRef{Id: id, Fingerprint: digest(id)[:32]}
}

// spread is a small number that differs from pair to pair and from role to role, with a mean near 0.
func spread(pair, salt int) float64 { return float64((pair*7+salt*5)%11-5) / 10 }

func (m made) run(t *testing.T) paper.Run {
	t.Helper()
	spec := &schemas.RunSpec{
		Id: "run", Model: digest("model"), ModelName: "model", ModelTrained: true, Dataset: m.set, Images: uint32(2 * m.pairs), MetricsVersion: "1",
		Geometry: &schemas.Geometry{Width: 256, Height: 256, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
	}
	for _, k := range m.keys {
		spec.Keys = append(spec.Keys, keyRef(k))
	}
	random := &schemas.Readers{Reader: schemas.Reader_READER_RANDOM, Count: uint32(m.random)}
	for i := range m.random {
		random.Keys = append(random.Keys, keyRef(fmt.Sprintf("random-1-%d", i)))
	}
	spec.Readers = []*schemas.Readers{{Reader: schemas.Reader_READER_MISMATCHED, Count: uint32(len(m.keys) - 1)}, random}
	var scores []*schemas.Score
	for p := range m.pairs {
		item := fmt.Sprintf("%05d-x", p)
		spec.Pairs = append(spec.Pairs, &schemas.Pair{
			Item: item, Cover: schemas.BlobRef(digest(fmt.Sprint(m.set, "cover", p)), ""), Secret: schemas.BlobRef(digest(fmt.Sprint(m.set, "secret", p)), ""),
		})
		add := func(role schemas.Role, embed, decode string, psnr float64, features ...float32) {
			s := schemas.NewScore(role, item, embed, decode)
			s.Features, s.Metrics = features, &schemas.Metrics{Psnr: psnr, Ssim: psnr / 40, Mae: 1 - psnr/40, Rmse: 1 - psnr/40}
			scores = append(scores, s)
		}
		wobble := float32(spread(p, 3))
		add(schemas.Baseline, "", "", m.levels.baseline+spread(p, 0))
		for i, embed := range m.keys {
			add(schemas.Imperceptibility, embed, "", m.levels.stego+spread(p, i)-float64(i)*m.lowered/2)
			for j, decode := range m.keys {
				switch {
				case i == j:
					add(schemas.Recoverability, embed, decode, m.levels.recovered+spread(p, 1)-float64(i)*m.lowered, m.vector(wobble, 0)...)
				default:
					add(schemas.Leakage(schemas.Reader_READER_MISMATCHED), embed, decode, m.levels.wrong+spread(p, 0)-float64(i)*m.lowered/4, m.vector(wobble, 1)...)
					add(schemas.LeakageCover(schemas.Reader_READER_MISMATCHED), embed, decode, 30+spread(p, 2))
				}
			}
			for _, k := range random.Keys {
				add(schemas.Leakage(schemas.Reader_READER_RANDOM), embed, k.GetId(), m.levels.random+spread(p, 0), m.vector(wobble, 2)...)
				add(schemas.LeakageCover(schemas.Reader_READER_RANDOM), embed, k.GetId(), 27+spread(p, 2))
			}
		}
		if m.dir != "" {
			m.images(t, item, p, spec)
		}
	}
	slices.Reverse(scores) // nothing may hang on their order
	return paper.Run{Summary: study.Summarise(spec, scores, nil, study.Invocation{}), Spec: spec, Scores: scores, Dir: m.dir}
}

// vector is a feature vector: kind 0 of the right key, 1 and 2 of wrong ones, which lie to two sides.
func (m made) vector(wobble float32, kind int) []float32 {
	if m.features == 0 {
		return nil
	}
	return []float32{[]float32{0, m.features, 0}[kind] + wobble, []float32{0, 0, m.features}[kind] - wobble/2, 3, wobble * wobble}
}

// images writes the files that study.SaveImages would.
func (m made) images(t *testing.T, item string, shade int, spec *schemas.RunSpec) {
	t.Helper()
	write := func(kind, name string, c color.NRGBA) {
		img := image.NewNRGBA(image.Rect(0, 0, 24, 24))
		for i := range img.Pix {
			img.Pix[i] = []uint8{c.R, c.G, c.B, 255}[i%4] + uint8(i/97)%9
			if i%4 == 3 {
				img.Pix[i] = 255
			}
		}
		data, err := pixel.EncodePNG(img)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(m.dir, "images", kind, name+".png")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := uint8(10 * shade)
	write("cover", item, color.NRGBA{R: 200, G: s, B: 40})
	write("secret", item, color.NRGBA{R: 40, G: s, B: 200})
	for i, embed := range m.keys {
		write("stego", item+"."+embed, color.NRGBA{R: 198, G: s, B: uint8(42 + i)})
		for _, k := range slices.Concat(spec.GetKeys(), spec.ReadersOf(schemas.Reader_READER_RANDOM).GetKeys()) {
			c := color.NRGBA{R: 190, G: s, B: 50}
			if k.GetId() == embed {
				c = color.NRGBA{R: 42, G: s, B: 195}
			}
			write("recovered", item+"."+embed+"."+k.GetId(), c)
		}
	}
}

var training = &paper.Training{Seconds: 900, Steps: 4100, Images: 991, Hardware: "two CPU threads", Recipe: "Adam", Revision: "abc"}

// two are the keys of most runs.
var two = []string{"alice", "bob"}

// small is a study with a bit of everything: imagenet and bsds, every method but Baluja, a grid of two, and an ablation at two alphas.
// dir is where images go; "" leaves them out.
func small(t *testing.T, dir string) paper.Study {
	t.Helper()
	s := paper.Study{
		DataSets: []paper.DataSet{{Name: "imagenet", AtHand: true, Dir: "data/imagenet"}, {Name: "bsds", AtHand: true}, {Name: "COCO", Why: "its folder does not exist"}},
		Command:  "stegomq paper --data imagenet=data/imagenet", Date: "2026-11-23",
	}
	for i, m := range []struct {
		method string
		levels levels
		keying string
	}{
		{paper.MethodLSB, levels{31, 35, 8.2, 8.2, 8.45}, schemas.KeyingCipher},
		{paper.MethodPUSNetMK, good, ""},
		{paper.MethodPUSNet, levels{38, 28, 26, 15, 8.45}, ""},
		{paper.MethodHiNet, levels{33, 29, 16, 0, 8.45}, schemas.KeyingVariant},
		{paper.MethodUDH, levels{31, 24, 20, 0, 8.45}, schemas.KeyingVariant},
		{paper.MethodHiDDeN, levels{25, 20, 19, 0, 8.45}, schemas.KeyingVariant},
	} {
		row := paper.Row{
			Method: m.method, Runs: make(map[string]paper.Run),
			Model: paper.Model{Name: "model-" + m.method, Digest: digest(m.method), Keying: m.keying, Parameters: 287008, Training: training},
		}
		if m.keying == schemas.KeyingCipher {
			row.Model.Training, row.Model.Parameters = nil, 0
		}
		for _, set := range []string{"imagenet", "bsds"} {
			r := made{set: set, pairs: 6, keys: two, levels: m.levels, random: 2}
			if m.keying == schemas.KeyingVariant {
				r.random = 0
			}
			if m.method == paper.MethodPUSNet {
				r.features = 0.2
			}
			if m.method == paper.MethodPUSNetMK {
				r.features = 9
			}
			if dir != "" && set == "imagenet" {
				r.dir = filepath.Join(dir, fmt.Sprint("run", i))
			}
			row.Runs[set] = r.run(t)
		}
		s.Rows = append(s.Rows, row)
	}
	for _, g := range []struct {
		keys  []string
		alpha float64
	}{{two, 0.9}, {[]string{"k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"}, 0.5}} {
		s.Grid = append(s.Grid, paper.Scalability{
			Keys: len(g.keys), Alpha: g.alpha, DataSet: "imagenet", Model: paper.Model{Name: "grid", Training: training},
			Run: made{set: "imagenet", pairs: 6, keys: g.keys, levels: good}.run(t),
		})
	}
	for _, alpha := range []float64{0.9, 0.5} {
		for gradient, recovered := range map[string]float64{paper.GradientRight: 28, paper.GradientWrong: 28 - 6*(1-alpha)} {
			s.Ablation = append(s.Ablation, paper.Ablated{
				Gradient: gradient, Alpha: alpha, DataSet: "imagenet", Model: paper.Model{Name: "ablated", Training: training},
				Run: made{set: "imagenet", pairs: 6, keys: two, levels: levels{33, recovered, 9, 9, 8.45}}.run(t),
			})
		}
	}
	return s
}

func build(t *testing.T, s paper.Study) *paper.Report {
	t.Helper()
	r, err := paper.Build(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// written writes a report and reads its files.
func written(t *testing.T, r *paper.Report) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// whole is the report on the study without images, and its files: made once, because figures take their time.
var whole = struct {
	once   sync.Once
	report *paper.Report
	files  map[string]string
}{}

func wholeReport(t *testing.T) (*paper.Report, map[string]string) {
	t.Helper()
	whole.once.Do(func() {
		s := small(t, "")
		s.Rows = append(s.Rows, paper.Row{Method: oddName, Model: paper.Model{Name: "m"}, Runs: map[string]paper.Run{"bsds": s.Rows[1].Runs["bsds"]}})
		whole.report = build(t, s)
		whole.files = written(t, whole.report)
	})
	if whole.files == nil {
		t.Fatal("the report could not be made")
	}
	return whole.report, whole.files
}

// oddName has what means something in LaTeX and in Markdown.
const oddName = `Mine_2 & 50% {x}|y`
