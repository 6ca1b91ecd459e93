// Package load owns how a system is put under load, and how the outcome is reported: when each request begins and which key it has, the histograms of
// latency, the report, the comparison of two reports, and the search for the highest rate that holds. It does not know what a request does.
//
// Invariants:
//   - The latency of an open loop counts from when a request should have begun, so that a system that holds the generator up cannot hide it
//     (coordinated omission).
//   - A seed gives the same keys in the same order, and the same intended starts.
//   - Answers from memory, and failures, are counted, but are in no latency and no throughput.
//   - Reports of different work are not compared.
package load
