package console

import (
	"net/http"
	"strconv"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) policyPages() []page {
	return []page{
		at("GET /console/settings/policies", staff.ReadSettings, c.policies),
		at("GET /console/settings/policies/change", staff.WriteSettings, c.policyForm),
		at("POST /console/settings/policies/preview", staff.WriteSettings, c.policyPreview),
		at("POST /console/settings/policies", staff.WriteSettings, c.policySave),
	}
}

// policySubject is what can be decided, with every policy about it.
type policySubject struct {
	courier.PolicySubject
	Values []policyValue
}

// policyValue is one thing that may be open or not.
type policyValue struct {
	Value    string
	Policies []courier.StoredPolicy // past, present and to come
	Open     *courier.StoredPolicy  // in force, or to come; nil: it may be opened
	InForce  bool
}

func (c *Console) policies(v *visit) error {
	all, err := c.Service.AllPolicies(v.Context())
	if err != nil {
		return err
	}
	now := c.Clock.Now()
	var subjects []policySubject
	for _, s := range courier.PolicySubjects {
		subject := policySubject{PolicySubject: s}
		for _, value := range s.Values {
			pv := policyValue{Value: value}
			for _, p := range all {
				if p.Rule != s.Rule || p.Subject != s.Subject || p.Value != value {
					continue
				}
				pv.Policies = append(pv.Policies, p)
				if p.ValidTo.IsZero() || p.ValidTo.After(now) {
					pv.Open, pv.InForce = &p, !p.ValidFrom.After(now)
				}
			}
			subject.Values = append(subject.Values, pv)
		}
		subjects = append(subjects, subject)
	}
	return v.render("settings_policies", subjects)
}

// policyPage is the form of a change, with what it would have done to the applications of the last month.
type policyPage struct {
	courier.PolicyChange
	Day     string
	Title   string
	Preview *courier.PolicyPreview
	Faults  courier.Faults
}

// Ends says whether the change ends a policy, rather than opens something.
func (p policyPage) Ends() bool { return p.ID != 0 }

func (c *Console) policyForm(v *visit) error {
	p, err := c.policyOf(v)
	if err != nil {
		return err
	}
	if p.Day == "" {
		p.Day = c.Clock.Now().In(beijing).AddDate(0, 0, 1).Format(time.DateOnly)
	}
	return v.render("settings_policy", p)
}

// policyOf reads the change; what it is about must exist.
func (c *Console) policyOf(v *visit) (policyPage, error) {
	p := policyPage{Day: v.form("day"), PolicyChange: courier.PolicyChange{Rule: v.form("rule"), Subject: v.form("subject"), Value: v.form("value"),
		Note: v.form("note"), At: beijingDay(v.form("day"))}}
	if id := v.form("id"); id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return p, courier.ErrNotFound
		}
		p.ID = n
		all, err := c.Service.AllPolicies(v.Context())
		if err != nil {
			return p, err
		}
		for _, stored := range all {
			if stored.ID == n {
				p.Rule, p.Subject, p.Value = stored.Rule, stored.Subject, stored.Value
			}
		}
	}
	for _, s := range courier.PolicySubjects {
		if s.Rule == p.Rule && s.Subject == p.Subject {
			p.Title = s.Title
			return p, nil
		}
	}
	return p, courier.ErrNotFound
}

func (c *Console) policyPreview(v *visit) error {
	p, err := c.policyOf(v)
	if err != nil {
		return err
	}
	preview, err := c.Service.PreviewPolicy(v.Context(), p.PolicyChange)
	if p.Faults = faultsIn(&err); len(p.Faults) > 0 {
		return v.renderAs(http.StatusUnprocessableEntity, "settings_policy", p)
	}
	if err != nil {
		return err
	}
	p.Preview = &preview
	return v.render("settings_policy", p)
}

func (c *Console) policySave(v *visit) error {
	p, err := c.policyOf(v)
	if err != nil {
		return err
	}
	err = c.Service.ChangePolicy(v.Context(), p.PolicyChange, v.User().Actor())
	if p.Faults = faultsIn(&err); len(p.Faults) > 0 {
		return v.renderAs(http.StatusUnprocessableEntity, "settings_policy", p)
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/settings/policies", "saved")
}
