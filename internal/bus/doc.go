// Package bus is the message queue of stegomq: the streams on NATS JetStream, publishing with
// back-pressure, pulling and settling, dead letters, blobs, and the embedded server. It is the only
// importer of nats.go and nats-server; roles see plain functions on messages of package schemas.
//
// # Invariants
//
//   - A message is settled once: acknowledged with confirmation after its handler returned nil, tried
//     again after a delay, or published as a dead letter before it is taken off its stream. Nothing is
//     dropped on the way between two of these; a crash in between means that it happens again, so
//     handlers are idempotent.
//   - An interrupted message is not a failed message: what a hard stop cuts short goes back to the
//     queue at once, also when it was on its last permitted delivery.
//   - Messages are pulled for free slots only. Nothing waits in the client while its AckWait runs.
//   - Ownership of partitions is soft. A wrong owner costs a patch load, never a wrong result.
//
// # How jobs reach workers
//
// JOBS has one durable consumer for each of the schemas.Partitions partitions. A worker owns the
// partitions that rendezvous hashing over the live heartbeats gives it. One loop per worker pulls
// without waiting, from partitions that are worth asking:
//
//   - a partition for which a word on wake.<pp> came (publishers send it after a job is stored);
//   - a partition whose last delivered job said that more are pending;
//   - a short while after a pull that followed a wake, the partition again: the server confirms a job
//     before its consumer knows of it;
//   - about once a second, every partition that holds jobs: this finds what was delayed, abandoned, or
//     published while nobody listened.
//
// Own partitions come first. With slots left a worker helps others: soon after a wake where a backlog
// of HelpFrom jobs has formed (the server's overflow policy decides), and at the sweep once a second
// without a threshold, since a job that has waited for its owner until then is better run by anyone.
// So a job waits for a dead or busy owner for about a second, a crashed worker's jobs come back after
// AckWait, and neither depends on heartbeats. This is leaner than sweeping all partitions for each free slot
// (one request per job instead of up to 64) and than dropping the threshold when an owner's heartbeat
// ends, which would leave the jobs of a live but busy owner waiting.
//
// Consumers are created when a pull first finds them missing: creating all 64 takes 0.1 to 0.2 s, which a
// short run of a few keys does not pay.
//
// # Shutdown
//
//  1. The caller cancels the context of every Consume. Each stops pulling (no new work), deletes its
//     heartbeat (others take over its partitions), waits for its handlers up to Grace (soft stop),
//     then cancels them (hard stop), hands their messages back and returns.
//  2. Close ends what is still running of the above, then drains the connection (acknowledgements and
//     wakes that are still buffered must go out), and waits until it is closed, because Drain does
//     not block.
//  3. Server.Shutdown comes last: it may only stop when no client needs an answer any more.
package bus
