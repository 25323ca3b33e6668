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
	names := parsedTexts[m].names
	vars := make(map[string]string, len(names))
	for _, name := range names {
		switch name {
		case "name":
			vars[name] = maskName(fullName)
		case "no":
			vars[name] = strings.ReplaceAll(f.WaybillNo, "-", "") // gateways refuse hyphens in numbers (A.3)
		case "fee":
			vars[name] = yuan(f.DueFen)
		case "day":
			vars[name] = dayIn(m.Language(), f.LastDay)
		case "code":
			vars[name] = f.Password
		}
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
	text, ok := parsedTexts[m]
	if !ok {
		return "", fmt.Errorf("render message: no text for milestone %q", m)
	}
	var missing []string
	var filled strings.Builder
	for i, name := range text.names {
		if vars[name] == "" {
			missing = append(missing, name)
		}
		filled.WriteString(text.words[i])
		filled.WriteString(vars[name])
	}
	if missing != nil {
		return "", fmt.Errorf("render message %s: no value for %s", m, strings.Join(missing, ", "))
	}
	filled.WriteString(text.words[len(text.names)])
	return filled.String(), nil
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

// units counts what the carriers count: UTF-16 units (dossier F).
func units(text string) (n int) {
	for _, r := range text {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// signed counts a text with its signature, which stands in brackets.
func signed(signature, text string) int { return 2 + units(signature) + units(text) }

// Segments counts the parts that the carriers bill for a signature, without its brackets, and a text.
func Segments(signature, text string) int { return parts(signed(signature, text)) }

// segmentsOf is Segments of a text as Render fills it in.
func segmentsOf(signature string, m Milestone, vars map[string]string) int {
	text := parsedTexts[m]
	n := signed(signature, "") + text.units
	for _, name := range text.names {
		n += units(vars[name])
	}
	return parts(n)
}

// parts splits units as carriers do: 70 fit one message, else 67 each.
func parts(units int) int {
	if units <= 70 {
		return 1
	}
	return (units + 66) / 67
}
