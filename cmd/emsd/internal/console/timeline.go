package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/notify"
	"emsd/tracking"
)

// An entry is one line of the timeline.
type entry struct {
	At     time.Time
	Kind   string // 受理, 付费, 下单, 物流, 短信, 事项, 操作, 进展
	Title  string
	Detail string
	By     string
	Bad    bool // something to look at
}

// mostLooked bounds how many entries of the audit a page shows.
const mostLooked = 200

// timeline puts everything that is known of a delivery into one line, the newest first.
func (c *Console) timeline(v *visit, p deliveryPage, steps []tracking.Step) ([]entry, error) {
	attempts, err := c.Service.Attempts(v.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	events, err := c.Service.Events(v.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	messages, err := c.Messages.Messages(v.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	deeds, err := c.Service.AuditEntries(v.Context(), audit.Filter{Object: p.ID.String(), Limit: mostLooked})
	if err != nil {
		return nil, err
	}
	line := slices.Concat(intakeEntries(p.Delivery), moneyEntries(p.Payments), attemptEntries(attempts), scanEntries(steps), messageEntries(messages),
		caseEntries(p.Cases), proposalEntries(p.Proposals), eventEntries(events), deedEntries(deeds))
	slices.SortStableFunc(line, func(a, b entry) int { return b.At.Compare(a.At) })
	return line, nil
}

func intakeEntries(d courier.Delivery) []entry {
	list := []entry{{At: d.CreatedAt, Kind: "受理", Title: "收到已批准的居住证", Detail: "批准时间 " + beijingTime(d.ApprovedAt, "2006-01-02 15:04")}}
	if !d.Consent.At.IsZero() {
		list = append(list, entry{At: d.Consent.At, Kind: "受理", Title: "申请人选择寄递", Detail: known(consentWords, d.Consent.Source)})
	}
	return list
}

var consentWords = map[string]string{"platform": "在居住证服务平台上选择", "counter": "在派出所现场选择"}

func moneyEntries(payments []courier.Payment) []entry {
	var list []entry
	for _, m := range payments {
		e := entry{At: m.RecordedAt, Kind: "付费", Title: "收到 " + yuan(m.AmountFen), By: m.RecordedBy}
		if m.Kind == "refund" {
			e.Title = "退回 " + yuan(m.AmountFen)
		}
		e.Detail = known(methodWords, m.Method) + "，交易号 " + m.TransactionNo
		list = append(list, e)
	}
	return list
}

var methodWords = map[string]string{"wechat": "微信", "alipay": "支付宝", "unionpay": "银联", "cash": "现金", "unstated": "方式未注明"}

func attemptEntries(attempts []courier.Attempt) []entry {
	var list []entry
	for _, a := range attempts {
		e := entry{At: a.StartedAt, Kind: "下单", Title: known(callWords, a.Call) + "：" + known(outcomeWords, a.Outcome), Bad: a.Outcome != "confirmed" && a.Outcome != "unsent"}
		e.Detail = strings.TrimSpace(strings.Join([]string{a.WaybillNo, a.RetCode, a.Detail}, " "))
		list = append(list, e)
	}
	return list
}

var callWords = map[string]string{"create": "向邮政下单", "create_again": "以同一运单号再次下单", "cancel": "向邮政撤单"}

var outcomeWords = map[string]string{"": "进行中", "confirmed": "邮政已确认", "refused": "邮政拒绝", "unsent": "未能发出，将自动重试", "unknown": "结果不明，正在核对", "anomaly": "回复异常"}

func scanEntries(steps []tracking.Step) []entry {
	var list []entry
	for _, s := range steps {
		e := entry{At: s.At, Kind: "物流", Title: s.Sentence, Detail: strings.TrimSpace(s.Code + " " + s.Name + " " + s.Place), Bad: s.Group == ""}
		switch {
		case s.Voided:
			e.Title += "（已被邮政撤销）"
		case s.Ignored:
			e.Title += "（早于本次寄递，不计）"
		}
		list = append(list, e)
	}
	return list
}

func messageEntries(messages []notify.MessageState) []entry {
	var list []entry
	for _, m := range messages {
		e := entry{At: m.UpdatedAt, Kind: "短信", Title: "短信“" + known(milestoneWords, m.Milestone) + "”：" + known(messageWords, m.State), Detail: m.Reason,
			Bad: m.State == "failed" || m.State == "unknown"}
		if m.Gateway != "" {
			e.Detail += fmt.Sprintf("（网关 %s，第 %d 次）", m.Gateway, m.Tries)
		}
		list = append(list, e)
	}
	return list
}

var milestoneWords = map[notify.Milestone]string{
	notify.PaymentDue: "请付费", notify.HandedOver: "已交寄", notify.OutForDelivery: "派送中", notify.AttemptFailed: "投递未成", notify.Held: "请领取",
	notify.Delivered: "已送达", notify.Returned: "已退回", notify.Cancelled: "已取消",
}

var messageWords = map[string]string{"queued": "等待发送", "sending": "正在发送", "unknown": "结果不明", "accepted": "网关已接收", "delivered": "已送达手机", "failed": "发送失败", "suppressed": "不发送"}

func caseEntries(cases []courier.Case) []entry {
	var list []entry
	for _, k := range cases {
		list = append(list, entry{At: k.OpenedAt, Kind: "事项", Title: "需要办理：" + known(caseWords, k.Kind), Detail: strings.TrimSpace(k.NextAction + " " + k.Detail), Bad: k.ClosedAt.IsZero()})
		if !k.ClosedAt.IsZero() {
			list = append(list, entry{At: k.ClosedAt, Kind: "事项", Title: "已办结：" + known(caseWords, k.Kind), Detail: k.Why, By: k.ClosedBy})
		}
	}
	return list
}

func proposalEntries(proposals []courier.Proposal) []entry {
	var list []entry
	for _, p := range proposals {
		list = append(list, entry{At: p.ProposedAt, Kind: "复核", Title: "提请复核：" + proposalTitle(p), Detail: p.Reason, By: p.ProposedBy, Bad: p.State == courier.ProposalOpen})
		if !p.DecidedAt.IsZero() {
			list = append(list, entry{At: p.DecidedAt, Kind: "复核", Title: known(proposalStates, p.State) + "：" + proposalTitle(p), Detail: p.Why, By: p.DecidedBy})
		}
	}
	return list
}

var proposalStates = map[string]string{courier.ProposalOpen: "等待复核", courier.ProposalConfirmed: "复核同意", courier.ProposalRejected: "复核不同意", courier.ProposalWithdrawn: "已撤回"}

// proposalTitle says what is proposed.
func proposalTitle(p courier.Proposal) string {
	switch p.Kind {
	case courier.ProposeLost:
		return "登记遗失"
	case courier.ProposeNotReceived:
		return "“未收到”办结为" + map[string]string{courier.OutcomeFound: "已找到", courier.OutcomeResent: "邮政重新投递"}[p.Payload["outcome"]]
	case courier.ProposePackMismatch:
		return "装袋核对不符"
	}
	return p.Kind
}

// shownElsewhere are events that another entry tells better.
var shownElsewhere = []courier.EventType{courier.EventPayment, courier.EventRefunded, courier.EventCaseOpened, courier.EventCaseClosed, courier.EventScan}

func eventEntries(events []courier.Event) []entry {
	var list []entry
	for _, e := range events {
		if slices.Contains(shownElsewhere, e.Type) {
			continue
		}
		var data courier.EventData
		if err := json.Unmarshal(e.Data, &data); err != nil {
			list = append(list, entry{At: e.At, Kind: "进展", Title: string(e.Type), Detail: "内容无法读取", Bad: true})
			continue
		}
		list = append(list, eventEntry(e, data))
	}
	return list
}

func eventEntry(e courier.Event, data courier.EventData) entry {
	x := entry{At: e.At, Kind: "进展"}
	if status, ok := strings.CutPrefix(string(e.Type), "delivery."); ok {
		x.Title = "状态：" + known(statusWords, courier.Status(status))
		switch {
		case data.Rule != "" && status == string(courier.Refused):
			x.Detail = data.Rule + " " + courier.Sentences[data.Rule]
		case data.Rule != "":
			x.Detail = "依据 " + data.Rule
		case data.Withdrawn:
			x.Detail = "邮政撤销了先前的记录"
		}
		return x
	}
	x.Title = known(eventWords, e.Type)
	switch {
	case data.AmountFen > 0:
		x.Detail = yuan(data.AmountFen)
	case data.Kind != "":
		x.Detail = known(interveneWords, data.Kind)
	case data.Outcome != "":
		x.Detail = known(endedWords, data.Outcome)
	}
	return x
}

var interveneWords = map[string]string{
	courier.InterveneReaddress: "在途改址", courier.InterveneWithdraw: "撤回邮件", courier.InterveneUrge: "催促投递", courier.InterveneRedeliver: "再次投递",
}

var interventionStates = map[string]string{
	courier.InterventionByPhone: "请打电话办理", courier.InterventionUnsent: "等待提交", courier.InterventionSending: "正在提交", courier.InterventionUnknown: "结果不明",
	courier.InterventionAgreed: "邮政已同意", courier.InterventionRefused: "邮政不同意", courier.InterventionDone: "已办成", courier.InterventionFailed: "未办成",
}

var eventWords = map[courier.EventType]string{
	courier.EventRefundDue: "应退款", courier.EventCancelAsked: "申请取消", courier.EventCancelNo: "邮政不同意取消", courier.EventAddress: "地址已更改",
	courier.EventAddressAsk: "申请更改地址", courier.EventAddressNo: "地址未能更改，仍按原地址", courier.EventIntervene: "请邮政在途处理", courier.EventIntervened: "在途处理结束",
	courier.EventRetry: "重新下单", courier.EventCharged: "邮政计费", courier.EventHandedOver: "已交给邮政", courier.EventReturnReceived: "退件已入架",
	courier.EventPacked: "装封核对相符", courier.EventPackStopped: "装封核对不符，已停止交寄", courier.EventPackSettled: "核对不符已由两人处理，须重新核对",
	courier.EventReturnMoved: "退件移架", courier.EventPickedUp: "退件已领取", courier.EventRedispatched: "已重新寄递", courier.EventReturnAvailable: "退件回到架上",
	courier.EventReturnDisposed: "退件已处理", courier.EventNotReceived: "申请人称未收到", courier.EventNotReceivedEnded: "“未收到”已办结", courier.EventPermitLost: "登记遗失，通知制证系统注销补发",
}

func deedEntries(deeds []audit.Listed) []entry {
	var list []entry
	for _, d := range deeds {
		e := entry{At: d.At, Kind: "操作", Title: known(auditWords, d.Action), By: d.Actor}
		for _, key := range []string{"reason", "why"} {
			if text := d.Detail[key]; text != "" {
				e.Detail = text
			}
		}
		if n := cmp.Or(d.Detail["count"], d.Detail["rows"]); n != "" && d.Detail["ids"] != "" {
			e.Detail = strings.TrimPrefix(e.Detail+"；与其他居住证一起，共 "+n+" 件", "；")
		}
		list = append(list, e)
	}
	return list
}
