// Package schemas owns the contracts between the processes of stegomq: the messages, which protoc generates from the .proto files beside it;
// the names of subjects and streams; the ids that make work idempotent; and the rules that a message must keep.
//
// Invariants:
//   - A message that decodes through this package is valid.
//   - No message holds a key, only its id and fingerprint.
//   - An id depends on nothing but what it names.
package schemas
