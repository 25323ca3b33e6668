package console

import (
	"slices"
	"strconv"
	"time"

	"emsd/cmd/emsd/internal/resident"
	"emsd/courier"
	"emsd/courier/staff"

	"github.com/google/uuid"
)

func (c *Console) deliveryPages() []page {
	return []page{
		at("GET /console/deliveries/{id}", staff.ReadDelivery, c.delivery),
		at("POST /console/deliveries/{id}/unmask", staff.Unmask, c.unmask),
		at("POST /console/deliveries/{id}/mask", staff.Unmask, c.mask),
	}
}

// A deliveryPage is everything about one permit.
type deliveryPage struct {
	courier.View
	Standing      courier.Standing
	StationName   string
	Entries       []entry       // the timeline, the newest first
	Resident      resident.View // what the resident's page shows
	ResidentAt    string        // its address, for who may give it to the resident; empty for none
	Interventions []courier.Intervention
	Proposals     []courier.Proposal
	Can           map[string]bool // what may be done now, by this person
	Unmasked      time.Time       // wall: until when the recipient is shown in clear; zero: masked
	Me            string
}

// OpenProposals are those that wait for a second person.
func (p deliveryPage) OpenProposals() []courier.Proposal {
	return slices.DeleteFunc(slices.Clone(p.Proposals), func(x courier.Proposal) bool { return x.State != courier.ProposalOpen })
}

// OpenInterventions are those whose outcome a clerk may record.
func (p deliveryPage) OpenInterventions() []courier.Intervention {
	return slices.DeleteFunc(slices.Clone(p.Interventions), func(i courier.Intervention) bool {
		return i.State == courier.InterventionDone || i.State == courier.InterventionFailed || i.State == courier.InterventionSending ||
			i.State == courier.InterventionRefused
	})
}

func (c *Console) delivery(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	p := deliveryPage{Me: v.User().Actor()}
	if p.View, err = c.Service.Get(v.Context(), id); err != nil {
		return err
	}
	station, err := c.Service.StationByCode(v.Context(), p.StationCode)
	if err != nil {
		return err
	}
	p.StationName = station.Name
	steps, err := c.Timeline.Timeline(v.Context(), id)
	if err != nil {
		return err
	}
	if p.Interventions, err = c.Service.InterventionsOf(v.Context(), id); err != nil {
		return err
	}
	if p.Proposals, err = c.Service.ProposalsOf(v.Context(), id); err != nil {
		return err
	}
	if p.Entries, err = c.timeline(v, p, steps); err != nil {
		return err
	}
	if p.Unmasked, err = v.Unmasked(id); err != nil {
		return err
	}
	if !p.Unmasked.IsZero() { // when the time is over the page loads again by itself, masked
		v.w.Header().Set("Refresh", strconv.Itoa(max(1, int(p.Unmasked.Sub(c.Clock.Wall()).Seconds())+1)))
	}
	open := openKinds(p.Cases)
	if p.Resident, err = c.Residents.View(v.Context(), p.View, resident.Chinese); err != nil {
		return err
	}
	if c.TrackingURL != nil && v.User().May(staff.NotReceived) { // who answers residents
		p.ResidentAt = c.TrackingURL(id)
	}
	p.Standing, p.Can = courier.StandingOf(p.Delivery, open), canDo(v.User(), p, open)
	return v.render("delivery", p)
}

func openKinds(cases []courier.Case) []courier.CaseKind {
	var kinds []courier.CaseKind
	for _, c := range cases {
		if c.ClosedAt.IsZero() {
			kinds = append(kinds, c.Kind)
		}
	}
	return kinds
}

// onTheWay are the statuses in which EMS has the envelope and may be asked to do something with it.
var onTheWay = []courier.Status{courier.Accepted, courier.InTransit, courier.OutForDelivery, courier.AttemptFailed, courier.Held}

// canDo says which forms a page offers: what the role allows and the status makes sensible. What is really possible is
// decided by package courier when the form comes.
func canDo(u staff.User, p deliveryPage, open []courier.CaseKind) map[string]bool {
	d := p.Delivery
	refused := d.Status == courier.Ordering && slices.Contains(open, courier.CaseOrderRefused)
	atHand := d.Status == courier.Ordered && d.HandedOverAt.IsZero() && d.CancelRequestedAt.IsZero()
	early := d.Status == courier.AwaitingPayment || d.Status == courier.Approved
	missing := slices.ContainsFunc(p.NonReceipts, func(n courier.NonReceipt) bool { return n.EndedAt.IsZero() })
	sent := slices.Contains(onTheWay, d.Status)
	wrong := slices.ContainsFunc(open, func(k courier.CaseKind) bool {
		return k == courier.CaseLost || k == courier.CaseNotReceived || k == courier.CaseStalled
	})
	when := map[string]struct {
		action staff.Action
		now    bool
	}{
		"pay":          {staff.Pay, d.Status == courier.AwaitingPayment},
		"refund":       {staff.Refund, d.RefundDueFen > 0},
		"cancel":       {staff.Cancel, early || d.Status == courier.Ordering && d.CancelRequestedAt.IsZero() || atHand},
		"retry":        {staff.Retry, refused},
		"address":      {staff.Address, early || refused || atHand},
		"handover":     {staff.HandOver, atHand},
		"not_received": {staff.NotReceived, !missing && (sent || d.Status == courier.Delivered || d.Status == courier.Returning)},
		"found":        {staff.Propose, missing},
		"lost":         {staff.Propose, wrong && d.Status != courier.Cancelled && d.Status != courier.Refused},
		"intervene":    {staff.Intervene, sent || d.Status == courier.Returning || d.Status == courier.Ordered && !d.HandedOverAt.IsZero()},
		"redispatch":   {staff.Redispatch, p.Return != nil && p.Return.OnShelf()},
		"ask":          {staff.AskEMS, d.WaybillNo != "" && d.Status != courier.Ordering && d.Status != courier.Cancelled},
		"unmask":       {staff.Unmask, !d.Recipient.Name.IsZero()},
	}
	can := map[string]bool{}
	for name, w := range when {
		can[name] = w.now && u.May(w.action)
	}
	return can
}

// unmask shows the recipient in clear for some minutes, in this session only.
func (c *Console) unmask(v *visit) error {
	id, err := v.seen()
	if err != nil {
		return err
	}
	reason, err := v.reason()
	if err != nil {
		return err
	}
	if _, err := c.Staff.Unmask(v.Context(), v.session, id, reason); err != nil {
		return err
	}
	return v.redirect(deliveryPath(id), "unmasked")
}

func (c *Console) mask(v *visit) error {
	id, err := v.seen()
	if err != nil {
		return err
	}
	if err := c.Staff.Mask(v.Context(), v.session, id); err != nil {
		return err
	}
	return v.redirect(deliveryPath(id), "masked")
}

// seen gives {id} of a delivery that this person may see; any other is not there.
func (v *visit) seen() (uuid.UUID, error) {
	id, err := v.id()
	if err != nil {
		return id, err
	}
	_, err = v.c.Service.Get(v.Context(), id)
	return id, err
}

func deliveryPath(id uuid.UUID) string { return "/console/deliveries/" + id.String() }
