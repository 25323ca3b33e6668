package ems

import (
	"strconv"
	"time"
)

// beijing is Asia/Shanghai without a zone file: it has kept UTC+8 since 1991.
var beijing = time.FixedZone("CST", 8*60*60)

// wireTime is yyyy-MM-dd HH:mm:ss in Beijing time.
func wireTime(t time.Time) string { return t.In(beijing).Format(time.DateTime) }

// readTime reads a JSON value that is a time of EMS, in Beijing time, as UTC. The document's form comes first; the others
// are what other programs of the same house write. A year that no item of ours can have is no time.
func readTime(raw []byte) (time.Time, bool) {
	if t, ok := readDateTime(raw); ok {
		return t, true
	}
	s := code(raw)
	for _, layout := range []string{
		time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006/01/02 15:04:05", "2006-1-2 15:4:5", "20060102150405",
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", // an offset that is written counts
	} {
		if t, err := time.ParseInLocation(layout, s, beijing); err == nil && plausible(t) {
			return t.UTC(), true
		}
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) == 13 { // Java's own form
		t := time.UnixMilli(ms).UTC()
		return t, plausible(t)
	}
	return time.Time{}, false
}

func plausible(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2100 }

// readDateTime reads "yyyy-MM-dd HH:mm:ss" with its quotes, the form of all but a few: a trace has a dozen or more.
func readDateTime(raw []byte) (time.Time, bool) {
	const form = `"0000-00-00 00:00:00"`
	if len(raw) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' && (raw[i] < '0' || raw[i] > '9') || form[i] != '0' && raw[i] != form[i] {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(raw[i]-'0')*10 + int(raw[i+1]-'0') }
	year, month, day, hour, minute, second := two(1)*100+two(3), two(6), two(9), two(12), two(15), two(18)
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, beijing)
	if t.Month() != time.Month(month) || t.Day() != day || hour > 23 || minute > 59 || second > 59 || !plausible(t) {
		return time.Time{}, false
	}
	return t.UTC(), true
}
