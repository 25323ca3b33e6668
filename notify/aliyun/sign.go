package aliyun

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

const (
	algorithm = "ACS3-HMAC-SHA256"
	formType  = "application/x-www-form-urlencoded"
	dateForm  = "2006-01-02T15:04:05Z"
)

// A request is what is signed: everything that the vendor looks at, byte for byte.
type request struct {
	method  string
	query   string            // canonical
	headers map[string]string // lower-case names: host, content-type and x-acs-…, all of them
	body    []byte
}

// newRequest prepares a call. date is UTC; with params in the body, the form and its type are signed.
func newRequest(host, action, version, date, nonce string, params map[string]string, inQuery bool) request {
	r := request{method: "POST", headers: map[string]string{
		"host":                  host,
		"x-acs-action":          action,
		"x-acs-version":         version,
		"x-acs-date":            date,
		"x-acs-signature-nonce": nonce,
	}}
	if inQuery {
		r.query = encode(params, "%20")
	} else {
		r.body = []byte(encode(params, "+"))
		r.headers["content-type"] = formType
	}
	r.headers["x-acs-content-sha256"] = hexHash(r.body)
	return r
}

// Authorization is the header of that name for a POST with params in the query, an empty body and headers, whose names are
// lower-case and of which all are signed (A.5). The client signs by the same steps; notify/sigcheck holds them against the
// vendor's.
func Authorization(keyID, secret string, headers, params map[string]string) string {
	return request{method: "POST", query: encode(params, "%20"), headers: headers}.authorization(keyID, secret)
}

// canonical is the request as both sides hash it, and the names of the headers as they are told. The path is "/" for every
// RPC call, wherever a proxy or a simulator mounts the gateway.
func (r request) canonical() (text, signed string) {
	names := slices.Sorted(maps.Keys(r.headers))
	signed = strings.Join(names, ";")
	var b strings.Builder
	b.Grow(512 + len(r.query))
	b.WriteString(r.method)
	b.WriteString("\n/\n")
	b.WriteString(r.query)
	b.WriteByte('\n')
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(strings.TrimSpace(r.headers[name]))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(signed)
	b.WriteByte('\n')
	b.WriteString(r.headers["x-acs-content-sha256"])
	return b.String(), signed
}

// authorization is the header of that name.
func (r request) authorization(keyID, secret string) string {
	text, signed := r.canonical()
	return algorithm + " Credential=" + keyID + ",SignedHeaders=" + signed + ",Signature=" + sign(text, secret)
}

func sign(canonical, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithm + "\n" + hexHash([]byte(canonical))))
	return hex.EncodeToString(mac.Sum(nil))
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// encode joins parameters sorted by name, percent-encoded by RFC 3986. A space is %20 in a query and + in a form.
func encode(params map[string]string, space string) string {
	var b strings.Builder
	b.Grow(512)
	for i, name := range slices.Sorted(maps.Keys(params)) {
		if i > 0 {
			b.WriteByte('&')
		}
		escape(&b, name, space)
		b.WriteByte('=')
		escape(&b, params[name], space)
	}
	return b.String()
}

func escape(b *strings.Builder, s, space string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		case c == ' ':
			b.WriteString(space)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
}
