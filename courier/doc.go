// Package courier is the delivery of one approved residence permit: whether it may be sent (rules R-08…R-20), what
// it costs, whether that is paid, the one paid waybill at EMS, the life-cycle, the cases that need a person, and the
// log of everything that happened. It does not follow envelopes (package tracking) and tells nobody (package notify):
// both read what stands here, and the seam is the table of events.
package courier
