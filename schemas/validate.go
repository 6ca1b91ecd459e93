package schemas

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrInvalid is the class of every broken rule.
var ErrInvalid = errors.New("invalid message")

// MaxSide bounds the width and the height of a geometry, in pixels.
const MaxSide = 8192

// maxName bounds the bytes of an image's name: the longest path that Linux takes.
const maxName = 4096

// maxItemID bounds the bytes of an item's id.
const maxItemID = 128

// ValidItemID says whether s can name an item: 1 to maxItemID letters, digits, '.', '_' and '-', the first a letter or a digit, and no
// two '.' in a row. It is part of the names of files.
func ValidItemID(s string) bool {
	return isName(s, maxItemID, true, "._-") && !strings.Contains(s, "..")
}

func (r *rules) itemID(field, id string) {
	r.check(ValidItemID(id), "%s must be 1 to %d letters, digits, '.', '_' and '-', the first a letter or a digit, without \"..\", got %q", field, maxItemID, id)
}

// rules collects what is broken, each with the path of the field.
type rules struct{ broken []error }

func (r *rules) check(ok bool, format string, args ...any) {
	if !ok {
		r.broken = append(r.broken, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
	}
}

func (r *rules) err() error { return errors.Join(r.broken...) }

func (r *rules) imageRef(field string, ref *ImageRef, inline *int) {
	if ref == nil {
		r.check(false, "%s is missing", field)
		return
	}
	r.check(ValidDigest(ref.GetDigest()), "%s.digest must be 64 lowercase hexadecimal digits", field)
	r.check((ref.GetUri() == "") != (len(ref.GetInline()) == 0), "%s needs either a uri or inline bytes", field)
	if uri := ref.GetUri(); uri != "" {
		r.imageURI(field, uri, ref.GetDigest())
	}
	r.check(len(ref.GetName()) <= maxName, "%s.name has %d bytes, more than %d", field, len(ref.GetName()), maxName)
	*inline += len(ref.GetInline())
}

func (r *rules) imageURI(field, uri, digest string) {
	if d, ok := ParseBlobURI(uri); ok {
		r.check(d == digest, "%s.uri names another digest than %s.digest", field, field)
		return
	}
	u, err := url.Parse(uri)
	ok := err == nil && u.Scheme == "file" && u.Host == "" && path.IsAbs(u.Path) && path.Clean(u.Path) == u.Path
	r.check(ok, "%s.uri must be blob://<sha256> or file:///absolute/path, got %q", field, uri)
}

func (r *rules) key(field string, k *KeyRef) {
	r.check(ValidKeyID(k.GetId()), "%s.id must be 1 to 63 lowercase letters, digits, '_' and '-', got %q", field, k.GetId())
	r.check(isHex(k.GetFingerprint(), 32), "%s.fingerprint must be 32 lowercase hexadecimal digits", field)
}

func (r *rules) geometry(field string, g *Geometry) {
	w, h := g.GetWidth(), g.GetHeight()
	r.check((w == 0) == (h == 0), "%s needs both sides or none, got %dx%d", field, w, h)
	r.check(w <= MaxSide && h <= MaxSide, "%s must be at most %dx%d, got %dx%d", field, MaxSide, MaxSide, w, h)
	_, known := ResizePolicy_name[int32(g.GetResize())]
	r.check(known && g.GetResize() != ResizePolicy_RESIZE_POLICY_UNSPECIFIED, "%s.resize must be squash or crop", field)
}

func (r *rules) sigma(s float64) {
	r.check(s >= 0 && s <= 255, "noise_sigma must lie in 0..255, got %v", s)
}

// Validate reports every broken rule of the job at once, or nil.
func (x *Job) Validate() error {
	var r rules
	r.check(ValidRunID(x.GetRun()), "run must be 1 to 63 letters, digits, '_' and '-', got %q", x.GetRun())
	r.check(ValidDigest(x.GetModel()), "model must be a manifest digest: 64 lowercase hexadecimal digits")
	r.geometry("geometry", x.GetGeometry())
	r.check(x.GetAttempt() >= 0, "attempt must not be negative, got %d", x.GetAttempt())
	r.sigma(x.GetNoiseSigma())
	r.operation(x)
	r.items(x)
	r.tenant(x)
	r.check(x.GetId() == JobID(x), "id must be the hash of the job's content")
	return r.err()
}

// tenant keeps tenants to embedding and recovering for themselves: what follows a job is published by the worker, with rights that they
// do not have.
func (r *rules) tenant(x *Job) {
	if x.GetTenant() == "" {
		return
	}
	r.check(ValidTenant(x.GetTenant()), "tenant must be 1 to 31 lowercase letters, digits, '_' and '-', got %q", x.GetTenant())
	r.check(x.GetTenant() != MainTenant, "the tenant %s is written as an empty one", MainTenant)
	more := x.GetScore() || x.GetFeatures() || x.GetUnkeyed() || x.GetEmbedKey() != nil || len(x.GetDecodeKeys())+len(x.GetAttacks()) > 0 || x.GetAttack() != ""
	r.check(!more, "a tenant's job has no score, features, unkeyed, embed_key, decode_keys and attacks")
	for i, item := range x.GetItems() {
		for _, ref := range item.Refs() {
			_, blob := ParseBlobURI(ref.GetUri())
			r.check(blob || ref.GetUri() == "", "items[%d]: a tenant's images are in the job or in the blob store, got %q", i, ref.GetUri())
		}
	}
}

func (r *rules) operation(x *Job) {
	op := x.GetOperation().Describe()
	switch {
	case op.Token == "":
		r.check(false, "operation %d is unknown", x.GetOperation())
		return
	case op.Key == "":
		r.check(x.GetKey() == nil, "%s takes no key", op.Token)
	default:
		r.key("key", x.GetKey())
	}
	r.check(op.Noise || x.GetNoiseSigma() == 0, "noise_sigma belongs to purify")
	r.check(!op.Noise || x.GetEmbedKey() == nil || x.GetNoiseSigma() == 0, "noise_sigma is not for stego images")
	r.check(op.Reads || op.FollowUps || !x.GetFeatures(), "features belong to recover and embed")
	if !op.FollowUps {
		r.check(len(x.GetDecodeKeys()) == 0, "decode_keys belong to embed")
		r.check(len(x.GetAttacks()) == 0, "attacks belong to embed")
		r.check(!x.GetUnkeyed(), "unkeyed belongs to embed")
	} else {
		r.check(x.GetEmbedKey() == nil, "embed_key belongs to recover, and to purify of stego images")
	}
	form, _ := keyForm(x.GetKey().GetId())
	r.check(op.Key != HalfEmbed || form != Reader_READER_RANDOM, "embed with a random key would hide nothing: random keys are public")
	r.check(op.Key != HalfEmbed || !form.derived(), "embed with a derived key: they are for decoding, to measure what leaks")
	n := len(followUps(x.GetDecodeKeys(), x.GetAttacks(), x.GetUnkeyed()))
	r.check(n <= MaxFollowUps, "at most %d jobs follow a job, for its decode keys, attacks and unkeyed, got %d: spread them over several jobs", MaxFollowUps, n)
	for i, k := range x.GetDecodeKeys() {
		r.key(fmt.Sprintf("decode_keys[%d]", i), k)
	}
	if x.GetEmbedKey() != nil {
		r.key("embed_key", x.GetEmbedKey())
	}
	r.attackNames(x.GetAttacks())
	if attack := x.GetAttack(); attack != "" {
		r.check(op.Reads, "attack belongs to recover")
		r.check(validAttack(attack), "attack must be a word and a number, as jpeg-75, got %q", attack)
		matched := x.GetEmbedKey().GetId() == x.GetKey().GetId()
		r.check(!op.Reads || !x.GetScore() || matched, "attack: a job that is scored decodes with its embed_key")
	}
}

func (r *rules) attackNames(list []string) {
	for i, attack := range list {
		r.check(validAttack(attack), "attacks[%d] must be a word and a number, as jpeg-75, got %q", i, attack)
		r.check(!slices.Contains(list[:i], attack), "attacks[%d] %q is there twice", i, attack)
	}
}

func (r *rules) features(field string, values []float32) {
	for i, v := range values {
		r.check(finite(float64(v)), "%s[%d] must be finite", field, i)
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func (r *rules) items(x *Job) {
	op, n := x.GetOperation().Describe(), len(x.GetItems())
	r.check(n >= 1 && n <= MaxItems, "a job has 1 to %d items, got %d", MaxItems, n)
	seen := make(map[string]bool, n)
	inline := 0
	for i, item := range x.GetItems() {
		field := fmt.Sprintf("items[%d]", i)
		id := item.GetId()
		r.itemID(field+".id", id)
		r.check(!seen[id], "%s.id %q is there twice", field, id)
		seen[id] = true
		for _, name := range op.Images {
			r.imageRef(field+"."+name, item.Ref(name), &inline)
		}
		if x.GetScore() && (op.Reads || !op.FollowUps && x.GetEmbedKey() != nil) {
			r.imageRef(field+".cover", item.GetCover(), &inline)
			r.imageRef(field+".secret", item.GetSecret(), &inline)
		}
	}
	r.check(inline <= MaxInline, "a job carries at most %d inline bytes, got %d: put the images into the blob store", MaxInline, inline)
	r.check(inline == 0 || !x.GetScore(), "a job that is scored refers to its images by uri: a result holds no inline bytes")
}

// Validate reports every broken rule of the result at once, or nil.
func (x *Result) Validate() error {
	var r rules
	job := x.GetJob()
	r.check(job.GetId() != "" && ValidRunID(job.GetRun()), "job must have an id and a run")
	op := job.GetOperation().Describe()
	r.check(op.Token != "", "job.operation %d is unknown", job.GetOperation())
	r.check(len(x.GetOutcomes()) == len(job.GetItems()), "a result has one outcome per item: %d items, %d outcomes", len(job.GetItems()), len(x.GetOutcomes()))
	for i, o := range x.GetOutcomes() {
		field := fmt.Sprintf("outcomes[%d]", i)
		if i < len(job.GetItems()) {
			r.itemID(field+".item", o.GetItem())
			r.check(o.GetItem() == job.GetItems()[i].GetId(), "%s.item must be %q, got %q", field, job.GetItems()[i].GetId(), o.GetItem())
		}
		r.check(o.End() != EndNone, "%s needs one of output, failure and refusal", field)
		r.check(o.GetRefusal() == nil || op.Reads, "%s.refusal belongs to recover", field)
		if out := o.GetOutput(); out != nil {
			r.check(ValidDigest(out.GetImage()), "%s.output.image must be a digest", field)
			r.check(out.GetNoisy() == "" || ValidDigest(out.GetNoisy()), "%s.output.noisy must be a digest", field)
			r.features(field+".output.features", out.GetFeatures())
		}
		if f := o.GetFailure(); f != nil {
			r.check(f.GetReason() != "", "%s.failure.reason is missing", field)
		}
	}
	d := x.GetDurations()
	r.check(min(d.GetTotal(), d.GetFetch(), d.GetWait(), d.GetPatch(), d.GetInfer(), d.GetStore()) >= 0, "durations must not be negative, got %v", d)
	return r.err()
}

// Validate reports every broken rule of the dead letter at once, or nil.
func (x *DeadLetter) Validate() error {
	var r rules
	r.check(ValidRunID(x.GetReason()), "reason must be one word, got %q", x.GetReason())
	r.check(x.GetSubject() != "", "subject is missing")
	r.check(x.GetDiedAt() > 0, "died_at is missing")
	return r.err()
}

// Validate reports every broken rule of the run specification at once, or nil.
func (x *RunSpec) Validate() error {
	var r rules
	r.check(ValidRunID(x.GetId()), "id must be 1 to 63 letters, digits, '_' and '-', got %q", x.GetId())
	r.check(ValidDigest(x.GetModel()), "model must be a manifest digest: 64 lowercase hexadecimal digits")
	r.check(len(x.GetKeys()) > 0, "a run needs at least one key")
	seen := make(map[string]bool)
	for i, k := range x.GetKeys() {
		r.newKey(fmt.Sprintf("keys[%d]", i), k, seen)
	}
	for i, of := range x.GetReaders() {
		field := fmt.Sprintf("readers[%d]", i)
		twice := slices.ContainsFunc(x.GetReaders()[:i], func(before *Readers) bool { return before.GetReader() == of.GetReader() })
		r.check(!twice, "%s: %v is there twice", field, of.GetReader())
		r.readers(field, of, x)
		for j, k := range of.GetKeys() {
			r.newKey(fmt.Sprintf("%s.keys[%d]", field, j), k, seen)
		}
	}
	for i, id := range x.GetUntrainedKeys() {
		registered := slices.ContainsFunc(x.GetKeys(), func(k *KeyRef) bool { return k.GetId() == id })
		r.check(registered, "untrained_keys[%d] must be a key of the run, got %q", i, id)
	}
	r.attackNames(x.GetAttacks())
	r.model(x)
	r.geometry("geometry", x.GetGeometry())
	r.check(x.GetGeometry().GetWidth() > 0, "a run needs a geometry: images of different sizes cannot be compared")
	r.sigma(x.GetNoiseSigma())
	if s := x.GetSample(); s != nil {
		r.check(s.GetPairs() > 0, "sample.pairs must be positive")
		r.check(s.GetPairs() == 0 || len(x.GetPairs()) <= int(min(s.GetPairs(), s.GetOf())), "a sample of %d of %d pairs cannot have %d", s.GetPairs(), s.GetOf(), len(x.GetPairs()))
	}
	items := make(map[string]bool, len(x.GetPairs()))
	inline := 0
	for i, p := range x.GetPairs() {
		field := fmt.Sprintf("pairs[%d]", i)
		r.itemID(field+".item", p.GetItem())
		r.check(!items[p.GetItem()], "%s.item %q is there twice", field, p.GetItem())
		items[p.GetItem()] = true
		r.imageRef(field+".cover", p.GetCover(), &inline)
		r.imageRef(field+".secret", p.GetSecret(), &inline)
	}
	r.check(inline == 0, "a run refers to its images by uri: they are scored, and a result holds no inline bytes")
	return r.err()
}

// newKey checks a key of a run, and that none of the keys before it, which are seen, has its id.
func (r *rules) newKey(field string, k *KeyRef, seen map[string]bool) {
	r.key(field, k)
	r.check(!seen[k.GetId()], "key %q is there twice", k.GetId())
	seen[k.GetId()] = true
}

// readers checks readers of one kind: that there can be such of the run's model and keys, and that their keys are what they should be.
func (r *rules) readers(field string, of *Readers, x *RunSpec) {
	reader, count := of.GetReader(), int(of.GetCount())
	keys := 0
	switch {
	case reader == Reader_READER_MISMATCHED:
		r.check(count < len(x.GetKeys()), "%s: a key has %d others in the run, not %d", field, len(x.GetKeys())-1, count)
	case reader == Reader_READER_UNKEYED:
		r.check(Purifies(x), "%s: the model has no network without a key: it does not purify", field)
	case reader == Reader_READER_RANDOM:
		keys = count
	case reader.derived():
		keys = count * len(x.GetKeys())
	default:
		r.check(false, "%s.reader %v is none of a run", field, reader)
	}
	r.check(count > 0, "%s.count must be positive", field)
	r.check(keys == 0 || x.GetModelKeying() != KeyingVariant, "%s: a model with a network for each key has none for other keys", field)
	r.check(reader != Reader_READER_PARTIAL || FillsWeights(x.GetModelKeying()), "%s: a key of this model fills no weights, so that no part of them can be right", field)
	if len(of.GetKeys()) != keys {
		r.check(false, "%s needs %d keys, got %d", field, keys, len(of.GetKeys()))
		return
	}
	for i, k := range of.GetKeys() {
		form, from := keyForm(k.GetId())
		want, what := "", reader.word()+" key"
		if reader.derived() {
			want = x.GetKeys()[i/count].GetId()
			what += ", derived from " + want
		}
		r.check(form == reader && from == want, "%s.keys[%d] must be a %s, got %q", field, i, what, k.GetId())
	}
}

// model checks what a run says of its model.
func (r *rules) model(x *RunSpec) {
	known := slices.Contains([]string{"", KeyingWeights, KeyingVariant, KeyingCipher, KeyingRotation}, x.GetModelKeying())
	r.check(known, "model_keying %q is unknown", x.GetModelKeying())
	for i, op := range x.GetModelOperations() {
		r.check(op.Describe().Token != "", "model_operations[%d] is unknown: %d", i, op)
	}
}

// Validate reports every broken rule of the score at once, or nil.
func (x *Score) Validate() error {
	var r rules
	r.itemID("item", x.GetItem())
	for _, key := range []string{x.GetEmbedKey(), x.GetDecodeKey()} {
		r.check(key == "" || ValidKeyID(key), "embed_key and decode_key must be ids of keys or empty, got %q", key)
	}
	r.check(x.Role().number() >= 0, "no role has reader %d, against %d and attack %q", x.GetReader(), x.GetAgainst(), x.GetAttack())
	r.check(x.End() != EndNone, "a score has one of metrics, failure and refusal")
	r.check(x.GetRefusal() == nil || x.GetReader().keyed(), "refusal belongs to what is recovered, not to role %s", x.Role().Token())
	r.check(x.GetRefusal() == nil || x.GetTest() == "", "a score with a refusal has no test image")
	r.check(x.GetAttack() == "" || validAttack(x.GetAttack()), "attack must be a word and a number, as jpeg-75, got %q", x.GetAttack())
	r.features("features", x.GetFeatures())
	for _, name := range []string{"psnr", "ssim", "mae", "rmse"} {
		v, _ := x.GetMetrics().Value(name)
		r.check(finite(v), "metrics.%s must be finite", name)
	}
	for name, v := range x.GetMetrics().GetMore() {
		r.check(ValidRunID(name) && finite(v), "metrics.more must have names and finite values, got %q: %v", name, v)
	}
	return r.err()
}

// message is a generated message with rules.
type message interface {
	proto.Message
	Validate() error
}

// decode reads data into m, strictly: fields that this version does not know are an error, because a
// worker that ignores one does other work than was asked for.
func decode[M message](data []byte, m M) (M, error) {
	var none M
	name := m.ProtoReflect().Descriptor().Name()
	if err := proto.Unmarshal(data, m); err != nil {
		return none, fmt.Errorf("decode %s: %w: %w", name, ErrInvalid, err)
	}
	if n := unknownBytes(m.ProtoReflect()); n > 0 {
		return none, fmt.Errorf("decode %s: %w: %d bytes of unknown fields (was it sent by a newer version?)", name, ErrInvalid, n)
	}
	if err := m.Validate(); err != nil {
		return none, fmt.Errorf("decode %s: %w", name, err)
	}
	return m, nil
}

// unknownBytes counts the bytes of unknown fields in a message and in the messages inside it.
func unknownBytes(m protoreflect.Message) int {
	n := len(m.GetUnknown())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil, f.IsMap(): // a number, a text or bytes, or a map of names to numbers
		case f.IsList():
			for i := range v.List().Len() {
				n += unknownBytes(v.List().Get(i).Message())
			}
		default:
			n += unknownBytes(v.Message())
		}
		return true
	})
	return n
}

// DecodeJob reads a valid job.
func DecodeJob(data []byte) (*Job, error) { return decode(data, &Job{}) }

// DecodeResult reads a valid result.
func DecodeResult(data []byte) (*Result, error) { return decode(data, &Result{}) }

// DecodeDeadLetter reads a valid dead letter.
func DecodeDeadLetter(data []byte) (*DeadLetter, error) { return decode(data, &DeadLetter{}) }

// DecodeRunSpec reads a valid run specification.
func DecodeRunSpec(data []byte) (*RunSpec, error) { return decode(data, &RunSpec{}) }

// DecodeScore reads a valid score.
func DecodeScore(data []byte) (*Score, error) { return decode(data, &Score{}) }

// Encode writes a message in a deterministic form after checking its rules.
func Encode(m message) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}
