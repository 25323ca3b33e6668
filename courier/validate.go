package courier

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clockSkew is how far ahead of ours the permit system's clock may be.
const clockSkew = 5 * time.Minute

// Limits of the carrier (dossier section 2.1) and of what is stored.
const (
	maxNumber      = 50
	maxWord        = 50
	maxName        = 50
	minAddress     = 5
	maxAddress     = 200
	maxTransaction = 64
)

// grounds are the three of R-14; which of them an application rests on is the permit system's decision.
var grounds = []string{"residence", "employment", "study"}

// Validate tells everything that is wrong with a normalised application except what only the database knows (its
// station, its tariff). No fault quotes a value: they go into logs, tables and answers.
func Validate(a Application, now time.Time) Faults {
	var c checker
	c.number("permit_no", a.PermitNo, "居住证编号")
	c.number("application_no", a.ApplicationNo, "申请编号")
	c.word("business", a.Business, "业务类型，例如 exchange")
	c.word("route", a.Route, "受理渠道：police_station、online 或 registration_station")
	c.oneOf("ground", a.Ground, grounds)
	c.number("station_code", a.StationCode, "受理点编码")
	c.consent(a.Consent, now)
	c.moment("approved_at", a.ApprovedAt, now, "批准时间")
	c.word("payment_method", a.PaymentMethod, "付费方式：prepaid 或 collect")
	c.recipient(a.Recipient, now)
	return c.faults
}

// A checker collects faults.
type checker struct{ faults Faults }

func (c *checker) add(field, code, detail string) {
	c.faults = append(c.faults, Fault{field, code, detail})
}

// number checks an identifier given by another system.
func (c *checker) number(field, s, name string) {
	switch {
	case s == "":
		c.add(field, "required", "请填写"+name)
	case len(s) > maxNumber || !plainNumber(s):
		c.add(field, "format", fmt.Sprintf("%s只能由字母、数字和连字符组成，最多%d位", name, maxNumber))
	}
}

func plainNumber(s string) bool {
	for _, r := range s {
		if !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-') {
			return false
		}
	}
	return true
}

// word checks a value that the rules judge: whether it is a known one is not decided here.
func (c *checker) word(field, s, hint string) {
	switch {
	case s == "":
		c.add(field, "required", "请填写"+hint)
	case !printable(s, maxWord):
		c.add(field, "format", "应为"+hint)
	}
}

func (c *checker) oneOf(field, s string, values []string) {
	for _, v := range values {
		if s == v {
			return
		}
	}
	code := "unknown_value"
	if s == "" {
		code = "required"
	}
	c.add(field, code, "应为以下之一："+strings.Join(values, "、"))
}

func (c *checker) moment(field string, t, now time.Time, name string) {
	switch {
	case t.IsZero():
		c.add(field, "required", "请填写"+name+"，例如 2026-11-22T09:00:00+08:00")
	case t.After(now.Add(clockSkew)):
		c.add(field, "future", name+"晚于现在，请核对时间与时区")
	case t.Year() < 2000:
		c.add(field, "format", name+"过早，请核对")
	}
}

// consent accepts a missing one: that is a refusal by R-13, which is recorded, not a fault.
func (c *checker) consent(k Consent, now time.Time) {
	if k.Source != "" {
		c.word("consent.source", k.Source, "同意来源：platform 或 counter")
	}
	if !k.At.IsZero() {
		c.moment("consent.at", k.At, now, "同意时间")
	}
	if !printable(k.NoticeVersion, maxWord) {
		c.add("consent.notice_version", "format", fmt.Sprintf("告知书版本最多%d个字符，不能含控制字符", maxWord))
	}
}

func (c *checker) recipient(r Recipient, now time.Time) {
	c.name("recipient.name", r.Name.Reveal())
	c.phone("recipient.phone", r.Phone.Reveal())
	if f, ok := checkIDNo("recipient.id_no", r.IDNo.Reveal(), now); !ok {
		c.faults = append(c.faults, f)
	}
	c.destination("recipient.", r.Province, r.City, r.County, r.Address.Reveal())
	if r.Language != "" {
		c.oneOf("recipient.language", r.Language, []string{InChinese, InEnglish})
	}
}

// CheckDestination tells everything that is wrong with an address as posted.
func CheckDestination(to Recipient) Faults {
	to = normaliseRecipient(to)
	var c checker
	c.destination("", to.Province, to.City, to.County, to.Address.Reveal())
	return c.faults
}

// destination checks where the envelope goes; prefix is put before each field name.
func (c *checker) destination(prefix, province, city, county, address string) {
	c.faults = append(c.faults, checkDivision(prefix, province, city, county)...)
	field := prefix + "address"
	switch n := utf8.RuneCountInString(address); {
	case address == "":
		c.add(field, "required", "请填写区县以下的详细地址")
	case n < minAddress:
		c.add(field, "too_short", "详细地址过短，请写明街道、门牌和房号")
	case n > maxAddress:
		c.add(field, "too_long", fmt.Sprintf("详细地址超过%d个字，请缩短", maxAddress))
	case strings.ContainsFunc(address, unwritable):
		c.add(field, "character", "详细地址含有表情、控制字符或乱码，请重新填写")
	case !strings.ContainsFunc(address, unicode.IsLetter):
		c.add(field, "format", "详细地址只有数字或符号，请写明街道、门牌和房号")
	}
}

func (c *checker) phone(field, s string) {
	switch {
	case s == "":
		c.add(field, "required", "请填写收件人手机号")
	case len(s) != 11 || !digits(s) || s[0] != '1' || s[1] < '3':
		c.add(field, "format", "应为中国大陆11位手机号，例如以13至19开头")
	}
}

// name takes Han characters of every extension, letters, and the dot between the parts of a name.
func (c *checker) name(field, s string) {
	switch {
	case s == "":
		c.add(field, "required", "请填写收件人姓名")
	case utf8.RuneCountInString(s) > maxName:
		c.add(field, "too_long", fmt.Sprintf("姓名超过%d个字，请核对", maxName))
	case strings.ContainsFunc(s, privateUse):
		c.add(field, "character", "姓名含有自造字，面单无法打印，请改用国家标准编码的汉字")
	case strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) }):
		c.add(field, "character", "姓名只能包含汉字、字母和间隔号“·”，不能有数字、表情或控制字符")
	case !strings.ContainsFunc(s, unicode.IsLetter):
		c.add(field, "format", "姓名中没有文字，请核对")
	}
}

func nameRune(r rune) bool {
	switch r {
	case '·', ' ', '-', '\'', '.', '〇':
		return true
	}
	// Planes 2 and 3 are ideographs only; new extensions there are valid before Go's tables know them.
	return r >= 0x20000 && r <= 0x3FFFD || unicode.IsLetter(r)
}

func privateUse(r rune) bool { return unicode.Is(unicode.Co, r) }

// unwritable tells a character that a label cannot carry: control and format characters, private ones, the mark of
// broken text, emoji.
func unwritable(r rune) bool {
	if r >= 0x20000 && r <= 0x3FFFD {
		return false
	}
	return r == utf8.RuneError || r >= 0x1F000 && r <= 0x1FAFF || r >= 0xFE00 && r <= 0xFE0F || r >= 0x2600 && r <= 0x27BF ||
		!unicode.IsPrint(r)
}

func printable(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unwritable)
}
