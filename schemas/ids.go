package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"regexp"
	"slices"
)

// idHash collects the fields of an id. No two different lists of fields have the same encoding, since every text has its length
// before it.
type idHash struct {
	buf []byte
}

func newIDHash(domain string) *idHash {
	h := &idHash{buf: make([]byte, 0, 256)}
	h.text(domain)
	return h
}

func (h *idHash) text(s string) {
	h.number(uint64(len(s)))
	h.buf = append(h.buf, s...)
}

func (h *idHash) number(n uint64) { h.buf = binary.LittleEndian.AppendUint64(h.buf, n) }

func (h *idHash) flag(b bool) {
	if b {
		h.number(1)
	} else {
		h.number(0)
	}
}

func (h *idHash) texts(list []string) {
	h.number(uint64(len(list)))
	for _, s := range list {
		h.text(s)
	}
}

func (h *idHash) keys(list []*KeyRef) {
	h.number(uint64(len(list)))
	for _, k := range list {
		h.text(k.GetId())
		h.text(k.GetFingerprint())
	}
}

func (h *idHash) geometry(g *Geometry) {
	h.number(uint64(g.GetWidth()))
	h.number(uint64(g.GetHeight()))
	h.number(uint64(g.GetResize()))
}

// sum is 128 bits of SHA-256: enough that no two pieces of work meet, and short in Redis.
func (h *idHash) sum() string {
	s := sha256.Sum256(h.buf)
	return hex.EncodeToString(s[:16])
}

// DecoderVersion is that of package pixel: another version makes other pixels of a file. It is part of the ids of remembered work.
const DecoderVersion = 2

// ItemWorkID names what a job makes of one of its items: a hash of the operation, the model, the key's
// fingerprint, the digests of the images that go in, the geometry and the noise, and where there are any, of the attack,
// of whether there are features, of the tenant and of the decoder's version. Equal ids mean equal outputs of equal runtimes (MemoID). References that the item carries for scoring have no part in it, nor has what follows an embed job.
func ItemWorkID(j *Job, item *Item) string { return workHash(j, item).sum() }

func workHash(j *Job, item *Item) *idHash {
	h := newIDHash("stegomq.work.v3")
	h.number(DecoderVersion)
	h.text(j.GetTenant())
	h.number(uint64(j.GetOperation()))
	h.text(j.GetModel())
	h.text(j.GetKey().GetFingerprint())
	h.geometry(j.GetGeometry())
	h.number(math.Float64bits(j.GetNoiseSigma()))
	op := j.GetOperation().Describe()
	for _, name := range op.Images {
		h.text(item.Ref(name).GetDigest())
	}
	if op.Reads {
		h.text(j.GetAttack())
		h.flag(j.GetFeatures())
	}
	return h
}

// MemoID is what the end of a piece of work is remembered under: the work id where the model has no network, and otherwise a hash of it and of
// the runtime that computed (RunSpec.runtime), since another one may give other pixels.
func MemoID(workID, runtime string) string {
	if runtime == "" {
		return workID
	}
	return memoHash(workID, runtime).sum()
}

func memoHash(workID, runtime string) *idHash {
	h := newIDHash("stegomq.memo.v1")
	h.text(workID)
	h.text(runtime)
	return h
}

// JobID names a job: a hash of its run, the ids of the keys that it names, whether it is scored, what else follows it,
// and the item ids and work ids of its items. The keys have a part because equal work may belong to different scores: two
// embed keys can make the same stego image, and two ids can name one key pair.
func JobID(j *Job) string { return jobHash(j).sum() }

func jobHash(j *Job) *idHash {
	h := newIDHash("stegomq.job.v3")
	h.text(j.GetTenant())
	h.text(j.GetRun())
	h.text(j.GetKey().GetId())
	h.text(j.GetEmbedKey().GetId())
	h.number(uint64(len(j.GetDecodeKeys())))
	for _, key := range j.GetDecodeKeys() {
		h.text(key.GetId())
	}
	h.flag(j.GetScore())
	h.flag(j.GetFeatures())
	h.texts(j.GetAttacks())
	h.flag(j.GetUnkeyed())
	for _, item := range j.GetItems() {
		h.text(item.GetId())
		h.text(ItemWorkID(j, item))
	}
	return h
}

