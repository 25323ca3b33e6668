package courier

import (
	"fmt"
	"slices"
	"strings"
)

// A Standing says in plain words whether a permit may be sent, or what became of it, and the rule that it rests on.
type Standing struct {
	Verdict Verdict
	Why     string // plain Chinese: what about this permit, and what to do
	Rule    string // empty where no rule of the notice is at work
}

// A Verdict is the short answer to "may it be sent?".
type Verdict string

// The verdicts.
const (
	MayNot  Verdict = "no"      // a rule said no, for good
	MayWhen Verdict = "waiting" // something is missing yet
	MaySend Verdict = "yes"     // nothing stands in the way
	Stuck   Verdict = "stuck"   // a person must do something first
	IsSent  Verdict = "sent"    // EMS has it, or had it
	NotAny  Verdict = "stopped" // it was cancelled
)

// StandingOf judges a delivery as it stands, with the kinds of its open cases.
func StandingOf(d Delivery, open []CaseKind) Standing {
	switch d.Status {
	case Refused:
		return Standing{MayNot, withoutSentence(d.Reason, d.Rule), d.Rule}
	case AwaitingPayment:
		return Standing{MayWhen, fmt.Sprintf("应付 %s，已付 %s；付清后立即下单", yuan(d.FeeFen), yuan(d.PaidFen)), RulePayer}
	case Approved:
		return Standing{MaySend, "渠道、业务、同意和付费都符合规定，正在等待下单", RuleRoute}
	case Ordering:
		return orderingStanding(open)
	case Ordered:
		return orderedStanding(d)
	case Cancelled:
		return Standing{NotAny, cancelledWhy(d), ""}
	}
	return Standing{IsSent, sentWords[d.Status], ""}
}

func orderingStanding(open []CaseKind) Standing {
	switch {
	case slices.Contains(open, CaseOrderRefused):
		return Standing{Stuck, "邮政拒绝了订单：请按事项中的原因更正，再重新下单", ""}
	case slices.Contains(open, CaseOrderUnknown):
		return Standing{Stuck, "邮政是否接单一直查不清：请按事项联系邮政核实", ""}
	}
	return Standing{MaySend, "正在向邮政下单", RuleRoute}
}

func orderedStanding(d Delivery) Standing {
	switch {
	case !d.CancelRequestedAt.IsZero():
		return Standing{Stuck, "正在取消或改址，请勿交寄", ""}
	case !d.HandedOverAt.IsZero():
		return Standing{IsSent, "已交给邮政揽收人员，等待邮政收寄记录", ""}
	}
	return Standing{MaySend, "邮政已接单：打印面单、核对装袋后交寄", RuleCarrier}
}

func cancelledWhy(d Delivery) string {
	if d.RefundDueFen > 0 {
		return "已取消，应退 " + yuan(d.RefundDueFen)
	}
	return "已取消，不再寄出"
}

var sentWords = map[Status]string{
	Accepted: "邮政已收寄", InTransit: "正在运输途中", OutForDelivery: "投递员正在派送", AttemptFailed: "投递未成，等待再次投递", Held: "在网点或自提柜等待领取",
	Delivered: "已经妥投", Returning: "正在退回受理点", Returned: "已退回受理点：登记入架，等申请人领取或重新寄递", Lost: "已登记遗失，由制证系统注销并补发",
}

// withoutSentence takes off the rule's own words, which pages show beside it.
func withoutSentence(reason, rule string) string {
	return strings.TrimSuffix(reason, "（"+rule+"："+Sentences[rule]+"）")
}

func yuan(fen int64) string { return fmt.Sprintf("%d.%02d元", fen/100, fen%100) }
