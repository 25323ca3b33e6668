package courier

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Outcomes of a call that could spend money, as kept in order_attempts.
const (
	outcomeConfirmed = "confirmed"
	outcomeRefused   = "refused"
	outcomeUnsent    = "unsent"
	outcomeUnknown   = "unknown"
	outcomeAnomaly   = "anomaly" // confirmed, but a number that was not ordered
)

// An orderReply is what one 020003 or 020006 came to.
type orderReply struct {
	outcome   string
	waybillNo string // confirmed, anomaly
	retCode   string
	detail    string // no personal data
	serialNo  string

	handedBack bool // unsent because this process had no time left for it, not because EMS is out of reach
	unreadable bool // unsent because the sealed recipient could not be opened
}

// judgeOrder says what an answer to o means. Success is believed only when it names our own order (dossier section 11).
func judgeOrder(o Order, c Confirmation, err error) orderReply {
	if err != nil {
		return judgeError(err, o)
	}
	r := orderReply{outcome: outcomeConfirmed, waybillNo: c.WaybillNo, retCode: "00000", serialNo: c.SerialNo}
	switch {
	case c.OrderNo != o.OrderNo:
		r.outcome, r.waybillNo, r.detail = outcomeUnknown, "", "答复中的订单号不是本订单"
	case c.WaybillNo == "":
		r.outcome, r.detail = outcomeUnknown, "答复中没有运单号"
	case o.WaybillNo != "" && c.WaybillNo != o.WaybillNo:
		r.outcome, r.detail = outcomeAnomaly, "答复了另一个运单号"
	}
	return r
}

// judgeError reads the failure of a call. What is not classified may have happened.
func judgeError(err error, o Order) orderReply {
	ce, ok := errors.AsType[*CarrierError](err)
	if !ok {
		return orderReply{outcome: outcomeUnknown, detail: "调用失败，原因未分类"}
	}
	r := orderReply{outcome: outcomeUnknown, retCode: ce.RetCode, serialNo: ce.SerialNo, detail: withoutPerson(ce.Message, o)}
	switch ce.Kind {
	case RefusedByCarrier:
		r.outcome = outcomeRefused
	case Unsent:
		r.outcome = outcomeUnsent
	}
	return r
}

var longDigits = regexp.MustCompile(`[0-9０-９Xx*-]{7,}`)

// detailRunes bounds how much of EMS's text is kept.
const detailRunes = 120

// withoutPerson takes out of EMS's text whatever it quotes of the order: names, phones, and any four characters in
// a row of an address. Other long numbers go too.
func withoutPerson(text string, o Order) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "")
	}
	text = strings.ReplaceAll(text, "\x00", "")
	for _, p := range []Party{o.Recipient, o.Sender} {
		for _, secret := range []string{p.Name.Reveal(), p.Phone.Reveal(), o.RecipientID.Reveal(), o.Password.Reveal()} {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, "…")
			}
		}
		text = withoutQuote(text, p.Address.Reveal())
	}
	text = longDigits.ReplaceAllString(text, "…")
	if r := []rune(text); len(r) > detailRunes {
		text = string(r[:detailRunes]) + "…"
	}
	return text
}

// withoutQuote takes out every run of at least four characters that stands in secret too.
func withoutQuote(text, secret string) string {
	const quote = 4
	if utf8.RuneCountInString(secret) < quote {
		return text
	}
	t, out := []rune(text), strings.Builder{}
	for i := 0; i < len(t); {
		n := 0
		for n < len(t)-i && strings.Contains(secret, string(t[i:i+n+1])) {
			n++
		}
		if n >= quote {
			out.WriteString("…")
			i += n
			continue
		}
		out.WriteRune(t[i])
		i++
	}
	return out.String()
}

// An orderStep is what becomes of a delivery in ordering once EMS has answered, or has not.
type orderStep struct {
	to        Status        // Ordered, Approved or Cancelled; empty: stays in ordering
	waybillNo string        // Ordered: the number that EMS holds
	wait      time.Duration // wall time until the next order (Approved) or question (ordering)
	clerk     bool          // ordering: nothing more happens by itself
	caseKind  CaseKind      // opened with it, empty: none
	action    string        // what the clerk is to do
	detail    string
	unwanted  string // a waybill that EMS made and that must be cancelled
}

// Sentences for the clerks' worklist.
const (
	actMendOrder    = "按 EMS 的答复更正资料后重新下单，或取消寄递"
	actAskEMS       = "请与 EMS 核实该运单是否存在，再选择重新核对或取消寄递"
	actVoidWaybill  = "系统正在作废多出的运单；若长时间未关闭，请与 EMS 核实并作废"
	actCheckKey     = "请管理员检查主密钥与数据密钥（emsd doctor）"
	actReaddress    = "EMS 不再接受撤单，邮件仍寄往原地址：请办理在途改址（intervene），或联系 EMS（010-56421484）"
	actStopEnvelope = "邮件已交寄，如仍需拦截请联系 EMS 办理撤单或改址"
)

