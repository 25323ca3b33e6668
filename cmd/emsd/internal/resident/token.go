package resident

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// Tokens makes the addresses of residents' pages. A token is the delivery's id and 128 bits of a keyed hash of it: every
// delivery has one, also those from before this page, none is stored anywhere, and none can be guessed. The key is the
// look-up key of the vault, which does not rotate, so that an address stays good.
type Tokens struct{ vault *vault.Vault }

// NewTokens returns Tokens.
func NewTokens(v *vault.Vault) Tokens { return Tokens{v} }

const macSize = 16

// What is hashed under the look-up key besides columns; the names keep the hashes apart.
const (
	hashToken   = "resident.token"
	hashCookie  = "resident.cookie"
	hashTry     = "resident.try"
	hashAddress = "resident.address"
)

// Of gives the token of a delivery.
func (t Tokens) Of(delivery uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append(delivery[:], t.mac(hashToken, delivery.String())...))
}

// delivery gives the delivery of a token. For one that was not made here it gives an id that no delivery has, so that
// whoever asks for it does the same work. A token has one spelling: tries are counted by it.
func (t Tokens) delivery(token string) (id uuid.UUID, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != len(id)+macSize {
		raw = make([]byte, len(id)+macSize)
	}
	copy(id[:], raw)
	genuine := hmac.Equal(raw[len(id):], t.mac(hashToken, id.String()))
	if !genuine || base64.RawURLEncoding.EncodeToString(raw) != token {
		return uuid.Nil, false
	}
	return id, true
}

func (t Tokens) mac(of, text string) []byte { return t.vault.Lookup(of, text)[:macSize] }

// cookie is the proof that the digits of a token's phone were given, good until a time.
func (t Tokens) cookie(token string, until time.Time) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(at, t.mac(hashCookie, token+string(at))...))
}

func (t Tokens) opens(cookie, token string, now time.Time) bool {
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(raw) != 8+macSize {
		return false
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)
	return hmac.Equal(raw[8:], t.mac(hashCookie, token+string(raw[:8]))) && now.Before(until)
}
