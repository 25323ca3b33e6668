package courier

import "time"

// beijing is where the rules apply and where every day begins. A fixed offset: China has had no daylight saving since
// 1991, and a machine without time zone data must not decide otherwise.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// Rules that this service enforces. The sentences of the notice of 10 July 2017 stand in Sentences.
const (
	RuleRoute        = "R-08"
	RuleStation      = "R-09"
	RulePayer        = "R-10"
	RuleCarrier      = "R-11"
	RuleConsent      = "R-13"
	RuleOnline       = "R-15"
	RuleUnclassified = "R-17"
	RuleBusiness     = "R-20"
)

// Sentences holds the notice's own words for each rule that a refusal may name.
var Sentences = map[string]string{
	RuleRoute:        "寄递到家的服务仅限持卡人到派出所办理或网申“卡换证”时可享受",
	RuleStation:      "流管站暂未开通寄递服务",
	RulePayer:        "寄递费用需办理人自行支付",
	RuleCarrier:      "寄递单位目前只有EMS一家",
	RuleConsent:      "可在“北京市居住证服务平台”上或派出所现场选择居住证快递寄送到家",
	RuleOnline:       "以“在京合法稳定住所”条件…身份信息和…地址均未发生变化的",
	RuleUnclassified: "到选定的居住证网约受理窗口…也可到居住地派出所",
	RuleBusiness:     "居住证快递寄送到家 … 延期签注",
}

// CarrierEMS is the carrier that every delivery is judged for.
const CarrierEMS = "ems"

// Classes of a station: who answers for what is handled there.
const (
	ClassPoliceStation       = "police_station"
	ClassRegistrationStation = "registration_station"
	ClassUnclassified        = "unclassified"
)

// Kinds of a station.
const (
	KindPoliceStation       = "police_station"
	KindRegistrationStation = "registration_station"
	KindBookedWindow        = "booked_window"
)

// A Station is where applications are handled, and where an envelope comes back to.
type Station struct {
	Code       string
	Name       string
	Kind       string
	OperatedBy string // of a booked window: police_station or registration_station
	SenderName string
	Phone      string
	Province   string
	City       string
	County     string
	Address    string
	Hours      string // office hours: 09:00-12:00,13:30-17:00; empty: 09:00-17:00
}

// Class is whose rules apply to the station: a booked window counts as the institution that runs it.
func (s Station) Class() string {
	institution := s.Kind
	if s.Kind == KindBookedWindow {
		institution = s.OperatedBy
	}
	switch institution {
	case ClassPoliceStation, ClassRegistrationStation:
		return institution
	}
	return ClassUnclassified
}

// A Policy allows Value for Subject under Rule from ValidFrom until before ValidTo (zero: open). What no policy in
// force names is refused.
type Policy struct {
	Rule      string
	Subject   string
	Value     string
	ValidFrom time.Time
	ValidTo   time.Time
	Note      string
}

// A Judgement says whether a delivery may be made, and if not, by which rule.
type Judgement struct {
	Allowed  bool
	Rule     string
	Sentence string // of the rule, the notice's own words
	Reason   string // plain Chinese: what about this application; no personal data
}

// Text is what a refusal keeps: the reason with the sentence it rests on.
func (j Judgement) Text() string { return j.Reason + "（" + j.Rule + "：" + j.Sentence + "）" }

