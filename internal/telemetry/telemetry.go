// Package telemetry owns the output for observing stegomq: logs (slog), metrics (Prometheus), the export of traces
// (OpenTelemetry), and the HTTP server for metrics and health. It is the only importer of the Prometheus client, tint and the
// SDK of OpenTelemetry. Package tracing owns how a trace is continued.
//
// Roles do not import it: they declare the few methods of *Metrics that they call, and take a
// *slog.Logger.
//
// Invariants: no label has a value per key, image, run or worker, and no label has more than maxValues
// values in a process, whatever callers pass. Keys redact themselves, so this package need not.
package telemetry
