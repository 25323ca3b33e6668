package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

const masterSize = 32

// A MasterKey wraps the data keys. It comes from a file and never reaches the database.
type MasterKey struct{ key [masterSize]byte }

func (MasterKey) String() string   { return "redacted" }
func (MasterKey) GoString() string { return "redacted" }

// NewMasterKey makes the content of a master key file.
func NewMasterKey() string {
	var key [masterSize]byte
	rand.Read(key[:])
	return base64.StdEncoding.EncodeToString(key[:]) + "\n"
}

// ReadMasterKey reads a file of 32 bytes in base64 that only its owner and group can read.
func ReadMasterKey(path string) (MasterKey, error) {
	var m MasterKey
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("master key file %s is missing: make one with emsd doctor --new-master-key, and keep a copy apart from the database", path)
	}
	if err != nil {
		return m, fmt.Errorf("master key file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return m, fmt.Errorf("master key file %s can be read by everybody: chmod 600 it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("master key file: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != masterSize {
		return m, fmt.Errorf("master key file %s does not hold %d bytes in base64", path, masterSize)
	}
	copy(m.key[:], key)
	return m, nil
}

// aead derives the key that wraps data keys.
func (m MasterKey) aead() (cipher.AEAD, error) {
	kek, err := hkdf.Key(sm3.New, m.key[:], nil, "emsd data keys", keySize)
	if err != nil {
		return nil, err
	}
	block, err := sm4.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// wrap seals a data key for storing; its id and purpose are authenticated with it.
func (m MasterKey) wrap(id uint32, purpose string, key []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, key, keyLabel(id, purpose)), nil
}

func (m MasterKey) unwrap(id uint32, purpose string, wrapped []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	if len(wrapped) < nonceSize {
		return nil, fmt.Errorf("data_keys.wrapped of key %d is cut off", id)
	}
	key, err := aead.Open(nil, wrapped[:nonceSize], wrapped[nonceSize:], keyLabel(id, purpose))
	if err != nil {
		return nil, fmt.Errorf("data_keys.wrapped of key %d does not open: the master key is not the one it was made with", id)
	}
	return key, nil
}

func keyLabel(id uint32, purpose string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, id), purpose...)
}
