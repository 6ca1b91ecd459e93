package cache

// Names of every key. The version is part of a name where the value's encoding could change, so that an
// older value is not found rather than misread. The keys of one run share a hash tag, {run}, which a
// Redis cluster would keep on one node.
const (
	prefix  = "stegomq:"
	runsKey = prefix + "runs:v2" // sorted set: run ids by the start of their latest attempt, Unix ms
	// runtimeKey holds the name of the runtime of the worker that started last.
	runtimeKey = prefix + "runtime:v1"
	// askedKey is a hash of records by run id, leasesKey one of leases: until when (Unix ms), and the holder.
	askedKey  = prefix + "asked:v1"
	leasesKey = prefix + "leases:v1"
	// requestPrefix and the SHA-256 of what a request is called by, in hex, is the key of the id of the run that it asked for.
	requestPrefix = prefix + "request:v1:"
	// traceKey holds the key with which the operator's processes sign the traces in messages.
	traceKey = prefix + "trace-key:v1"
)

// outputKey holds the Output of a piece of work (schemas.MemoID), or of one that was refused an Outcome.
func outputKey(id string) string { return prefix + "output:v1:" + id }

// metricsKey holds the Metrics of a comparison (schemas.MetricsID).
func metricsKey(id string) string { return prefix + "metrics:v1:" + id }

// inspectedKey marks a file that was found good, by the limits and the digest of its bytes.
func inspectedKey(limits string) func(digest string) string {
	return func(digest string) string { return prefix + "inspected:v1:" + limits + ":" + digest }
}

func runKey(run, part string) string { return prefix + "run:v2:{" + run + "}:" + part }

// specKey holds a run's RunSpec.
func specKey(run string) string { return runKey(run, "spec") }

// stateKey is a hash: attempt, started, finished.
func stateKey(run string) string { return runKey(run, "state") }

// scoresKey is a hash from schemas.ScoreKey to Score: the comparisons that were made.
func scoresKey(run string) string { return runKey(run, "scores") }

// failuresKey is a hash as scoresKey: the comparisons that could not be made.
func failuresKey(run string) string { return runKey(run, "failures") }
