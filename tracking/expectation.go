package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// A Route is from where to where an envelope goes.
type Route struct{ Station, Province, City, County string }

// expectDays is how far back expectations look: long enough for a village to have its cases, short enough to follow EMS
// when it becomes quicker or slower.
const expectDays = 180

// mostCases bounds what an expectation is computed from: the newest say most, and a page that shows one must not wait.
const mostCases = 2000

// HistoryOptions says what expectations go by; zero values have defaults.
type HistoryOptions struct {
	MinCases int // fewer give no expectation; default 20
}

// A History answers from the table journeys: what to expect, and how well it went.
type History struct {
	db    *sqlx.DB
	clock courier.Clock
	opts  HistoryOptions
}

// NewHistory returns a History.
func NewHistory(db *sqlx.DB, clock courier.Clock, opts HistoryOptions) *History {
	if opts.MinCases <= 0 {
		opts.MinCases = 20
	}
	return &History{db, clock, opts}
}

// A Level is how like a route the journeys of an expectation are.
type Level string

// The levels, the closest first.
const (
	LevelCounty   Level = "county"   // of this station to this county
	LevelCity     Level = "city"     // of this station to this city
	LevelProvince Level = "province" // of this station to this province
	LevelAny      Level = "any"      // of any station to this province
)

var levels = []Level{LevelCounty, LevelCity, LevelProvince, LevelAny}

// An Expectation is how many days envelopes of a route took from acceptance to delivery, by Beijing dates: four of five
// between Low and High, half of them Median or less. It comes with what it was computed from.
type Expectation struct {
	Low, Median, High int
	Cases             int
	Level             Level
	From, To          time.Time // midnights in Beijing; To is the last day
	Basis             string    // the same as a sentence
}

// Expect computes what to expect of a route, from journeys as like it as there are enough of; ok is false when there
// are not. It promises nothing: the answer says what has been.
func (h *History) Expect(ctx context.Context, r Route) (x Expectation, ok bool, err error) {
	to := plainDay(h.clock.Now(), 1)
	from := to.AddDate(0, 0, 1-expectDays)
	for _, level := range levels {
		counts, err := routeDays(ctx, h.db, level, r, from, mostCases)
		if err != nil {
			return Expectation{}, false, fmt.Errorf("expect by %s: %w", level, err)
		}
		if n := counts.total(); n >= h.opts.MinCases {
			x := Expectation{counts.quantile(0.1), counts.quantile(0.5), counts.quantile(0.9), n, level, from, to, ""}
			x.Basis = x.basis(r)
			return x, true, nil
		}
	}
	return Expectation{}, false, nil
}

// basis is the sentence that residents and clerks read.
func (x Expectation) basis(r Route) string {
	from, to := "本派出所", r.County
	switch x.Level {
	case LevelCity:
		to = r.City
	case LevelProvince:
		to = r.Province
	case LevelAny:
		from, to = "全市各派出所", r.Province
	}
	cases := fmt.Sprintf("%d件", x.Cases)
	if x.Cases >= mostCases {
		cases = "最近" + cases
	}
	return fmt.Sprintf("近%d天%s寄往%s的%s中，八成%s送达", expectDays, from, to, cases, x.span())
}

func (x Expectation) span() string {
	switch {
	case x.High == 0:
		return "在收寄当天"
	case x.Low == x.High:
		return fmt.Sprintf("在收寄后第%d天", x.High)
	case x.Low == 0:
		return fmt.Sprintf("在收寄后%d天内", x.High)
	}
	return fmt.Sprintf("在收寄后%d至%d天内", x.Low, x.High)
}

// dayCounts says how many journeys took how many days, in order of days.
type dayCounts []dayCount

type dayCount struct{ days, n int }

func (c dayCounts) total() (n int) {
	for _, d := range c {
		n += d.n
	}
	return n
}

// quantile is the smallest number of days within which a share q of the journeys ended.
func (c dayCounts) quantile(q float64) int {
	need := q * float64(c.total())
	seen := 0
	for _, d := range c {
		if seen += d.n; seen > 0 && float64(seen) >= need {
			return d.days
		}
	}
	return 0
}

// AcceptedAt is when EMS had the envelope in hand, by its steps; zero before that.
func AcceptedAt(steps []Step) time.Time {
	for _, s := range steps {
		switch s.Group {
		case Accepted, InTransit, Customs, OutForDelivery, AttemptFailed, Held, Delivered:
			if !s.Voided && !s.Ignored {
				return s.At
			}
		}
	}
	return time.Time{}
}
