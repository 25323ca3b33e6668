package tracking

import (
	"hash/fnv"
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

// NextPoll says when to ask EMS again, from the status, the time since the trace last changed, the hour and the failures
// in a row. The zero time means never: a final status is left alone unless EMS pushes news of it.
//
// A parcel at rest is scanned about twice a day, so that half an hour in transit is often enough; on the delivery day ten
// minutes decide whether a resident hears in time. The account's rate is the scarce thing: what has been silent for long,
// and the night, when nobody hands anything over, are asked about less.
func NextPoll(stage courier.Status, changedAt, orderedAt time.Time, failures int, now time.Time) time.Time {
	every := interval(stage, changedAt, orderedAt, now)
	if every == 0 {
		return time.Time{}
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
	return next
}

// interval is the wait without failures; zero where nothing is asked.
func interval(stage courier.Status, changedAt, orderedAt, now time.Time) time.Duration {
	silent, age := now.Sub(changedAt), now.Sub(orderedAt)
	if silent > age {
		silent = age // a trace that never changed is silent since the order
	}
	var every time.Duration
	switch stage {
	case courier.Ordered:
		every = time.Hour
		if silent > 72*time.Hour {
			every = 4 * time.Hour
		}
	case courier.Accepted, courier.InTransit, courier.AttemptFailed:
		every = 30 * time.Minute
		if silent > 48*time.Hour {
			every = 2 * time.Hour
		}
	case courier.OutForDelivery:
		every = 10 * time.Minute
		if silent > 24*time.Hour {
			every = time.Hour
		}
	case courier.Held:
		every = time.Hour
		if silent > 48*time.Hour {
			every = 4 * time.Hour
		}
	case courier.Returning:
		every = 2 * time.Hour
	default:
		return 0
	}
	switch {
	case silent > 14*24*time.Hour:
		every = max(every, 12*time.Hour)
	case silent > 7*24*time.Hour:
		every = max(every, 6*time.Hour)
	}
	if !deliveryHours(now) {
		every = min(every*4, max(every, 4*time.Hour))
	}
	return every
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
