package vault

import (
	"bytes"
	"crypto/subtle"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Hidden is what a Secret looks like wherever it is printed.
const Hidden = "［已隐去］"

var errSealFirst = errors.New("a secret leaves memory sealed only: seal it first (vault.Seal)")

// A Secret is a piece of personal data that cannot be printed, logged or marshalled in clear. The zero value is the
// empty secret.
//
// The text hangs on a pointer because fmt calls no methods on unexported fields: a struct that keeps its Secret
// private prints an address, not a name. For the same reason == would compare addresses; it does not compile, Equal is
// there instead.
type Secret struct {
	_    [0]func()
	text *string
}

// Conceal makes a Secret of s.
func Conceal(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{text: &s}
}

// Reveal is the only way out. Whoever calls it answers for where the text goes.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says that there is nothing in it.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal compares what two secrets hold, in time that depends on their lengths only.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// String gives Hidden, also for the empty secret.
func (s Secret) String() string { return Hidden }

// GoString gives Hidden.
func (s Secret) GoString() string { return Hidden }

// Format gives Hidden whatever the verb and flags.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Hidden) }

// LogValue gives Hidden.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Hidden) }

// MarshalJSON gives Hidden. It does not fail, so that a log line with a forgotten Secret still comes out.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(Hidden) }

// MarshalText gives Hidden; XML, YAML, TOML and the keys of JSON objects go this way.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// MarshalBinary is an error: binary forms are for keeping, and what is kept is sealed.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errSealFirst }

// GobEncode is an error, as MarshalBinary.
func (s Secret) GobEncode() ([]byte, error) { return nil, errSealFirst }

// GobDecode is an error: nothing writes such a stream.
func (s *Secret) GobDecode([]byte) error { return errSealFirst }

// Value is an error: a clear text must not become an SQL argument.
func (s Secret) Value() (driver.Value, error) { return nil, errSealFirst }

// UnmarshalJSON reads a JSON string, for intake. It is strict: nothing but a string, no invalid UTF-8 and no half
// surrogate (the decoder would store U+FFFD in a person's name), and not Hidden itself, which is a value that was
// printed once and lost. An error carries the name of the field (json.UnmarshalTypeError) and nothing of the value.
func (s *Secret) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '"' {
		return refuse(jsonKind(b))
	}
	if !utf8.Valid(b) {
		return refuse("string with invalid UTF-8")
	}
	var text string
	if json.Unmarshal(b, &text) != nil {
		return refuse("malformed string")
	}
	switch {
	case strings.ContainsRune(text, utf8.RuneError):
		return refuse("string with a replacement character (U+FFFD)")
	case text == Hidden:
		return refuse("string that was hidden when it was written")
	}
	*s = Conceal(text)
	return nil
}

func refuse(what string) error {
	return &json.UnmarshalTypeError{Value: what, Type: reflect.TypeFor[Secret]()}
}

func jsonKind(b []byte) string {
	if len(b) == 0 {
		return "nothing"
	}
	switch b[0] {
	case 'n':
		return "null"
	case 't', 'f':
		return "bool"
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return "number"
}
