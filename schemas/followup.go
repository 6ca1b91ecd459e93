package schemas

import "google.golang.org/protobuf/proto"

// FollowUp is a job that follows an embed job, on its stego images. With a Key they are decoded with it; with an Attack they are attacked, and
// decoded with the key that embedded; with neither they are given to the network that has no key.
type FollowUp struct {
	Key    *KeyRef
	Attack string
}

// FollowUps lists what follows, in a run, from what key embeds.
func FollowUps(spec *RunSpec, key *KeyRef) []FollowUp {
	return followUps(DecodeKeys(spec, key), spec.GetAttacks(), spec.ReadersOf(Reader_READER_UNKEYED) != nil)
}

func followUps(keys []*KeyRef, attacks []string, unkeyed bool) []FollowUp {
	var all []FollowUp
	for _, key := range keys {
		all = append(all, FollowUp{Key: key})
	}
	for _, attack := range attacks {
		all = append(all, FollowUp{Attack: attack})
	}
	if unkeyed {
		all = append(all, FollowUp{})
	}
	return all
}

// FollowUpJobs are the jobs that follow an embed job: none for other jobs. stego maps item ids to digests; items
// without one are left out, and jobs without items.
func FollowUpJobs(embed *Job, stego map[string]string) []*Job {
	var jobs []*Job
	for _, f := range followUps(embed.GetDecodeKeys(), embed.GetAttacks(), embed.GetUnkeyed()) {
		if next := f.job(embed, stego); next != nil {
			jobs = append(jobs, next)
		}
	}
	return jobs
}

func (f FollowUp) job(embed *Job, stego map[string]string) *Job {
	j := &Job{
		Run: embed.GetRun(), Model: embed.GetModel(), EmbedKey: embed.GetKey(), Geometry: embed.GetGeometry(),
		Score: embed.GetScore(), Attempt: embed.GetAttempt(),
	}
	switch {
	case f.Attack != "":
		j.Operation, j.Key, j.Attack = Operation_OPERATION_RECOVER, embed.GetKey(), f.Attack
	case f.Key != nil:
		j.Operation, j.Key, j.Features = Operation_OPERATION_RECOVER, f.Key, embed.GetFeatures()
	default:
		j.Operation = Operation_OPERATION_PURIFY
	}
	for _, item := range embed.GetItems() {
		digest, ok := stego[item.GetId()]
		if !ok {
			continue
		}
		next := &Item{Id: item.GetId()}
		*next.field(j.GetOperation().Describe().Images[0]) = BlobRef(digest, "")
		if embed.GetScore() {
			next.Cover, next.Secret = item.GetCover(), item.GetSecret()
		}
		j.Items = append(j.Items, next)
	}
	if len(j.GetItems()) == 0 {
		return nil
	}
	j.Id = JobID(j)
	return j
}

// WithoutInline is a copy of the job without the images in it, as results have it: a result is small.
func (x *Job) WithoutInline() *Job {
	j := proto.CloneOf(x)
	for _, item := range j.GetItems() {
		for _, ref := range item.Refs() {
			ref.Inline = nil
		}
	}
	return j
}
