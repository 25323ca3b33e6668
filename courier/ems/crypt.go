package ems

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"errors"

	smcipher "github.com/emmansun/gmsm/cipher"
	"github.com/emmansun/gmsm/sm4"
)

// sm4Mark announces SM4 before the base64 text; "|$|" was AES (§1.4).
const sm4Mark = "|$4|"

var (
	errKey    = errors.New("not 16 bytes in base64")
	errSealed = errors.New("not a message encrypted under this account's secret")
)

// A sealer encrypts business messages as §1.4 says: the key is the decoded secret, and the secret's own text is
// appended to the message, which is all the signature there is.
type sealer struct {
	secret []byte
	// The ECB modes hold the key schedule and no state, so that all calls share them. gmsm runs several blocks at once.
	encrypt, decrypt cipher.BlockMode
}

func newSealer(secret string) (*sealer, error) {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(key) != sm4.BlockSize {
		return nil, errKey // not err: it quotes a part of the secret
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, errKey
	}
	return &sealer{[]byte(secret), smcipher.NewECBEncrypter(block), smcipher.NewECBDecrypter(block)}, nil
}

// seal appends the value of logitcsInterface for a message, without its mark, to dst.
func (s *sealer) seal(dst, message []byte) []byte {
	n := len(message) + len(s.secret)
	pad := sm4.BlockSize - n%sm4.BlockSize // a whole block when nothing is missing
	plain := make([]byte, 0, n+pad)
	plain = append(append(plain, message...), s.secret...)
	for range pad {
		plain = append(plain, byte(pad))
	}
	s.encrypt.CryptBlocks(plain, plain)
	return base64.StdEncoding.AppendEncode(dst, plain)
}

// open gives the message of a logitcsInterface value. Pushes carry no secret behind it (§5); one is taken off all the same.
func (s *sealer) open(value []byte) ([]byte, error) {
	coded, found := bytes.CutPrefix(bytes.TrimSpace(value), []byte(sm4Mark))
	if !found {
		return nil, errSealed
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, coded)
	if err != nil || len(plain) == 0 || len(plain)%sm4.BlockSize != 0 {
		return nil, errSealed
	}
	s.decrypt.CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > sm4.BlockSize {
		return nil, errSealed
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, errSealed
		}
	}
	return bytes.TrimSuffix(plain[:len(plain)-pad], s.secret), nil
}

// appendEscaped appends base64 text percent-encoded: a raw + would arrive as a space (§1.2).
func appendEscaped(dst, base64Text []byte) []byte {
	for _, b := range base64Text {
		switch b {
		case '+':
			dst = append(dst, "%2B"...)
		case '/':
			dst = append(dst, "%2F"...)
		case '=':
			dst = append(dst, "%3D"...)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}
