package bus

import (
	"errors"
	"io/fs"
)

// Errors classify what callers may want to tell apart. They come wrapped with what was being done.
var (
	// ErrUnreachable: no server answers at the URL.
	ErrUnreachable = errors.New("cannot reach the NATS server")
	// ErrDenied: the server refused the credentials.
	ErrDenied = errors.New("the NATS server refused the credentials")
	// ErrNoJetStream: the server runs without JetStream.
	ErrNoJetStream = errors.New("the NATS server has no JetStream: start it with -js, or with a jetstream block in its configuration")
	// ErrStreamConflict: a stream of that name exists with settings that stegomq cannot work with.
	ErrStreamConflict = errors.New("a stream exists with other settings")
	// ErrNoStorage: the server or account has less storage than the streams reserve.
	ErrNoStorage = errors.New("the server has not the storage that the streams reserve: raise its max_file_store, or lower the bounds of the streams")
	// ErrTooLarge: a message or blob is over a limit, which the error names.
	ErrTooLarge = errors.New("too large")
	// ErrQueueFull: what follows a job does not fit into its queue now.
	ErrQueueFull = errors.New("no room in the queue of jobs that follow")
	// ErrFull: a store that only empties by age has no room.
	ErrFull = errors.New("no room: raise the bound of the blob store or of the server's storage, or shorten the lifetime of blobs")
	// ErrClosed: the bus was closed.
	ErrClosed = errors.New("the bus is closed")
	// ErrBadWorker: not a worker's id.
	ErrBadWorker = errors.New("a worker id has 1 to 128 letters, digits, '_' and '-'")
	// ErrBadFilter: a subject filter outside of what is carried.
	ErrBadFilter = errors.New("a filter selects subjects that begin with job, score, result or dead")
	// ErrStuck: handlers did not return although their context was cancelled.
	ErrStuck = errors.New("handlers did not return after a hard stop")
	// ErrNoDeadLetter: there is no dead letter of that number.
	ErrNoDeadLetter = errors.New("no such dead letter")

	// ErrBlobMissing: the store has no blob of that digest (any more). It is an fs.ErrNotExist, by which
	// readers of blobs know it without this package.
	ErrBlobMissing error = missingBlob{}
	// ErrBlobCorrupt: the bytes in the store are not those of the digest. They have been removed, so
	// that the next Put mends it.
	ErrBlobCorrupt = errors.New("blob is corrupt")
	// ErrBadDigest: not a lowercase hexadecimal SHA-256.
	ErrBadDigest = errors.New("a digest has 64 lowercase hexadecimal digits")

	// ErrStoreDir: the embedded server cannot use its directory.
	ErrStoreDir = errors.New("cannot use the message store's directory")
	// ErrStoreInUse: another process runs an embedded server on the directory.
	ErrStoreInUse = errors.New("the message store is in use by another process: connect to it with --nats, or choose another directory")
	// ErrListen: the embedded server cannot listen at the address.
	ErrListen = errors.New("cannot listen")
	// ErrNotLoopback: the embedded server has no TLS, so it only listens on loopback.
	ErrNotLoopback = errors.New("the embedded server listens on loopback addresses only: run a nats-server with TLS to serve a network")
	// ErrNoSecret: an embedded server that listens was given no secret.
	ErrNoSecret = errors.New("an embedded server that listens needs a secret")
	// ErrClientFiles: a certificate or credentials file that does not read.
	ErrClientFiles = errors.New("cannot use the files of the connection to the NATS server")
	// ErrServer: the embedded server did not start.
	ErrServer = errors.New("the embedded NATS server did not start")
)

// Causes of a cancelled handler context, for context.Cause.
var (
	// ErrInterrupted: a hard stop. The message goes back to the queue and does not count as failed.
	ErrInterrupted = errors.New("interrupted by a hard stop")
	// ErrHandlerTimeout: the handler ran longer than Config.MaxHandle.
	ErrHandlerTimeout = errors.New("the handler ran too long")
)

type missingBlob struct{}

func (missingBlob) Error() string { return "blob is not in the store" }

func (missingBlob) Is(target error) bool { return target == fs.ErrNotExist }
