package tracking

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"emsd/courier"
)

// Grouping is by what statistics are told.
type Grouping string

// The groupings.
const (
	ByStation  Grouping = "station"
	ByDistrict Grouping = "district" // province, city and county of the destination
)

// A place is what statistics tell apart: a station, or a district.
type place struct{ station, name, province, city, county string }

// A Summary is how well it went for one station or district. Rates and days are of envelopes that ended in the period.
type Summary struct {
	Station, StationName   string // by station
	Province, City, County string // by district

	Delivered, Returned, Lost int
	Attempted                 int // ended ones that were brought to the door at least once
	AtOnce                    int // of those: delivered at the first attempt, to somebody who may have it (I-7)
	MedianDays, P90Days       int // from acceptance to delivery, by Beijing dates
	Timed                     int // deliveries whose days are known; 0: MedianDays and P90Days say nothing
}

// A cell counts journeys that are alike in all that statistics tell apart.
type cell struct {
	place
	outcome courier.Status
	tried   bool
	atOnce  bool
	days    int // -1: not known
	n       int
}

// Statistics tells of the journeys that ended from the day of from to the day of to, both counted, in Beijing.
func (h *History) Statistics(ctx context.Context, by Grouping, from, to time.Time) ([]Summary, error) {
	cells, err := readCells(ctx, h.db, by, plainDay(from, 1), plainDay(to, 2))
	if err != nil {
		return nil, fmt.Errorf("statistics by %s: %w", by, err)
	}
	return summarise(cells), nil
}

// summarise adds cells up, in order of their places.
func summarise(cells []cell) []Summary {
	sums, days := map[place]*Summary{}, map[place]map[int]int{}
	var order []place
	for _, c := range cells {
		s := sums[c.place]
		if s == nil {
			s = &Summary{Station: c.station, StationName: c.name, Province: c.province, City: c.city, County: c.county}
			sums[c.place], days[c.place] = s, map[int]int{}
			order = append(order, c.place)
		}
		s.add(c)
		if c.outcome == courier.Delivered && c.days >= 0 {
			days[c.place][c.days] += c.n
		}
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.station, b.station), cmp.Compare(a.province, b.province), cmp.Compare(a.city, b.city), cmp.Compare(a.county, b.county))
	})
	list := make([]Summary, len(order))
	for i, p := range order {
		counts := make(dayCounts, 0, len(days[p]))
		for d, n := range days[p] {
			counts = append(counts, dayCount{d, n})
		}
		slices.SortFunc(counts, func(a, b dayCount) int { return cmp.Compare(a.days, b.days) })
		list[i] = *sums[p]
		list[i].Timed, list[i].MedianDays, list[i].P90Days = counts.total(), counts.quantile(0.5), counts.quantile(0.9)
	}
	return list
}

func (s *Summary) add(c cell) {
	switch c.outcome {
	case courier.Delivered:
		s.Delivered += c.n
	case courier.Returned:
		s.Returned += c.n
	case courier.Lost:
		s.Lost += c.n
	}
	if c.tried {
		s.Attempted += c.n
	}
	if c.atOnce && c.outcome == courier.Delivered {
		s.AtOnce += c.n
	}
}

// An Age counts live deliveries that have stood in one status for so long.
type Age struct {
	Status  courier.Status
	Buckets []int // by AgeBounds; the last is for all that are older
}

// AgeBounds are the upper bounds of the buckets of Age, in days.
var AgeBounds = []int{1, 3, 7, 14}

// Ageing counts live deliveries by status, in the order of the life-cycle, and by how long they have stood there.
func (h *History) Ageing(ctx context.Context) ([]Age, error) {
	counts, err := readAges(ctx, h.db, h.clock.Now())
	if err != nil {
		return nil, fmt.Errorf("ageing: %w", err)
	}
	var list []Age
	for _, s := range courier.Statuses {
		if s.Live() && counts[s] != nil {
			list = append(list, Age{s, counts[s]})
		}
	}
	return list, nil
}
