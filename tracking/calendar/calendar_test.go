package calendar

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, beijing)
	if err != nil {
		panic(err)
	}
	return t
}

func TestBeijingWorksByTheStateCouncilsNotices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		day   string
		works bool
	}{
		{"2026-11-24", true},  // a Tuesday
		{"2026-11-28", false}, // a Saturday
		{"2026-02-14", true},  // a Saturday made up for the Spring Festival
		{"2026-02-16", false}, // New Year's Eve, a Monday
		{"2026-02-23", false}, // the last day of the Spring Festival
		{"2026-02-28", true},  // a Saturday made up
		{"2026-09-20", true},  // a Sunday made up for National Day
		{"2026-10-07", false}, // a Wednesday
		{"2026-10-10", true},  // a Saturday made up
		{"2025-01-26", true},  // a Sunday made up for the Spring Festival
		{"2025-10-08", false}, // National Day and Mid-Autumn together
		{"2018-12-29", true},  // a Saturday made up for the New Year after
	}
	for _, tt := range tests {
		if got, err := IsWorkday(at(tt.day + " 12:00")); err != nil || got != tt.works {
			t.Errorf("IsWorkday(%s) = %t, %v; want %t", tt.day, got, err, tt.works)
		}
	}
	if got, _ := IsWorkday(time.Date(2026, 11, 27, 16, 30, 0, 0, time.UTC)); got {
		t.Error("half past midnight of a Saturday in Beijing counts as Friday")
	}
}

func TestAYearWithoutDataIsNamed(t *testing.T) {
	t.Parallel()
	known := Years()
	if !slices.Contains(known, 2026) || !slices.IsSorted(known) {
		t.Fatalf("Years() = %v", known)
	}
	last := known[len(known)-1]
	newYear := time.Date(last+1, 1, 4, 10, 0, 0, 0, beijing)
	calls := map[string]func() error{
		"IsWorkday": func() error { _, err := IsWorkday(newYear); return err },
		"LastOf":    func() error { _, err := LastOf(newYear.AddDate(0, 0, -10), 30); return err },
		"Elapsed":   func() error { _, err := Office.Elapsed(newYear.AddDate(0, 0, -10), newYear); return err },
		"After":     func() error { _, err := Office.After(newYear.AddDate(0, 0, -10), 200*time.Hour); return err },
		"Before":    func() error { _, err := Office.Before(newYear, time.Hour); return err },
	}
	for name, call := range calls {
		err := call()
		missing, ok := errors.AsType[*MissingYear](err)
		if !ok || missing.Year != last+1 || !strings.Contains(err.Error(), newYear.Format("2006")) {
			t.Errorf("%s over a year without data = %v, want the year named", name, err)
		}
	}
}

func TestLastOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		first string
		n     int
		want  string
	}{
		{"2026-11-24 18:00", 1, "2026-11-24"},
		{"2026-11-24 18:00", 5, "2026-11-30"}, // over a weekend
		{"2026-11-28 10:00", 1, "2026-11-30"}, // found on a Saturday
		{"2026-02-13 10:00", 3, "2026-02-24"}, // Friday, the Saturday made up, then after the Spring Festival
		{"2026-09-30 10:00", 2, "2026-10-08"},
	}
	for _, tt := range tests {
		got, err := LastOf(at(tt.first), tt.n)
		if err != nil || got.Format(time.DateOnly) != tt.want {
			t.Errorf("LastOf(%s, %d) = %s, %v; want %s", tt.first, tt.n, got.Format(time.DateOnly), err, tt.want)
		}
	}
}

