package resident

import (
	"fmt"
	"strings"
	"time"

	"emsd/courier"
	"emsd/tracking"
)

// A Language is one that pages are written in.
type Language string

// The languages.
const (
	Chinese Language = courier.InChinese
	English Language = courier.InEnglish
)

// say gives the words in a language.
func (l Language) say(zh, en string) string {
	if l == English {
		return en
	}
	return zh
}

// Words of the notice; the hours of the other two are not known.
const (
	hotlineApply    = "010-89735900" // online application, 9:00–18:00 daily
	hotlineComplain = "010-87680033"
	hotlineEMS      = "010-56421484"
	hotlineOpens    = 9
	hotlineCloses   = 18
)

// Open says whether the hotline of R-21 answers at this time.
func (v View) Open() bool {
	h := v.Now.In(beijing).Hour()
	return h >= hotlineOpens && h < hotlineCloses
}

// Day writes a day.
func (v View) Day(t time.Time) string {
	return t.In(beijing).Format(v.Language.say("1月2日", "2 January"))
}

// Moment writes a time.
func (v View) Moment(t time.Time) string {
	return t.In(beijing).Format(v.Language.say("1月2日 15:04", "2 January, 15:04"))
}

func yuan(fen int64) string {
	if fen%100 == 0 {
		return fmt.Sprint(fen / 100)
	}
	return fmt.Sprintf("%d.%02d", fen/100, fen%100)
}

// Headline says in one sentence where the envelope is.
func (v View) Headline() string {
	say := v.Language.say
	switch v.Status {
	case courier.Refused:
		return say("您的居住证按规定不能寄递", "Under the rules your permit cannot be posted")
	case courier.AwaitingPayment:
		return say("等待您缴纳邮费", "Waiting for your postage")
	case courier.Approved, courier.Ordering:
		return say("正在为您安排寄递", "The delivery is being arranged")
	case courier.Ordered:
		return say("已安排寄递，等待交给 EMS", "Arranged; it is about to be handed to EMS")
	case courier.Accepted:
		return say("EMS 已收到您的居住证", "EMS has your permit")
	case courier.InTransit:
		return say("正在运往您的地址", "On its way to your address")
	case courier.OutForDelivery:
		return say("投递员正在派送，今天可能送到", "The courier is on the way; it may arrive today")
	case courier.AttemptFailed:
		return say("上门了，但没有送到您手中", "The courier came but could not hand it to you")
	case courier.Held:
		return v.heldHeadline()
	case courier.Delivered:
		return v.deliveredHeadline()
	case courier.Returning:
		return say("没有送到，正在退回派出所", "It was not delivered and is going back to the police station")
	case courier.Returned:
		return v.returnedHeadline()
	case courier.Lost:
		return say("邮件遗失，需要补办", "The envelope is lost; the permit must be issued anew")
	case courier.Cancelled:
		return say("这次寄递已取消", "This delivery was cancelled")
	}
	return say("请致电查询", "Please call to ask")
}

func (v View) heldHeadline() string {
	switch v.Receiver {
	case tracking.ReceiverLocker:
		return v.Language.say("已放入快递柜，等您取走", "It is in a parcel locker, waiting for you")
	case tracking.ReceiverPickupPoint:
		return v.Language.say("在自提点，等您取走", "It is at a pick-up point, waiting for you")
	}
	return v.Language.say("在邮政网点，等您领取", "It is at a post office, waiting for you")
}

// deliveredHeadline never says more than EMS does: only what the holder signed for is called delivered to the holder (I-7).
func (v View) deliveredHeadline() string {
	say := v.Language.say
	switch v.Receiver {
	case tracking.ReceiverSelf:
		return say("已由您本人签收", "You signed for it")
	case tracking.ReceiverCollected:
		return say("已凭取件码取走", "It was collected with the pick-up code")
	case tracking.ReceiverFamily:
		return say("EMS 登记：由家人代收", "EMS says that a family member took it")
	case tracking.ReceiverColleague:
		return say("EMS 登记：由同事代收", "EMS says that a colleague took it")
	case tracking.ReceiverAgent:
		return say("EMS 登记：由他人代收", "EMS says that somebody else took it")
	case tracking.ReceiverReception, tracking.ReceiverOffice, tracking.ReceiverProperty, tracking.ReceiverVillage:
		return say("EMS 登记：由单位、物业或收发室代收", "EMS says that a reception, office or caretaker took it")
	case tracking.ReceiverDoor, tracking.ReceiverMeterBox, tracking.ReceiverLetterbox:
		return say("EMS 登记：放在门口、表箱或信箱，没有人签收", "EMS says that it was left at the door or in a box; nobody signed")
	}
	return say("EMS 登记为已投递，没有说明由谁签收", "EMS says that it was delivered, but not to whom")
}

