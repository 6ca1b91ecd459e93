// Package telemetry owns how stegomq tells people and machines what it does: logs (slog), metrics
// (Prometheus), where traces go (OpenTelemetry), and the HTTP server that offers metrics and health. It is the only importer of the
// Prometheus client, tint and the SDK of OpenTelemetry. How a trace goes on is package tracing's.
//
// Roles do not import it: they declare the few methods of *Metrics that they call, and take a
// *slog.Logger.
//
// Invariants: no label has a value per key, image, run or worker, and no label has more than maxValues
// values in a process, whatever callers hand in; secrets are no concern of this package because keys
// redact themselves.
package telemetry
