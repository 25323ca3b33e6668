// Package tracking follows an envelope that EMS has: it asks EMS for the trace when that is due, keeps every scan, and
// computes from all of them where the delivery stands (I-6, I-7) and what a clerk must look at. It makes no order, knows
// no wire form and tells nobody: it writes scans, moves, cases and events, and others read those.
//
// The rules (codes, fold, intervals) import no database; the SQL stands in the files named store.
package tracking
