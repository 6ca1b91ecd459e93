// Package study owns the figures of runs: the summary, the tables and the files of one run, and the comparison of two runs of the same
// image pairs. Package paper below it repeats the paper's study, package audit tests a model's isolation.
//
// Invariants: nothing here measures, every figure comes from stored scores; equal scores give equal figures, whatever their order; nothing
// here renders, each report is one function from figures to a report.Document.
package study
