// Package calendar knows which days Beijing works, with the make-up days (调休) that the State Council publishes each
// November for the year after, and how working time runs within office hours. It does not guess: a year without data is
// an error that names it.
package calendar

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// beijing is a fixed offset: China has had no daylight saving since 1991.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

//go:embed days.txt
var daysText string

// A MissingYear says that the working days of a year are not known here.
type MissingYear struct{ Year int }

func (e *MissingYear) Error() string {
	return fmt.Sprintf("the working days of %d are not in this build: once the State Council has published them, run scripts/calendar.sh and build again", e.Year)
}

// A year holds the days that differ from Monday to Friday: true is worked.
type year map[monthDay]bool

type monthDay struct {
	month time.Month
	day   int
}

var years = readDays(daysText)

// readDays reads the embedded table; a broken one is a broken build, hence the panic.
func readDays(text string) map[int]year {
	table := map[int]year{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		y, err := strconv.Atoi(fields[0])
		if err != nil || table[y] != nil {
			panic(fmt.Sprintf("days.txt: year %q", fields[0]))
		}
		table[y] = year{}
		for _, f := range fields[1:] {
			t, err := time.Parse("2006-01-02", fields[0]+"-"+f[1:])
			if worked := f[0] == '+'; err != nil || worked == weekday(t) || f[0] != '+' && f[0] != '-' {
				panic(fmt.Sprintf("days.txt: %d: %q", y, f))
			} else {
				table[y][monthDay{t.Month(), t.Day()}] = worked
			}
		}
	}
	return table
}

func weekday(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }

// Years lists the years whose working days are known, in order.
func Years() []int {
	var known []int
	for y := range years {
		known = append(known, y)
	}
	slices.Sort(known)
	return known
}

// IsWorkday reports whether the Beijing day of t is worked. The error is a *MissingYear.
func IsWorkday(t time.Time) (bool, error) {
	t = t.In(beijing)
	y, m, d := t.Date()
	changed, ok := years[y]
	if !ok {
		return false, &MissingYear{y}
	}
	if worked, differs := changed[monthDay{m, d}]; differs {
		return worked, nil
	}
	return weekday(t), nil
}

// LastOf is the Beijing midnight that begins the n-th working day, counting from the day of first, which counts itself
// when it is worked. n is at least 1. The error is a *MissingYear.
func LastOf(first time.Time, n int) (time.Time, error) {
	day := midnight(first)
	for {
		works, err := IsWorkday(day)
		if err != nil {
			return time.Time{}, err
		}
		if works {
			if n--; n <= 0 {
				return day, nil
			}
		}
		day = day.AddDate(0, 0, 1)
	}
}

func midnight(t time.Time) time.Time {
	y, m, d := t.In(beijing).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, beijing)
}
