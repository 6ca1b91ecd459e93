package schemas

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

// variantSpec is a run with a model that has a network for each key and does not purify.
func variantSpec() *RunSpec {
	s := testSpec()
	s.ModelKeying, s.Readers = KeyingVariant, s.GetReaders()[:1]
	s.ModelOperations = []Operation{Operation_OPERATION_EMBED, Operation_OPERATION_RECOVER}
	return s
}

func TestModelOfARun(t *testing.T) {
	t.Parallel()
	checkRules(t, []rule[*RunSpec]{
		{"variant", variantSpec, func(*RunSpec) {}, ""},
		{"variant with a random key", variantSpec, func(s *RunSpec) { s.Readers = testSpec().GetReaders() }, "readers[1]: a model with a network for each key has none for other keys"},
		{"variant with a near key", variantSpec, func(s *RunSpec) { s.Readers = nearSpec().GetReaders()[2:] }, "readers[0]: a model with a network for each key has none for other keys"},
		{"weights", testSpec, func(s *RunSpec) { s.ModelKeying = KeyingWeights }, ""},
		{"cipher", nearSpec, func(s *RunSpec) { s.ModelKeying = KeyingCipher }, ""},
		{"unknown keying", testSpec, func(s *RunSpec) { s.ModelKeying = "magic" }, `model_keying "magic" is unknown`},
		{"unknown operation", variantSpec, func(s *RunSpec) { s.ModelOperations[1] = 9 }, "model_operations[1] is unknown: 9"},
		{"no operation", variantSpec, func(s *RunSpec) { s.ModelOperations[0] = 0 }, "model_operations[0] is unknown: 0"},
	})
	want := variantSpec()
	data, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRunSpec(data); err != nil || !proto.Equal(got, want) {
		t.Errorf("decoded %v, %v; want %v", got, err, want)
	}
	if RunID(want) == RunID(testSpec()) {
		t.Error("the random keys have no part in the run's id")
	}
}

func TestPurifies(t *testing.T) {
	t.Parallel()
	spec := testSpec()
	if !Purifies(spec) {
		t.Error("a model of which nothing is said does not purify")
	}
	if Purifies(variantSpec()) {
		t.Error("a model purifies that only embeds and recovers")
	}
	spec.ModelOperations = []Operation{Operation_OPERATION_PURIFY}
	if !Purifies(spec) {
		t.Error("a model does not purify though it says so")
	}
}
