// Package tencent sends SMS through Tencent Cloud (product sms, version 2021-01-11) as sms-gateways.md, B describes it:
// one number per request, signed with TC3-HMAC-SHA256 over the bytes that leave. It decides nothing about messages; what a
// code means for one is its table's business.
package tencent
