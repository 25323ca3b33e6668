// Package tracking follows an envelope that EMS has: it asks EMS for the trace when that is due, keeps every scan and every
// other telling of it, and computes from all of them where the delivery stands, who has the envelope (I-6, I-7) and what a
// clerk must look at. It makes no order, knows no wire form and tells nobody: it writes scans, moves, cases and events,
// and others read those.
//
// The rules import no database: codes and rulebook (what a code means), wording (what a text says), voids, rules and fold
// (what all scans say together), news and cases (what that does to the delivery). Rules in rules.go names each with a
// sentence; the worked traces in testdata/traces show them to people. The SQL stands in the files named store.
package tracking
