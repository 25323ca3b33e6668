package vault

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"golang.org/x/time/rate"
)

const (
	version   = 1
	nonceSize = 12
	tagSize   = 16
	headSize  = 1 + 4 + nonceSize
)

// Overhead is how much longer a sealed value is than its text.
const Overhead = headSize + tagSize

// A Vault seals and unseals under the data keys it holds. It may be used by many goroutines at a time.
//
// Nonces are drawn at random, so one data key should seal no more than 2^32 values: some 170 million deliveries with
// their scans. Rotate long before.
type Vault struct {
	ring   atomic.Pointer[ring]
	db     *sqlx.DB // nil for a vault that lives on given keys
	master MasterKey

	refreshing sync.Mutex // lest rows that were read earlier replace later ones

	reread    func(context.Context) error // Refresh, if there is a database
	rereading sync.Mutex                  // one goroutine reads data_keys, the others wait for what it finds
	rereads   *rate.Limiter               // a forged key id must not become a query for every value
}

// ring is what is read from data_keys. It is replaced, never changed.
type ring struct {
	active uint32
	keys   map[uint32]cipher.AEAD
	lookup *macKey
	id     uint32 // of the look-up key
}

// Keys are data keys in clear, for a vault without a database.
type Keys struct {
	Active uint32
	Seal   map[uint32][]byte // by id, 16 bytes each
	Lookup []byte            // 32 bytes
}

// New makes a vault that knows these keys and will learn no others. It panics on keys of a wrong length or when the
// active one is missing: such keys are written in a program, not read from a file.
func New(keys Keys) *Vault {
	if len(keys.Lookup) != lookupSize {
		panic(fmt.Sprintf("vault: the look-up key has %d bytes, want %d", len(keys.Lookup), lookupSize))
	}
	r := &ring{active: keys.Active, keys: make(map[uint32]cipher.AEAD), lookup: newMACKey(keys.Lookup)}
	for id, key := range keys.Seal {
		r.keys[id] = newAEAD(key)
	}
	if _, ok := r.keys[keys.Active]; !ok {
		panic(fmt.Sprintf("vault: there is no key %d to be the active one", keys.Active))
	}
	v := &Vault{}
	v.ring.Store(r)
	return v
}

// Fixed makes a vault whose keys follow from seed alone: for tests and benches, never for people's data.
func Fixed(seed []byte) *Vault {
	return New(Keys{
		Active: 1,
		Seal:   map[uint32][]byte{1: derive(seed, "fixed seal", sealSize)},
		Lookup: derive(seed, "fixed lookup", lookupSize),
	})
}

// ActiveKey is the id of the data key that Seal uses.
func (v *Vault) ActiveKey() uint32 { return v.ring.Load().active }

// Seal encrypts the text of a column (ColumnName, …) of the row under the active data key.
func (v *Vault) Seal(column string, row uuid.UUID, plain string) []byte {
	return v.SealBytes(column, row, []byte(plain))
}

// SealBytes is Seal for what is not text: label PDFs.
func (v *Vault) SealBytes(column string, row uuid.UUID, plain []byte) []byte {
	r := v.ring.Load()
	out := make([]byte, 5, Overhead+len(plain))
	out[0] = version
	binary.BigEndian.PutUint32(out[1:], r.active)
	out = append(out, newNonce()...)
	return r.keys[r.active].Seal(out, out[5:headSize], plain, place(column, row))
}

// Unseal opens a value of a column of the row. The error is a *SealError, and there is no text beside it: a value that
// was changed or moved never comes out garbled.
//
// A value under a data key that this process has not seen (another daemon rotated) makes it read data_keys again; it
// does so on a connection of its own, even inside a caller's transaction.
func (v *Vault) Unseal(column string, row uuid.UUID, sealed []byte) (Secret, error) {
	plain, err := v.UnsealBytes(column, row, sealed)
	if err != nil {
		return Secret{}, err
	}
	return Conceal(string(plain)), nil
}

// UnsealBytes is Unseal for what is not text.
func (v *Vault) UnsealBytes(column string, row uuid.UUID, sealed []byte) ([]byte, error) {
	fault := func(reason string, err error) error {
		return &SealError{Column: column, Row: row, Reason: reason, Err: err}
	}
	switch {
	case len(sealed) == 0:
		return nil, fault(Erased, nil)
	case len(sealed) < Overhead:
		return nil, fault(TooShort, nil)
	case sealed[0] != version:
		return nil, fault(OtherVersion, nil)
	}
	key, err := v.key(binary.BigEndian.Uint32(sealed[1:5]))
	if err != nil || key == nil {
		return nil, fault(NoSuchKey, err)
	}
	plain, err := key.Open(nil, sealed[5:headSize], sealed[headSize:], place(column, row))
	if err != nil {
		return nil, fault(Changed, nil)
	}
	return plain, nil
}

// KeyID is the id of the data key that sealed a value, and whether the value has the form of a sealed one.
func KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < Overhead || sealed[0] != version {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// place binds a value to where it stands.
func place(column string, row uuid.UUID) []byte {
	ad := make([]byte, 0, len(column)+1+len(row))
	ad = append(append(ad, column...), 0)
	return append(ad, row[:]...)
}

// Lookup is the HMAC-SM3 by which rows with this value are found: column, a zero byte, the value. Phones and ID numbers
// are first brought into one form (blanks, full width, +86, x); any other value is taken byte by byte.
//
// The look-up key does not rotate with the data keys. A hash can be compared only with hashes under the same key: while
// a rotation is under way, a search would have to try each key, and the unique answer to "was this posted before?"
// would depend on which row was reached. The key seals nothing; who steals it still has to guess values.
func (v *Vault) Lookup(column, value string) []byte {
	return v.ring.Load().lookup.sum([]byte(column), []byte{0}, []byte(normalised(column, value)))
}

// key finds a data key, reading data_keys once more if it is not known. A nil one means there is none.
func (v *Vault) key(id uint32) (cipher.AEAD, error) {
	if key, ok := v.ring.Load().keys[id]; ok || v.reread == nil {
		return key, nil
	}
	v.rereading.Lock()
	defer v.rereading.Unlock()
	if key, ok := v.ring.Load().keys[id]; ok || !v.rereads.Allow() {
		return key, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), rereadTimeout)
	defer cancel()
	err := v.reread(ctx)
	return v.ring.Load().keys[id], err
}

// rereadTimeout bounds the look at data_keys: callers may hold a transaction while they wait.
const rereadTimeout = 5 * time.Second

// newRereads allows ten looks at data_keys at once and ten a second: enough for the value after a rotation to be read
// even while forged ids come in, and no load.
func newRereads() *rate.Limiter { return rate.NewLimiter(10, 10) }

// Reasons of a SealError.
const (
	Erased       = "nothing is stored"
	TooShort     = "shorter than any sealed value"
	OtherVersion = "not a version of sealing known here"
	NoSuchKey    = "its data key is not in data_keys"
	Changed      = "it was changed, moved from another row or column, or sealed under another key"
)

// A SealError says which value does not open, and why, and nothing of what is in it.
type SealError struct {
	Column string
	Row    uuid.UUID
	Reason string
	Err    error // beneath it, if any: data_keys could not be read
}

func (e *SealError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "unseal %s of %s: %s", e.Column, e.Row, e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *SealError) Unwrap() error { return e.Err }
