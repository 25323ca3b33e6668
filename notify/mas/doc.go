// Package mas sends SMS through China Mobile's 云MAS by its HTTP interface, as sms-gateways.md, C describes it: base64 of
// JSON with an MD5 over its fields. The interface knows no id of ours and cannot be asked about a message, so of the three
// gateways this one promises least; whatever differs by province is configuration.
package mas
