package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"
)

// beijing is where clerks and residents are; pages know no other time.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// words are the functions of templates.
var words = template.FuncMap{
	"date":       func(t time.Time) string { return beijingTime(t, "2006-01-02") },
	"moment":     func(t time.Time) string { return beijingTime(t, "2006-01-02 15:04") },
	"clock":      func(t time.Time) string { return beijingTime(t, "15:04:05") },
	"stamp":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"yuan":       yuan,
	"status":     func(s courier.Status) string { return known(statusWords, s) },
	"case":       func(k courier.CaseKind) string { return known(caseWords, k) },
	"role":       func(r staff.Role) string { return known(roleWords, r) },
	"actor":      actor,
	"maskName":   vault.MaskName,
	"maskPhone":  vault.MaskPhone,
	"maskID":     vault.MaskID,
	"reveal":     vault.Secret.Reveal,
	"statuses":   func() []courier.Status { return courier.Statuses },
	"roles":      func() []staff.Role { return staff.Roles },
	"short":      func(id fmt.Stringer) string { return id.String()[:8] },
	"minutes":    func(d time.Duration) int { return int(d.Minutes()) },
	"sentence":   func(rule string) string { return courier.Sentences[rule] },
	"dashIfNone": func(s string) string { return orDash(s) },
}

func beijingTime(t time.Time, layout string) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(beijing).Format(layout)
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

// yuan writes fen as people write money.
func yuan(fen int64) string { return fmt.Sprintf("%d.%02d 元", fen/100, fen%100) }

// known gives the word for a value; a value that has none is shown as it is rather than hidden.
func known[K ~string](words map[K]string, k K) string {
	if w := words[k]; w != "" {
		return w
	}
	return string(k)
}

// actor tells who did something: a colleague by sign-in name, a system by the name of its token.
func actor(by string) string {
	if name, ok := strings.CutPrefix(by, "staff:"); ok {
		return name
	}
	if name, ok := strings.CutPrefix(by, "operator"); ok {
		return "运维人员" + strings.Replace(name, ":", " ", 1)
	}
	if by == "" || by == "emsd" {
		return "系统"
	}
	return by + "（接口）"
}

var statusWords = map[courier.Status]string{
	courier.Refused: "不予寄递", courier.AwaitingPayment: "待付费", courier.Approved: "待下单", courier.Ordering: "下单中", courier.Ordered: "待交寄",
	courier.Accepted: "邮政已收寄", courier.InTransit: "运输中", courier.OutForDelivery: "派送中", courier.AttemptFailed: "投递未成", courier.Held: "待领取",
	courier.Delivered: "已妥投", courier.Returning: "退回途中", courier.Returned: "已退回", courier.Lost: "已遗失", courier.Cancelled: "已取消",
}

var caseWords = map[courier.CaseKind]string{
	courier.CaseOrderRefused: "邮政拒单", courier.CaseOrderUnknown: "下单结果不明", courier.CaseAddress: "地址问题", courier.CaseUnpaid: "逾期未付费",
	courier.CaseStalled: "长时间无进展", courier.CaseUnknownCode: "不认识的物流代码", courier.CaseDeliveredElsewhere: "非本人签收", courier.CaseNotReceived: "申请人称未收到",
	courier.CaseHeld: "逾期未领取", courier.CaseReturned: "退件待处理", courier.CaseSMSFailed: "短信未送达", courier.CaseFeeDifference: "资费差异", courier.CaseLost: "邮件遗失",
}

var roleWords = map[staff.Role]string{
	staff.Counter: "窗口人员", staff.BackOffice: "后台人员", staff.Supervisor: "复核主管", staff.Administrator: "管理员", staff.Auditor: "审计人员",
}
