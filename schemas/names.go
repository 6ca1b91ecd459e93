package schemas

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Streams.
const (
	// StreamJobs is a work queue: a job leaves it when its result is stored.
	StreamJobs = "JOBS"
	// StreamResults keeps results for evaluators and streaming clients for a limited time.
	StreamResults = "RESULTS"
	// StreamDead keeps what could not be processed, with the reason.
	StreamDead = "DEAD"
	// StreamAdvisories captures the server's word on messages that ran out of deliveries.
	StreamAdvisories = "ADVISORIES"
)

// Partitions is the number of job partitions. It is part of the protocol: every client computes the
// partition of a key, so a change needs a new set of subjects.
const Partitions = 64

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

var operationTokens = map[Operation]string{
	Operation_OPERATION_EMBED:   "embed",
	Operation_OPERATION_RECOVER: "recover",
	Operation_OPERATION_PURIFY:  "purify",
}

// Token is the operation's word in subjects, metrics and messages to people: embed, recover or purify.
func (x Operation) Token() string {
	if t, ok := operationTokens[x]; ok {
		return t
	}
	return "unknown"
}

var roleTokens = map[Role]string{
	Role_ROLE_IMPERCEPTIBILITY:         "imperceptibility",
	Role_ROLE_RECOVERABILITY:           "recoverability",
	Role_ROLE_LEAKAGE_MISMATCHED:       "leakage_mismatched",
	Role_ROLE_LEAKAGE_RANDOM:           "leakage_random",
	Role_ROLE_LEAKAGE_MISMATCHED_COVER: "leakage_mismatched_cover",
	Role_ROLE_LEAKAGE_RANDOM_COVER:     "leakage_random_cover",
	Role_ROLE_BASELINE:                 "baseline_cover_secret",
	Role_ROLE_PURIFICATION:             "purification",
	Role_ROLE_NOISE:                    "noise",
	Role_ROLE_LEAKAGE_NEAR:             "leakage_near",
	Role_ROLE_LEAKAGE_NEAR_COVER:       "leakage_near_cover",
	Role_ROLE_LEAKAGE_SWAPPED:          "leakage_swapped",
	Role_ROLE_LEAKAGE_SWAPPED_COVER:    "leakage_swapped_cover",
	Role_ROLE_LEAKAGE_PARTIAL:          "leakage_partial",
	Role_ROLE_LEAKAGE_PARTIAL_COVER:    "leakage_partial_cover",
	Role_ROLE_LEAKAGE_UNKEYED:          "leakage_unkeyed",
	Role_ROLE_LEAKAGE_UNKEYED_COVER:    "leakage_unkeyed_cover",
	Role_ROLE_ROBUSTNESS:               "robustness",
}

// Token is the role's word in tables, files and Redis fields.
func (x Role) Token() string {
	if t, ok := roleTokens[x]; ok {
		return t
	}
	return "unknown"
}

// Partition is FNV-1a of key modulo Partitions. Jobs of one key share a partition, so that one worker
// keeps that key's weights.
func Partition(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % Partitions)
}

// JobPartition is the partition of a job: its key's, or for purify, which has none, its id's, which
// spreads the work.
func JobPartition(j *Job) int {
	if j.GetKey() == nil {
		return Partition(j.GetId())
	}
	return Partition(j.GetKey().GetId())
}

// JobSubject is job.<operation>.<partition>.<key id>.
func JobSubject(j *Job) string {
	key := noKey
	if j.GetKey() != nil {
		key = j.GetKey().GetId()
	}
	return fmt.Sprintf("job.%s.%02d.%s", j.GetOperation().Token(), JobPartition(j), key)
}

// JobsFilter selects every job.
func JobsFilter() string { return "job.>" }

// PartitionFilter selects the jobs of one partition.
func PartitionFilter(partition int) string { return fmt.Sprintf("job.*.%02d.>", partition) }

// WorkerConsumer names the durable consumer of one partition.
func WorkerConsumer(partition int) string { return fmt.Sprintf("worker-%02d", partition) }

// WakeSubject carries a word to idle workers that a partition has work. It holds no data and is not kept.
func WakeSubject(partition int) string { return fmt.Sprintf("wake.%02d", partition) }

// ResultSubject is result.<operation>.<run>.
func ResultSubject(r *Result) string {
	return fmt.Sprintf("result.%s.%s", r.GetJob().GetOperation().Token(), r.GetJob().GetRun())
}

// ResultsFilter selects every result.
func ResultsFilter() string { return "result.>" }

// RunResultsFilter selects the results of one run.
func RunResultsFilter(run string) string { return "result.*." + run }

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

// ScoreKey names a score within its run: item, role, embed key, decode key, and the attack where there was one. It is
// the field of the score in Redis.
func ScoreKey(s *Score) string {
	parts := []string{s.GetItem(), s.GetRole().Token(), s.GetEmbedKey(), s.GetDecodeKey()}
	if s.GetAttack() != "" {
		parts = append(parts, s.GetAttack())
	}
	return strings.Join(parts, "|")
}
