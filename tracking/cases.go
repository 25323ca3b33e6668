package tracking

import (
	"slices"
	"strings"
	"time"

	"emsd/courier"
)

// A task is what a clerk is asked to do about a case, and within which time.
type task struct {
	within time.Duration
	next   string
}

// tasks holds the cases that scans open. The texts say what to do, without a person's data.
var tasks = map[courier.CaseKind]task{
	courier.CaseUnknownCode:        {24 * time.Hour, "向邮政核实该代码的含义，并告知系统管理员补充代码表；邮件状态未变。"},
	courier.CaseDeliveredElsewhere: {4 * time.Hour, "邮件未交到本人手中：致电申请人确认是否收到；未收到的，向邮政查询。"},
	courier.CaseNotReceived:        {4 * time.Hour, "妥投之后又有投递记录：致电申请人确认是否收到；未收到的，向邮政查询。"},
	courier.CaseHeld:               {24 * time.Hour, "邮件等待领取：到期前仍未领取的，致电提醒申请人。"},
	courier.CaseReturned:           {24 * time.Hour, "邮件退回：收到退件后登记，并与申请人商定重寄或到所领取。"},
	courier.CaseLost:               {4 * time.Hour, "邮政登记邮件丢失或理赔：向邮政核实；确认丢失的，安排重新制证。"},
	courier.CaseAddress:            {2 * time.Hour, "地址有误或联系不上：致电申请人核对地址和电话，并请邮政更正后再投。"},
	courier.CaseStalled:            {4 * time.Hour, "邮政在收寄前已撤单：联系邮政确认；需要的，取消后重新下单。"},
	courier.CaseOrderUnknown:       {4 * time.Hour, "已取消的运单又有物流记录：联系邮政确认邮件去向，必要时拦截。"},
}

// openCases opens what new scans, or the move they made, give a clerk to do. What stood before is left alone, so that a
// case which a clerk has closed does not come back with every scan. Where a person has decided otherwise than the scans
// say, only a code that nobody knows is news.
func (n *news) openCases(r Result, now time.Time) {
	agreed := n.status == r.Status || r.Status == courier.Ordered
	for _, c := range r.Concerns {
		if !agreed && c.Kind != courier.CaseUnknownCode {
			continue
		}
		if n.isFresh(c.Scan) || n.move != nil && sameScan(c.Scan, r.Scan) {
			n.openCase(c.Kind, c.Code, now)
		}
	}
}

func (n *news) openCase(kind courier.CaseKind, code string, now time.Time) {
	if i := slices.IndexFunc(n.open, func(c courier.NewCase) bool { return c.Kind == kind }); i >= 0 {
		if codes := strings.TrimPrefix(n.open[i].Detail, detailHead); !slices.Contains(strings.Split(codes, "、"), code) {
			n.open[i].Detail += "、" + code
		}
		return
	}
	t := tasks[kind]
	n.open = append(n.open, courier.NewCase{DeliveryID: n.delivery, Kind: kind, OpenedAt: now, DueAt: now.Add(t.within),
		NextAction: t.next, Detail: detailHead + code})
}

const detailHead = "邮政代码 "

// closeCases closes what a move from a status has settled.
func (n *news) closeCases(from courier.Status, now time.Time) {
	kinds := []courier.CaseKind{courier.CaseStalled} // what moves is not stalled
	switch from {
	case courier.Held:
		kinds = append(kinds, courier.CaseHeld)
	case courier.Delivered:
		kinds = append(kinds, courier.CaseDeliveredElsewhere)
	case courier.Returned:
		kinds = append(kinds, courier.CaseReturned)
	case courier.Lost:
		kinds = append(kinds, courier.CaseLost)
	}
	if n.status == courier.Delivered || n.status == courier.Held {
		kinds = append(kinds, courier.CaseAddress)
	}
	for _, k := range kinds {
		n.closed = append(n.closed, courier.CaseClosing{DeliveryID: n.delivery, Kind: k, At: now, Outcome: "moved_on",
			By: "tracking", Why: "邮件已有新的物流状态。"})
	}
}

// afterCancelling looks at news of an envelope that should not be on its way.
func (n *news) afterCancelling(now time.Time) {
	for _, s := range n.fresh {
		if e := effectOf(s); e.status != "" && codes[s.Code].Group != Withdrawn {
			n.openCase(courier.CaseOrderUnknown, s.Code, now)
		}
	}
}
