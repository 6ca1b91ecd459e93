package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"
)

// The ways in which a key acts in a model, as in the manifest.
const (
	KeyingWeights  = "weights"
	KeyingVariant  = "variant"
	KeyingCipher   = "cipher"
	KeyingRotation = "rotation"
)

// FillsWeights says whether a key fills weights of the model. A share of these can be right.
func FillsWeights(keying string) bool { return keying == "" || keying == KeyingWeights }

// Purifies says whether the model of a run can purify.
func Purifies(spec *RunSpec) bool {
	return len(spec.GetModelOperations()) == 0 || slices.Contains(spec.GetModelOperations(), Operation_OPERATION_PURIFY)
}

// ReadersOf are the readers of one kind in the run, nil where there are none.
func (x *RunSpec) ReadersOf(r Reader) *Readers {
	if i := slices.IndexFunc(x.GetReaders(), func(of *Readers) bool { return of.GetReader() == r }); i >= 0 {
		return x.GetReaders()[i]
	}
	return nil
}

// Drawn are the mismatched readers of a run in which not all other keys of the run read what a key embeds; nil where all do, or none.
func (x *RunSpec) Drawn() *Readers {
	if r := x.ReadersOf(Reader_READER_MISMATCHED); r != nil && int(r.GetCount()) < len(x.GetKeys())-1 {
		return r
	}
	return nil
}

// DecodeKeys lists the keys of a run that read what key embeds: the registered ones (RegisteredKeys), the random ones, and those
// that are derived from key.
func DecodeKeys(spec *RunSpec, key *KeyRef) []*KeyRef {
	keys := slices.Clone(RegisteredKeys(spec, key))
	owner := slices.IndexFunc(spec.GetKeys(), func(k *KeyRef) bool { return k.GetId() == key.GetId() })
	for _, r := range spec.GetReaders() {
		switch n := int(r.GetCount()); {
		case r.GetReader() == Reader_READER_RANDOM:
			keys = append(keys, r.GetKeys()...)
		case r.GetReader().derived() && owner >= 0:
			keys = append(keys, r.GetKeys()[owner*n:(owner+1)*n]...)
		}
	}
	return keys
}

// RegisteredKeys lists, in their order, key itself and the other keys of the run that read what it embeds. Keys that are drawn have the
// numbers SHA-256("stegomq.wrongkeys.v1" 0x00, seed, fingerprint of key, n) mod keys for n = 0, 1, ...; key itself and what was drawn before
// are passed over. The first eight bytes of the hash are the number. All numbers are little-endian uint64.
func RegisteredKeys(spec *RunSpec, key *KeyRef) []*KeyRef {
	all := spec.GetKeys()
	r := spec.ReadersOf(Reader_READER_MISMATCHED)
	wrong := int(r.GetCount())
	if wrong >= len(all)-1 {
		return all
	}
	own := slices.IndexFunc(all, func(k *KeyRef) bool { return k.GetId() == key.GetId() })
	numbers := make([]int, 0, wrong+1)
	if own >= 0 {
		numbers = append(numbers, own)
	}
	seed := binary.LittleEndian.AppendUint64([]byte("stegomq.wrongkeys.v1\x00"), r.GetSeed())
	seed = append(seed, key.GetFingerprint()...)
	for n, drawn := uint64(0), 0; drawn < wrong; n++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64(seed, n))
		number := int(binary.LittleEndian.Uint64(sum[:]) % uint64(len(all)))
		if !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
			drawn++
		}
	}
	slices.Sort(numbers)
	keys := make([]*KeyRef, len(numbers))
	for i, number := range numbers {
		keys[i] = all[number]
	}
	return keys
}

