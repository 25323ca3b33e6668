package ems

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// EMS answers JSON in which a value may be a string, a number or JSON inside a string, as the interface and the year
// will have it (§1.5). The functions here walk such a text without reflection: an answer that has not changed is
// recognised by its raw bytes, and one that has is read once, field by field, each as the text that it amounts to.

var errJSON = errors.New("not well-formed JSON")

// maxDepth of nested values; real answers have four.
const maxDepth = 32

// trim takes white space off both ends, and a byte order mark off the front.
func trim(b []byte) []byte {
	b = bytes.TrimPrefix(bytes.Trim(b, " \t\r\n\x00"), []byte("\xef\xbb\xbf"))
	return bytes.Trim(b, " \t\r\n")
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString gives the place after the string that opens at b[i], or -1 when it does not end.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skipValue gives the place after the value that begins at b[i], or -1. Of nested values only the strings and the
// brackets are looked at: they are read when they are wanted.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	from := i
	for i < len(b) && strings.IndexByte(",]}: \t\r\n\"{[", b[i]) < 0 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

func skipNested(b []byte, i int) int {
	var closing [maxDepth]byte
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			if depth == maxDepth {
				return -1
			}
			closing[depth] = b[i] + 2 // '}' and ']' stand two after their opening brackets
			depth++
		case '}', ']':
			if depth--; closing[depth] != b[i] {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// eachField calls f with each key and raw value of the object that is all of b. A key that stands twice is given twice.
func eachField(b []byte, f func(key, raw []byte)) error {
	if len(b) == 0 || b[0] != '{' {
		return errJSON
	}
	i := skipSpace(b, 1)
	if i < len(b) && b[i] == '}' {
		return atEnd(b, i+1)
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return errJSON
		}
		end := skipString(b, i)
		if end < 0 {
			return errJSON
		}
		key := b[i+1 : end-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = appendUnquoted(nil, b[i:end])
		}
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			return errJSON
		}
		i = skipSpace(b, i+1)
		if end = skipValue(b, i); end < 0 {
			return errJSON
		}
		f(key, b[i:end])
		if i = skipSpace(b, end); i >= len(b) {
			return errJSON
		}
		switch b[i] {
		case '}':
			return atEnd(b, i+1)
		case ',':
			i = skipSpace(b, i+1)
		default:
			return errJSON
		}
	}
}

// eachItem calls f with each raw value of the array that is all of b.
func eachItem(b []byte, f func(raw []byte)) error {
	if len(b) == 0 || b[0] != '[' {
		return errJSON
	}
	i := skipSpace(b, 1)
	if i < len(b) && b[i] == ']' {
		return atEnd(b, i+1)
	}
	for {
		end := skipValue(b, i)
		if end < 0 {
			return errJSON
		}
		f(b[i:end])
		if i = skipSpace(b, end); i >= len(b) {
			return errJSON
		}
		switch b[i] {
		case ']':
			return atEnd(b, i+1)
		case ',':
			i = skipSpace(b, i+1)
		default:
			return errJSON
		}
	}
}

func atEnd(b []byte, i int) error {
	if skipSpace(b, i) != len(b) {
		return errJSON
	}
	return nil
}

// appendUnquoted appends what the JSON string raw says. Escapes that JSON does not have stand for themselves.
func appendUnquoted(dst, raw []byte) []byte {
	in := raw[1 : len(raw)-1]
	for len(in) > 0 {
		i := bytes.IndexByte(in, '\\')
		if i < 0 || i+1 >= len(in) {
			return append(dst, in...)
		}
		dst = append(dst, in[:i]...)
		c := in[i+1]
		in = in[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, in = unquoteRune(in)
			dst = utf8.AppendRune(dst, r)
		default: // " \ / and whatever else
			dst = append(dst, c)
		}
	}
	return dst
}

// unquoteRune reads the digits after \u, and the second half of a pair.
func unquoteRune(in []byte) (rune, []byte) {
	r, ok := hex4(in)
	if !ok {
		return utf8.RuneError, in
	}
	in = in[4:]
	if !utf16.IsSurrogate(r) {
		return r, in
	}
	if len(in) >= 6 && in[0] == '\\' && in[1] == 'u' {
		if low, ok := hex4(in[2:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, in[6:]
			}
		}
	}
	return utf8.RuneError, in
}

func hex4(in []byte) (rune, bool) {
	if len(in) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range in[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// text gives a scalar as the text it amounts to: a string unquoted, a number as written, null and nested values "".
// What PostgreSQL could not store (broken UTF-8, NUL) is taken out.
func text(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '{', '[':
		return ""
	case '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			return clean(string(raw[1 : len(raw)-1]))
		}
		return clean(string(appendUnquoted(nil, raw)))
	}
	if string(raw) == "null" {
		return ""
	}
	return clean(string(raw))
}

func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// unwrap gives the object or array that raw is or holds in a string, or nil when there is none: "" and null, and,
// with ok false, anything else. The answer lies in raw or in scratch, whose grown form comes back too.
func unwrap(raw, scratch []byte) (value, grown []byte, ok bool) {
	for range 3 {
		raw = trim(raw)
		switch {
		case len(raw) == 0 || string(raw) == "null":
			return nil, scratch, true
		case raw[0] == '{' || raw[0] == '[':
			return raw, scratch, true
		case raw[0] != '"' || len(raw) < 2 || raw[len(raw)-1] != '"':
			return nil, scratch, false
		}
		from := len(scratch)
		scratch = appendUnquoted(scratch, raw)
		raw = scratch[from:]
	}
	return nil, scratch, false
}
