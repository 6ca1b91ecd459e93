package schemas

import (
	"cmp"
	"fmt"
	"strings"
)

// Class says which queue a job waits in. It follows from the job (JobClass).
type Class string

// Classes, in the order in which a worker serves them.
const (
	// Interactive jobs have somebody waiting for them.
	Interactive Class = "interactive"
	// FollowUpClass is of jobs that follow from an embed job. They are served before more embed jobs, so that what waits stays bounded.
	FollowUpClass Class = "followup"
	// Bulk jobs are those of runs.
	Bulk Class = "bulk"
)

// Classes lists them in the order in which a worker serves them.
func Classes() []Class { return []Class{Interactive, FollowUpClass, Bulk} }

// JobClass is the class of a job: of one that says what embedded its images a follow-up, else of one that is scored bulk, else interactive.
func JobClass(j *Job) Class {
	switch {
	case j.GetEmbedKey() != nil:
		return FollowUpClass
	case j.GetScore():
		return Bulk
	}
	return Interactive
}

// Streams.
const (
	// StreamScoring is a work queue of results that ask for scores: a result leaves it when it is scored.
	StreamScoring = "SCORING"
	// StreamDead keeps what could not be processed, with the reason.
	StreamDead = "DEAD"
)

// JobStream is the work queue of a class, JOBS_INTERACTIVE, JOBS_FOLLOWUP or JOBS_BULK: a job leaves it when its result is stored.
func JobStream(c Class) string { return "JOBS_" + strings.ToUpper(string(c)) }

// ResultStream keeps a tenant's results, RESULTS_<tenant>, for those who asked for them.
func ResultStream(tenant string) string { return "RESULTS_" + tenant }

// BlobStream keeps a tenant's images, BLOBS_<tenant>.
func BlobStream(tenant string) string { return "BLOBS_" + tenant }

// MainTenant is the operator's own. On the wire its name is empty.
const MainTenant = "main"

// TenantName is the word for a tenant in subjects and names of streams: main for an empty one.
func TenantName(tenant string) string { return cmp.Or(tenant, MainTenant) }

// TenantAPI begins the subjects of the requests to JetStream in a tenant's NATS account, where $JS.API is that account's own.
const TenantAPI = "stegomq.API"

// MaxItems bounds the items of one job.
const MaxItems = 64

// MaxFollowUps bounds the jobs that follow from one embed job, so that a worker that publishes them is done before
// long and the queue has room. A run with more takes several embed jobs for an image; the embedding itself is
// remembered.
const MaxFollowUps = 128

// MaxInline bounds the inline bytes of one job, all items together.
const MaxInline = 512 << 10

// noKey stands in a subject where an operation has no key.
const noKey = "none"

// JobSubject is job.<class>.<tenant>.<model>.<operation>.<key id>.<run>, of a job without a key with none in the key's place.
// Who takes a message from a subject compares the two: permissions are given by subject.
func JobSubject(j *Job) string {
	return strings.Join([]string{
		"job", string(JobClass(j)), TenantName(j.GetTenant()), j.GetModel(), j.GetOperation().Token(), cmp.Or(j.GetKey().GetId(), noKey), j.GetRun(),
	}, ".")
}

// JobsFilter selects every job.
func JobsFilter() string { return "job.>" }

// ClassFilter selects the jobs of a class.
func ClassFilter(c Class) string { return fmt.Sprintf("job.%s.>", c) }

// ModelFilter selects the jobs of a class for a model.
func ModelFilter(c Class, model string) string { return fmt.Sprintf("job.%s.*.%s.>", c, model) }

// RunFilter selects the jobs of a class for a model and a run; both may be *.
func RunFilter(c Class, model, run string) string {
	return fmt.Sprintf("job.%s.*.%s.*.*.%s", c, model, run)
}

// RunJobs selects the jobs of a class of one of the operator's runs. A tenant may call a run the same.
func RunJobs(c Class, run string) string {
	return fmt.Sprintf("job.%s.%s.*.*.*.%s", c, MainTenant, run)
}

// TenantJobs selects the jobs of a class of a tenant.
func TenantJobs(c Class, tenant string) string {
	return fmt.Sprintf("job.%s.%s.>", c, TenantName(tenant))
}

// SubjectModel is the model in a job's subject, or "".
func SubjectModel(subject string) string {
	if tokens := strings.Split(subject, "."); len(tokens) == 7 && tokens[0] == "job" && ValidDigest(tokens[3]) {
		return tokens[3]
	}
	return ""
}

// ResultSubject is score.<tenant>.<run> of a result that asks for scores, else result.<tenant>.<run>.
func ResultSubject(r *Result) string {
	root := "result"
	if r.GetJob().GetScore() {
		root = "score"
	}
	return fmt.Sprintf("%s.%s.%s", root, TenantName(r.GetJob().GetTenant()), r.GetJob().GetRun())
}

// ScoringFilter selects every result that asks for scores.
func ScoringFilter() string { return "score.>" }

// TenantResults selects a tenant's results.
func TenantResults(tenant string) string { return fmt.Sprintf("result.%s.>", TenantName(tenant)) }

// RunResults selects the results of one run of a tenant.
func RunResults(tenant, run string) string {
	return fmt.Sprintf("result.%s.%s", TenantName(tenant), run)
}

// RunScoring selects the results of one run that ask for scores.
func RunScoring(run string) string { return "score.*." + run }

// BlobSubject is blob.<tenant>.<digest>, which says that a blob is whole; its parts are below it.
func BlobSubject(tenant, digest string) string {
	return fmt.Sprintf("blob.%s.%s", TenantName(tenant), digest)
}

// DeadSubject is dead.<reason>.
func DeadSubject(r Reason) string { return "dead." + string(r) }

// DeadFilter selects every dead letter.
func DeadFilter() string { return "dead.>" }

// MsgID is the Nats-Msg-Id of a job. The attempt is part of it: within the server's deduplication
// window a resumed run would otherwise lose the jobs that it publishes again.
func MsgID(j *Job) string { return fmt.Sprintf("%s-%d", j.GetId(), j.GetAttempt()) }

// ResultMsgID is the Nats-Msg-Id of a result.
func ResultMsgID(r *Result) string { return "result-" + MsgID(r.GetJob()) }

const blobScheme = "blob://"

// BlobURI names a blob by its digest.
func BlobURI(digest string) string { return blobScheme + digest }

// ParseBlobURI returns the digest of a blob URI, and whether uri is one.
func ParseBlobURI(uri string) (digest string, ok bool) {
	digest, ok = strings.CutPrefix(uri, blobScheme)
	return digest, ok && ValidDigest(digest)
}

// BlobRef is a reference to an image in the blob store.
func BlobRef(digest, name string) *ImageRef {
	return &ImageRef{Digest: digest, Uri: BlobURI(digest), Name: name}
}

// How people and reports write the policies of resizing.
const (
	squashWord = "squash"
	cropWord   = "crop"
)

// ResizeWord is a policy as people write it, squash or crop; squash where none was said.
func ResizeWord(p ResizePolicy) string {
	if p == ResizePolicy_RESIZE_POLICY_CROP {
		return cropWord
	}
	return squashWord
}

// ParseResize is the policy of a word; false where there is none of that name.
func ParseResize(word string) (ResizePolicy, bool) {
	switch word {
	case squashWord:
		return ResizePolicy_RESIZE_POLICY_SQUASH, true
	case cropWord:
		return ResizePolicy_RESIZE_POLICY_CROP, true
	}
	return ResizePolicy_RESIZE_POLICY_UNSPECIFIED, false
}
