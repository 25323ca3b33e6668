package notify

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// textVersion counts changes of the texts below; attempts keep it.
const textVersion = "1"

// hotline is for EMS delivery inquiries.
const hotline = "010-56421484"

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
func (m Milestone) Title() string { return titles[m] }

// texts are what residents read, in the notation in which they are registered with a gateway. None holds a link, an
// ID number or a mobile number; each fits one segment together with a signature of eight characters (dossier F).
var texts = map[Milestone]string{
	PaymentDue:     "${name}您好，您的居住证寄递费待缴${fee}元，请在居住证服务平台或受理派出所缴纳。咨询" + hotline,
	HandedOver:     "${name}您好，您的居住证已交EMS寄出，邮件号${no}。咨询" + hotline,
	OutForDelivery: "${name}您好，您的居住证（邮件${no}）正在派送，请备身份证件本人签收。咨询" + hotline,
	AttemptFailed:  "${name}您好，您的居住证邮件${no}本次投递未成功，将再次投递。可致电约定时间" + hotline,
	Held:           "${name}您好，您的居住证邮件${no}待领取，截止${day}，请带身份证件。查询" + hotline,
	Delivered:      "${name}您好，EMS登记您的居住证（邮件${no}）已签收。如未收到请速致电" + hotline,
	Returned:       "${name}您好，您的居住证邮件${no}未能送达，已退回受理派出所，请前往领取。咨询" + hotline,
	Cancelled:      "${name}您好，您的居住证寄递已取消，如已缴邮费将予退还。咨询" + hotline,

	HandedOverPassword:     "${name}您好，居住证已交EMS，邮件${no}，签收密码${code}，勿外传。咨询" + hotline,
	OutForDeliveryPassword: "${name}您好，居住证${no}正在派送，请凭证件和密码${code}本人签收。咨询" + hotline,
}

// Texts with the delivery password (密码投递), which the courier asks for at the door: it reaches the resident by these
// messages only. They are templates of their own at a gateway.
const (
	HandedOverPassword     Milestone = "handed_over_password"
	OutForDeliveryPassword Milestone = "out_for_delivery_password"
)

// PasswordTemplates lists the templates that deliveries with a password need beside those of the milestones.
var PasswordTemplates = []Milestone{HandedOverPassword, OutForDeliveryPassword}

// withPassword is the template for a milestone of a delivery that has a password.
func (m Milestone) withPassword() Milestone {
	switch m {
	case HandedOver:
		return HandedOverPassword
	case OutForDelivery:
		return OutForDeliveryPassword
	}
	return m
}

// withoutDay is for an envelope of which nobody said how long it waits.
const withoutDay = "以网点为准"

// HasText reports whether there is a text under this name: a milestone, or one of PasswordTemplates.
func (m Milestone) HasText() bool { return texts[m] != "" }

// Text gives the text of a milestone with its variables open, as it is registered with a gateway.
func Text(m Milestone) string { return texts[m] }

// placeholder is ${name} as Aliyun writes variables (dossier A.3).
var placeholder = regexp.MustCompile(`\$\{([a-z]+)\}`)

// Variables lists the variables of a milestone's text in order.
func Variables(m Milestone) []string {
	var names []string
	for _, found := range placeholder.FindAllStringSubmatch(texts[m], -1) {
		names = append(names, found[1])
	}
	return names
}

// longest gives the most characters that each variable can have.
var longest = map[string]int{
	"name": 3,
	"no":   13,
	"fee":  6, // 999.99
	"day":  6, // 12月31日
	"code": 6,
}

// LongestValue is the most characters that a variable of our texts can have; gateways have limits.
func LongestValue(variable string) int { return longest[variable] }

// Facts are what a text may say beside the name.
type Facts struct {
	WaybillNo string
	DueFen    int64     // still to pay
	LastDay   time.Time // of collection, zero when unknown
	Password  string    // six digits; empty when the delivery has none
}

// Fields gives the variables of a milestone's text. fullName is masked here and goes no further.
func Fields(m Milestone, fullName string, f Facts) map[string]string {
	all := map[string]string{
		"name": maskName(fullName),
		"no":   strings.ReplaceAll(f.WaybillNo, "-", ""), // gateways refuse hyphens in numbers (A.3)
		"fee":  yuan(f.DueFen),
		"day":  withoutDay,
		"code": f.Password,
	}
	if !f.LastDay.IsZero() {
		all["day"] = f.LastDay.In(beijing).Format("1月2日")
	}
	vars := make(map[string]string)
	for _, name := range Variables(m) {
		vars[name] = all[name]
	}
	return vars
}

// Render puts the variables into the text of a milestone.
func Render(m Milestone, vars map[string]string) (string, error) {
	text, ok := texts[m]
	if !ok {
		return "", fmt.Errorf("render message: no text for milestone %q", m)
	}
	var missing []string
	text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
		name := p[2 : len(p)-1]
		if vars[name] == "" {
			missing = append(missing, name)
		}
		return vars[name]
	})
	if missing != nil {
		return "", fmt.Errorf("render message %s: no value for %s", m, strings.Join(missing, ", "))
	}
	return text, nil
}

// maskName keeps the first character of a name. One beyond the basic plane is refused by gateways as an emoji would be
// (isv.UNSUPPORTED_CONTENT), so such a name is not quoted at all.
func maskName(name string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimSpace(name))
	if first == utf8.RuneError || first > 0xFFFF {
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

// Segments counts the parts that the carriers bill for a signature, without its brackets, and a text: 70 UTF-16 units
// fit one, else 67 each (dossier F).
func Segments(signature, text string) int {
	n := len(utf16.Encode([]rune("【" + signature + "】" + text)))
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}
