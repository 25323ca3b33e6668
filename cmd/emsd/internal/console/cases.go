package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/notify/webhook"

	"github.com/google/uuid"
)

func (c *Console) casePages() []page {
	return []page{
		at("GET /console/cases", staff.ReadCases, c.cases),
		at("GET /console/cases/{id}", staff.ReadCases, c.caseShow),
		at("POST /console/cases/{id}/take", staff.WorkCases, c.caseTake),
		at("POST /console/cases/{id}/hand-over", staff.WorkCases, c.caseHandOver),
		at("POST /console/cases/{id}/release", staff.WorkCases, c.caseRelease),
		at("POST /console/cases/{id}/close", staff.WorkCases, c.caseClose),
	}
}

// A casesPage is the worklist by a filter.
type casesPage struct {
	Items    []courier.WorkItem
	Whose    string // "", mine, nobody
	Kind     courier.CaseKind
	Overdue  bool
	Station  string
	Stations []courier.Station // empty for a person of one station
	Kinds    []courier.CaseKind
	Next     string // address of the next page
}

// caseKinds lists the kinds in the order of the words.
var caseKinds = func() []courier.CaseKind {
	var kinds []courier.CaseKind
	for k := range caseWords {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}()

const casesPerPage = 50

func (c *Console) cases(v *visit) error {
	q := v.r.URL.Query()
	p := casesPage{Whose: q.Get("whose"), Kind: courier.CaseKind(q.Get("kind")), Overdue: q.Get("overdue") == "1", Station: q.Get("station"), Kinds: caseKinds}
	f := courier.WorkFilter{Kind: p.Kind, Overdue: p.Overdue, StationCode: p.Station, Subjects: v.User().May(staff.ManageHooks),
		Cursor: q.Get("cursor"), Limit: casesPerPage, Unowned: p.Whose == "nobody"}
	if p.Whose == "mine" {
		f.Owner = v.User().Actor()
	}
	list, err := c.Service.Worklist(v.Context(), f)
	if err != nil {
		return err
	}
	p.Items = list.Items
	if list.Next != "" {
		q.Set("cursor", list.Next)
		q.Del("notice")
		p.Next = "/console/cases?" + q.Encode()
	}
	if v.User().Station == "" {
		if p.Stations, err = c.Service.Stations(v.Context()); err != nil {
			return err
		}
	}
	return v.render("cases", p)
}

// A casePage is one case, and to whom it may be given.
type casePage struct {
	courier.CaseFile
	Hook       *webhook.Endpoint // that a case about a subscriber is about; nil for another case, and when it was deleted
	Mine       bool
	MayMove    bool // hand over, release
	Colleagues []staff.User
	Faults     courier.Faults
	Ended      string // outcome and explanation as filled in, when the closing was refused
	Because    string
}

// caseFile reads a case that this person sees: one about a webhook is there only for who keeps the webhooks.
func (c *Console) caseFile(v *visit, id uuid.UUID) (courier.CaseFile, error) {
	f, err := c.Service.CaseFile(v.Context(), id)
	if err == nil && f.Subject != "" && !v.User().May(staff.ManageHooks) {
		err = courier.ErrNotFound
	}
	return f, err
}

func (c *Console) caseShow(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return c.caseWith(v, http.StatusOK, id, casePage{})
}

func (c *Console) caseWith(v *visit, status int, id uuid.UUID, p casePage) error {
	var err error
	if p.CaseFile, err = c.caseFile(v, id); err != nil {
		return err
	}
	if id, ok := webhook.OfSubject(p.Subject); ok {
		e, err := c.Webhooks.Get(v.Context(), id)
		if err != nil && !errors.Is(err, courier.ErrNotFound) {
			return err
		}
		if err == nil {
			p.Hook = &e
		}
	}
	p.Mine = p.Owner == v.User().Actor()
	p.MayMove = p.Mine || p.Owner != "" && v.User().May(staff.Confirm)
	if p.ClosedAt.IsZero() && v.User().May(staff.WorkCases) {
		if p.Colleagues, err = c.colleagues(v, p.StationCode, p.Owner); err != nil {
			return err
		}
	}
	return v.renderAs(status, "case", p)
}

// colleagues are those who may work on a case of a station, without its owner. A counter clerk of another station could
// not see it.
func (c *Console) colleagues(v *visit, station, owner string) ([]staff.User, error) {
	all, err := c.Staff.Users(v.Context())
	return slices.DeleteFunc(all, func(u staff.User) bool {
		return !u.DisabledAt.IsZero() || !u.May(staff.WorkCases) || u.Station != "" && u.Station != station || u.Actor() == owner
	}), err
}

func casePath(id uuid.UUID) string { return "/console/cases/" + id.String() }

func (c *Console) caseTake(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if _, err := c.caseFile(v, id); err != nil {
		return err
	}
	if err := c.Service.TakeCase(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect(casePath(id), "case_taken")
}

func (c *Console) caseHandOver(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	f, err := c.caseFile(v, id)
	if err != nil {
		return err
	}
	to := v.form("to")
	colleagues, err := c.colleagues(v, f.StationCode, f.Owner)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(colleagues, func(u staff.User) bool { return u.Name == to }) {
		return c.caseWith(v, http.StatusUnprocessableEntity, id, casePage{Faults: courier.Faults{{Field: "to", Code: "unknown_value", Detail: "请选择能办理该事项的同事"}}})
	}
	err = c.Service.HandCase(v.Context(), id, staff.User{Name: to}.Actor(), v.form("note"), v.User().Actor(), v.User().May(staff.Confirm))
	if err != nil {
		return err
	}
	return v.redirect(casePath(id), "case_handed_over")
}

func (c *Console) caseRelease(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if _, err := c.caseFile(v, id); err != nil {
		return err
	}
	if err := c.Service.HandCase(v.Context(), id, "", v.form("note"), v.User().Actor(), v.User().May(staff.Confirm)); err != nil {
		return err
	}
	return v.redirect(casePath(id), "case_released")
}

// caseClose ends a case; what a colleague has on hand is for the colleague, or for a supervisor.
func (c *Console) caseClose(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	f, err := c.caseFile(v, id)
	if err != nil {
		return err
	}
	if f.Owner != "" && f.Owner != v.User().Actor() && !v.User().May(staff.Confirm) {
		return &courier.Conflict{Code: "not_your_case", Detail: "该事项由同事办理中，请先由其转交或退回"}
	}
	outcome, why := cmp.Or(v.form("outcome_text"), v.form("outcome")), v.form("why")
	_, err = c.Service.CloseCase(v.Context(), id, outcome, v.User().Actor(), why)
	if faults, ok := asFaults(err); ok {
		return c.caseWith(v, http.StatusUnprocessableEntity, id, casePage{Faults: faults, Ended: outcome, Because: why})
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/cases?"+url.Values{"whose": {"mine"}}.Encode(), "case_closed")
}
