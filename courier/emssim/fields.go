package emssim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// call is one message that passed the outer checks.
type call struct {
	r     *http.Request
	all   []map[string]any // one element for every API that takes an object
	fault Fault
}

// api is one interface of the platform.
type api struct {
	array bool // the message is a JSON array; an object is 非法报文, and the other way round
	many  bool // the array may hold several
	run   func(*Carrier, call) answer
}

// apis are the interfaces that the simulator speaks; any other code is refused.
var apis map[string]api

func init() { // a variable that names methods which read it cannot be initialised in place
	apis = map[string]api{
		"010003":     {run: (*Carrier).sortingCode},
		"010004":     {run: (*Carrier).label},
		"020002":     {run: (*Carrier).reserveNumbers},
		"020003":     {run: (*Carrier).createOrder, array: true},
		"020004":     {run: (*Carrier).updateOrder},
		"020005":     {run: (*Carrier).subscribe},
		"020006":     {run: (*Carrier).cancelOrder},
		InterveneAPI: {run: (*Carrier).intervene},
		"040001":     {run: (*Carrier).trace},
		"050001":     {run: (*Carrier).charge},
		"050002":     {run: (*Carrier).bills},
		"050005":     {run: (*Carrier).estimate},
		"050006":     {run: (*Carrier).billLines},
		"060001":     {run: (*Carrier).parseAddresses, array: true, many: true},
		"060002":     {run: (*Carrier).reachable},
	}
}

// fields reads a message and keeps the first fault, named as EMS names its fields.
type fields struct {
	m     map[string]any
	path  string // prefix of names in faults: "receiver."
	fault string
}

func (f *fields) fail(name, what string) {
	if f.fault == "" {
		f.fault = f.path + name + what
	}
}

// text reads an optional scalar; strings and numbers are alike on this wire. Lengths count characters.
func (f *fields) text(name string, max int) string {
	var s string
	switch v := f.m[name].(type) {
	case nil:
	case string:
		s = strings.TrimSpace(v)
	case json.Number:
		s = v.String()
	default:
		f.fail(name, "格式不正确")
	}
	if utf8.RuneCountInString(s) > max {
		f.fail(name, "长度超限")
	}
	return s
}

// must reads a required scalar.
func (f *fields) must(name string, max int) string {
	s := f.text(name, max)
	if s == "" {
		f.fail(name, "不能为空")
	}
	return s
}

// oneOf reads an optional scalar with a closed list of values.
func (f *fields) oneOf(name string, allowed ...string) string {
	s := f.text(name, 50)
	if s != "" && !slices.Contains(allowed, s) {
		f.fail(name, "取值不正确")
	}
	return s
}

func (f *fields) mustOneOf(name string, allowed ...string) string {
	if f.must(name, 50) == "" {
		return ""
	}
	return f.oneOf(name, allowed...)
}

// number reads an optional decimal, not negative.
func (f *fields) number(name string) float64 {
	s := f.text(name, 30)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n > 1e9 || strings.ContainsAny(s, "xXpPnN_") {
		f.fail(name, "格式不正确")
		return 0
	}
	return n
}

func (f *fields) mustTime(name string) {
	s := f.must(name, 30)
	if s == "" {
		return
	}
	if _, err := time.ParseInLocation(wireTime, s, beijing); err != nil {
		f.fail(name, "格式不正确")
	}
}

// digits reads a telephone number: digits, hyphens and an international plus sign.
func (f *fields) digits(name, s string) {
	if s != "" && strings.Trim(s, "0123456789-+ ") != "" {
		f.fail(name, "格式不正确")
	}
}

// inner reads a nested object; its faults become this message's.
func (f *fields) inner(name string, read func(*fields)) {
	m, ok := f.m[name].(map[string]any)
	if !ok {
		f.fail(name, "不能为空")
		return
	}
	in := &fields{m: m, path: f.path + name + "."}
	read(in)
	if f.fault == "" {
		f.fault = in.fault
	}
}