func TestWorkingTimeRunsInOfficeHoursOnly(t *testing.T) {
	t.Parallel()
	lunch, err := ParseHours("09:00-12:00,13:30-17:00")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		h        Hours
		from, to string
		want     time.Duration
	}{
		{"one day", Office, "2026-11-24 10:00", "2026-11-24 12:30", 150 * time.Minute},
		{"over night", Office, "2026-11-24 16:00", "2026-11-25 10:00", 2 * time.Hour},
		{"over a weekend", Office, "2026-11-27 16:00", "2026-11-30 10:00", 2 * time.Hour},
		{"over a made-up Saturday", Office, "2026-02-13 16:00", "2026-02-15 12:00", 9 * time.Hour},
		{"lunch does not count", lunch, "2026-11-24 11:00", "2026-11-24 14:00", 90 * time.Minute},
		{"backwards", Office, "2026-11-25 10:00", "2026-11-24 10:00", 0},
		{"at night", Office, "2026-11-24 18:00", "2026-11-25 08:00", 0},
	}
	for _, tt := range tests {
		if got, err := tt.h.Elapsed(at(tt.from), at(tt.to)); err != nil || got != tt.want {
			t.Errorf("%s: Elapsed = %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestByWeekRunsOnInAYearWithoutData(t *testing.T) {
	t.Parallel()
	friday := time.Date(2101, 4, 1, 16, 0, 0, 0, beijing)
	for friday.Weekday() != time.Friday {
		friday = friday.AddDate(0, 0, 1)
	}
	end, err := Office.ByWeek().After(friday, 2*time.Hour)
	if want := friday.AddDate(0, 0, 3).Add(-6 * time.Hour); err != nil || !end.Equal(want) {
		t.Errorf("two working hours after four on a Friday end at %s, %v; want Monday at ten", end, err)
	}
	if _, err := Office.After(friday, 2*time.Hour); err == nil {
		t.Error("without ByWeek the missing year is no error")
	}
}

func anyHours() *rapid.Generator[Hours] {
	return rapid.Custom(func(t *rapid.T) Hours {
		h, err := ParseHours(rapid.SampledFrom([]string{"09:00-17:00", "09:00-12:00,13:30-17:00", "00:00-24:00", "23:59-24:00", "08:30-11:45,14:00-18:00,19:00-21:00"}).Draw(t, "hours"))
		if err != nil {
			t.Fatal(err)
		}
		return h
	})
}

func anyInstant(t *rapid.T, label string) time.Time {
	return time.Date(2025, 1, 1, 0, rapid.IntRange(0, 500*24*60).Draw(t, label), 0, 0, beijing)
}

func TestWorkingTimeAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := anyHours().Draw(t, "h")
		a, b, c := anyInstant(t, "a"), anyInstant(t, "b"), anyInstant(t, "c")
		times := []time.Time{a, b, c}
		slices.SortFunc(times, time.Time.Compare)
		ab, err1 := h.Elapsed(times[0], times[1])
		bc, err2 := h.Elapsed(times[1], times[2])
		ac, err3 := h.Elapsed(times[0], times[2])
		if err := errors.Join(err1, err2, err3); err != nil || ab+bc != ac {
			t.Fatalf("%s + %s != %s (%v)", ab, bc, ac, err)
		}
	})
}

func TestAfterAndBeforeUndoElapsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := anyHours().Draw(t, "h")
		from := anyInstant(t, "from")
		d := time.Duration(rapid.IntRange(1, 100*60).Draw(t, "minutes")) * time.Minute
		d = min(d, 40*h.aDay)
		end, err := h.After(from, d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.Elapsed(from, end); err != nil || got != d {
			t.Fatalf("Elapsed to After = %s, %v; want %s", got, err, d)
		}
		if got, err := h.Elapsed(from, end.Add(-time.Second)); err != nil || got >= d {
			t.Fatalf("a second before After, %s of %s have passed already", got, d)
		}
		begin, err := h.Before(end, d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.Elapsed(begin, end); err != nil || got != d {
			t.Fatalf("Elapsed from Before = %s, %v; want %s", got, err, d)
		}
		if got, err := h.Elapsed(begin.Add(time.Second), end); err != nil || got >= d {
			t.Fatalf("a second after Before, %s of %s are left still", got, d)
		}
	})
}

func FuzzParseHours(f *testing.F) {
	for _, s := range []string{"09:00-17:00", "09:00-12:00,13:30-17:00", "", "-", "24:00-24:00", "9-5", "09:00-17:00,08:00-09:00", "00:00-24:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHours(s)
		if err != nil {
			return
		}
		if h.aDay <= 0 || h.aDay > 24*time.Hour {
			t.Fatalf("%q opens for %s a day", s, h.aDay)
		}
		last := time.Duration(0)
		for _, sp := range h.spans {
			if sp.from < last || sp.to <= sp.from {
				t.Fatalf("%q: spans out of order", s)
			}
			last = sp.to
		}
	})
}
