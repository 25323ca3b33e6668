package tencent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm   = "TC3-HMAC-SHA256"
	contentType = "application/json" // byte for byte what is sent and signed
)

// sign gives the Authorization header for a POST of body to the root of host (B.5). The day in it is that of the
// timestamp in UTC, not in China: they differ from midnight to eight.
func sign(secretID, secretKey, service, host, contentType string, at time.Time, body []byte) string {
	at = at.UTC()
	day := at.Format(time.DateOnly)
	scope := day + "/" + service + "/tc3_request"
	canonical := strings.Join([]string{"POST", "/", "", "content-type:" + contentType + "\nhost:" + host + "\n", "content-type;host", hexHash(body)}, "\n")
	text := strings.Join([]string{algorithm, strconv.FormatInt(at.Unix(), 10), scope, hexHash([]byte(canonical))}, "\n")
	key := mac([]byte("TC3"+secretKey), day)
	key = mac(mac(key, service), "tc3_request")
	return algorithm + " Credential=" + secretID + "/" + scope + ", SignedHeaders=content-type;host, Signature=" + hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
