package api

import (
	"net/http"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"
	"emsd/notify"

	"github.com/google/uuid"
)

// callView is somebody to telephone; name and number are masked unless the token's scope allows more.
type callView struct {
	caseView
	PermitNo  string        `json:"permit_no"`
	WaybillNo string        `json:"waybill_no,omitempty"`
	Milestone string        `json:"milestone,omitempty"`
	Language  string        `json:"language"`
	Name      string        `json:"name"`
	Phone     string        `json:"phone"`
	Stopped   bool          `json:"stopped,omitempty"` // the number wants no messages
	Tries     []callTryView `json:"tries,omitempty"`
}

type callTryView struct {
	At      string `json:"at"`
	By      string `json:"by"`
	Outcome string `json:"outcome"`
	Note    string `json:"note,omitempty"`
}

func viewCall(c notify.Call, clear bool) callView {
	v := callView{caseView: viewCase(c.Case), PermitNo: c.PermitNo, WaybillNo: c.WaybillNo, Milestone: string(c.Milestone), Language: c.Language,
		Name: vault.MaskName(c.Name), Phone: vault.MaskPhone(c.Phone), Stopped: c.Stopped}
	if clear {
		v.Name, v.Phone = c.Name.Reveal(), c.Phone.Reveal()
	}
	v.Tries = viewTries(c.Tries)
	return v
}

func viewTries(tries []notify.CallTry) []callTryView {
	var vs []callTryView
	for _, try := range tries {
		vs = append(vs, callTryView{timeText(try.At), try.By, try.Outcome, try.Note})
	}
	return vs
}

// callList answers whom to telephone, the most urgent first; a look at the numbers is one entry of the audit.
func (a *API) callList(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	q := r.URL.Query()
	limit, err := intParam(q.Get("limit"), 100, 1, 500)
	if err != nil {
		return badParam("limit", "应为 1 到 500 的整数")
	}
	page, err := a.calls.List(r.Context(), q.Get("cursor"), limit)
	if err != nil {
		return err
	}
	out := struct {
		Calls []callView `json:"calls"`
		Next  string     `json:"next_cursor,omitempty"`
	}{Calls: []callView{}, Next: page.Next}
	ids := make([]uuid.UUID, len(page.Calls))
	for i, c := range page.Calls {
		ids[i] = c.DeliveryID
		out.Calls = append(out.Calls, viewCall(c, mayUnmask(t)))
	}
	if mayUnmask(t) && len(ids) > 0 {
		if err := a.seenMany(r, t, "calls.seen", ids); err != nil {
			return err
		}
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// showCall answers one case of the list, open or closed, with the tag for what is recorded about it.
func (a *API) showCall(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	one, err := a.service.Case(r.Context(), id)
	if err != nil {
		return err
	}
	c, err := a.calls.Of(r.Context(), one)
	if err != nil {
		return err
	}
	tag := func(body []byte) string { return `"` + callDigest(c) + "-" + digest(body) + `"` }
	return writeTagged(w, r, viewCall(c, mayUnmask(t)), tag, func() error {
		if !mayUnmask(t) {
			return nil
		}
		return a.seen(r, t, "calls.seen", c.DeliveryID.String(), nil)
	})
}

// called records what came of a call.
func (a *API) called(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Outcome string `json:"outcome"`
		Note    string `json:"note"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := a.calls.Called(r.Context(), id, in.Outcome, in.Note, t.Name); err != nil {
		return err
	}
	c, err := a.service.Case(r.Context(), id)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewCase(c))
	return nil
}
