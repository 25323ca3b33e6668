// Package webhook tells subscribers of new events: Standard Webhooks 1.0, a thin body that names a delivery and a
// position of the feed, never a person. A message is sent at least once: a try whose answer was lost is made again, under
// the same id and with the same body, so that the subscriber can tell. Endpoints are addresses that the operator has
// allowed. It sends no SMS and knows none; each endpoint waits for nobody but itself.
package webhook
