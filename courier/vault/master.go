package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

// masterSize is the length of a master key. It is longer than an SM4 key because two keys are derived from it.
const masterSize = 32

// ErrOtherMaster says that a data key was wrapped under another master key than the one at hand.
var ErrOtherMaster = errors.New("wrapped under another master key")

// A MasterKey wraps the data keys. It cannot be printed.
type MasterKey struct{ keys *masterKeys }

// masterKeys are derived from the 32 bytes of the file by HKDF-SM3: the key that encrypts data keys, the key that
// authenticates them, and a fingerprint by which a key wrapped under another master is told from a damaged one.
type masterKeys struct {
	wrap        cipher.AEAD
	auth        []byte
	fingerprint []byte
}

// ReadMasterKey reads 32 bytes in base64 from a file. An error says what is wrong with the file, never what is in it.
//
// Only the owner may be able to read it. A file of root's may also be readable by its group, for that is how packages
// (root:emsd 0640) and service managers (systemd credentials, 0440) hand a secret to a service; group members cannot
// change it there. Nobody else may read it in any case.
func ReadMasterKey(path string) (MasterKey, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("read master key %s: %w", path, err)
	}
	m, err := ParseMasterKey(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("read master key %s: %w", path, err)
	}
	return m, nil
}

func readKeyFile(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is no such file; emsd doctor --new-master-key makes a key")
	}
	if err != nil {
		return "", errors.Unwrap(err) // the PathError around it would name the file again
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a file")
	}
	owner := -1
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	if tooOpen(info.Mode(), owner) {
		return "", fmt.Errorf("others can read or change it (mode %04o): chmod 600", info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	return string(b), nil
}

func tooOpen(mode fs.FileMode, owner int) bool {
	if owner == 0 {
		return mode.Perm()&0o037 != 0
	}
	return mode.Perm()&0o077 != 0
}

// ParseMasterKey makes a key of its base64 form.
func ParseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return MasterKey{}, errors.New("is empty, want 32 bytes in base64")
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return MasterKey{}, errors.New("is not base64, want 32 bytes in base64")
	}
	if len(secret) != masterSize {
		return MasterKey{}, fmt.Errorf("holds %d bytes, want 32", len(secret))
	}
	auth := derive(secret, "emsd master key: authenticate data keys", 32)
	return MasterKey{&masterKeys{
		wrap:        newAEAD(derive(secret, "emsd master key: encrypt data keys", sm4.BlockSize)),
		auth:        auth,
		fingerprint: mac(auth, []byte("fingerprint"))[:8],
	}}, nil
}

// NewMasterKey makes a key, in the form of the file.
func NewMasterKey() (string, error) {
	var b [masterSize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

// IsZero says that the key was never read.
func (m MasterKey) IsZero() bool { return m.keys == nil }

// String gives Hidden.
func (m MasterKey) String() string { return Hidden }

// Format gives Hidden whatever the verb.
func (m MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Hidden) }

// LogValue gives Hidden.
func (m MasterKey) LogValue() slog.Value { return slog.StringValue(Hidden) }

// MarshalText gives Hidden.
func (m MasterKey) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// A wrapped data key is
//
//	1 byte version | 8 bytes fingerprint of the master key | 12 bytes nonce | encrypted key and tag | 32 bytes HMAC-SM3
//
// with id and purpose as associated data. The HMAC is over all of it: GCM alone does not commit to one key, and a
// fingerprint that nothing protects would let a changed row pass for "another master key".
const (
	wrapVersion = 1
	wrapHead    = 1 + 8 + nonceSize
)

func (m MasterKey) wrapKey(id uint32, purpose string, key []byte) []byte {
	out := make([]byte, 0, wrapHead+len(key)+tagSize+sm3.Size)
	out = append(out, wrapVersion)
	out = append(out, m.keys.fingerprint...)
	out = append(out, newNonce()...)
	out = m.keys.wrap.Seal(out, out[wrapHead-nonceSize:], key, wrapData(id, purpose))
	return append(out, mac(m.keys.auth, wrapData(id, purpose), out)...)
}

func (m MasterKey) unwrapKey(id uint32, purpose string, wrapped []byte) ([]byte, error) {
	if len(wrapped) < wrapHead+tagSize+sm3.Size {
		return nil, errors.New("shorter than a wrapped key")
	}
	if wrapped[0] != wrapVersion {
		return nil, fmt.Errorf("version %d of the wrapping is not known here", wrapped[0])
	}
	if !hmac.Equal(wrapped[1:9], m.keys.fingerprint) {
		return nil, ErrOtherMaster
	}
	body, tag := wrapped[:len(wrapped)-sm3.Size], wrapped[len(wrapped)-sm3.Size:]
	if !hmac.Equal(tag, mac(m.keys.auth, wrapData(id, purpose), body)) {
		return nil, errors.New("was changed since it was wrapped")
	}
	key, err := m.keys.wrap.Open(nil, body[9:wrapHead], body[wrapHead:], wrapData(id, purpose))
	if err != nil {
		return nil, errors.New("was changed since it was wrapped")
	}
	return key, nil
}

func wrapData(id uint32, purpose string) []byte {
	return binary.BigEndian.AppendUint32([]byte("data_keys\x00"+purpose+"\x00"), id)
}

func derive(secret []byte, info string, size int) []byte {
	key, err := hkdf.Key(sm3.New, secret, nil, info, size)
	if err != nil {
		panic("vault: derive a key: " + err.Error()) // only for a size beyond 255 hashes
	}
	return key
}

// mac is HMAC-SM3 over the parts, one after the other.
func mac(key []byte, parts ...[]byte) []byte { return newMACKey(key).sum(parts...) }

// A macKey is for many sums under one key: what the key alone leads to is half of the work of a short one, and is kept.
type macKey struct{ idle sync.Pool }

func newMACKey(key []byte) *macKey {
	return &macKey{sync.Pool{New: func() any { return hmac.New(sm3.New, key) }}}
}

func (k *macKey) sum(parts ...[]byte) []byte {
	h := k.idle.Get().(hash.Hash)
	defer k.idle.Put(h)
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := sm4.NewCipher(key)
	if err != nil {
		panic("vault: an SM4 key has 16 bytes: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("vault: SM4 in GCM: " + err.Error()) // only for a block size other than 16
	}
	return aead
}

func newNonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return b
}
