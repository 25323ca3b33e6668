// Package vault keeps personal data sealed (I-9): names, phones, addresses, ID numbers, labels and the carrier's own
// sentences. Columns are sealed with SM4-GCM under data keys, which are themselves wrapped under a master key from a
// file; equal values are found again by HMAC-SM3. A Secret is such a value in memory: it comes out by Reveal only.
//
// A sealed value is
//
//	1 byte version | 4 bytes id of the data key, big-endian | 12 bytes nonce | ciphertext | 16 bytes tag
//
// and is bound to its place: the column's name, a zero byte and the row's uuid are its associated data. A value that
// was changed, or put into another row or column, does not open.
//
// What it does not do: it hides neither the length of a value nor which rows share a look-up hash, it cannot tell an
// old value of a row from the newest one, and it does not protect against somebody who holds the master key. It knows
// nothing of deliveries: which columns are sealed is data (Columns).
package vault
