package console

import (
	"errors"
	"net/http"
	"net/url"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/notify"

	"github.com/google/uuid"
)

func (c *Console) callPages() []page {
	return []page{
		at("GET /console/calls", staff.ReadCases, c.calls),
		at("POST /console/calls/{id}", staff.WorkCases, c.called),
	}
}

// A callsPage lists whom no message has reached. Who may telephone sees the numbers, and every look is audited.
type callsPage struct {
	Calls    []notify.Call
	Clear    bool
	Outcomes []callOutcome
	Next     string // address of the next page
	Faults   courier.Faults
}

// A callOutcome is what can come of a call.
type callOutcome struct{ Value, Title string }

var callOutcomes = []callOutcome{
	{notify.CallReached, "已告知本人"}, {notify.CallNoAnswer, "无人接听"}, {notify.CallWrongNumber, "号码不是本人的"}, {notify.CallRefused, "本人不要再收短信"},
}

const callsPerPage = 50

func (c *Console) calls(v *visit) error { return c.callsWith(v, http.StatusOK, nil) }

func (c *Console) callsWith(v *visit, status int, faults courier.Faults) error {
	list, err := c.Calls.List(v.Context(), v.r.URL.Query().Get("cursor"), callsPerPage)
	if err != nil {
		return err
	}
	p := callsPage{Calls: list.Calls, Clear: v.User().May(staff.WorkCases), Outcomes: callOutcomes, Faults: faults}
	if list.Next != "" {
		p.Next = "/console/calls?" + url.Values{"cursor": {list.Next}}.Encode()
	}
	if p.Clear && len(list.Calls) > 0 {
		var ids []string
		for _, one := range list.Calls {
			ids = append(ids, one.DeliveryID.String())
		}
		if err := c.Staff.Record(v.Context(), v.User(), "calls.seen", nil, ids...); err != nil {
			return err
		}
	}
	return v.renderAs(status, "calls", p)
}

func (c *Console) called(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := c.mayCall(v, id); err != nil {
		return err
	}
	err = c.Calls.Called(v.Context(), id, v.form("outcome"), v.form("note"), v.User().Actor())
	if faults, ok := errors.AsType[courier.Faults](err); ok {
		return c.callsWith(v, http.StatusUnprocessableEntity, faults)
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/calls", "called")
}

// mayCall finds only cases that this person sees: a counter clerk's are those of the own station.
func (c *Console) mayCall(v *visit, id uuid.UUID) error {
	_, err := c.caseFile(v, id)
	return err
}
