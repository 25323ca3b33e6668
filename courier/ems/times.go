package ems

import (
	"errors"
	"time"
)

// beijing is Asia/Shanghai without a zone file: it has kept UTC+8 since 1991.
var beijing = time.FixedZone("CST", 8*60*60)

var errTime = errors.New("not a time of EMS")

// wireTime is yyyy-MM-dd HH:mm:ss in Beijing time.
func wireTime(t time.Time) string { return t.In(beijing).Format(time.DateTime) }

// readTime reads a time of EMS, in Beijing time, as UTC. The document's form comes first; the others are what other
// programs of the same house write. A year that no item of ours can have is no time.
func readTime(s string) (time.Time, error) {
	for _, layout := range []string{
		time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006/01/02 15:04:05", "2006-1-2 15:4:5", "20060102150405",
	} {
		t, err := time.ParseInLocation(layout, s, beijing)
		if err == nil && t.Year() >= 2000 && t.Year() < 2100 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errTime
}