// Judge decides whether the permit of an application may be sent, by the policies in force at now. The first rule
// that says no is the one named, from the most general to the most particular:
//
//	R-20 business, R-09 registration station by route and by station, R-17 unclassified window, R-08 other routes,
//	R-13 consent, R-15 online conditions, R-10 payer, R-11 carrier
//
// It takes the application as checked by Validate: an empty business or route is a fault there, not a refusal.
func Judge(a Application, st Station, policies []Policy, now time.Time) Judgement {
	allows := func(rule, subject, value string) bool { return Allowed(policies, rule, subject, value, now) }
	class := st.Class()
	switch {
	case !allows(RuleBusiness, "business", a.Business):
		return refuse(RuleBusiness, "只有“卡换证”（exchange）核发的居住证可以寄递，延期签注、信息变更等业务不寄递")
	case a.Route == RouteRegistrationStation && !allows(RuleStation, "station", ClassRegistrationStation):
		return refuse(RuleStation, "该业务由流管站受理，不能寄递，请申请人到受理点领取")
	case class == ClassRegistrationStation && !allows(RuleStation, "station", class):
		return refuse(RuleStation, "受理点是流管站或由流管站开办的窗口，不能寄递，请申请人到受理点领取")
	case class == ClassUnclassified:
		return refuse(RuleUnclassified, "网约受理窗口未登记由哪类机构开办，不能寄递；请管理员补全受理点资料")
	case class == ClassPoliceStation && !allows(RuleStation, "station", class):
		return refuse(RuleStation, "目前没有允许派出所受理点寄递的有效规定")
	case a.Route != RouteRegistrationStation && !allows(RuleRoute, "route", a.Route):
		return refuse(RuleRoute, "受理渠道不是派出所办理（police_station）或网上申请（online），不能寄递")
	case a.Consent.Source == "" || a.Consent.At.IsZero():
		return refuse(RuleConsent, "没有申请人选择寄递的记录（同意来源与同意时间），不能寄递")
	case !allows(RuleConsent, "consent_source", a.Consent.Source):
		return refuse(RuleConsent, "寄递须由申请人在居住证服务平台（platform）或派出所现场（counter）选择")
	case a.Route == RouteOnline && !allows(RuleOnline, "online_ground", a.Ground):
		return refuse(RuleOnline, "网上办理“卡换证”限以合法稳定住所（residence）条件申领")
	case a.Route == RouteOnline && !allows(RuleOnline, "online_change", changeOf(a)):
		return refuse(RuleOnline, "网上办理“卡换证”要求身份信息和居住地址均未变化")
	case !allows(RulePayer, "payer", payerOf(a.PaymentMethod)):
		return refuse(RulePayer, "寄递费用须由办理人支付：预付（prepaid）或收件时付（collect）")
	case !CarrierAllowed(policies, CarrierEMS, now):
		return refuse(RuleCarrier, "目前没有允许由EMS寄递的有效规定")
	}
	return Judgement{Allowed: true}
}

func refuse(rule, reason string) Judgement {
	return Judgement{Rule: rule, Sentence: Sentences[rule], Reason: reason}
}

// Allowed reports whether a policy in force at now names the value.
func Allowed(policies []Policy, rule, subject, value string, now time.Time) bool {
	for _, p := range policies {
		if p.Rule == rule && p.Subject == subject && p.Value == value && inForce(p.ValidFrom, p.ValidTo, now) {
			return true
		}
	}
	return false
}

// CarrierAllowed reports whether a carrier may take permits at now.
func CarrierAllowed(policies []Policy, carrier string, now time.Time) bool {
	return Allowed(policies, RuleCarrier, "carrier", carrier, now)
}

func changeOf(a Application) string {
	if a.IdentityChanged || a.AddressChanged {
		return "changed"
	}
	return "unchanged"
}

// payerOf says whose money a payment method is. Both methods known are the applicant's.
func payerOf(method string) string {
	switch method {
	case Prepaid, Collect:
		return "applicant"
	}
	return "other"
}

// secondLine repeats constraint i1_exchange_with_consent: a policy row that opens more than the schema knows (a
// registration station, some day) must refuse that application, not break the batch it stands in. Opening it for
// good needs a migration, on purpose.
func secondLine(a Application, st Station) Judgement {
	switch {
	case a.Business != Exchange:
		return refuse(RuleBusiness, "该业务类型尚未开通寄递")
	case a.Route == RouteRegistrationStation || st.Class() != ClassPoliceStation:
		return refuse(RuleStation, "流管站的寄递尚未开通")
	case a.Route != RoutePoliceStation && a.Route != RouteOnline:
		return refuse(RuleRoute, "该受理渠道尚未开通寄递")
	case a.PaymentMethod != Prepaid && a.PaymentMethod != Collect:
		return refuse(RulePayer, "该付费方式尚未开通")
	}
	return Judgement{Allowed: true}
}
