package console

import (
	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) todayPages() []page {
	return []page{at("GET /console/{$}", staff.ReadToday, c.today)}
}

// A todayPage is what needs somebody now.
type todayPage struct {
	Cases []courier.Case
	More  bool
}

// mostUrgent is how many cases the first page shows.
const mostUrgent = 15

func (c *Console) today(v *visit) error {
	cases, err := c.Service.Cases(v.Context(), courier.CaseFilter{Limit: mostUrgent})
	if err != nil {
		return err
	}
	return v.render("today", todayPage{cases.Cases, cases.Next != ""})
}
