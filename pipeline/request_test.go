package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/internal/keyring"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// Every field that is wrong is named as users of commands spell it.
func TestCheckNamesTheField(t *testing.T) {
	t.Parallel()
	good := request(t, 1)
	if err := good.Check(0); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Request){
		"size":               func(r *Request) { r.Geometry = Square(0, schemas.ResizePolicy_RESIZE_POLICY_SQUASH) },
		"size 9000":          func(r *Request) { r.Geometry = Square(9000, schemas.ResizePolicy_RESIZE_POLICY_CROP) },
		"batch 0":            func(r *Request) { r.Batch = 0 },
		"batch 65":           func(r *Request) { r.Batch = 65 },
		"limit -1":           func(r *Request) { r.Dataset.Limit = -1 },
		"sample":             func(r *Request) { r.Dataset.Sample, r.Dataset.Limit = 1, 1 },
		"random-keys 10001":  func(r *Request) { r.RandomKeys = MaxRandomKeys + 1 },
		"near-keys 257":      func(r *Request) { r.NearKeys = keyring.KeyBits + 1 },
		"noise -1":           func(r *Request) { r.Noise = -1 },
		"run \"a run\"":      func(r *Request) { r.Run = "a run" },
		"partial 12.55":      func(r *Request) { r.Partial = []float64{12.55} },
		"partial 50 is":      func(r *Request) { r.Partial = []float64{50, 50} },
		"attacks: ":          func(r *Request) { r.Attacks = []string{"jpg-4"} },
		"attacks jpeg-90 is": func(r *Request) { r.Attacks = []string{"jpeg-90", "jpeg-90"} },
		"keys":               func(r *Request) { r.Keys = nil },
		"keys: ":             func(r *Request) { r.Keys = []keyring.Pair{{ID: "half", Embed: r.Keys[0].Embed}} },
	} {
		r := *good
		spoil(&r)
		err := r.Check(0)
		var wrong *FieldError
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	r := *good
	r.Dataset.Data = "nowhere"
	if err := r.Check(0); !errors.Is(err, producer.ErrDataset) {
		t.Errorf("no folder: %v", err)
	}
}

// A request is the run that it says, under the same name every time.
func TestSpec(t *testing.T) {
	t.Parallel()
	r := request(t, 2)
	r.NearKeys, r.RandomKeys, r.Swapped, r.Partial = 3, 2, true, []float64{50}
	d, err := producer.ReadDataset(t.Context(), r.Dataset, noMemo{})
	if err != nil {
		t.Fatal(err)
	}
	spec := r.spec(d, "")
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(spec.GetKeys()) != len(r.Keys) || len(spec.GetPairs()) != 2 {
		t.Errorf("keys %d, pairs %d", len(spec.GetKeys()), len(spec.GetPairs()))
	}
	for reader, want := range map[schemas.Reader]uint32{
		schemas.Reader_READER_MISMATCHED: uint32(len(r.Keys) - 1), schemas.Reader_READER_RANDOM: 2, schemas.Reader_READER_NEAR: 3,
		schemas.Reader_READER_SWAPPED: 1, schemas.Reader_READER_PARTIAL: 1, schemas.Reader_READER_UNKEYED: 0,
	} {
		if got := spec.ReadersOf(reader).GetCount(); got != want {
			t.Errorf("%v: %d for each key, want %d", reader, got, want)
		}
	}
	if again := r.spec(d, ""); again.GetId() != spec.GetId() || !strings.HasPrefix(spec.GetId(), "run-") {
		t.Errorf("names %s, %s", spec.GetId(), again.GetId())
	}
	if other := r.spec(d, "onnxruntime 1.24.1 cuda"); other.GetId() == spec.GetId() || other.GetRuntime() == "" {
		t.Errorf("another runtime has the run %s, too", other.GetId())
	}
	r.FirstRandom = 1
	if other := r.spec(d, ""); other.GetId() == spec.GetId() {
		t.Error("other random keys, the same name")
	}
	r.Run = "mine"
	if named := r.spec(d, ""); named.GetId() != "mine" {
		t.Errorf("the name is %s", named.GetId())
	}
}

// TestForecastCountsThePairs: a file that is in no pair is not uploaded, and does not count.
func TestForecastCountsThePairs(t *testing.T) {
	t.Parallel()
	req := request(t, 1)
	req.Dataset.Data = photographs(t, 3)
	var want int64
	for _, name := range []string{"a.png", "b.png"} {
		info, err := os.Stat(filepath.Join(req.Dataset.Data, name))
		if err != nil {
			t.Fatal(err)
		}
		want += info.Size()
	}
	f, err := New(options(Endpoints{State: t.TempDir()})).Forecast(testrig.Context(t), req)
	if err != nil || f.Pairs != 1 || f.Bytes != want {
		t.Errorf("%+v, %v; want 1 pair of %d bytes", f, err, want)
	}
}
