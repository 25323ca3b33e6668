package calendar

import (
	"fmt"
	"strings"
	"time"
)

// Hours are the office hours of a working day.
type Hours struct {
	spans  []span // in order, apart from each other
	aDay   time.Duration
	byWeek bool // see ByWeek
}

// A span is a part of a day, from midnight.
type span struct{ from, to time.Duration }

// Office is nine to five, for clocks that belong to no station.
var Office = Hours{spans: []span{{9 * time.Hour, 17 * time.Hour}}, aDay: 8 * time.Hour}

// ParseHours reads "09:00-12:00,13:30-17:00": one or more spans of a day, in order.
func ParseHours(text string) (Hours, error) {
	var h Hours
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		s, err := readSpan(from, to)
		if !ok || err != nil {
			return Hours{}, fmt.Errorf("office hours %q: want spans such as 09:00-12:00,13:30-17:00", text)
		}
		if n := len(h.spans); n > 0 && s.from < h.spans[n-1].to {
			return Hours{}, fmt.Errorf("office hours %q: %s begins before the span in front of it ends", text, strings.TrimSpace(part))
		}
		h.spans = append(h.spans, s)
		h.aDay += s.to - s.from
	}
	return h, nil
}

func readSpan(from, to string) (span, error) {
	a, err := readClock(from)
	if err != nil {
		return span{}, err
	}
	b, err := readClock(to)
	if err == nil && b <= a {
		err = fmt.Errorf("%s is not before %s", from, to)
	}
	return span{a, b}, err
}

// ByWeek is h for clocks that must run on: in a year without data Monday to Friday are worked, and nothing is an error.
// Whoever uses it has met the *MissingYear and has told somebody.
func (h Hours) ByWeek() Hours {
	h.byWeek = true
	return h
}

func (h Hours) works(day time.Time) (bool, error) {
	works, err := IsWorkday(day)
	if err != nil && h.byWeek {
		return weekday(day), nil
	}
	return works, err
}

// readClock reads 00:00 to 24:00.
func readClock(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// Elapsed is the working time between two instants; zero when to is not after from. The error is a *MissingYear.
func (h Hours) Elapsed(from, to time.Time) (time.Duration, error) {
	var sum time.Duration
	for day := midnight(from); day.Before(to); day = day.AddDate(0, 0, 1) {
		works, err := h.works(day)
		if err != nil {
			return 0, err
		}
		if !works {
			continue
		}
		for _, s := range h.spans {
			begin, end := later(day.Add(s.from), from), earlier(day.Add(s.to), to)
			if end.After(begin) {
				sum += end.Sub(begin)
			}
		}
	}
	return sum, nil
}

// After is the first instant by which d of working time has passed since from; from itself when d is not positive. The
// error is a *MissingYear.
func (h Hours) After(from time.Time, d time.Duration) (time.Time, error) {
	if d <= 0 || h.aDay == 0 {
		return from, nil
	}
	for day := midnight(from); ; day = day.AddDate(0, 0, 1) {
		works, err := h.works(day)
		if err != nil {
			return time.Time{}, err
		}
		if !works {
			continue
		}
		for _, s := range h.spans {
			begin, end := later(day.Add(s.from), from), day.Add(s.to)
			switch left := end.Sub(begin); {
			case left <= 0:
			case left >= d:
				return begin.Add(d), nil
			default:
				d -= left
			}
		}
	}
}

// Before is the last instant since which d of working time has passed by to; to itself when d is not positive. The error
// is a *MissingYear.
func (h Hours) Before(to time.Time, d time.Duration) (time.Time, error) {
	if d <= 0 || h.aDay == 0 {
		return to, nil
	}
	for day := midnight(to); ; day = day.AddDate(0, 0, -1) {
		works, err := h.works(day)
		if err != nil {
			return time.Time{}, err
		}
		if !works {
			continue
		}
		for i := len(h.spans) - 1; i >= 0; i-- {
			begin, end := day.Add(h.spans[i].from), earlier(day.Add(h.spans[i].to), to)
			switch left := end.Sub(begin); {
			case left <= 0:
			case left >= d:
				return end.Add(-d), nil
			default:
				d -= left
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
