// Package pipeline owns a run from the request to its scores: the connections that it needs, the roles that work in this process, the plan,
// the publishing, the waiting and the end. It serves requests that embed, recover and purify for a user, and those that a benchmark measures,
// in the same way. Commands ask it by typed requests, and print the answers.
//
// Invariants:
//   - A request is checked before anything is opened or written.
//   - A server that goes away is waited for, Options.Patience long, and whoever asked is told; an outage that lasts longer is an
//     schemas.ErrAway. Nothing is given up for a shorter one.
//   - A run ends when every comparison that it expects has a score or a failure. Where it waits for work that is in no queue and in nobody's
//     hands, that work is planned and published again, as a new attempt.
//   - Connections are closed in the opposite order to that in which they were opened: those of the roles before the server that they need,
//     and Redis last, because everything else may still write to it.
package pipeline