func (v View) returnedHeadline() string {
	say := v.Language.say
	switch v.Back {
	case BackOnShelf:
		return say("已退回派出所，请前往领取", "It is back at the police station; please collect it there")
	case BackPickedUp:
		return say("已在派出所领取", "It was collected at the police station")
	case BackSent:
		return say("已重新寄出", "It has been sent again")
	case BackDisposed:
		return say("已超过保管期限，由派出所处理", "The time for keeping it is over; the police station has dealt with it")
	}
	return say("EMS 登记为已退回，派出所正在核对", "EMS says that it is back; the police station is checking")
}

// InHand says that the envelope reached its holder, so that the page is calm about it.
func (v View) InHand() bool {
	return v.Status == courier.Delivered && (v.Receiver == tracking.ReceiverSelf || v.Receiver == tracking.ReceiverCollected) ||
		v.Status == courier.Returned && v.Back == BackPickedUp
}

// Next says what the resident can do now; empty when there is nothing to do.
func (v View) Next() []string {
	say := v.Language.say
	last := ""
	if !v.LastDay.IsZero() {
		last = v.Day(v.LastDay)
	}
	switch v.Status {
	case courier.Refused:
		return []string{say("请到受理点领取证件，或致电咨询。", "Please collect the permit where you applied, or call.")}
	case courier.AwaitingPayment:
		return []string{
			fmt.Sprintf(say("还需缴纳 %s 元。请在北京市居住证服务平台上，或到受理的派出所缴纳。", "%s yuan are still due. Please pay on the residence permit service platform, or at the police station where you applied."), yuan(v.DueFen)),
			say("我们不会发送缴费链接，也不会让您转账给个人。", "We never send links for payment and never ask you to pay a person."),
		}
	case courier.Accepted, courier.InTransit, courier.Ordered, courier.Approved, courier.Ordering:
		next := []string{say("现在不需要做什么，请保持电话畅通。", "There is nothing to do now. Please keep your phone reachable.")}
		if v.Collect {
			next = append(next, say("邮费在收件时付给投递员。", "You pay the postage to the courier."))
		}
		return next
	case courier.OutForDelivery:
		return []string{say("请备好身份证件，由本人签收。", "Have your identity document ready and sign for it yourself.")}
	case courier.AttemptFailed:
		return []string{say("可以申请再次投递，或致电 EMS 约定时间；时间久了会退回派出所。", "You can ask for another delivery, or call EMS to agree on a time; after a while it goes back to the police station.")}
	case courier.Held:
		return v.heldNext(last)
	case courier.Delivered:
		return v.deliveredNext()
	case courier.Returning:
		return []string{say("退回后请到受理的派出所领取，到时这里会说明。", "Once it is back, collect it at the police station where you applied; this page will say so.")}
	case courier.Returned:
		return v.returnedNext(last)
	case courier.Lost:
		return []string{say("派出所将为您补办，不需要再缴邮费。请与受理的派出所联系。", "The police station will issue it anew at no further postage. Please contact the police station where you applied.")}
	case courier.Cancelled:
		if v.RefundFen > 0 {
			return []string{say("已缴的邮费将按原路退还。", "The postage that you paid will be refunded.")}
		}
	}
	return nil
}

func (v View) heldNext(last string) []string {
	say := v.Language.say
	var next []string
	switch v.Receiver {
	case tracking.ReceiverLocker, tracking.ReceiverPickupPoint:
		next = append(next, say("请凭取件码尽快取走；没有收到取件码，请致电 EMS。", "Collect it soon with the pick-up code; if you have no code, call EMS."))
	default:
		next = append(next, say("请本人带身份证件到邮政网点领取；网点地址请致电 EMS。", "Collect it yourself at the post office with an identity document; call EMS for its address."))
	}
	if last != "" {
		next = append(next, fmt.Sprintf(say("最后一天：%s。过后会退回派出所。", "Last day: %s. After that it goes back to the police station."), last))
	}
	return next
}

func (v View) deliveredNext() []string {
	say := v.Language.say
	if v.InHand() {
		return nil
	}
	return []string{say("如果您没有拿到，请立即点“我没有收到”，或致电 EMS。", "If you do not have it, choose “I did not get it” at once, or call EMS.")}
}

func (v View) returnedNext(last string) []string {
	say := v.Language.say
	switch v.Back {
	case BackOnTheWay:
		return []string{say("派出所收到后，这里会说明怎样领取。", "When the police station has it, this page will say how to collect it.")}
	case BackOnShelf:
		next := []string{say("请本人带身份证件领取；不能前往的，可致电派出所咨询重新寄递或委托他人。", "Collect it yourself with an identity document. If you cannot come, ask the police station about sending it again or authorising somebody.")}
		if last != "" {
			next = append(next, fmt.Sprintf(say("保管到：%s。", "Kept until: %s."), last))
		}
		return next
	}
	return nil
}

