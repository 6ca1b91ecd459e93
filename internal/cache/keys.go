package cache

// Names of all keys. If the encoding of a value may change, the version is part of the name, so that an
// older value is not found instead of misread. The keys of one run share a hash tag, {run}, which a
// Redis cluster would keep on one node.
const (
	prefix  = "stegomq:"
	runsKey = prefix + "runs:v2" // sorted set: run ids by the start of their latest attempt, Unix ms
	// runtimeKey holds the name of the runtime of the worker that started last.
	runtimeKey = prefix + "runtime:v1"
	// askedKey is a hash of records by run id, leasesKey one of leases: the end (Unix ms) and the holder.
	askedKey  = prefix + "asked:v1"
	leasesKey = prefix + "leases:v1"
	// requestPrefix and the SHA-256 of a request's name, in hex, is the key that holds the id of the run that it asked for.
	requestPrefix = prefix + "request:v1:"
	// traceKey holds the key that signs the trace headers of the operator's messages.
	traceKey = prefix + "trace-key:v1"
)

// outputKey holds the Output of a piece of work (schemas.MemoID), or an Outcome if it was refused.
func outputKey(id string) string { return prefix + "output:v1:" + id }

// metricsKey holds the Metrics of a comparison (schemas.MetricsID).
func metricsKey(id string) string { return prefix + "metrics:v1:" + id }

// inspectedKey marks a file that was found valid, by the limits and the digest of its bytes.
func inspectedKey(limits string) func(digest string) string {
	return func(digest string) string { return prefix + "inspected:v1:" + limits + ":" + digest }
}

func runKey(run, part string) string { return prefix + "run:v2:{" + run + "}:" + part }

// specKey holds a run's RunSpec.
func specKey(run string) string { return runKey(run, "spec") }

// stateKey is a hash: attempt, started, finished.
func stateKey(run string) string { return runKey(run, "state") }

// scoresKey is a hash from schemas.ScoreKey to Score: the comparisons that were made or refused.
func scoresKey(run string) string { return runKey(run, "scores") }

// failuresKey is a hash like scoresKey: the comparisons that failed.
func failuresKey(run string) string { return runKey(run, "failures") }