// MetricsID names the comparison of two images under a version of the metrics. The reference is
// brought to the geometry first; the test image is an output, which already has it.
func MetricsID(version, reference, test string, g *Geometry) string {
	return metricsHash(version, reference, test, g).sum()
}

func metricsHash(version, reference, test string, g *Geometry) *idHash {
	h := newIDHash("stegomq.metrics.v2")
	h.number(DecoderVersion)
	h.text(version)
	h.text(reference)
	h.text(test)
	h.geometry(g)
	return h
}

// RunID derives the id of a run from all of its specification but the id, so that the same command finds
// the same run again.
func RunID(s *RunSpec) string { return "run-" + runHash(s).sum()[:16] }

func runHash(s *RunSpec) *idHash {
	h := newIDHash("stegomq.run.v5")
	h.texts([]string{s.GetModel(), s.GetModelName(), s.GetRuntime(), s.GetDataset(), s.GetCovers(), s.GetMetricsVersion()})
	h.keys(s.GetKeys())
	h.texts(s.GetUntrainedKeys())
	h.number(uint64(len(s.GetReaders())))
	for _, r := range s.GetReaders() {
		h.number(uint64(r.GetReader()))
		h.number(uint64(r.GetCount()))
		h.number(r.GetSeed())
		h.keys(r.GetKeys())
	}
	h.texts(s.GetAttacks())
	h.flag(s.GetFeatures())
	h.geometry(s.GetGeometry())
	h.number(math.Float64bits(s.GetNoiseSigma()))
	for _, n := range []uint32{s.GetDecoderVersion(), s.GetImages(), s.GetSample().GetPairs(), s.GetSample().GetOf()} {
		h.number(uint64(n))
	}
	h.number(s.GetSample().GetSeed())
	h.number(uint64(len(s.GetPairs())))
	for _, p := range s.GetPairs() {
		h.text(p.GetItem())
		for _, ref := range []*ImageRef{p.GetCover(), p.GetSecret()} {
			h.text(ref.GetDigest())
			h.text(ref.GetName())
		}
	}
	h.number(uint64(len(s.GetBad())))
	for _, bad := range s.GetBad() {
		h.text(bad.GetName())
		h.text(bad.GetReason())
	}
	return h
}

// DatasetDigest names the images of a run's pairs, whatever their files, order and pairing: the SHA-256 of their
// distinct digests in ascending order, each in lowercase hexadecimal and followed by a line feed, as in
//
//	sha256sum FILES | cut -c-64 | LC_ALL=C sort -u | sha256sum
//
// It follows from the pairs and so is no field of the specification.
func DatasetDigest(s *RunSpec) string {
	digests := make([]string, 0, 2*len(s.GetPairs()))
	for _, p := range s.GetPairs() {
		digests = append(digests, p.GetCover().GetDigest(), p.GetSecret().GetDigest())
	}
	slices.Sort(digests)
	h := sha256.New()
	for _, digest := range slices.Compact(digests) {
		h.Write([]byte(digest + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

var (
	digestForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	fingerprintForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
	nameForm        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	keyIDForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	tenantForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,30}$`)
	attackForm      = regexp.MustCompile(`^[a-z]{1,16}-[0-9]{1,4}(\.[0-9]{1,20})?$`)
)

// ValidDigest says whether s is a lowercase hexadecimal SHA-256.
func ValidDigest(s string) bool { return digestForm.MatchString(s) }

// ValidRunID says whether s can name a run: 1 to 63 letters, digits, '_' and '-', the first a letter or
// a digit. A run id is a token of a subject.
func ValidRunID(s string) bool { return nameForm.MatchString(s) }

// ValidKeyID says whether s can name a key pair: as a run id, in lower case.
func ValidKeyID(s string) bool { return keyIDForm.MatchString(s) }

// ValidTenant says whether s can name a tenant: 1 to 31 lowercase letters, digits, '_' and '-', the first a letter or a digit.
func ValidTenant(s string) bool { return tenantForm.MatchString(s) }

// validAttack says whether s has the form of an attack, a word and a number: jpeg-75. Package pixel knows the words. It
// is part of the names of scores and files.
func validAttack(s string) bool { return attackForm.MatchString(s) }