// Papers says who may receive it and with what, while that matters.
func (v View) Papers() string {
	switch v.Status {
	case courier.Accepted, courier.InTransit, courier.OutForDelivery, courier.AttemptFailed, courier.Held:
		return v.Language.say("请本人签收，并出示居民身份证、居民户口簿或原籍公安机关开具的身份证明之一。请不要同意放在门口或信箱。",
			"Sign for it yourself and show one of: resident identity card, household book, or a certificate of identity by the police of your place of origin. Please do not have it left at the door or in a letterbox.")
	}
	return ""
}

// Expected says how long such envelopes take; empty when too little is known.
func (v View) Expected() string {
	say := v.Language.say
	if v.Days == nil {
		return ""
	}
	if !v.Days.Latest.IsZero() {
		if v.Days.Earliest.Equal(v.Days.Latest) {
			return fmt.Sprintf(say("按以往的情况，预计 %s 送到。", "Going by the past, it should arrive on %s."), v.Day(v.Days.Latest))
		}
		return fmt.Sprintf(say("按以往的情况，预计 %s 至 %s 之间送到。", "Going by the past, it should arrive between %s and %s."), v.Day(v.Days.Earliest), v.Day(v.Days.Latest))
	}
	if v.Days.High <= 1 {
		return say("按以往的情况，EMS 收到后一天左右送到。", "Going by the past, it takes about a day from EMS to your door.")
	}
	return fmt.Sprintf(say("按以往的情况，EMS 收到后 %d 至 %d 天送到。", "Going by the past, it takes %d to %d days from EMS to your door."), v.Days.Low, v.Days.High)
}

// Stage names a stage of the way.
func (v View) Stage(s courier.Status) string {
	say := v.Language.say
	switch s {
	case courier.AwaitingPayment:
		return say("批准寄递", "Approved")
	case courier.Ordered:
		return say("安排寄递", "Arranged")
	case courier.Accepted:
		return say("EMS 收寄", "With EMS")
	case courier.OutForDelivery:
		return say("派送", "Out for delivery")
	case courier.Delivered:
		return say("送达", "Delivered")
	}
	return ""
}

// groupWords are our own words for what a scan says.
var groupWords = map[tracking.Group][2]string{
	tracking.Before:         {"EMS 已有寄递信息", "EMS has been told of it"},
	tracking.Accepted:       {"EMS 已收寄", "EMS took it"},
	tracking.InTransit:      {"运输中", "On its way"},
	tracking.Customs:        {"运输中", "On its way"},
	tracking.OutForDelivery: {"投递员开始派送", "The courier set out"},
	tracking.AttemptFailed:  {"投递未成功", "Could not be delivered"},
	tracking.Held:           {"等待领取", "Waiting to be collected"},
	tracking.Delivered:      {"登记为已投递", "Recorded as delivered"},
	tracking.Changed:        {"投递信息有变更", "Its delivery was changed"},
	tracking.Exception:      {"处理中", "Being dealt with"},
	tracking.Withdrawn:      {"寄件单位申请撤回", "Called back by the sender"},
	tracking.Returning:      {"退回途中", "Going back"},
	tracking.Returned:       {"已退回", "Back at the sender"},
	tracking.Lost:           {"登记为遗失", "Recorded as lost"},
}

// Happened says what a scan means.
func (v View) Happened(g tracking.Group) string {
	words := groupWords[g]
	return v.Language.say(words[0], words[1])
}

// Say gives the words of a page in its language.
func (v View) Say(zh, en string) string { return v.Language.say(zh, en) }

// Tone is how the page looks: good, ask (something to do or to check), or plain.
func (v View) Tone() string {
	switch {
	case v.InHand():
		return "good"
	case v.Status == courier.Delivered, v.Status == courier.AttemptFailed, v.Status == courier.Held, v.Status == courier.AwaitingPayment,
		v.Status == courier.Returned && v.Back == BackOnShelf, v.Status == courier.Lost, v.Status == courier.Refused:
		return "ask"
	}
	return "plain"
}

// ShowStation says whether the station is where the resident has to go.
func (v View) ShowStation() bool {
	return v.Station.Name != "" && (v.Status == courier.Refused || v.Status == courier.AwaitingPayment || v.Status == courier.Returned || v.Status == courier.Lost ||
		v.Status == courier.Returning)
}

// ShowSteps says whether the way as far as it goes is worth showing.
func (v View) ShowSteps() bool { return v.Status != courier.Refused && v.Status != courier.Cancelled }

// languageOf reads a language, whatever a browser writes: the first that we have.
func languageOf(accept string) Language {
	for part := range strings.SplitSeq(accept, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch {
		case strings.HasPrefix(strings.ToLower(tag), "zh"):
			return Chinese
		case strings.HasPrefix(strings.ToLower(tag), "en"):
			return English
		}
	}
	return Chinese
}