// EmbedJob hides the secret of every pair in its cover with a key, and asks for the jobs of follow: FollowUps, or a part of them, since
// a valid job has at most MaxFollowUps. It is scored.
func EmbedJob(spec *RunSpec, attempt int64, key *KeyRef, follow []FollowUp, pairs []*Pair) *Job {
	j := &Job{
		Run: spec.GetId(), Operation: Operation_OPERATION_EMBED, Model: spec.GetModel(), Key: key,
		Geometry: spec.GetGeometry(), Score: true, Attempt: attempt,
	}
	for _, f := range follow {
		switch {
		case f.Attack != "":
			j.Attacks = append(j.Attacks, f.Attack)
		case f.Key != nil:
			j.DecodeKeys = append(j.DecodeKeys, f.Key)
			j.Features = spec.GetFeatures()
		default:
			j.Unkeyed = true
		}
	}
	for _, p := range pairs {
		j.Items = append(j.Items, &Item{Id: p.GetItem(), Cover: p.GetCover(), Secret: p.GetSecret()})
	}
	j.Id = JobID(j)
	return j
}

// PurifyJob adds the run's noise to the cover of every pair and takes it off again. It is scored.
func PurifyJob(spec *RunSpec, attempt int64, pairs []*Pair) *Job {
	j := &Job{
		Run: spec.GetId(), Operation: Operation_OPERATION_PURIFY, Model: spec.GetModel(),
		Geometry: spec.GetGeometry(), NoiseSigma: spec.GetNoiseSigma(), Score: true, Attempt: attempt,
	}
	for _, p := range pairs {
		j.Items = append(j.Items, &Item{Id: p.GetItem(), Image: p.GetCover()})
	}
	j.Id = JobID(j)
	return j
}

// Comparisons lists the scores that the outcome of one item of a job gives. They have no metrics yet. Without an output, or where the
// outcome is not known (nil), the digests that depend on it are empty. The scores of a refused item have its refusal, which completes them.
func Comparisons(j *Job, item *Item, o *Outcome) []*Score {
	scores := comparisons(j, item, o.GetOutput())
	for _, s := range scores {
		s.Refusal = o.GetRefusal()
	}
	return scores
}

func comparisons(j *Job, item *Item, out *Output) []*Score {
	var scores []*Score
	add := func(role Role, reference *ImageRef, test string) *Score {
		s := NewScore(role, item.GetId(), "", "")
		s.Reference, s.Test = reference.GetDigest(), test
		scores = append(scores, s)
		return s
	}
	// read adds what was read out of a stego image.
	read := func(r Reader) {
		s := add(Leakage(r), item.GetSecret(), out.GetImage())
		s.Attack, s.Features = j.GetAttack(), out.GetFeatures()
		if r != Reader_READER_MATCHED {
			add(LeakageCover(r), item.GetCover(), out.GetImage())
		}
		for _, s := range scores {
			s.EmbedKey, s.DecodeKey = j.GetEmbedKey().GetId(), j.GetKey().GetId()
		}
	}
	switch {
	case j.GetOperation() == Operation_OPERATION_EMBED:
		add(Imperceptibility, item.GetCover(), out.GetImage()).EmbedKey = j.GetKey().GetId()
		add(Baseline, item.GetSecret(), item.GetCover().GetDigest())
	case j.GetOperation() == Operation_OPERATION_RECOVER:
		read(readerOf(j.GetEmbedKey().GetId(), j.GetKey().GetId()))
	case j.GetOperation() == Operation_OPERATION_PURIFY && j.GetEmbedKey() != nil:
		read(Reader_READER_UNKEYED)
	case j.GetOperation() == Operation_OPERATION_PURIFY:
		add(Purification, item.GetImage(), out.GetImage())
		if j.GetNoiseSigma() > 0 {
			add(Noise, item.GetImage(), out.GetNoisy())
		}
	}
	return scores
}

// Lost lists the scores that never come when one item of a job fails: its own, and those of the jobs that would have followed.
func Lost(j *Job, item *Item, why *Failure) []*Score {
	scores := comparisons(j, item, nil)
	one := proto.CloneOf(j)
	one.Items = []*Item{item}
	for _, next := range FollowUpJobs(one, map[string]string{item.GetId(): ""}) {
		scores = append(scores, comparisons(next, next.GetItems()[0], nil)...)
	}
	for _, s := range scores {
		s.Failure = why
	}
	return scores
}
