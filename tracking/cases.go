package tracking

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/tracking/calendar"
)

// A task is what a clerk is asked to do about a case, and within how many working hours.
type task struct {
	hours int
	next  string
}

// tasks holds the cases that scans open. The texts say what to do, without a person's data.
var tasks = map[courier.CaseKind]task{
	courier.CaseUnknownCode:        {8, "向邮政核实该代码的含义，并登记决定（代码含义、生效时间）；邮件状态未变。"},
	courier.CaseDeliveredElsewhere: {4, "邮件未交到本人手中：致电申请人确认是否收到；未收到的，登记“未收到”并向邮政查询。"},
	courier.CaseNotReceived:        {4, "妥投之后又有投递记录：致电申请人确认是否收到；未收到的，向邮政查询。"},
	courier.CaseHeld:               {8, "邮件等待领取：到期前仍未领取的，致电提醒申请人。"},
	courier.CaseReturned:           {8, "邮件退回：收到退件后扫码登记上架，并与申请人商定重寄或到所领取。"},
	courier.CaseLost:               {4, "邮政登记邮件丢失或理赔：向邮政核实；确认丢失的，安排重新制证。"},
	courier.CaseAddress:            {2, "地址有误、联系不上或者已改址：致电申请人核对地址和电话；改址不是申请人要求的，请邮政立即拦截。"},
	courier.CaseStalled:            {4, "邮政提示异常、拦截或撤单：联系邮政确认邮件在哪里、下一步怎么办。"},
	courier.CaseOrderUnknown:       {4, "已取消的运单又有物流记录：联系邮政确认邮件去向，必要时拦截。"},
}

// stages names statuses for clerks.
var stages = map[courier.Status]string{
	courier.Ordered: "待交寄", courier.Accepted: "已收寄", courier.InTransit: "运输中", courier.OutForDelivery: "派送中",
	courier.AttemptFailed: "投递未成功", courier.Held: "待领取", courier.Delivered: "已妥投", courier.Returning: "退回中",
	courier.Returned: "已退回", courier.Lost: "已丢失", courier.Cancelled: "已取消",
}

// openCases opens what news, or the move that it made, gives a clerk to do. What stood before is left alone, so that a
// case which a clerk has closed does not come back with every scan. Where a person has decided otherwise than the scans
// say, only a code that nobody knows is news.
func (n *news) openCases(r, before Result, now time.Time) {
	agreed := n.status == r.Status || r.Status == courier.Ordered
	for _, c := range r.Concerns {
		if !agreed && c.Kind != courier.CaseUnknownCode {
			continue
		}
		stood := slices.ContainsFunc(before.Concerns, func(b Concern) bool {
			return b.Kind == c.Kind && b.Code == c.Code && sameScan(&b.Scan, &c.Scan)
		})
		if !stood || n.move != nil && sameScan(&c.Scan, &r.Scan) {
			n.openCase(c.Kind, c.Code, c.Hours, now)
		}
	}
	n.remindInTime(r, now)
}

// remindInTime sets the clock of a case about an envelope that waits to the last working day on which the holder can still
// be told; most are collected without a call before it. When that is past, the clerk has an hour.
func (n *news) remindInTime(r Result, now time.Time) {
	i := slices.IndexFunc(n.open, func(c courier.NewCase) bool { return c.Kind == courier.CaseHeld })
	if i < 0 || r.HeldUntil.IsZero() {
		return
	}
	last, err := calendar.Office.Before(plainDay(r.HeldUntil, 2), 8*time.Hour)
	if err != nil {
		return
	}
	if soon, _ := dueAfter(now, 1); soon.After(last) {
		last = soon
	}
	n.open[i].DueAt = last
}

