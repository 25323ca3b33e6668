// Package notify turns news of a delivery into at most one SMS per milestone (I-5): it reads the feed of events,
// decides whether, when and why not, sends through a gateway with a committed attempt before each request (I-4), asks
// the gateway about every attempt whose answer was lost, and joins receipts. It changes no delivery: what needs a
// person becomes a case. It does not speak to any vendor; the gateways are packages of their own.
package notify
