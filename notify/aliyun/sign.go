package aliyun

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	algorithm = "ACS3-HMAC-SHA256"
	formType  = "application/x-www-form-urlencoded"
	dateForm  = "2006-01-02T15:04:05Z"

	contentHash = "x-acs-content-sha256"
)

// A request is what is signed: everything that the vendor looks at, byte for byte.
type request struct {
	method  string
	query   string   // canonical
	headers []header // host, content-type and x-acs-…, all of them, by name
	body    []byte
}

// A header is one of those that are signed; its name is in lower case.
type header struct{ name, value string }

// wireNames are the names of the signed headers as net/http writes them, made once instead of for each request.
var wireNames = func() map[string]string {
	names := make(map[string]string)
	for _, name := range []string{"content-type", "x-acs-action", contentHash, "x-acs-date", "x-acs-signature-nonce", "x-acs-version"} {
		names[name] = http.CanonicalHeaderKey(name)
	}
	return names
}()

// newRequest prepares a call. date is UTC; with params in the body, the form and its type are signed.
func newRequest(host, action, version, date, nonce string, params map[string]string, inQuery bool) request {
	r := request{method: "POST", headers: make([]header, 0, 8)} // one more than here: the signature joins them
	if inQuery {
		r.query = string(encode(params, "%20"))
	} else {
		r.body = encode(params, "+")
		r.headers = append(r.headers, header{"content-type", formType})
	}
	r.headers = append(r.headers, header{"host", host}, header{"x-acs-action", action}, header{contentHash, hexHash(r.body)}, header{"x-acs-date", date},
		header{"x-acs-signature-nonce", nonce}, header{"x-acs-version", version})
	return r
}

// Authorization is the header of that name for a POST with params in the query, an empty body and headers, whose names are
// lower-case and of which all are signed (A.5). The client signs by the same steps; notify/sigcheck holds them against the
// vendor's.
func Authorization(keyID, secret string, headers, params map[string]string) string {
	r := request{method: "POST", query: string(encode(params, "%20"))}
	for _, name := range sortedNames(headers) {
		r.headers = append(r.headers, header{name, headers[name]})
	}
	return r.authorization(keyID, newKeyed(secret))
}

// canonical appends the request as both sides hash it, and gives the names of its headers as they are told. The path is "/" for
// every RPC call, wherever a proxy or a simulator mounts the gateway.
func (r request) canonical(b []byte) (text []byte, signed string) {
	var names strings.Builder
	names.Grow(128)
	b = append(append(append(append(b, r.method...), "\n/\n"...), r.query...), '\n')
	hash := ""
	for i, h := range r.headers {
		if i > 0 {
			names.WriteByte(';')
		}
		names.WriteString(h.name)
		b = append(append(append(append(b, h.name...), ':'), strings.TrimSpace(h.value)...), '\n')
		if h.name == contentHash {
			hash = h.value
		}
	}
	signed = names.String()
	return append(append(append(append(b, '\n'), signed...), '\n'), hash...), signed
}

// authorization is the header of that name.
func (r request) authorization(keyID string, keyed *sync.Pool) string {
	var scratch [1024]byte
	text, signed := r.canonical(scratch[:0])
	return algorithm + " Credential=" + keyID + ",SignedHeaders=" + signed + ",Signature=" + sign(text, keyed)
}

// newKeyed keeps HMACs under a secret: to make one costs as much as to sign.
func newKeyed(secret string) *sync.Pool {
	return &sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}
}

func sign(canonical []byte, keyed *sync.Pool) string {
	mac := keyed.Get().(hash.Hash)
	defer keyed.Put(mac)
	mac.Reset()
	sum := sha256.Sum256(canonical)
	text := append(make([]byte, 0, 128), algorithm...)
	mac.Write(hex.AppendEncode(append(text, '\n'), sum[:]))
	return hex.EncodeToString(mac.Sum(text[:0]))
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// encode joins parameters sorted by name, percent-encoded by RFC 3986. A space is %20 in a query and + in a form.
func encode(params map[string]string, space string) []byte {
	b := make([]byte, 0, 512)
	for i, name := range sortedNames(params) {
		if i > 0 {
			b = append(b, '&')
		}
		b = escape(b, name, space)
		b = append(b, '=')
		b = escape(b, params[name], space)
	}
	return b
}

// sortedNames is slices.Sorted of the keys, in one piece of memory.
func sortedNames(of map[string]string) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func escape(b []byte, s, space string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		case c == ' ':
			b = append(b, space...)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}