// openCase opens a case, or adds a code to the one of its kind. hours is 0 for the clock of the kind.
func (n *news) openCase(kind courier.CaseKind, code string, hours int, now time.Time) {
	if i := slices.IndexFunc(n.open, func(c courier.NewCase) bool { return c.Kind == kind }); i >= 0 {
		if codes := strings.TrimPrefix(n.open[i].Detail, detailHead); !slices.Contains(strings.Split(codes, "、"), code) {
			n.open[i].Detail += "、" + code
		}
		return
	}
	t := tasks[kind]
	if hours == 0 {
		hours = t.hours
	}
	due, missing := dueAfter(now, hours)
	n.missingYear = max(n.missingYear, missing)
	n.open = append(n.open, courier.NewCase{DeliveryID: n.delivery, Kind: kind, OpenedAt: now, DueAt: due,
		NextAction: t.next, Detail: detailHead + code})
}

const detailHead = "邮政代码 "

// settles lists the cases that end when the delivery leaves a status.
var settles = map[courier.Status]courier.CaseKind{
	courier.Held:      courier.CaseHeld,
	courier.Delivered: courier.CaseDeliveredElsewhere,
	courier.Returned:  courier.CaseReturned,
	courier.Lost:      courier.CaseLost,
}

// selfClosing lists the cases that end when what the scans gave to look at is settled. Non-receipt is not among them: a
// resident may have said so, and a scan does not answer that.
var selfClosing = []courier.CaseKind{courier.CaseAddress, courier.CaseDeliveredElsewhere, courier.CaseHeld, courier.CaseLost,
	courier.CaseReturned, courier.CaseStalled, courier.CaseUnknownCode}

// closeCases closes what the news has settled, and says by what.
func (n *news) closeCases(r, before Result, cause courier.Scan, now time.Time) {
	var kinds []courier.CaseKind
	for _, k := range selfClosing {
		if has(before.Concerns, k) && !has(r.Concerns, k) {
			kinds = append(kinds, k)
		}
	}
	if (n.grew || n.move != nil) && !has(r.Concerns, courier.CaseStalled) {
		kinds = append(kinds, courier.CaseStalled) // what moves is not stalled
	}
	if n.move != nil {
		if k := settles[n.move.From]; k != "" {
			kinds = append(kinds, k)
		}
		if untilEnd.settledBy(n.status) && !has(r.Concerns, courier.CaseAddress) {
			kinds = append(kinds, courier.CaseAddress)
		}
	}
	if len(kinds) == 0 {
		return
	}
	slices.Sort(kinds)
	why := n.movedBy(r, cause)
	for _, k := range slices.Compact(kinds) {
		n.closed = append(n.closed, courier.CaseClosing{DeliveryID: n.delivery, Kind: k, At: now, Outcome: "moved_on", By: "tracking", Why: why})
	}
}

func has(list []Concern, kind courier.CaseKind) bool {
	return slices.ContainsFunc(list, func(c Concern) bool { return c.Kind == kind })
}

// movedBy tells a clerk what has moved.
func (n *news) movedBy(r Result, cause courier.Scan) string {
	switch {
	case n.move != nil && r.Withdrawn:
		return fmt.Sprintf("邮政撤销了原有记录（%s），物流状态由“%s”改回“%s”。", shown(cause), stages[n.move.From], stages[n.move.To])
	case n.move != nil:
		return fmt.Sprintf("物流状态由“%s”变为“%s”（%s）。", stages[n.move.From], stages[n.move.To], shown(cause))
	case len(n.fresh) > 0:
		return fmt.Sprintf("邮件有新的物流记录（%s）。", shown(n.fresh[len(n.fresh)-1].Scan))
	case len(n.retold) > 0:
		return fmt.Sprintf("邮政更正了物流记录（%s）。", shown(n.retold[len(n.retold)-1].Scan))
	}
	return "按现行代码表重新判读，原因已不存在。"
}

func shown(s courier.Scan) string {
	return "邮政代码 " + short(shownCode(&s)) + "，" + s.At.In(beijing).Format("1月2日15:04")
}

// afterCancelling looks at news of an envelope that should not be on its way.
func (n *news) afterCancelling(b *Rulebook, now time.Time) {
	for i := range n.fresh {
		x := b.entryOf(&n.fresh[i].Scan)
		if e := b.effectOf(&x); e.status != "" && x.group != Withdrawn {
			n.openCase(courier.CaseOrderUnknown, x.Code, 0, now)
		}
	}
}
