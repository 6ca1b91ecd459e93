// Package study owns the figures of runs: from the scores of one its summary, its tables and its files, and from two runs of the same image
// pairs which is better. Package paper below it has those of the paper's study, package audit a sceptic's verdicts.
//
// Invariants: nothing here measures, every figure comes from stored scores; equal scores give equal figures, whatever their order; nothing
// here renders, each report is one function from figures to a report.Document.
package study
