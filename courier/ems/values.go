package ems

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"emsd/courier"
)

// ErrNotSendable means that a message breaks the interface's own limits, so that it was refused here and not sent.
var ErrNotSendable = errors.New("refused before sending")

// checks collects what is wrong with a message before it is sent: every field at once, by name and never by value.
type checks struct {
	api    string
	faults []string
}

func (c *checks) wrong(field, why string) { c.faults = append(c.faults, field+": "+why) }

// text checks a String field. EMS counts as Java does, so a rare character beyond the first plane counts twice.
func (c *checks) text(field, value string, longest int) {
	switch {
	case strings.TrimSpace(value) == "":
		c.wrong(field, "empty")
	case !utf8.ValidString(value):
		c.wrong(field, "not UTF-8")
	case strings.ContainsFunc(value, unicode.IsControl):
		c.wrong(field, "holds a control character")
	case utf16Len(value) > longest:
		c.wrong(field, "longer than "+strconv.Itoa(longest)+" characters")
	}
}

func (c *checks) optional(field, value string, longest int) {
	if value != "" {
		c.text(field, value, longest)
	}
}

// code checks a number or a name without blanks.
func (c *checks) code(field, value string, longest int) {
	if !isPlain(value, longest) {
		c.wrong(field, "1 to "+strconv.Itoa(longest)+" plain characters are wanted")
	}
}

// err is the refusal, or nil. It has the kind that nothing was and nothing should be sent: asking again changes nothing.
func (c *checks) err() *courier.CarrierError {
	if len(c.faults) == 0 {
		return nil
	}
	return &courier.CarrierError{
		Kind: courier.RefusedByCarrier, API: c.api, Message: "not sent: " + strings.Join(c.faults, "; "), Err: ErrNotSendable,
	}
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// checkCode checks the only field of a message.
func checkCode(api, field, value string, longest int) *courier.CarrierError {
	if isCode(value, 1, longest) {
		return nil
	}
	c := checks{api: api}
	c.wrong(field, "1 to "+strconv.Itoa(longest)+" letters and digits are wanted")
	return c.err()
}

// refuse counts a refusal of our own.
func (c *Client) refuse(err *courier.CarrierError) error {
	c.metrics.outcome(err.API, err)
	return err
}

// marshal gives the exact bytes that are encrypted. Chinese and <>& go as they are (§1.4).
func marshal(message any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		panic(err) // strings and numbers only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// code is a scalar that identifies something, without blanks around it.
func code(raw []byte) string { return strings.TrimSpace(text(raw)) }

// cut keeps whole characters of at most so many bytes.
func cut(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	for longest > 0 && !utf8.RuneStart(s[longest]) {
		longest--
	}
	return s[:longest]
}

var errAmount = errors.New("not a decimal amount")

// hundredths reads a decimal text exactly: yuan become fen. More than two places must be zeros.
func hundredths(s string) (int64, error) {
	s = strings.TrimSpace(s)
	whole, rest, _ := strings.Cut(s, ".")
	digits, minus := strings.CutPrefix(whole, "-")
	rest = strings.TrimRight(rest, "0")
	if digits == "" || len(digits) > 12 || len(rest) > 2 || !onlyDigits(digits) || !onlyDigits(rest) {
		return 0, errAmount
	}
	n, err := strconv.ParseInt(digits+rest+"00"[len(rest):], 10, 64)
	if err != nil {
		return 0, errAmount
	}
	if minus {
		n = -n
	}
	return n, nil
}

func onlyDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}
