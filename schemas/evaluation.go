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

// FillsWeights says whether a key fills weights of the model, of which a share can be right.
func FillsWeights(keying string) bool { return keying == "" || keying == KeyingWeights }

// Purifies says whether the model of a run can purify.
func Purifies(spec *RunSpec) bool {
	return len(spec.GetModelOperations()) == 0 || slices.Contains(spec.GetModelOperations(), Operation_OPERATION_PURIFY)
}

// DecodeKeys lists the keys of a run that try to decode what key embeds: key itself and other registered ones, all or those
// that the run draws for it, the random ones, and of the derived ones those of key itself.
func DecodeKeys(spec *RunSpec, key *KeyRef) []*KeyRef {
	keys := slices.Concat(RegisteredKeys(spec, key), spec.GetRandomKeys())
	for _, near := range spec.GetNearKeys() {
		if owner, _, _ := DerivedKeyOf(near.GetId()); owner == key.GetId() {
			keys = append(keys, near)
		}
	}
	return keys
}

// RegisteredKeys lists, in their order, the registered keys that try to decode what key embeds. Those that are drawn have the numbers
// SHA-256("stegomq.wrongkeys.v1" 0x00, wrong_seed, fingerprint of key, n) mod keys for n = 0, 1, ..., where the first eight bytes of
// the hash are a number and all numbers little-endian uint64; key itself and what was drawn before do not count.
func RegisteredKeys(spec *RunSpec, key *KeyRef) []*KeyRef {
	all := spec.GetKeys()
	wrong := int(spec.GetWrongKeys())
	if wrong == 0 || wrong >= len(all)-1 {
		return all
	}
	own := slices.IndexFunc(all, func(k *KeyRef) bool { return k.GetId() == key.GetId() })
	numbers := make([]int, 0, wrong+1)
	if own >= 0 {
		numbers = append(numbers, own)
	}
	seed := binary.LittleEndian.AppendUint64([]byte("stegomq.wrongkeys.v1\x00"), spec.GetWrongSeed())
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

// EmbedJob hides the secret of every pair in its cover with a key, and asks for the jobs of follow, which are FollowUps
// or a part of them: a valid job has at most MaxFollowUps. It is scored.
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

// Comparisons lists the scores that the outcome of one item of a job gives, nil where it is not known. They are still without
// metrics; without an output the test digests that depend on it stay empty. Those of a refused item have its refusal and
// so are whole.
func Comparisons(j *Job, item *Item, o *Outcome) []*Score {
	scores := comparisons(j, item, o.GetOutput())
	for _, s := range scores {
		s.Refusal = o.GetRefusal()
	}
	return scores
}

func comparisons(j *Job, item *Item, out *Output) []*Score {
	score := func(role Role, reference *ImageRef, test string) *Score {
		return &Score{Item: item.GetId(), Role: role, Reference: reference.GetDigest(), Test: test}
	}
	switch j.GetOperation() {
	case Operation_OPERATION_EMBED:
		s := score(Role_ROLE_IMPERCEPTIBILITY, item.GetCover(), out.GetImage())
		s.EmbedKey = j.GetKey().GetId()
		return []*Score{s, score(Role_ROLE_BASELINE, item.GetSecret(), item.GetCover().GetDigest())}
	case Operation_OPERATION_RECOVER:
		secret, cover := recoverRoles(j)
		scores := []*Score{score(secret, item.GetSecret(), out.GetImage())}
		scores[0].Attack = j.GetAttack()
		if j.GetAttack() == "" {
			scores[0].Features = out.GetFeatures()
		}
		if cover != Role_ROLE_UNSPECIFIED {
			scores = append(scores, score(cover, item.GetCover(), out.GetImage()))
		}
		for _, s := range scores {
			s.EmbedKey, s.DecodeKey = j.GetEmbedKey().GetId(), j.GetKey().GetId()
		}
		return scores
	case Operation_OPERATION_PURIFY:
		if j.GetEmbedKey() != nil {
			scores := []*Score{
				score(Role_ROLE_LEAKAGE_UNKEYED, item.GetSecret(), out.GetImage()),
				score(Role_ROLE_LEAKAGE_UNKEYED_COVER, item.GetCover(), out.GetImage()),
			}
			for _, s := range scores {
				s.EmbedKey = j.GetEmbedKey().GetId()
			}
			return scores
		}
		scores := []*Score{score(Role_ROLE_PURIFICATION, item.GetImage(), out.GetImage())}
		if j.GetNoiseSigma() > 0 {
			scores = append(scores, score(Role_ROLE_NOISE, item.GetImage(), out.GetNoisy()))
		}
		return scores
	}
	return nil
}

// recoverRoles says what the image that a job recovers measures against the secret, and against the cover: nothing for
// the matched key.
func recoverRoles(j *Job) (secret, cover Role) {
	embed, decode := j.GetEmbedKey().GetId(), j.GetKey().GetId()
	if j.GetAttack() != "" {
		return Role_ROLE_ROBUSTNESS, Role_ROLE_UNSPECIFIED
	}
	if embed == decode {
		return Role_ROLE_RECOVERABILITY, Role_ROLE_UNSPECIFIED
	}
	if IsRandomKeyID(decode) {
		return Role_ROLE_LEAKAGE_RANDOM, Role_ROLE_LEAKAGE_RANDOM_COVER
	}
	if owner, kind, _ := DerivedKeyOf(decode); owner == embed {
		switch kind {
		case Near:
			return Role_ROLE_LEAKAGE_NEAR, Role_ROLE_LEAKAGE_NEAR_COVER
		case Swapped:
			return Role_ROLE_LEAKAGE_SWAPPED, Role_ROLE_LEAKAGE_SWAPPED_COVER
		case Partial:
			return Role_ROLE_LEAKAGE_PARTIAL, Role_ROLE_LEAKAGE_PARTIAL_COVER
		}
	}
	return Role_ROLE_LEAKAGE_MISMATCHED, Role_ROLE_LEAKAGE_MISMATCHED_COVER
}

// Lost lists the scores that will never come when one item of a job fails: its own, and for an embed
// job those of the jobs that would have followed.
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
