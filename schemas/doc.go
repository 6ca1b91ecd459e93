// Package schemas owns the contracts between the processes of stegomq: the messages (Protobuf,
// generated from the .proto files beside it), the names of subjects, streams and consumers, the ids that
// make work idempotent, and the rules that a message must keep.
//
// Invariants: a message that decodes through this package is valid; no message holds a key, only its id
// and fingerprint; an id depends on nothing but what it names.
package schemas
