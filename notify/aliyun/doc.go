// Package aliyun sends SMS through Aliyun (Dysmsapi 2017-05-25), asks what became of them, and reads receipts. It sends
// each message with one request and never repeats one; package notify decides what follows. It holds no vendor SDK:
// the signature is V3 of sms-gateways.md A.5, held to the dossier's vectors.
package aliyun
