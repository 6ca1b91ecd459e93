// Package bus owns a job's path through the message queue: publishing with back-pressure, pulling, settling, dead letters, and results.
// Package streams owns the streams and consumers, package link the connection. Roles see plain functions on messages of package schemas.
//
// # Invariants
//
//   - A message is settled once: acknowledged with confirmation after its handler returned nil, tried
//     again after a delay, or published as a dead letter before it is taken off its stream. Nothing is
//     dropped between these steps. After a crash in between the step happens again, so handlers are
//     idempotent.
//   - A message is handled only if it came on its own subject, because permissions are given by subject.
//   - A failure that is not the message's fault does not count as a try.
//   - Messages are pulled for free slots only. Surplus messages go back at once.
//
// # How jobs reach workers
//
// Jobs wait in three work queues, by class (schemas.JobClass). Each has one durable consumer for each model that jobs name, its lane.
// Publishers make the lane before the first job of a model, and workers the lanes of jobs that have none. A worker knows the lanes of
// the models that it serves: it looks once a second, and the server's advisories tell it of new ones at once.
//
// For a free slot the worker asks its lanes in the order interactive, follow-up, bulk, without waiting. So an interactive job waits only
// for the jobs in hand. Follow-ups are served before bulk jobs, so that queues drain. When all lanes are empty, a pull waits at every
// lane, and the first message ends all pulls.
//
// A worker on an exclusive bus, of a command with a server of its own, has lanes of one run. Jobs of other runs stay in the queue.
//
// # How a message is settled
//
//	handler returns                    the message is
//	nil                                acknowledged
//	schemas.Fault                      dead letter with its reason
//	  unknown_key, unknown_model       back for another worker, until Config.UnservedAfter; then a dead letter
//	schemas.ErrAway                    back; nothing is pulled until the gate opens (JobOptions.Gate)
//	ErrQueueFull                       back: there is no room for what follows
//	link.ErrNoStream                   gone, as its user is, who was revoked
//	any error after a hard stop        back
//	nothing, Config.HardWait after     dead letter "stuck": the handler is abandoned, its slot is free
//	  its context ended
//	any other error, or a panic        tried again after Config.RetryDelays; after MaxDeliver tries a dead letter
//
// "Back" is no try. The server counts every delivery, so tries are counted in the bucket TRIES, from the second delivery of a message
// on. They are counted before the handler runs, so a message that kills its workers becomes a dead letter too. The count goes with the message.
//
// Somebody waits for the result of an unscored job: when the job dies, a result with the reason for every item is published. Evaluators
// learn of dead scored jobs from the dead letters.
//
// # Shutdown
//
// The caller cancels the context of every Consume, or the link is closed. Each stops pulling (no new work), waits for its handlers up to
// Grace (soft stop), then cancels them (hard stop), hands their messages back, abandons handlers that do not return, and returns. The link does the rest.
package bus
