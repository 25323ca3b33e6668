package tracking

import (
	"errors"
	"time"

	"emsd/courier"
	"emsd/tracking/calendar"
)

// Where an envelope waits for collection: collection_terms.place.
const (
	placeLocker      = "locker"
	placePickupPoint = "pickup_point"
	placeCounter     = "counter"
)

// placeOf is where a held envelope waits. A 747 that does not say which lies in a locker: those keep it the shortest.
func placeOf(s *courier.Scan, class string) string {
	switch class {
	case ReceiverLocker:
		return placeLocker
	case ReceiverPickupPoint:
		return placePickupPoint
	}
	switch s.Code {
	case "747":
		if s.SaidClass == ReceiverPickupPoint {
			return placePickupPoint
		}
		return placeLocker
	case "491":
		return placePickupPoint
	}
	return placeCounter
}

// shortestTerm is for a place without a row: a last day that is told must not be too late.
const shortestTerm = 3

// lastDay is the last day of collection for an envelope that came to a place at a time, as a midnight in Beijing. For a
// year that the calendar lacks plain days count instead of working days, which gives an earlier day; missing names it.
func (b *Rulebook) lastDay(place string, at time.Time) (day time.Time, missing int) {
	t, ok := b.terms[place]
	if !ok {
		return plainDay(at, shortestTerm), 0
	}
	if !t.working {
		return plainDay(at, t.days), 0
	}
	day, err := calendar.LastOf(at, t.days)
	if year, ok := errors.AsType[*calendar.MissingYear](err); ok {
		return plainDay(at, t.days), year.Year
	}
	if err != nil {
		return plainDay(at, t.days), 0
	}
	return day, 0
}

// plainDay is the n-th day when the first is the day of at.
func plainDay(at time.Time, n int) time.Time {
	y, m, d := at.In(beijing).Date()
	return time.Date(y, m, d+n-1, 0, 0, 0, 0, beijing)
}

// dueAfter is when a case that opens now is due: so many working hours later, or as many plain hours where the calendar
// lacks the year.
func dueAfter(now time.Time, hours int) (due time.Time, missing int) {
	due, err := calendar.Office.After(now, time.Duration(hours)*time.Hour)
	if year, ok := errors.AsType[*calendar.MissingYear](err); ok {
		return now.Add(time.Duration(hours) * time.Hour), year.Year
	}
	if err != nil {
		return now.Add(time.Duration(hours) * time.Hour), 0
	}
	return due, 0
}
