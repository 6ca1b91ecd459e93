// Command chaos runs a whole pipeline of real processes (workers, evaluators, the evaluate command, redis-server and one
// nats-server or three), breaks it again and again by a schedule that a seed gives, and compares what comes out with a run that
// nobody disturbed: every comparison once, with the same figures, no dead letter, exit code 0. Nobody restarts the command.
//
// Invariants: the program under test is a black box, which is known by its flags, its exit code, its files, and what its servers
// tell everybody who asks (the count of scores in Redis, NATS's monitoring). Every connection between a part and a server goes
// through a proxy here. The same seed gives the same faults in the same order, each due at the same share of the work; what the
// machine does meanwhile is its own. Every process that is started here has ended when the program has.
package main
