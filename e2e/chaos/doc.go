// Command chaos runs a whole pipeline of real processes (workers, evaluators, the evaluate command, redis-server and one
// nats-server or three), injects faults by a schedule that follows from a seed, and compares the outcome with an undisturbed
// run: every comparison once, with the same figures, no dead letter, exit code 0. Nobody restarts the command.
//
// Invariants: the program under test is a black box. This program sees only its flags, its exit code, its files, and public
// state of its servers (the count of scores in Redis, NATS's monitoring). Every connection between a part and a server goes
// through a proxy of this program. The same seed gives the same faults in the same order, each due at the same share of the
// work; timing may differ. Every started process has ended when this program ends.
package main
