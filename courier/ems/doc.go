// Package ems is the client of China Post EMS's open platform for agreement customers: the wire form with its SM4
// envelope, and what each failure means. Section numbers in comments (§) are those of the dossier
// reference/ems-open-api.md.
//
// Every failed call is a *courier.CarrierError. Calls that only ask are repeated with a bounded backoff; the calls
// that cost or undo something (020003, 020006) and 020002 leave this machine at most once each, and whether one left
// is decided by net/http's trace, never by the text of an error. All calls share one account: its rate, a number of
// calls in flight, and a circuit breaker that only failures of EMS itself can open.
//
// The package keeps nothing and decides nothing about deliveries: whether a lost order is asked for again, or what a
// scan means, is decided by packages courier and tracking.
package ems
