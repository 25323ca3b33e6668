package tracking

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"emsd/courier"
)

// Delivery hours in Beijing: couriers are out, and a resident may be at the door.
const (
	deliveryFrom = 8
	deliveryTo   = 20
)

// maxWait bounds every wait, so that no live envelope is forgotten for longer than a day.
const (
	maxWait    = 24 * time.Hour
	maxBackoff = 8 * time.Hour
)

// Urgencies of a waybill: of those that are due the lower number is asked about first.
const (
	urgent     = 0 // out for delivery, or pushed
	urgencies  = 4
	leastUrged = urgencies - 1
)

// askedStages lists the statuses in which EMS is asked.
var askedStages = []courier.Status{courier.Ordered, courier.Accepted, courier.InTransit, courier.OutForDelivery,
	courier.AttemptFailed, courier.Held, courier.Returning}

// A planRow is one row of the table poll_plan.
type planRow struct {
	stage      courier.Status
	silent     time.Duration // since the trace last changed, from which on the row counts
	day, night time.Duration // until EMS is asked again
	urgency    int
}

// A Plan says when to ask EMS again and who goes first: the table poll_plan, which an operator may change.
type Plan struct {
	rows    map[courier.Status][]planRow // longest silence first
	Missing []courier.Status             // stages without a row for a trace that has just changed: the built-in rows stand for them
}

// builtIn is the plan that the schema brings. A parcel at rest is scanned about twice a day, so that half an hour in
// transit is often enough; on the delivery day ten minutes decide whether a resident hears in time. The account's rate is
// the scarce thing: what has been silent for long, and the night, when nobody hands anything over, are asked about less.
var builtIn = []planRow{
	{courier.Ordered, 0, time.Hour, 4 * time.Hour, 3}, {courier.Ordered, 72 * time.Hour, 4 * time.Hour, 4 * time.Hour, 3},
	{courier.Ordered, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.Ordered, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.Accepted, 0, 30 * time.Minute, 2 * time.Hour, 2}, {courier.Accepted, 48 * time.Hour, 2 * time.Hour, 4 * time.Hour, 2},
	{courier.Accepted, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.Accepted, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.InTransit, 0, 30 * time.Minute, 2 * time.Hour, 2}, {courier.InTransit, 48 * time.Hour, 2 * time.Hour, 4 * time.Hour, 2},
	{courier.InTransit, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.InTransit, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.OutForDelivery, 0, 10 * time.Minute, 40 * time.Minute, 0}, {courier.OutForDelivery, 24 * time.Hour, time.Hour, 4 * time.Hour, 1},
	{courier.OutForDelivery, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.OutForDelivery, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.AttemptFailed, 0, 30 * time.Minute, 2 * time.Hour, 1}, {courier.AttemptFailed, 48 * time.Hour, 2 * time.Hour, 4 * time.Hour, 2},
	{courier.AttemptFailed, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.AttemptFailed, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.Held, 0, time.Hour, 4 * time.Hour, 1}, {courier.Held, 48 * time.Hour, 4 * time.Hour, 4 * time.Hour, 2},
	{courier.Held, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3}, {courier.Held, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
	{courier.Returning, 0, 2 * time.Hour, 4 * time.Hour, 3}, {courier.Returning, 168 * time.Hour, 6 * time.Hour, 6 * time.Hour, 3},
	{courier.Returning, 336 * time.Hour, 12 * time.Hour, 12 * time.Hour, 3},
}

var defaultPlan = newPlan(builtIn)

// DefaultPlan is the plan that the schema brings.
func DefaultPlan() *Plan { return defaultPlan }

func newPlan(rows []planRow) *Plan {
	p := &Plan{rows: map[courier.Status][]planRow{}}
	for _, r := range rows {
		p.rows[r.stage] = append(p.rows[r.stage], r)
	}
	for _, stage := range askedStages {
		if !slices.ContainsFunc(p.rows[stage], func(r planRow) bool { return r.silent == 0 }) {
			p.Missing = append(p.Missing, stage)
			p.rows[stage] = append(p.rows[stage], builtIn[slices.IndexFunc(builtIn, func(r planRow) bool { return r.stage == stage })])
		}
		slices.SortFunc(p.rows[stage], func(a, b planRow) int { return cmp.Compare(b.silent, a.silent) })
	}
	return p
}

// row finds the row that counts for a stage; ok is false where nothing is asked.
func (p *Plan) row(stage courier.Status, changedAt, orderedAt, now time.Time) (r planRow, ok bool) {
	silent := min(now.Sub(changedAt), now.Sub(orderedAt)) // a trace that never changed is silent since the order
	rows := p.rows[stage]
	for _, r := range rows {
		if silent >= r.silent {
			return r, true
		}
	}
	if len(rows) == 0 {
		return planRow{}, false
	}
	return rows[len(rows)-1], true // a clock that stands before the change
}

// Next says when to ask EMS again, from the status, the time since the trace last changed, the hour and the failures in a
// row, and how urgent it is then. The zero time means never: a final status is left alone unless EMS pushes news of it.
func (p *Plan) Next(stage courier.Status, changedAt, orderedAt time.Time, failures int, now time.Time) (time.Time, int) {
	r, ok := p.row(stage, changedAt, orderedAt, now)
	if !ok {
		return time.Time{}, leastUrged
	}
	every := r.night
	if deliveryHours(now) {
		every = r.day
	}
	if failures > 0 {
		every = max(every, min(every<<min(failures, 10), maxBackoff))
	}
	every = min(every, maxWait)
	next := now.Add(every)
	// The wait of a night ends where the delivery hours begin.
	if opening := nextOpening(now); failures == 0 && stage == courier.OutForDelivery && next.After(opening) && every < maxWait {
		next = opening
	}
	return next, r.urgency
}

func deliveryHours(t time.Time) bool {
	h := t.In(beijing).Hour()
	return h >= deliveryFrom && h < deliveryTo
}

// nextOpening is the next beginning of delivery hours after t.
func nextOpening(t time.Time) time.Time {
	y, m, d := t.In(beijing).Date()
	opening := time.Date(y, m, d, deliveryFrom, 0, 0, 0, beijing)
	if !opening.After(t) {
		opening = opening.AddDate(0, 0, 1)
	}
	return opening
}

// Spread delays next by up to a tenth of the wait, each waybill by its own share, so that envelopes ordered together are
// not asked about together for ever. The zero time stays zero.
func Spread(next, now time.Time, waybillNo string) time.Time {
	wait := next.Sub(now)
	if next.IsZero() || wait <= 0 {
		return next
	}
	h := fnv.New32a()
	h.Write([]byte(waybillNo))
	return next.Add(wait / 10 * time.Duration(h.Sum32()%1024) / 1024)
}

// fairTurn is how often a chunk begins with a less urgent class, so that none starves while the rate does not suffice.
const fairTurn = 5

// claimOrder says in which order the urgencies fill the chunk of a turn: the most urgent first, but one chunk in five
// begins with another class, each in its turn.
func claimOrder(turn int) [urgencies]int {
	order := [urgencies]int{0, 1, 2, 3}
	if turn%fairTurn != fairTurn-1 {
		return order
	}
	first := 1 + turn/fairTurn%(urgencies-1)
	order[0] = first
	for i, u := 1, 0; u < urgencies; u++ {
		if u != first {
			order[i] = u
			i++
		}
	}
	return order
}
