package courier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/courier/vault"
)

// maxApplication is more than the longest valid application takes, and little enough to parse thousands at once.
const maxApplication = 64 << 10

// A field is one value of an application: where it stands in the JSON, its column in tables, and where it goes.
// Exactly one of text, secret, flag and moment is set.
type field struct {
	path    string // in the JSON, and in faults
	column  string // English heading; empty: JSON only
	chinese string // Chinese heading
	text    func(*Application) *string
	secret  func(*Application) *vault.Secret
	flag    func(*Application) *bool
	moment  func(*Application) *time.Time
}

var fields = []field{
	{path: "permit_no", column: "permit_no", chinese: "居住证编号", text: func(a *Application) *string { return &a.PermitNo }},
	{path: "application_no", column: "application_no", chinese: "申请编号", text: func(a *Application) *string { return &a.ApplicationNo }},
	{path: "business", column: "business", chinese: "业务类型", text: func(a *Application) *string { return &a.Business }},
	{path: "route", column: "route", chinese: "受理渠道", text: func(a *Application) *string { return &a.Route }},
	{path: "ground", column: "ground", chinese: "申领条件", text: func(a *Application) *string { return &a.Ground }},
	{path: "identity_changed", column: "identity_changed", chinese: "身份变更", flag: func(a *Application) *bool { return &a.IdentityChanged }},
	{path: "address_changed", column: "address_changed", chinese: "住址变更", flag: func(a *Application) *bool { return &a.AddressChanged }},
	{path: "station_code", column: "station_code", chinese: "受理点编码", text: func(a *Application) *string { return &a.StationCode }},
	{path: "consent.source", column: "consent_source", chinese: "同意来源", text: func(a *Application) *string { return &a.Consent.Source }},
	{path: "consent.at", column: "consent_at", chinese: "同意时间", moment: func(a *Application) *time.Time { return &a.Consent.At }},
	{path: "consent.notice_version", text: func(a *Application) *string { return &a.Consent.NoticeVersion }},
	{path: "approved_at", column: "approved_at", chinese: "批准时间", moment: func(a *Application) *time.Time { return &a.ApprovedAt }},
	{path: "payment_method", column: "payment_method", chinese: "付费方式", text: func(a *Application) *string { return &a.PaymentMethod }},
	{path: "recipient.name", column: "name", chinese: "姓名", secret: func(a *Application) *vault.Secret { return &a.Recipient.Name }},
	{path: "recipient.phone", column: "phone", chinese: "手机", secret: func(a *Application) *vault.Secret { return &a.Recipient.Phone }},
	{path: "recipient.id_no", column: "id_no", chinese: "身份证号", secret: func(a *Application) *vault.Secret { return &a.Recipient.IDNo }},
	{path: "recipient.province", column: "province", chinese: "省", text: func(a *Application) *string { return &a.Recipient.Province }},
	{path: "recipient.city", column: "city", chinese: "市", text: func(a *Application) *string { return &a.Recipient.City }},
	{path: "recipient.county", column: "county", chinese: "区县", text: func(a *Application) *string { return &a.Recipient.County }},
	{path: "recipient.address", column: "address", chinese: "详细地址", secret: func(a *Application) *vault.Secret { return &a.Recipient.Address }},
	{path: "recipient.language", column: "language", chinese: "语言", text: func(a *Application) *string { return &a.Recipient.Language }},
}

var fieldByPath = func() map[string]*field {
	m := map[string]*field{}
	for i := range fields {
		m[fields[i].path] = &fields[i]
	}
	return m
}()

// ParseApplication reads one JSON object, as posted or as a line of JSONL. It refuses unknown and repeated fields by
// name, wrong types, invalid UTF-8 and anything behind the object. The faults are those of the form alone; Validate
// and the database say the rest, so hand both results to Submit to have every fault told at once.
func ParseApplication(line []byte) (Application, Faults) {
	var a Application
	line = bytes.TrimPrefix(line, []byte("\ufeff"))
	if f := checkText(line); f != nil {
		return a, f
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(line)), app: &a, seen: map[string]bool{}}
	p.dec.UseNumber()
	if t, _ := p.dec.Token(); t != json.Delim('{') {
		return a, Faults{{"", "json", "应为一个 JSON 对象"}}
	}
	p.object("")
	for _, f := range fields {
		if f.flag != nil && !p.seen[f.path] {
			p.faults = append(p.faults, Fault{f.path, "required", "请填写 true 或 false"})
		}
	}
	return a, inOrder(p.faults)
}

