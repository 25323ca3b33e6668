package notify

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"emsd/courier"
)

// titles name milestones in a clerk's language.
var titles = map[Milestone]string{
	PaymentDue:     "待缴邮费",
	HandedOver:     "已交寄",
	OutForDelivery: "派送中",
	AttemptFailed:  "投递未成功",
	Held:           "待领取",
	Delivered:      "已送达",
	Returned:       "已退回",
	Cancelled:      "已取消",

	HandedOverPassword:     "已交寄（签收密码）",
	OutForDeliveryPassword: "派送中（签收密码）",
}

// Title names a milestone for clerks.
func (m Milestone) Title() string { return titles[m.base()] }

// Facts are what a text may say beside the name.
type Facts struct {
	WaybillNo string
	DueFen    int64     // still to pay
	LastDay   time.Time // of collection, zero when unknown
	Password  string    // six digits; empty when the delivery has none
}

// Fields gives the variables of a text. fullName is masked here and goes no further.
func Fields(m Milestone, fullName string, f Facts) map[string]string {
	all := map[string]string{
		"name": maskName(fullName),
		"no":   strings.ReplaceAll(f.WaybillNo, "-", ""), // gateways refuse hyphens in numbers (A.3)
		"fee":  yuan(f.DueFen),
		"day":  dayIn(m.Language(), f.LastDay),
		"code": f.Password,
	}
	vars := make(map[string]string)
	for _, name := range Variables(m) {
		vars[name] = all[name]
	}
	return vars
}

func dayIn(language string, day time.Time) string {
	switch inEnglish := language == courier.InEnglish; {
	case day.IsZero() && inEnglish:
		return withoutDayEnglish
	case day.IsZero():
		return withoutDay
	case inEnglish:
		return day.In(beijing).Format("Jan 2")
	}
	return day.In(beijing).Format("1月2日")
}

// Render puts the variables into a text.
func Render(m Milestone, vars map[string]string) (string, error) {
	text, ok := texts[m]
	if !ok {
		return "", fmt.Errorf("render message: no text for milestone %q", m)
	}
	var missing []string
	filled := placeholder.ReplaceAllStringFunc(text.words, func(p string) string {
		name := p[2 : len(p)-1]
		if vars[name] == "" {
			missing = append(missing, name)
		}
		return vars[name]
	})
	if missing != nil {
		return "", fmt.Errorf("render message %s: no value for %s", m, strings.Join(missing, ", "))
	}
	return filled, nil
}

// maskName keeps the first character of a name. One beyond the basic plane is refused by gateways as an emoji would be
// (isv.UNSUPPORTED_CONTENT), and what is no letter says nothing, so such a name is not quoted at all.
func maskName(name string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimSpace(name))
	if first > 0xFFFF || !unicode.IsLetter(first) && first != '〇' {
		return "申请人"
	}
	return string(first) + "**"
}

func yuan(fen int64) string {
	if fen%100 == 0 {
		return strconv.FormatInt(fen/100, 10)
	}
	return fmt.Sprintf("%d.%02d", fen/100, fen%100)
}

// units counts what the carriers count: UTF-16 units of the signature in its brackets and of the text (dossier F).
func units(signature, text string) int {
	return len(utf16.Encode([]rune("【" + signature + "】" + text)))
}

// Segments counts the parts that the carriers bill for a signature, without its brackets, and a text: 70 units fit one,
// else 67 each.
func Segments(signature, text string) int {
	n := units(signature, text)
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}
