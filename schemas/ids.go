package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"regexp"
	"slices"
	"strings"
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

// Digest is the SHA-256 of data as messages have it, in lowercase hexadecimal (ValidDigest).
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// sum is 128 bits of SHA-256: enough that no two pieces of work meet, and short in Redis.
func (h *idHash) sum() string {
	return Digest(h.buf)[:32]
}

// DecoderVersion is that of package pixel: another version makes other pixels of a file. It is part of the ids of remembered work.
const DecoderVersion = 2

// ItemWorkID names what a job makes of one of its items. It is a hash of the tenant, the operation, the model, the key's fingerprint, the
// geometry, the noise and the digests of the images that go in; of recover also of the attack and of whether there are features; and of
// DecoderVersion. Equal ids mean equal outputs of equal runtimes (MemoID). References that the item carries for scoring have no part in it, nor
// has what follows an embed job.
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

// MemoID is the key under which the end of a piece of work is remembered. Where the model has no network it is the work id, and otherwise a
// hash of the work id and of the runtime that computed (RunSpec.runtime), since another runtime may give other pixels.
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

// JobID names a job. It is a hash of its tenant, its run, the ids of the keys that it names, whether it is scored, what else follows it, and the
// item ids and work ids of its items. The keys have a part because equal work may belong to different scores: two embed keys can make the same
// stego image, and two ids can name one key pair.
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
		for _, ref := range p.Refs() {
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

// DatasetDigest names the images of a run's pairs, whatever their files, order and pairing. It is the SHA-256 of their distinct digests in
// ascending order, each in lowercase hexadecimal and followed by a line feed, as in
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

// Messages are full of names and digests, and every decoded message is checked. A loop checks a digest in a seventh of the time that a regular
// expression takes, and a name in a seventeenth.

// isHex says whether s is n hexadecimal digits in lower case.
func isHex(s string, n int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == n
}

// isName says whether s has 1 to most bytes: lowercase letters, digits, capitals where they are allowed and, after the first, those of marks.
func isName(s string, most int, capitals bool, marks string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', capitals && c >= 'A' && c <= 'Z':
		case i == 0 || strings.IndexByte(marks, c) < 0:
			return false
		}
	}
	return s != "" && len(s) <= most
}

// ValidDigest says whether s is a lowercase hexadecimal SHA-256.
func ValidDigest(s string) bool { return isHex(s, 2*sha256.Size) }

// ValidRunID says whether s can name a run: 1 to 63 letters, digits, '_' and '-', the first a letter or
// a digit. A run id is a token of a subject.
func ValidRunID(s string) bool { return isName(s, 63, true, "_-") }

// ValidKeyID says whether s can name a key pair: as a run id, in lower case.
func ValidKeyID(s string) bool { return isName(s, 63, false, "_-") }

// ValidTenant says whether s can name a tenant: 1 to 31 lowercase letters, digits, '_' and '-', the first a letter or a digit.
func ValidTenant(s string) bool { return isName(s, 31, false, "_-") }

var attackForm = regexp.MustCompile(`^[a-z]{1,16}-[0-9]{1,4}(\.[0-9]{1,20})?$`)

// validAttack says whether s has the form of an attack, a word and a number: jpeg-75. Package pixel knows the words. It
// is part of the names of scores and files.
func validAttack(s string) bool { return attackForm.MatchString(s) }
