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

// skipString gives the place after the string that opens at b[i], or -1 when it does not end. Most strings hold no
// escape; retBody, which is JSON in a string, holds little else.
func skipString(b []byte, i int) int {
	i++
	n := bytes.IndexByte(b[i:], '"')
	if n < 0 {
		return -1
	}
	if n == 0 || bytes.IndexByte(b[i:i+n], '\\') < 0 {
		return i + n + 1
	}
	for ; i < len(b); i++ {
		if b[i] == '"' {
			return i + 1
		}
		if b[i] == '\\' {
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

// A cursor walks over a JSON text once. Its place is negative when the text is broken.
type cursor struct {
	b []byte
	i int
}

// take gives the raw value at the cursor and steps over it; nil when there is none.
func (c *cursor) take() []byte {
	if c.i < 0 {
		return nil
	}
	from := c.i
	if c.i = skipValue(c.b, from); c.i < 0 {
		return nil
	}
	return c.b[from:c.i]
}

// opens steps behind an opening bracket, or breaks.
func (c *cursor) opens(bracket byte) bool {
	if c.i < 0 || c.i >= len(c.b) || c.b[c.i] != bracket {
		c.i = -1
		return false
	}
	c.i = skipSpace(c.b, c.i+1)
	return true
}

// closes steps behind a closing bracket, or a comma, and says whether it was the bracket. Anything else breaks.
func (c *cursor) closes(bracket byte) bool {
	c.i = skipSpace(c.b, c.i)
	if c.i >= len(c.b) || c.b[c.i] != bracket && c.b[c.i] != ',' {
		c.i = -1
		return true
	}
	closed := c.b[c.i] == bracket
	c.i++
	if !closed {
		c.i = skipSpace(c.b, c.i)
	}
	return closed
}

// at says whether the byte at the cursor is c.
func (c *cursor) at(b byte) bool { return c.i >= 0 && c.i < len(c.b) && c.b[c.i] == b }

// fields walks over an object and calls f with each key, the cursor at its value. A value that f leaves is stepped
// over. A key that stands twice comes twice.
func (c *cursor) fields(f func(key []byte)) {
	if !c.opens('{') {
		return
	}
	if c.at('}') {
		c.i++
		return
	}
	for {
		if !c.at('"') {
			c.i = -1
			return
		}
		quoted := c.take()
		if quoted == nil {
			return
		}
		key := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = appendUnquoted(nil, quoted)
		}
		if c.i = skipSpace(c.b, c.i); !c.at(':') {
			c.i = -1
			return
		}
		c.i = skipSpace(c.b, c.i+1)
		before := c.i
		if f(key); c.i == before {
			c.take()
		}
		if c.i < 0 || c.closes('}') {
			return
		}
	}
}

// items walks over an array and calls f with the cursor at each item.
func (c *cursor) items(f func()) {
	if !c.opens('[') {
		return
	}
	if c.at(']') {
		c.i++
		return
	}
	for {
		before := c.i
		if f(); c.i == before {
			c.take()
		}
		if c.i < 0 || c.closes(']') {
			return
		}
	}
}

// end says whether the text was well-formed and is used up.
func (c *cursor) end() error {
	if c.i < 0 || skipSpace(c.b, c.i) != len(c.b) {
		return errJSON
	}
	return nil
}

// eachField calls f with each key and raw value of the object that is all of b.
func eachField(b []byte, f func(key, raw []byte)) error {
	c := cursor{b: b}
	c.fields(func(key []byte) {
		if raw := c.take(); raw != nil {
			f(key, raw)
		}
	})
	return c.end()
}

// eachItem calls f with each raw value of the array that is all of b.
func eachItem(b []byte, f func(raw []byte)) error {
	c := cursor{b: b}
	c.items(func() {
		if raw := c.take(); raw != nil {
			f(raw)
		}
	})
	return c.end()
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
