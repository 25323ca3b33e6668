package notify

import (
	"slices"
	"strings"

	"emsd/courier"
)

// Telephone numbers that texts give. R-21 is named with its hours, so it stands only where both fit.
const (
	hotline       = "010-56421484" // EMS delivery inquiries
	onlineHotline = "010-89735900" // about online applications
	onlineHours   = "9:00-18:00"   // daily
)

// A wording is what a text says in one language. The version changes with the words: an attempt keeps it, and a gateway has
// approved one version word for word.
type wording struct {
	version int
	words   string
}

// texts are what residents read, in the notation in which they are registered with Aliyun; docs/messages.md has them in
// every gateway's. A name is that of a milestone or of PasswordTemplates, and with .en behind it the English text.
//
// None holds a link, an ID number, a mobile number, or a promise that is not ours to make. A Chinese text fits one segment
// together with a signature of eight characters, an English one two: in the mainland its letters count like Chinese ones
// (dossier F), so it greets nobody by name.
var texts = map[Milestone]wording{
	PaymentDue:     {1, "${name}您好，您的居住证寄递费待缴${fee}元，请在居住证服务平台或受理派出所缴纳。咨询" + hotline},
	HandedOver:     {1, "${name}您好，您的居住证已交EMS寄出，邮件号${no}。咨询" + hotline},
	OutForDelivery: {1, "${name}您好，您的居住证（邮件${no}）正在派送，请备身份证件本人签收。咨询" + hotline},
	AttemptFailed:  {2, "${name}您好，您的居住证邮件${no}本次投递未成功，请致电" + hotline + "约定再次投递时间。"},
	Held:           {1, "${name}您好，您的居住证邮件${no}待领取，截止${day}，请带身份证件。查询" + hotline},
	Delivered:      {1, "${name}您好，EMS登记您的居住证（邮件${no}）已签收。如未收到请速致电" + hotline},
	Returned:       {1, "${name}您好，您的居住证邮件${no}未能送达，已退回受理派出所，请前往领取。咨询" + hotline},
	Cancelled:      {1, "${name}您好，您的居住证寄递已取消，如已缴邮费将予退还。咨询" + hotline},

	HandedOverPassword:     {1, "${name}您好，居住证已交EMS，邮件${no}，签收密码${code}，勿外传。咨询" + hotline},
	OutForDeliveryPassword: {1, "${name}您好，居住证${no}正在派送，请凭证件和密码${code}本人签收。咨询" + hotline},

	PaymentDue + english: {1, "Residence permit postage due: CNY ${fee}, online or at the police station. " + onlineHotline + " " + onlineHours + ", EMS " + hotline},
	HandedOver + english: {1, "Your residence permit is on its way by EMS, mail no. ${no}. Inquiries " + hotline},
	OutForDelivery + english: {1, "Your residence permit (EMS ${no}) arrives today. Please receive it yourself, with your ID. Inquiries " +
		hotline},
	AttemptFailed + english: {1, "EMS could not deliver your residence permit (${no}). Please call " + hotline + " to arrange another time."},
	Held + english:          {1, "Your residence permit (EMS ${no}) waits for collection. Last day: ${day}. Bring your ID. Inquiries " + hotline},
	Delivered + english:     {1, "EMS reports your residence permit (${no}) as delivered. If you do not have it, call " + hotline + " at once."},
	Returned + english:      {1, "Your residence permit (EMS ${no}) was not delivered. Collect it at the police station. Inquiries " + hotline},
	Cancelled + english:     {1, "The delivery of your residence permit was cancelled. Postage paid will be refunded. Inquiries " + hotline},

	HandedOverPassword + english:     {1, "Your residence permit is on its way by EMS, ${no}. Tell code ${code} only to the courier. Inquiries " + hotline},
	OutForDeliveryPassword + english: {1, "Your residence permit (EMS ${no}) arrives today. Show ID and code ${code} to the courier. Inquiries " + hotline},
}

// english ends the name of an English text.
const english = ".en"

// Texts with the delivery password (密码投递), which the courier asks for at the door: it reaches the resident by these
// messages only. They are templates of their own at a gateway.
const (
	HandedOverPassword     Milestone = "handed_over_password"
	OutForDeliveryPassword Milestone = "out_for_delivery_password"
)

// PasswordTemplates lists the templates that deliveries with a password need beside those of the milestones.
var PasswordTemplates = []Milestone{HandedOverPassword, OutForDeliveryPassword}

// Languages lists those that there are texts in, the language of everybody who chose none first.
var Languages = []string{courier.InChinese, courier.InEnglish}

// TextNames lists the names of all texts in one language, those with a password last and only when there are passwords.
func TextNames(language string, passwords bool) []Milestone {
	names := slices.Clone(Milestones)
	if passwords {
		names = append(names, PasswordTemplates...)
	}
	for i, m := range names {
		names[i] = m.In(language)
	}
	return names
}

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

// In names the text in a language.
func (m Milestone) In(language string) Milestone {
	if language == courier.InEnglish {
		return m.base() + english
	}
	return m.base()
}

// Language is that of a text's name.
func (m Milestone) Language() string {
	if strings.HasSuffix(string(m), english) {
		return courier.InEnglish
	}
	return courier.InChinese
}

// base is the name without its language.
func (m Milestone) base() Milestone {
	return Milestone(strings.TrimSuffix(string(m), english))
}

// HasText reports whether there is a text under this name.
func (m Milestone) HasText() bool { return texts[m].words != "" }

// Text gives a text with its variables open, as it is registered with Aliyun.
func Text(m Milestone) string { return texts[m].words }

// TextVersion counts how often the words of a text were changed.
func TextVersion(m Milestone) int { return texts[m].version }

// Numbered gives a text with its variables numbered, as it is registered with Tencent and 云MAS.
func Numbered(m Milestone) string {
	text := texts[m].words
	for i, name := range Variables(m) {
		text = strings.Replace(text, "${"+name+"}", "{"+string(rune('1'+i))+"}", 1)
	}
	return text
}
