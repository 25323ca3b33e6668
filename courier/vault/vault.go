// Package vault keeps personal data: it seals columns with SM4-GCM, finds rows again by HMAC-SM3, and rotates keys
// while the daemon runs. It knows tables and columns by name only, and nothing of what they mean.
//
// A sealed value is one version byte, the key id (4 bytes, big endian), a nonce of 12 bytes, and the ciphertext with
// its tag of 16. Column and row are authenticated with it, so that a value which was moved or changed does not open.
package vault

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"github.com/google/uuid"
)

const (
	version   = 1
	keySize   = 16
	nonceSize = 12
	tagSize   = 16
	headSize  = 1 + 4 + nonceSize
)

// Keys are the data keys in clear, by id. Active seals; the others only open.
type Keys struct {
	Seal   map[uint32][]byte // 16 bytes each
	Active uint32
	Lookup []byte // of the keyed hashes; it stays, for changing it would orphan every hash stored
}

// A Vault seals and unseals. It is safe for concurrent use.
type Vault struct {
	mu     sync.RWMutex
	seal   map[uint32]cipher.AEAD
	active uint32
	lookup []byte
	load   func(ctx context.Context) (Keys, error) // nil for fixed keys
}

// New returns a vault of fixed keys.
func New(k Keys) (*Vault, error) {
	v := &Vault{}
	return v, v.use(k)
}

// use replaces the keys.
func (v *Vault) use(k Keys) error {
	seal := make(map[uint32]cipher.AEAD, len(k.Seal))
	for id, key := range k.Seal {
		block, err := sm4.NewCipher(key)
		if err != nil {
			return fmt.Errorf("data key %d: %w", id, err)
		}
		if seal[id], err = cipher.NewGCM(block); err != nil {
			return fmt.Errorf("data key %d: %w", id, err)
		}
	}
	if seal[k.Active] == nil {
		return fmt.Errorf("data key %d is active and not among the keys", k.Active)
	}
	if len(k.Lookup) == 0 {
		return fmt.Errorf("the look-up key is missing")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seal, v.active, v.lookup = seal, k.Active, k.Lookup
	return nil
}

// Seal seals a text for one column of one row under the active key.
func (v *Vault) Seal(column string, row uuid.UUID, plain string) []byte {
	return v.SealBytes(column, row, []byte(plain))
}

// SealBytes is Seal for a document.
func (v *Vault) SealBytes(column string, row uuid.UUID, plain []byte) []byte {
	v.mu.RLock()
	id, aead := v.active, v.seal[v.active]
	v.mu.RUnlock()
	out := make([]byte, headSize, headSize+len(plain)+tagSize)
	out[0] = version
	binary.BigEndian.PutUint32(out[1:], id)
	rand.Read(out[5:headSize]) // never fails: crypto/rand
	return aead.Seal(out, out[5:headSize], plain, associated(column, row))
}

// A SealError is a value that does not open. It names the column and the row and nothing of the content.
type SealError struct {
	Column string
	Row    uuid.UUID
	Reason string
}

func (e *SealError) Error() string {
	return fmt.Sprintf("unseal %s of row %s: %s", e.Column, e.Row, e.Reason)
}

// Unseal opens what Seal sealed for the same column and row; any other value is a *SealError.
func (v *Vault) Unseal(column string, row uuid.UUID, sealed []byte) (Secret, error) {
	plain, err := v.UnsealBytes(column, row, sealed)
	return Conceal(string(plain)), err
}

// UnsealBytes is Unseal for a document.
func (v *Vault) UnsealBytes(column string, row uuid.UUID, sealed []byte) ([]byte, error) {
	if len(sealed) < headSize+tagSize || sealed[0] != version {
		return nil, &SealError{column, row, "not a sealed value of this version"}
	}
	id := binary.BigEndian.Uint32(sealed[1:])
	aead := v.key(id)
	if aead == nil {
		return nil, &SealError{column, row, fmt.Sprintf("data key %d is not known", id)}
	}
	plain, err := aead.Open(nil, sealed[5:headSize], sealed[headSize:], associated(column, row))
	if err != nil {
		return nil, &SealError{column, row, "wrong key, or the value was changed or belongs to another row or column"}
	}
	return plain, nil
}

// key finds a key; one that another daemon has made since is read from the database.
func (v *Vault) key(id uint32) cipher.AEAD {
	v.mu.RLock()
	aead, load := v.seal[id], v.load
	v.mu.RUnlock()
	if aead != nil || load == nil {
		return aead
	}
	if err := v.Refresh(context.Background()); err != nil {
		return nil
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.seal[id]
}

// KeyOf tells under which key a value was sealed.
func KeyOf(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < headSize+tagSize || sealed[0] != version {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

// Lookup is the keyed hash by which a value is found again: 32 bytes of HMAC-SM3 over column and value.
func (v *Vault) Lookup(column, value string) []byte {
	v.mu.RLock()
	h := hmac.New(sm3.New, v.lookup)
	v.mu.RUnlock()
	h.Write([]byte(column))
	h.Write([]byte{0})
	h.Write([]byte(value))
	return h.Sum(nil)
}

func associated(column string, row uuid.UUID) []byte {
	ad := make([]byte, 0, len(column)+1+len(row))
	ad = append(append(ad, column...), 0)
	return append(ad, row[:]...)
}
