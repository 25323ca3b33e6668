package smssim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const algorithm = "ACS3-HMAC-SHA256"

// tolerance is how far a request's date may be off, and how long its nonce is remembered.
const tolerance = 15 * time.Minute

// authorization is the header of that name, taken apart.
type authorization struct {
	credential, signature string
	signed                []string
}

// parseAuthorization reads the exact form: commas without spaces, names in lower case and order.
func parseAuthorization(header string) (authorization, bool) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	parts := strings.Split(rest, ",")
	if !ok || len(parts) != 3 {
		return authorization{}, false
	}
	var a authorization
	var names string
	for i, field := range []struct {
		name string
		into *string
	}{{"Credential=", &a.credential}, {"SignedHeaders=", &names}, {"Signature=", &a.signature}} {
		if *field.into, ok = strings.CutPrefix(parts[i], field.name); !ok {
			return authorization{}, false
		}
	}
	a.signed = strings.Split(names, ";")
	return a, slices.IsSorted(a.signed) && names == strings.ToLower(names)
}

// unsigned names a header that has to be signed and is not: the host and every x-acs- header on the request.
func (a authorization) unsigned(h http.Header) string {
	if !slices.Contains(a.signed, "host") {
		return "host"
	}
	for name := range h {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-acs-") && !slices.Contains(a.signed, name) {
			return name
		}
	}
	return ""
}

// canonicalRequest is what both sides hash (dossier A.5); uri is "/" for an RPC call.
func canonicalRequest(r *http.Request, uri string, signed []string, bodyHash string) string {
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	return strings.Join([]string{r.Method, uri, canonicalQuery(r.URL.Query()), headers.String(), strings.Join(signed, ";"), bodyHash}, "\n")
}

// canonicalQuery sorts and encodes decoded parameters anew, so that "+" and "%20" for a space come to the same.
func canonicalQuery(q url.Values) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(q)) {
		for _, v := range q[name] {
			pairs = append(pairs, percent(name)+"="+percent(v))
		}
	}
	return strings.Join(pairs, "&")
}

// percent is RFC 3986: only letters, digits and - _ . ~ stay.
func percent(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch ch := s[i]; {
		case 'A' <= ch && ch <= 'Z', 'a' <= ch && ch <= 'z', '0' <= ch && ch <= '9', strings.IndexByte("-_.~", ch) >= 0:
			b.WriteByte(ch)
		default:
			b.Write([]byte{'%', hexDigits[ch>>4], hexDigits[ch&15]})
		}
	}
	return b.String()
}

func sign(secret, canonical string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(algorithm + "\n" + hexHash([]byte(canonical))))
	return hex.EncodeToString(h.Sum(nil))
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// nonces remembers what was seen within the tolerance.
type nonces struct {
	seen  map[string]time.Time
	swept time.Time
}

// use notes a nonce; false means that it was used before.
func (n *nonces) use(nonce string, now time.Time) bool {
	if now.Sub(n.swept) > time.Minute {
		n.swept = now
		for old, at := range n.seen {
			if now.Sub(at) > tolerance {
				delete(n.seen, old)
			}
		}
	}
	if at, used := n.seen[nonce]; used && now.Sub(at) <= tolerance {
		return false
	}
	n.seen[nonce] = now
	return true
}

// authenticate checks a request as the vendor does; ok is false with the answer to give.
func (g *Gateway) authenticate(r *http.Request, body []byte) (answer, bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return failure(http.StatusBadRequest, "MissingAccessKeyId", "AccessKeyId is mandatory for this action."), false
	}
	a, ok := parseAuthorization(header)
	if !ok {
		return failure(http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards."), false
	}
	if a.credential != g.cfg.AccessKeyID {
		return failure(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found."), false
	}
	wall := g.cfg.Wall()
	at, err := time.Parse("2006-01-02T15:04:05Z", r.Header.Get("x-acs-date"))
	if err != nil || wall.Sub(at).Abs() > tolerance {
		return failure(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."), false
	}
	hash := hexHash(body)
	if missing := a.unsigned(r.Header); missing != "" || r.Header.Get("x-acs-content-sha256") != hash || r.Header.Get("x-acs-signature-nonce") == "" {
		return mismatch(canonicalRequest(r, "/", a.signed, hash)), false
	}
	// A client may sign the root, where the vendor's gateway stands, or the path under which the simulator is mounted.
	root, mounted := canonicalRequest(r, "/", a.signed, hash), canonicalRequest(r, r.URL.EscapedPath(), a.signed, hash)
	secret := g.cfg.AccessKeySecret
	if !hmac.Equal([]byte(a.signature), []byte(sign(secret, root))) && !hmac.Equal([]byte(a.signature), []byte(sign(secret, mounted))) {
		return mismatch(root), false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.nonces.use(r.Header.Get("x-acs-signature-nonce"), wall) {
		return failure(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already."), false
	}
	return answer{}, true
}

// mismatch tells, as the vendor does, what the server signed. That text holds the parameters of a call whose
// parameters travel in the query, personal data with it: a client must not log it.
func mismatch(canonical string) answer {
	return failure(http.StatusBadRequest, "SignatureDoesNotMatch",
		"Specified signature is not matched with our calculation. server CanonicalRequest is: "+canonical+", server StringToSign is: "+
			algorithm+"\n"+hexHash([]byte(canonical)))
}
