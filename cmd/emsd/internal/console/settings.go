package console

import (
	"slices"
	"time"

	"emsd/courier/staff"
	"emsd/tracking/calendar"
)

func (c *Console) settingsPages() []page {
	return slices.Concat([]page{
		at("GET /console/settings", staff.ReadSettings, c.settings),
		at("GET /console/settings/holidays", staff.ReadSettings, c.holidays),
	}, c.stationPages(), c.tariffPages(), c.policyPages(), c.userPages(), c.tokenPages(), c.refusalPages(), c.webhookPages(), c.textPages())
}

func (c *Console) settings(v *visit) error { return v.render("settings", nil) }

// holidaysPage is what the calendar of this build knows about a year.
type holidaysPage struct {
	Year  int
	Years []int
	Days  []holiday
	Last  int // the last year that is known
	Soon  bool
}

// A holiday is a day that Beijing works or rests against the week.
type holiday struct {
	Day    time.Time
	Worked bool
}

// holidays shows the working days that clocks go by. They come with the build, for a year that is changed by hand in one
// place would be another one on the next replica.
func (c *Console) holidays(v *visit) error {
	now := c.Clock.Now().In(beijing)
	p := holidaysPage{Year: now.Year(), Years: calendar.Years()}
	p.Last = p.Years[len(p.Years)-1]
	if year, err := time.Parse("2006", v.form("year")); err == nil && slices.Contains(p.Years, year.Year()) {
		p.Year = year.Year()
	} else {
		p.Year = min(p.Year, p.Last)
	}
	p.Soon = now.AddDate(0, 2, 0).Year() > p.Last
	for day := time.Date(p.Year, 1, 1, 12, 0, 0, 0, beijing); day.Year() == p.Year; day = day.AddDate(0, 0, 1) {
		worked, err := calendar.IsWorkday(day)
		if err != nil {
			return err
		}
		if weekend := day.Weekday() == time.Saturday || day.Weekday() == time.Sunday; worked == weekend {
			p.Days = append(p.Days, holiday{day, worked})
		}
	}
	return v.render("settings_holidays", p)
}

// beijingDay reads the day of a date field; zero when there is none or it is none.
func beijingDay(text string) time.Time {
	day, err := time.ParseInLocation(time.DateOnly, text, beijing)
	if err != nil {
		return time.Time{}
	}
	return day
}