// checkText makes sure that the bytes are one JSON value, so that the walk over its tokens cannot fail.
func checkText(line []byte) Faults {
	if len(line) > maxApplication {
		return Faults{{"", "too_long", fmt.Sprintf("一条申请不能超过%d字节", maxApplication)}}
	}
	if !utf8.Valid(line) {
		return Faults{{"", "invalid_utf8", "不是有效的 UTF-8 文本，请以 UTF-8 编码重新导出"}}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(line, &whole); err != nil {
		detail := "不是完整的 JSON 对象"
		if s, ok := err.(*json.SyntaxError); ok {
			detail += fmt.Sprintf("：第%d字节处有误", s.Offset)
		}
		return Faults{{"", "json", detail}}
	}
	return nil
}

// A parser walks over the tokens of valid JSON.
type parser struct {
	dec    *json.Decoder
	app    *Application
	seen   map[string]bool
	faults Faults
}

func (p *parser) fault(path, code, detail string) {
	p.faults = append(p.faults, Fault{path, code, detail})
}

// object reads the members of an object whose opening brace is read already.
func (p *parser) object(prefix string) {
	for p.dec.More() {
		t, _ := p.dec.Token()
		name, _ := t.(string)
		path := prefix + name
		f := fieldByPath[path]
		group := prefix == "" && (name == "consent" || name == "recipient")
		switch {
		case f == nil && !group:
			p.fault(prefix+ShownName(name), "unknown_field", "没有这个字段，请核对名称")
			p.skip()
		case p.seen[path]:
			p.fault(path, "duplicate", "该字段出现了两次")
			p.skip()
		default:
			p.seen[path] = true
			if group {
				p.group(path)
			} else {
				p.value(f)
			}
		}
	}
	p.dec.Token() // the closing brace
}

// group reads consent or recipient; null counts as missing.
func (p *parser) group(path string) {
	switch t, _ := p.dec.Token(); t {
	case json.Delim('{'):
		p.object(path + ".")
	case nil:
	default:
		p.fault(path, "type", "应为一个 JSON 对象")
		p.finish(t)
	}
}

// value reads one field; null counts as missing.
func (p *parser) value(f *field) {
	t, _ := p.dec.Token()
	if t == nil {
		p.seen[f.path] = f.flag == nil
		return
	}
	s, isText := t.(string)
	switch {
	case f.flag != nil:
		b, ok := t.(bool)
		if !ok {
			p.fault(f.path, "type", "应为 true 或 false，不加引号")
		}
		*f.flag(p.app) = b
	case !isText:
		p.fault(f.path, "type", "应为带引号的字符串")
	case f.moment != nil:
		at, err := time.Parse(time.RFC3339, s)
		if err != nil && s != "" {
			p.fault(f.path, "format", "时间应写作 2026-11-22T09:00:00+08:00")
		}
		*f.moment(p.app) = at
	case f.secret != nil:
		*f.secret(p.app) = vault.Conceal(s)
	default:
		*f.text(p.app) = s
	}
	p.finish(t)
}

// skip reads over one value of any kind.
func (p *parser) skip() {
	t, _ := p.dec.Token()
	p.finish(t)
}

// finish reads on to the end of the array or object that t opens; by counting, for its depth is a stranger's choice.
func (p *parser) finish(t json.Token) {
	depth := 0
	for {
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth <= 0 {
			return
		}
		var err error
		if t, err = p.dec.Token(); err != nil {
			return
		}
	}
}

// ShownName shortens a stranger's field name and takes out what a log or a terminal could stumble over.
func ShownName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unwritable(r) || r == '.' || r == '/' {
			return '?'
		}
		return r
	}, name)
	if r := []rune(name); len(r) > 40 {
		name = string(r[:40]) + "…"
	}
	return name
}

// inOrder sorts faults into the order of the fields, unknown ones last.
func inOrder(faults Faults) Faults {
	rank := func(f Fault) int {
		i := slices.IndexFunc(fields, func(x field) bool { return x.path == f.Field })
		if i < 0 {
			return len(fields)
		}
		return i
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return rank(a) - rank(b) })
	return faults
}

// merge adds the faults that further checks found in fields about which nothing is said yet.
func merge(first, more Faults) Faults {
	all := slices.Clone(first)
	for _, f := range more {
		if !slices.ContainsFunc(first, func(x Fault) bool { return x.Field == f.Field }) {
			all = append(all, f)
		}
	}
	return inOrder(all)
}
