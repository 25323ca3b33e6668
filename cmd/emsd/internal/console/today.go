package console

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/tracking"
)

func (c *Console) todayPages() []page {
	return []page{at("GET /console/{$}", staff.ReadToday, c.today)}
}

// A todayPage is what needs somebody now, what stands where, and how it goes.
type todayPage struct {
	Cases     []courier.Case
	More      bool
	Proposals []courier.Proposal
	Standing  []tracking.Age
	Bounds    []string // headings of the ages
	Charts    []chart
}

const (
	mostUrgent = 15 // cases that the first page shows
	chartDays  = 14 // days of the chart by day
	goneDays   = 30 // full days that the other charts look back on
)

func (c *Console) today(v *visit) error {
	p := todayPage{Bounds: ageWords()}
	cases, err := c.Service.Cases(v.Context(), courier.CaseFilter{Limit: mostUrgent})
	if err != nil {
		return err
	}
	p.Cases, p.More = cases.Cases, cases.Next != ""
	if v.User().May(staff.Confirm) || v.User().May(staff.Propose) {
		if p.Proposals, err = c.Service.OpenProposals(v.Context(), mostUrgent); err != nil {
			return err
		}
	}
	if p.Standing, err = c.History.Standing(v.Context()); err != nil {
		return err
	}
	days, err := c.History.Days(v.Context(), chartDays)
	if err != nil {
		return err
	}
	gone, err := c.overview(v)
	if err != nil {
		return err
	}
	for _, ch := range []chart{perDay(days), daysToDoor(gone), perDistrict(gone), firstAttempts(gone)} {
		if !ch.Empty() {
			p.Charts = append(p.Charts, ch)
		}
	}
	return v.render("today", p)
}

// ageWords are the headings of the buckets of an Age, from tracking.AgeBounds.
func ageWords() []string {
	words := []string{"今天"}
	for i, b := range tracking.AgeBounds {
		if i+1 < len(tracking.AgeBounds) {
			words = append(words, fmt.Sprintf("%d–%d 天", b, tracking.AgeBounds[i+1]-1))
		} else {
			words = append(words, fmt.Sprintf("%d 天以上", b))
		}
	}
	return words
}

// overviews keeps what the charts of ended days show, by station: such days change only when stored scans are read anew.
type overviews struct {
	mu   sync.Mutex
	kept map[string]keptOverview
}

type keptOverview struct {
	tracking.Overview
	until time.Time // wall
	day   string    // the last full day that it tells of
}

// overviewFor is how long a chart of past days may be old.
const overviewFor = 10 * time.Minute

func (c *Console) overview(v *visit) (tracking.Overview, error) {
	station, wall := v.User().Station, c.Clock.Wall()
	yesterday := c.Clock.Now().In(beijing).AddDate(0, 0, -1)
	day := yesterday.Format(time.DateOnly)
	c.gone.mu.Lock()
	kept, ok := c.gone.kept[station]
	c.gone.mu.Unlock()
	if ok && kept.day == day && wall.Before(kept.until) {
		return kept.Overview, nil
	}
	o, err := c.History.Overview(v.Context(), yesterday.AddDate(0, 0, 1-goneDays), yesterday)
	if err != nil {
		return o, err
	}
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	if c.gone.kept == nil || len(c.gone.kept) > 2000 {
		c.gone.kept = map[string]keptOverview{}
	}
	c.gone.kept[station] = keptOverview{o, wall.Add(overviewFor), day}
	return o, nil
}

func perDay(days []tracking.Day) chart {
	ch := chart{ID: "per-day", Title: "每日新收、妥投与退回", Desc: fmt.Sprintf("最近 %d 天，每天新收、妥投、退回的件数", chartDays), Head: "日期", Names: []string{"新收", "妥投", "退回"},
		Values: make([][]int, 3), Unit: "件"}
	for _, d := range days {
		ch.Labels, ch.Full = append(ch.Labels, d.Day.Format("2")+"日"), append(ch.Full, d.Day.Format(time.DateOnly))
		for i, n := range []int{d.TakenIn, d.Delivered, d.Returned} {
			ch.Values[i] = append(ch.Values[i], n)
		}
	}
	return ch
}

func daysToDoor(o tracking.Overview) chart {
	ch := chart{ID: "days", Title: "从收寄到妥投的天数", Desc: fmt.Sprintf("最近 %d 个整天内妥投的邮件，按用时天数的件数", goneDays), Head: "天数", Names: []string{"件数"}, Values: make([][]int, 1), Unit: "件"}
	for n, count := range o.ByDays {
		label := fmt.Sprintf("%d天", n)
		if n == len(o.ByDays)-1 {
			label = fmt.Sprintf("≥%d天", n)
		}
		ch.Labels, ch.Values[0] = append(ch.Labels, label), append(ch.Values[0], count)
	}
	return ch
}

// mostDistricts bounds the charts by district.
const mostDistricts = 10

// busiest are the districts with most deliveries.
func busiest(o tracking.Overview) []tracking.Summary {
	list := slices.Clone(o.Districts)
	slices.SortStableFunc(list, func(a, b tracking.Summary) int { return cmp.Compare(b.Delivered, a.Delivered) })
	return list[:min(mostDistricts, len(list))]
}

func perDistrict(o tracking.Overview) chart {
	ch := chart{ID: "district", Title: "各区县妥投与退回", Desc: fmt.Sprintf("最近 %d 个整天，件数最多的区县", goneDays), Head: "区县", Names: []string{"妥投", "退回"}, Values: make([][]int, 2), Unit: "件", Horizontal: true}
	for _, s := range busiest(o) {
		ch.Labels = append(ch.Labels, s.County)
		ch.Values[0], ch.Values[1] = append(ch.Values[0], s.Delivered), append(ch.Values[1], s.Returned)
	}
	return ch
}

func firstAttempts(o tracking.Overview) chart {
	ch := chart{ID: "first", Title: "首次投递成功率", Desc: fmt.Sprintf("最近 %d 个整天，首次上门即交到本人或其同意的人手中的比例", goneDays), Head: "区县", Names: []string{"首次成功率"}, Values: make([][]int, 1), Unit: "%", Horizontal: true}
	for _, s := range busiest(o) {
		if s.Attempted > 0 {
			ch.Labels, ch.Values[0] = append(ch.Labels, s.County), append(ch.Values[0], (s.AtOnce*100+s.Attempted/2)/s.Attempted)
		}
	}
	return ch
}
