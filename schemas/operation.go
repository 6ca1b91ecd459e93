package schemas

import (
	"fmt"
	"slices"
)

// The halves of a key pair.
const (
	HalfEmbed   = "embed"
	HalfRecover = "recover"
)

// Descriptor describes an operation, except for how it is computed.
type Descriptor struct {
	Operation Operation
	// Token is its word: in subjects and metrics, in manifests of models, as a command, and over HTTP, /v1/<token>.
	Token string
	// Images are the names of the images that go in: fields of an Item, of requests and of forms. Where a job has no size, the first one
	// gives it to the others.
	Images []string
	// Inputs are what a model's graph calls these images, and Output what it calls the one that comes out.
	Inputs []string
	Output string
	// Key is the half of a key pair that it needs; empty for none.
	Key string
	// FollowUps says that jobs may follow it. Reads says that it may refuse its image, may give features, and that the image may be attacked
	// first. Noise says that noise may be added to its image first.
	FollowUps, Reads, Noise bool
}

var descriptors = []Descriptor{
	{
		Operation: Operation_OPERATION_EMBED, Token: "embed", Images: []string{"cover", "secret"}, Inputs: []string{"cover", "secret"}, Output: "stego",
		Key: HalfEmbed, FollowUps: true,
	},
	{
		Operation: Operation_OPERATION_RECOVER, Token: "recover", Images: []string{"stego"}, Inputs: []string{"stego"}, Output: "recovered",
		Key: HalfRecover, Reads: true,
	},
	{
		Operation: Operation_OPERATION_PURIFY, Token: "purify", Images: []string{"image"}, Inputs: []string{"noisy"}, Output: "purified",
		Noise: true,
	},
}

// Operations are all of them, in the order in which an image meets them. Treat them as read-only.
func Operations() []Descriptor { return descriptors }

// OperationOf is the operation of a word (Descriptor.Token), unspecified where there is none.
func OperationOf(token string) Operation {
	for _, d := range descriptors {
		if d.Token == token {
			return d.Operation
		}
	}
	return Operation_OPERATION_UNSPECIFIED
}

// Describe is the operation's descriptor; empty for an unknown one.
func (x Operation) Describe() Descriptor {
	if i := slices.IndexFunc(descriptors, func(d Descriptor) bool { return d.Operation == x }); i >= 0 {
		return descriptors[i]
	}
	return Descriptor{}
}

// Token is the operation's word; "unknown" for an unknown one.
func (x Operation) Token() string {
	if d := x.Describe(); d.Token != "" {
		return d.Token
	}
	return "unknown"
}

// NewItem is an item of the operation with its images, in the order of Descriptor.Images; it has no id. Another number of images is an error.
func (x Operation) NewItem(refs ...*ImageRef) (*Item, error) {
	names := x.Describe().Images
	if len(names) == 0 || len(refs) != len(names) {
		return nil, fmt.Errorf("%s takes the images %q, not %d", x.Token(), names, len(refs))
	}
	item := &Item{}
	for i, name := range names {
		*item.field(name) = refs[i]
	}
	return item, nil
}

// Ref is an image of the item by its name (Descriptor.Images), nil where it has none.
func (x *Item) Ref(name string) *ImageRef { return *x.field(name) }

func (x *Item) field(name string) **ImageRef {
	return map[string]**ImageRef{"cover": &x.Cover, "secret": &x.Secret, "stego": &x.Stego, "image": &x.Image}[name]
}

// Refs are the cover and the secret of the pair.
func (x *Pair) Refs() []*ImageRef { return []*ImageRef{x.GetCover(), x.GetSecret()} }

// Refs are all images that the item names.
func (x *Item) Refs() []*ImageRef {
	return slices.DeleteFunc([]*ImageRef{x.GetCover(), x.GetSecret(), x.GetStego(), x.GetImage()}, func(ref *ImageRef) bool { return ref == nil })
}