// afterOrder says what follows the first call for a claimed delivery.
func (o OrderOptions) afterOrder(j orderJob, r orderReply) orderStep {
	reserved := j.NumberMode == NumbersReserved
	switch r.outcome {
	case outcomeConfirmed:
		return orderStep{to: Ordered, waybillNo: r.waybillNo}
	case outcomeRefused:
		if reserved && j.Attempts > 1 {
			// An earlier call may have got through, and a refusal may mean just that: ask before believing it.
			return orderStep{wait: o.ReconcileAfter}
		}
		return orderRefused(r)
	case outcomeUnsent:
		step := orderStep{to: Approved, wait: backoff(o.RetryAfter, o.RetryMax, j.Attempts)}
		if r.handedBack {
			step.wait = 0
		}
		if r.unreadable {
			step.wait, step.caseKind, step.action, step.detail = o.RetryMax, CaseOrderRefused, actCheckKey, r.detail
		}
		return step
	case outcomeAnomaly:
		return o.anomaly(r)
	}
	if !reserved {
		return orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "EMS 没有明确答复，且未预留运单号，系统不会重新下单"}
	}
	return orderStep{wait: o.ReconcileAfter}
}

// afterAgain says what follows a repeated order. What came before is not known to have failed, so that not even an
// unsent repetition goes back to approved.
func (o OrderOptions) afterAgain(j orderJob, r orderReply) orderStep {
	switch r.outcome {
	case outcomeConfirmed:
		return orderStep{to: Ordered, waybillNo: r.waybillNo}
	case outcomeAnomaly:
		return o.anomaly(r)
	case outcomeRefused:
		return orderStep{wait: o.ReconcileAfter} // it may refuse because it has the order: the next question tells
	}
	return orderStep{wait: backoff(o.ReconcileAfter, o.ReconcileMax, j.Reconciles)}
}

func (o OrderOptions) anomaly(r orderReply) orderStep {
	return orderStep{wait: o.ReconcileAfter, unwanted: r.waybillNo, caseKind: CaseOrderUnknown, action: actVoidWaybill,
		detail: "EMS 答复了另一个运单号 " + r.waybillNo + "，系统不采用并予以作废"}
}

func orderRefused(r orderReply) orderStep {
	return orderStep{clerk: true, caseKind: CaseOrderRefused, action: actMendOrder, detail: "EMS 拒绝下单：" + withCode(r.retCode, r.detail)}
}

func withCode(code, text string) string {
	if code == "" {
		return text
	}
	return code + " " + text
}

// A holding says whether EMS holds an order under a number.
type holding int

const (
	notAnswered holding = iota
	held
	notHeld
)

// afterAsking says what follows the answer whether EMS holds the number of j; again means that the order is to be
// sent once more with the same number.
func (o OrderOptions) afterAsking(j orderJob, h holding) (step orderStep, again bool) {
	last := j.Reconciles >= o.Reconciles
	switch {
	case j.NumberMode == NumbersAssigned:
		return o.afterAskingInVain(j), false
	case h == held:
		return orderStep{to: Ordered, waybillNo: j.WaybillNo}, false
	case h == notAnswered && last:
		// The question is still worth asking; meanwhile a person knows.
		return orderStep{wait: o.ReconcileMax, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多次询问 EMS 未得到明确答复"}, false
	case h == notAnswered:
		return orderStep{wait: backoff(o.ReconcileAfter, o.ReconcileMax, j.Reconciles)}, false
	case j.CancelRequested && j.Reconciles < 2:
		return orderStep{wait: o.ReconcileAfter}, false // a late order may still arrive: two answers, some time apart
	case j.CancelRequested:
		return orderStep{to: Cancelled}, false
	case j.Unwanted && last:
		return orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多出的运单未能作废，系统不会重新下单"}, false
	case j.Unwanted:
		return orderStep{wait: backoff(o.ReconcileAfter, o.ReconcileMax, j.Reconciles)}, false // never two paid waybills at a time
	case j.LastOutcome == outcomeRefused:
		return orderRefused(orderReply{retCode: j.LastRetCode, detail: j.LastDetail}), false
	case last:
		return orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多次下单未得到明确答复，EMS 查无此运单"}, false
	case j.Reconciles < 2:
		// A label comes some seconds after its order (dossier section 2.3), and an order repeated too early may become a
		// second waybill whose number is lost with the reply: that nothing is held is believed the second time.
		return orderStep{wait: o.ReconcileAfter}, false
	}
	return orderStep{}, true
}

// afterAskingInVain is for contracts without 020002: there is no number to ask for, and nothing is ever sent again.
func (o OrderOptions) afterAskingInVain(j orderJob) orderStep {
	if j.CancelRequested && (j.LastOutcome == outcomeRefused || j.LastOutcome == outcomeUnsent) {
		return orderStep{to: Cancelled}
	}
	return orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "下单结果不明，且未预留运单号，系统不会重新下单"}
}

// backoff doubles from base, for the n-th failure in a row, up to most.
func backoff(base, most time.Duration, n int) time.Duration {
	d := base << min(max(n-1, 0), 20)
	if d <= 0 || d > most {
		return most
	}
	return d
}
