package api

import (
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/tracking"
)

func (a *API) history() *tracking.History {
	return tracking.NewHistory(a.db, a.clock, tracking.HistoryOptions{})
}

// expectationView says how long envelopes like this one took, and by which journeys; it is no promise.
type expectationView struct {
	LowDays    int    `json:"low_days"`
	MedianDays int    `json:"median_days"`
	HighDays   int    `json:"high_days"`
	Earliest   string `json:"earliest,omitempty"` // days in Beijing, once EMS has the envelope
	Latest     string `json:"latest,omitempty"`
	Cases      int    `json:"cases"`
	Level      string `json:"level"`
	From       string `json:"from"`
	To         string `json:"to"`
	Basis      string `json:"basis"`
}

// expected tells of a live delivery that is not at the door yet how long it will take. Afterwards its scans say more.
func (a *API) expected(r *http.Request, d courier.Delivery, steps []tracking.Step) (*expectationView, error) {
	switch d.Status {
	case courier.AwaitingPayment, courier.Approved, courier.Ordering, courier.Ordered, courier.Accepted, courier.InTransit, courier.OutForDelivery:
	default:
		return nil, nil
	}
	x, ok, err := a.history().Expect(r.Context(), tracking.Route{Station: d.StationCode, Province: d.Recipient.Province,
		City: d.Recipient.City, County: d.Recipient.County})
	if err != nil || !ok {
		return nil, err
	}
	v := &expectationView{LowDays: x.Low, MedianDays: x.Median, HighDays: x.High, Cases: x.Cases, Level: string(x.Level),
		From: x.From.Format(time.DateOnly), To: x.To.Format(time.DateOnly), Basis: x.Basis}
	if accepted := tracking.AcceptedAt(steps); d.Status != courier.Ordered && !accepted.IsZero() {
		v.Earliest, v.Latest = accepted.AddDate(0, 0, x.Low).Format(time.DateOnly), accepted.AddDate(0, 0, x.High).Format(time.DateOnly)
	}
	return v, nil
}

// summaryView is how well it went for a station or a district; what nothing is known of is left out.
type summaryView struct {
	StationCode      string   `json:"station_code,omitempty"`
	StationName      string   `json:"station_name,omitempty"`
	Province         string   `json:"province,omitempty"`
	City             string   `json:"city,omitempty"`
	County           string   `json:"county,omitempty"`
	Delivered        int      `json:"delivered"`
	Returned         int      `json:"returned"`
	Lost             int      `json:"lost"`
	Attempted        int      `json:"attempted"`
	FirstAttempt     int      `json:"first_attempt"`
	FirstAttemptRate *float64 `json:"first_attempt_rate,omitempty"`
	MedianDays       *int     `json:"median_days,omitempty"`
	P90Days          *int     `json:"p90_days,omitempty"`
}

// longestPeriod bounds what one call adds up.
const longestPeriod = 3 * 366 * 24 * time.Hour

// statistics answers how well it went for the deliveries that ended in a period, the last 30 days unless it is given.
func (a *API) statistics(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	q := r.URL.Query()
	by := tracking.Grouping(q.Get("by"))
	if by != tracking.ByStation && by != tracking.ByDistrict {
		return badParam("by", "应为 station（按受理点）或 district（按寄往的区县）")
	}
	to, err := dayParam(q.Get("to"), a.clock.Now())
	if err != nil {
		return badParam("to", "应为日期，例如 2026-11-22")
	}
	from, err := dayParam(q.Get("from"), to.AddDate(0, 0, -29))
	if err != nil {
		return badParam("from", "应为日期，例如 2026-11-22")
	}
	if from.After(to) {
		return badParam("from", "不能晚于 to")
	}
	if to.Sub(from) > longestPeriod {
		return badParam("from", "起止日期最多相隔三年")
	}
	sums, err := a.history().Statistics(r.Context(), by, from, to)
	if err != nil {
		return err
	}
	out := struct {
		By     string        `json:"by"`
		From   string        `json:"from"`
		To     string        `json:"to"`
		Groups []summaryView `json:"groups"`
	}{string(by), from.Format(time.DateOnly), to.Format(time.DateOnly), make([]summaryView, len(sums))}
	for i, s := range sums {
		out.Groups[i] = viewSummary(s)
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func viewSummary(s tracking.Summary) summaryView {
	v := summaryView{StationCode: s.Station, StationName: s.StationName, Province: s.Province, City: s.City, County: s.County,
		Delivered: s.Delivered, Returned: s.Returned, Lost: s.Lost, Attempted: s.Attempted, FirstAttempt: s.AtOnce}
	if s.Attempted > 0 {
		rate := float64(s.AtOnce) / float64(s.Attempted)
		v.FirstAttemptRate = &rate
	}
	if s.Timed > 0 {
		v.MedianDays, v.P90Days = &s.MedianDays, &s.P90Days
	}
	return v
}

// ageing answers how many live deliveries stand in each status, by how many days they have stood there.
func (a *API) ageing(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	ages, err := a.history().Ageing(r.Context())
	if err != nil {
		return err
	}
	type bucket struct {
		FromDays int  `json:"from_days"`
		ToDays   *int `json:"to_days,omitempty"`
		Count    int  `json:"count"`
	}
	type status struct {
		Status  string   `json:"status"`
		Count   int      `json:"count"`
		Buckets []bucket `json:"buckets"`
	}
	out := []status{}
	for _, x := range ages {
		s := status{Status: string(x.Status)}
		low := 0
		for i, n := range x.Buckets {
			b := bucket{FromDays: low, Count: n}
			if i < len(tracking.AgeBounds) {
				low = tracking.AgeBounds[i]
				b.ToDays = &tracking.AgeBounds[i]
			}
			s.Buckets, s.Count = append(s.Buckets, b), s.Count+n
		}
		out = append(out, s)
	}
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Statuses []status `json:"statuses"`
	}{out})
	return nil
}

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// dayParam reads a day, as its midnight in Beijing.
func dayParam(s string, fallback time.Time) (time.Time, error) {
	if s == "" {
		s = fallback.In(beijing).Format(time.DateOnly)
	}
	return time.ParseInLocation(time.DateOnly, s, beijing)
}
