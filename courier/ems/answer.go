package ems

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode"

	"emsd/courier"
)

// Interfaces that are called (§2).
const (
	apiLabel     = "010004"
	apiNumbers   = "020002"
	apiOrder     = "020003"
	apiCancel    = "020006"
	apiTrace     = "040001"
	apiPush      = "040002"
	apiPostage   = "050001"
	apiBills     = "050002"
	apiBillLines = "050006"
	apiEstimate  = "050005"
	apiParse     = "060001"
	apiReachable = "060002"
)

// apis are the interfaces that the client calls, for the metrics.
var apis = []string{apiLabel, apiNumbers, apiOrder, apiCancel, apiTrace, apiPostage, apiBills, apiBillLines, apiEstimate, apiParse, apiReachable}

var (
	errEmpty = errors.New("the answer is empty")
	errHTML  = errors.New("the answer is a page, not JSON")
	errShape = errors.New("the answer is not whole JSON with a retCode")
)

// An answer is the envelope of §1.5, its values as they stand in the body. It lives as long as the body's buffer.
type answer struct {
	code, msg, serial, body []byte
}

// A class says what an answer's code means (§1.6).
type class int

const (
	success class = iota
	refusal       // B…: asking again changes nothing
	trouble       // S…: EMS could not, just now
	strange       // anything else: it may mean anything
)

// parse finds the envelope's values. Of retBody it sees only where it ends.
func (a *answer) parse(b []byte) error {
	b = trim(b)
	switch {
	case len(b) == 0:
		return errEmpty
	case b[0] == '<':
		return errHTML
	}
	err := eachField(b, func(key, raw []byte) {
		switch string(key) {
		case "retCode":
			a.code = raw
		case "retMsg":
			a.msg = raw
		case "serialNo":
			a.serial = raw
		case "retBody":
			a.body = raw
		}
	})
	if err != nil || string(a.code) != okCode && text(a.code) == "" {
		return errShape
	}
	return nil
}

const okCode = `"00000"` // as it always stood; compared first, without a copy

// class compares with 00000 alone and goes by the first letter beyond it: the real refusal has four digits where the
// document has five.
func (a *answer) class() class {
	if string(a.code) == okCode {
		return success
	}
	switch code := strings.TrimSpace(text(a.code)); {
	case code == "00000":
		return success
	case strings.HasPrefix(code, "B"):
		return refusal
	case strings.HasPrefix(code, "S"):
		return trouble
	}
	return strange
}

// retCode and serialNo are kept with an error, so that they are bounded and plain.
func (a *answer) retCode() string  { return plain(text(a.code), 16) }
func (a *answer) serialNo() string { return plain(text(a.serial), 64) }

// meaning gives what callers tell apart among refusals. EMS has one code for all, so that only the text says; the first
// is real, those of 050001 are of the same house's older vocabulary.
func (a *answer) meaning(api string) error {
	msg := text(a.msg)
	switch {
	case api == apiLabel && strings.Contains(msg, "查询预告失败"):
		return courier.ErrNoOrder
	case (api == apiPostage || api == apiBills) && (strings.Contains(msg, "无数据") || strings.Contains(msg, "没有找到")):
		return courier.ErrNotFound
	}
	return nil
}

func plain(s string, longest int) string {
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_') {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), longest)]
}

// scrub makes one of the carrier's sentences fit for logs and cases. EMS may quote what was sent: every piece of some
// characters that stands in a private value is taken out, and so is every run of seven digits or more. The rest
// is one line of at most 200 characters.
func scrub(s string, private []string) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	runes = runes[:min(len(runes), 1000)]
	hide := make([]bool, len(runes))
	for _, p := range private {
		hideCommon(runes, []rune(p), hide)
	}
	hideDigits(runes, hide)

	var b strings.Builder
	for i, n := 0, 0; i < len(runes) && n < 200; i++ {
		switch {
		case !hide[i] && !unicode.IsPrint(runes[i]):
			continue
		case !hide[i]:
			b.WriteRune(runes[i])
		case i == 0 || !hide[i-1]:
			b.WriteRune('…')
		default:
			continue
		}
		n++
	}
	return b.String()
}

// hideCommon marks what s shares with a private value: three characters on end, six of a phone number, or all of it
// when it is shorter.
func hideCommon(s, private []rune, hide []bool) {
	n := min(len(private), 3)
	if !slices.ContainsFunc(private, unicode.IsLetter) {
		n = min(len(private), 6)
	}
	if n == 0 {
		return
	}
	pieces := make(map[string]bool, len(private))
	for i := 0; i+n <= len(private); i++ {
		pieces[string(private[i:i+n])] = true
	}
	for i := 0; i+n <= len(s); i++ {
		if pieces[string(s[i:i+n])] {
			for j := i; j < i+n; j++ {
				hide[j] = true
			}
		}
	}
}

func hideDigits(s []rune, hide []bool) {
	from := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && unicode.IsDigit(s[i]) {
			continue
		}
		for j := from; i-from >= 7 && j < i; j++ {
			hide[j] = true
		}
		from = i + 1
	}
}

// object reads the object that retBody is or holds, also when it is the only item of an array.
func (a *answer) object(f func(key, raw []byte)) (found bool, err error) {
	value, _, ok := unwrap(a.body, nil)
	switch {
	case !ok:
		return false, errBody
	case value == nil:
		return false, nil
	case value[0] == '{':
		return true, bodyError(eachField(value, f))
	}
	n := 0
	var inner error
	err = eachItem(value, func(raw []byte) {
		if n++; n == 1 {
			item, _, _ := unwrap(raw, nil)
			inner = eachField(item, f)
		}
	})
	if err != nil || inner != nil || n > 1 {
		return false, errBody
	}
	return n == 1, nil
}

var errBody = errors.New("the answer's retBody cannot be read")

func bodyError(err error) error {
	if err != nil {
		return errBody
	}
	return nil
}

// bodyText is retBody as a plain text.
func (a *answer) bodyText() []byte {
	raw := trim(a.body)
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	return bytes.TrimSpace(appendUnquoted(nil, raw))
}
