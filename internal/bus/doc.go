// Package bus is the way of a job through the message queue: publishing with back-pressure, pulling, settling, dead letters, and results.
// What stands on the server is package streams', the connection package link's; roles see plain functions on messages of package schemas.
//
// # Invariants
//
//   - A message is settled once: acknowledged with confirmation after its handler returned nil, tried
//     again after a delay, or published as a dead letter before it is taken off its stream. Nothing is
//     dropped on the way between two of these; a crash in between means that it happens again, so
//     handlers are idempotent.
//   - A message is handled only if it came on its own subject: permissions are given by subject.
//   - What is no fault of a message does not count as a try of it.
//   - Messages are pulled for free slots only. What comes beyond them goes back at once.
//
// # How jobs reach workers
//
// Jobs wait in three work queues, by class (schemas.JobClass). Each has one durable consumer for each model that jobs name, its lane.
// Publishers make the lane before the first job of a model, and workers the lanes of jobs that have none. A worker knows the lanes of
// the models that it serves: it looks once a second, and the server's advisories tell it of new ones at once.
//
// For a free slot the worker asks its lanes in the order interactive, follow-up, bulk, without waiting; so a job that somebody waits
// for stands behind the jobs in hand and no others. What follows from a job is served before more of its kind, so that queues drain.
// When nothing is there, a pull waits at every lane, and the first message ends them all.
//
// A worker on an exclusive bus, of a command that has a server for itself, has lanes of one run. What another run left waits.
//
// # How a message is settled
//
//	handler returns                    what becomes of the message
//	nil                                acknowledged
//	schemas.Fault                      dead letter with its reason
//	  unknown_key, unknown_model       back for another worker, until Config.UnservedAfter; then a dead letter
//	schemas.ErrAway                    back; nothing is pulled until the gate opens (JobOptions.Gate)
//	ErrQueueFull                       back: there is no room for what follows
//	any error after a hard stop        back
//	nothing, Config.HardWait after     dead letter "stuck": the handler is given up, its slot is free
//	  its context ended
//	any other error, or a panic        tried again after Config.RetryDelays; after MaxDeliver tries a dead letter
//
// "Back" is no try. The server counts every delivery, so tries are counted in the bucket TRIES, from the second delivery of a message
// on and before its handler runs: a message that kills its workers is counted, too, and dies of it.
//
// A job that is not scored has somebody who waits for its result: when it dies, its items get a result that says why. Of scored jobs
// evaluators learn by the dead letters.
//
// # Shutdown
//
// The caller cancels the context of every Consume, or the link is closed. Each stops pulling (no new work), waits for its handlers up to
// Grace (soft stop), then cancels them (hard stop), hands their messages back, gives up those that do not return, and returns. The rest is the link's.
package bus
