package console

import (
	"net/http"

	"emsd/courier"
	"emsd/courier/staff"

	"github.com/google/uuid"
)

func (c *Console) packPages() []page {
	return []page{
		at("GET /console/counter", staff.PackCheck, func(v *visit) error { return v.redirect("/console/counter/pack", "") }),
		at("GET /console/counter/pack", staff.PackCheck, c.pack),
		at("POST /console/counter/pack", staff.PackCheck, c.packScan),
		at("POST /console/counter/pack/stops/{id}", staff.Propose, c.packPropose),
		at("POST /console/counter/pack/proposals/{id}/{decision}", staff.Propose, c.packDecide),
	}
}

// A packPage is the pack check: the permit that was scanned last, or what came of both scans.
type packPage struct {
	Permit string             // scanned, and its label is awaited
	Check  *courier.PackCheck // of the two that were scanned last
	Words  packWords          // for Check
	Stops  []stoppedEnvelope  // what must not leave
	Counts map[string]int     // of the envelopes at the counter
	Faults courier.Faults
}

// A stoppedEnvelope is one that waits for two people, with what the first of them has said.
type stoppedEnvelope struct {
	courier.PackStop
	Proposal *courier.Proposal
	Mine     bool // who looks has proposed it
}

// packWords say what a verdict means and what to do now.
type packWords struct{ Title, Do string }

var packVerdicts = map[courier.PackVerdict]packWords{
	courier.PackMatch:          {"相符，可以封口", "证件与面单一致，已登记装封。"},
	courier.PackAlready:        {"相符，先前已登记", "这一件已经核对过，可以封口。"},
	courier.PackMismatch:       {"不符，不要封口", "这张面单属于另一张证件。两个信封都已停下：请放到一边，由两个人打开核对、换回后在本页下方登记。"},
	courier.PackStopped:        {"停下，等待两人处理", "这个信封先前核对不符，两个人处理完毕之前不能封口，也不能交寄。"},
	courier.PackUnknownPermit:  {"查无此证", "没有这个证件编号的寄递。请先扫证件，再扫面单；仍然查不到的，不要装封，交后台核实。"},
	courier.PackUnknownWaybill: {"查无此面单", "没有这个运单号。请重新扫描面单上的条码；仍然查不到的，不要使用这张面单。"},
	courier.PackSuperseded:     {"面单已作废", "这张是作废的旧面单（可能已更正地址）。请销毁，打印新面单后再核对。"},
	courier.PackNotReady:       {"现在不能装封", "这一件不在“待交寄”状态，请到寄递页面查看原因。"},
	courier.PackWithdrawn:      {"正在取消或改址", "这张面单将不再使用。请等待处理完成，用新面单重新装封。"},
	courier.PackOtherStation:   {"不是本受理点的证件", "这张证件由其他受理点办理。请不要装封，交还办理的受理点。"},
}

func (c *Console) pack(v *visit) error { return c.packWith(v, http.StatusOK, packPage{}) }

func (c *Console) packWith(v *visit, status int, p packPage) error {
	stops, err := c.Service.PackStops(v.Context())
	if err != nil {
		return err
	}
	proposals, err := c.Service.OpenProposals(v.Context(), maxProposals)
	if err != nil {
		return err
	}
	open := map[uuid.UUID]*courier.Proposal{}
	for i := range proposals {
		if proposals[i].Kind == courier.ProposePackMismatch {
			open[proposals[i].DeliveryID] = &proposals[i]
		}
	}
	for _, s := range stops {
		e := stoppedEnvelope{PackStop: s, Proposal: open[s.DeliveryID]}
		e.Mine = e.Proposal != nil && e.Proposal.ProposedBy == v.User().Actor()
		p.Stops = append(p.Stops, e)
	}
	waiting, err := c.Service.ToPack(v.Context(), mostToPack)
	if err != nil {
		return err
	}
	p.Counts = map[string]int{"waiting": len(waiting)}
	for _, w := range waiting {
		if w.Packed {
			p.Counts["packed"]++
		}
		if w.Manifest != "" {
			p.Counts["listed"]++
		}
	}
	if p.Check != nil {
		p.Words = packVerdicts[p.Check.Verdict]
	}
	return v.renderAs(status, "counter_pack", p)
}

// Bounds of what the pages of the counter look at: more than a station has on its desk.
const (
	maxProposals = 200
	mostToPack   = 500
)

// packScan takes one scan: the permit, then its label. The answer to the second is shown at once; sending it again finds
// the same and changes nothing.
func (c *Console) packScan(v *visit) error {
	permit, scan := v.form("permit"), v.form("scan")
	switch {
	case scan == "":
		return c.packWith(v, http.StatusUnprocessableEntity, packPage{Permit: permit, Faults: courier.Faults{{Field: "scan", Code: "required", Detail: "没有扫到条码，请再扫一次"}}})
	case permit == "":
		return c.packWith(v, http.StatusOK, packPage{Permit: scan})
	}
	check, err := c.Service.PackCheck(v.Context(), permit, scan, v.User().Actor())
	if err != nil {
		return err
	}
	return c.packWith(v, http.StatusOK, packPage{Check: &check})
}

// packPropose is the first person's word that a mismatch was put right.
func (c *Console) packPropose(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	reason, err := v.reason()
	if err != nil {
		return err
	}
	if _, err := c.Service.Propose(v.Context(), id, courier.ProposePackMismatch, nil, reason, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/counter/pack", "stop_proposed")
}

// packDecide is the second person's.
func (c *Console) packDecide(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	by, why := v.User().Actor(), v.form("why")
	switch decision := v.r.PathValue("decision"); {
	case decision == "withdraw":
		_, err = c.Service.Withdraw(v.Context(), id, by)
	case !v.User().May(staff.Confirm):
		return errNotAllowed
	case decision == "confirm":
		_, err = c.Service.Confirm(v.Context(), id, why, by)
	case decision == "reject":
		_, err = c.Service.Reject(v.Context(), id, why, by)
	default:
		return courier.ErrNotFound
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/counter/pack", "decided")
}
