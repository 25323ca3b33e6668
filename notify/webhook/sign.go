package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Prefixes by which secrets and keys are known to people, libraries and scanners.
const (
	secretPrefix    = "whsec_"
	publicKeyPrefix = "whpk_"
	messagePrefix   = "msg_"
)

// secretSize is that of the HMAC-SHA256 key; the standard asks for 24 to 64 bytes.
const secretSize = 32

// A Secret is a subscriber's shared secret as it is shown to it, once: whsec_ and base64.
func newSecret() string {
	key := make([]byte, secretSize)
	rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// newKeySeed makes the seed of an Ed25519 key, base64.
func newKeySeed() string {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return base64.StdEncoding.EncodeToString(seed)
}

// publicKey is what a subscriber checks v1a with: whpk_ and base64. It is no secret.
func publicKey(seed string) string {
	key := signingKey(seed)
	if key == nil {
		return ""
	}
	return publicKeyPrefix + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func signingKey(seed string) ed25519.PrivateKey {
	b, err := base64.StdEncoding.DecodeString(seed)
	if err != nil || len(b) != ed25519.SeedSize {
		return nil
	}
	return ed25519.NewKeyFromSeed(b)
}

// A signer signs for one endpoint: with its present secret and, while a rotation's overlap lasts, with the old one.
type signer struct {
	secrets [][]byte             // v1
	keys    []ed25519.PrivateKey // v1a
}

// add takes a secret and a key's seed in; empty ones are none.
func (s *signer) add(secret, seed string) {
	if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix)); err == nil && len(b) > 0 {
		s.secrets = append(s.secrets, b)
	}
	if key := signingKey(seed); key != nil {
		s.keys = append(s.keys, key)
	}
}

// headers are those of one try: the id is the message's, the time is the try's.
func (s *signer) headers(id string, at time.Time, body []byte) map[string]string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	signed := make([]byte, 0, len(id)+len(stamp)+len(body)+2)
	signed = append(append(append(append(append(signed, id...), '.'), stamp...), '.'), body...)
	var signatures []string
	for _, secret := range s.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write(signed)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	for _, key := range s.keys {
		signatures = append(signatures, "v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed)))
	}
	return map[string]string{HeaderID: id, HeaderTimestamp: stamp, HeaderSignature: strings.Join(signatures, " "),
		http.CanonicalHeaderKey("Content-Type"): "application/json"}
}

// messageID is the webhook-id of a message.
func messageID(id uuid.UUID) string { return messagePrefix + id.String() }

// ParseMessageID reads a webhook-id.
func ParseMessageID(text string) (uuid.UUID, bool) {
	rest, ok := strings.CutPrefix(text, messagePrefix)
	if !ok {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(rest)
	return id, err == nil && len(rest) == 36
}
