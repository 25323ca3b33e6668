package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"
)

func (c *Console) queuePages() []page {
	return []page{
		at("GET /console/queue", staff.ReadQueue, c.queue),
		at("POST /console/queue/search", staff.ReadQueue, c.search),
		at("POST /console/queue/export", staff.Export, c.export),
	}
}

// A queuePage is a page of permits, or what a search has found.
type queuePage struct {
	Permits  []courier.Queued
	Filter   queueForm
	Stations []courier.Station
	Rules    []string
	Next     string // path of the page behind; empty on the last one
	First    bool
	Found    string // what was searched for, in words; empty for the list
}

// queueForm is the filter as the form has it.
type queueForm struct{ Status, Station, Rule, From, To string }

// queueLimit is how many permits a page shows.
const queueLimit = 50

func (v *visit) queueForm() queueForm {
	return queueForm{v.form("status"), v.form("station"), v.form("rule"), v.form("from"), v.form("to")}
}

// filter reads the form; days are Beijing days, both counted.
func (f queueForm) filter() (courier.QueueFilter, error) {
	q := courier.QueueFilter{Status: courier.Status(f.Status), Station: f.Station, Rule: f.Rule}
	var faults courier.Faults
	read := func(field, text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		t, err := time.ParseInLocation(time.DateOnly, text, beijing)
		if err != nil || t.Year() < 2000 || t.Year() > 2200 {
			faults = append(faults, courier.Fault{Field: field, Code: "format", Detail: "日期应写作 2026-11-22"})
		}
		return t
	}
	q.From = read("from", f.From)
	if to := read("to", f.To); !to.IsZero() {
		q.Before = to.AddDate(0, 0, 1)
	}
	if len(faults) > 0 {
		return q, faults
	}
	return q, nil
}

// query gives the form back as a query, without what is empty.
func (f queueForm) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"status": f.Status, "station": f.Station, "rule": f.Rule, "from": f.From, "to": f.To} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// rules are those that a refusal may name.
var rules = func() []string {
	names := make([]string, 0, len(courier.Sentences))
	for r := range courier.Sentences {
		names = append(names, r)
	}
	slices.Sort(names)
	return names
}()

func (c *Console) queue(v *visit) error {
	p := queuePage{Filter: v.queueForm(), Rules: rules, First: v.form("cursor") == ""}
	f, err := p.Filter.filter()
	if err != nil {
		return err
	}
	f.Cursor, f.Limit = v.form("cursor"), queueLimit
	list, err := c.Service.Queue(v.Context(), f)
	if err != nil {
		return err
	}
	p.Permits = list.Permits
	if list.Next != "" {
		q := p.Filter.query()
		q.Set("cursor", list.Next)
		p.Next = "/console/queue?" + q.Encode()
	}
	return c.showQueue(v, http.StatusOK, p)
}

// showQueue adds the stations that a person may choose from.
func (c *Console) showQueue(v *visit, status int, p queuePage) error {
	if v.User().Station == "" {
		var err error
		if p.Stations, err = c.Service.Stations(v.Context()); err != nil {
			return err
		}
	}
	return v.renderAs(status, "queue", p)
}

// search finds permits by whatever was typed or scanned. It is a POST, and what it finds is shown at once: no number of a
// person may stand in an address. A single find leads to its page.
func (c *Console) search(v *visit) error {
	text := v.form("q")
	p := queuePage{Rules: rules, First: true}
	var err error
	key := courier.PersonKeyOf(vault.Conceal(text))
	switch {
	case text == "" || len(text) > 64:
		return courier.Faults{{Field: "q", Code: "required", Detail: "请扫描或填写要查找的号码"}}
	case key == "":
		p.Found = "编号"
		p.Permits, err = c.Service.FindByNumber(v.Context(), text)
	case !v.User().May(staff.SearchPerson):
		return errNotAllowed
	default:
		p.Found = map[courier.PersonKey]string{courier.ByPhone: "手机号", courier.ByIDNo: "身份证号"}[key]
		p.Permits, err = c.searchPerson(v, key, vault.Conceal(text))
	}
	if err != nil {
		return err
	}
	if len(p.Permits) == 1 {
		return v.redirect("/console/deliveries/"+p.Permits[0].ID.String(), "")
	}
	return c.showQueue(v, http.StatusOK, p)
}

// searchPerson audits the search with what it found, before it is shown.
func (c *Console) searchPerson(v *visit, key courier.PersonKey, number vault.Secret) ([]courier.Queued, error) {
	found, err := c.Service.FindByPerson(v.Context(), key, number)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, q := range found {
		ids[i] = q.ID.String()
	}
	detail := map[string]string{"by": string(key), "found": strconv.Itoa(len(found))}
	return found, c.Staff.Record(v.Context(), v.User(), "search.person", detail, ids...)
}
