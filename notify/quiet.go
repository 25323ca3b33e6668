package notify

import (
	"fmt"
	"strings"
	"time"
)

// beijing is fixed: China has had no summer time since 1991, and a machine may lack time-zone data.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// A Window is a daily span of Beijing time, in minutes from midnight; the start belongs to it, the end does not. It
// may cross midnight. The zero Window is empty.
type Window struct{ start, end int }

// ParseWindow reads "21:00-08:00". "off" is the empty window.
func ParseWindow(text string) (Window, error) {
	if text == "off" {
		return Window{}, nil
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return Window{}, fmt.Errorf("hours %q: want HH:MM-HH:MM or off", text)
	}
	start, err := parseMinutes(from)
	if err != nil {
		return Window{}, fmt.Errorf("hours %q: %w", text, err)
	}
	end, err := parseMinutes(to)
	if err != nil {
		return Window{}, fmt.Errorf("hours %q: %w", text, err)
	}
	if start == end {
		return Window{}, fmt.Errorf("hours %q: start and end are the same; write off for none", text)
	}
	return Window{start, end}, nil
}

func parseMinutes(text string) (int, error) {
	if len(text) != len("15:04") {
		return 0, fmt.Errorf("time %q: want HH:MM", text)
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("time %q: want HH:MM", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// Holds reports whether t lies in the window.
func (w Window) Holds(t time.Time) bool {
	local := t.In(beijing)
	minute := local.Hour()*60 + local.Minute()
	if w.start <= w.end {
		return w.start <= minute && minute < w.end
	}
	return minute >= w.start || minute < w.end
}

// End gives the first end of the window after t.
func (w Window) End(t time.Time) time.Time { return nextMinute(t, w.end) }

// Start gives the first start of the window after t.
func (w Window) Start(t time.Time) time.Time { return nextMinute(t, w.start) }

func nextMinute(t time.Time, minute int) time.Time {
	local := t.In(beijing)
	year, month, day := local.Date()
	at := time.Date(year, month, day, minute/60, minute%60, 0, 0, beijing)
	if !at.After(t) {
		at = at.AddDate(0, 0, 1)
	}
	return at
}

func (w Window) String() string {
	if w == (Window{}) {
		return "off"
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.start/60, w.start%60, w.end/60, w.end%60)
}
