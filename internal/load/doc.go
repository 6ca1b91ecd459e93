// Package load owns how a system is put under load and what is said of it: when each request begins and which key it has, the histograms of
// how long it took, the report, the comparison of two reports, and the search for the rate that is too much. It knows nothing of what a
// request does.
//
// Invariants:
//   - The latency of an open loop counts from when a request should have begun, so that a system that holds the generator up cannot hide it
//     (coordinated omission).
//   - A seed gives the same keys in the same order, and the same intended starts.
//   - What was answered from memory, and what failed, is counted, and is in no latency and no throughput.
//   - Reports of different work are not compared.
package load
