package schemas

import (
	"slices"
	"testing"
)

// TestDescriptors: every operation of the messages has a descriptor that its messages and models can work with.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	for number, name := range Operation_name {
		op := Operation(number)
		if op == Operation_OPERATION_UNSPECIFIED {
			continue
		}
		d := op.Describe()
		if d.Operation != op || OperationOf(d.Token) != op || op.Token() != d.Token || len(d.Images) == 0 || len(d.Inputs) != len(d.Images) || d.Output == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if d.Key != "" && d.Key != HalfEmbed && d.Key != HalfRecover {
			t.Errorf("%s needs the half %q", name, d.Key)
		}
		refs := []*ImageRef{BlobRef(sha("a"), "a"), BlobRef(sha("b"), "b")}[:len(d.Images)]
		item, err := op.NewItem(refs...)
		if err != nil || !slices.Equal(item.Refs(), refs) {
			t.Fatalf("%s: %v, %v", name, item, err)
		}
		for i, image := range d.Images {
			if item.Ref(image) != refs[i] {
				t.Errorf("%s: %s is %v", name, image, item.Ref(image))
			}
		}
		if _, err := op.NewItem(append(refs, refs[0])...); err == nil {
			t.Errorf("%s takes an image more", name)
		}
	}
	if len(Operations()) != len(Operation_name)-1 {
		t.Errorf("%d descriptors of %d operations", len(Operations()), len(Operation_name)-1)
	}
	for _, none := range []Operation{0, 99} {
		if _, err := none.NewItem(); err == nil || none.Token() != "unknown" {
			t.Errorf("operation %d is %s", none, none.Token())
		}
	}
}
