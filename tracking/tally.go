package tracking

import (
	"context"
	"fmt"
	"strings"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Tallier keeps how many deliveries of each station stand in each status since which day, so that a page that shows it
// does not count a million rows. It reads the feed, as a Chronicler does, which only tells it what has changed; each
// delivery is then taken out of the count in which it stood last and put into the one in which it stands. So a delivery
// is counted once whatever comes twice, late or together, and no order or poll waits for a counter.
type Tallier struct{ db *sqlx.DB }

// NewTallier returns a Tallier; any number may run on one database, they take turns.
func NewTallier(db *sqlx.DB) *Tallier { return &Tallier{db} }

// tallyChunk bounds how many events one transaction takes in.
const tallyChunk = 2000

// Round reads the feed to its end.
func (t *Tallier) Round(ctx context.Context) error {
	for {
		read, err := tally(ctx, t.db, tallyChunk)
		if err != nil {
			return fmt.Errorf("tallies: %w", err)
		}
		if read < tallyChunk {
			return nil
		}
	}
}

// moved lists the deliveries whose status a chunk of the feed has changed.
func moved(events []courier.Event) []uuid.UUID {
	seen := make(map[uuid.UUID]bool, len(events))
	var ids []uuid.UUID
	for _, e := range events {
		if strings.HasPrefix(string(e.Type), "delivery.") && !seen[e.DeliveryID] {
			seen[e.DeliveryID] = true
			ids = append(ids, e.DeliveryID)
		}
	}
	return ids
}

// Standing counts live deliveries by status and by the Beijing days that they have stood there; the tallies tell it, so it
// is as quick for a million deliveries as for ten. The buckets are those of Age.
func (h *History) Standing(ctx context.Context) ([]Age, error) {
	rows, err := readStanding(ctx, h.db)
	if err != nil {
		return nil, fmt.Errorf("count what stands where: %w", err)
	}
	today := plainDay(h.clock.Now(), 1)
	counts := map[courier.Status][]int{}
	for _, r := range rows {
		if counts[r.Status] == nil {
			counts[r.Status] = make([]int, len(AgeBounds)+1)
		}
		days := int(today.Sub(r.Day).Hours() / 24)
		bucket := 0
		for bucket < len(AgeBounds) && days >= AgeBounds[bucket] {
			bucket++
		}
		counts[r.Status][bucket] += r.N
	}
	var list []Age
	for _, s := range courier.Statuses {
		if s.Live() && counts[s] != nil {
			list = append(list, Age{s, counts[s]})
		}
	}
	return list, nil
}

// Total is how many stand there in all.
func (a Age) Total() int {
	n := 0
	for _, b := range a.Buckets {
		n += b
	}
	return n
}

// A Day counts what was taken in and what ended on a Beijing day.
type Day struct {
	Day                                   time.Time
	TakenIn, Delivered, Returned, Refused int
}

// Days tells of the last n days, today last.
func (h *History) Days(ctx context.Context, n int) ([]Day, error) {
	today := plainDay(h.clock.Now(), 1)
	from := today.AddDate(0, 0, 1-n)
	rows, err := readDays(ctx, h.db, from)
	if err != nil {
		return nil, fmt.Errorf("count by day: %w", err)
	}
	days := make([]Day, n)
	for i := range days {
		days[i].Day = from.AddDate(0, 0, i)
	}
	for _, r := range rows {
		i := int(r.Day.Sub(from).Hours() / 24)
		if i < 0 || i >= n {
			continue
		}
		switch r.Status {
		case takenIn:
			days[i].TakenIn += r.N
		case courier.Delivered:
			days[i].Delivered += r.N
		case courier.Returned:
			days[i].Returned += r.N
		case courier.Refused:
			days[i].Refused += r.N
		}
	}
	return days, nil
}

// takenIn stands in the tallies in the place of a status: all that were made on the day.
const takenIn courier.Status = "taken_in"

// An Overview is how well it went in a period: by district, and how many took how many days.
type Overview struct {
	Districts []Summary
	ByDays    []int // deliveries that took 0, 1, 2 … days; the last for all that took longer
}

// longestShown is the last of Overview.ByDays.
const longestShown = 10

// Overview tells of the journeys that ended from the day of from to the day of to, both counted, in Beijing.
func (h *History) Overview(ctx context.Context, from, to time.Time) (Overview, error) {
	cells, err := readCells(ctx, h.db, ByDistrict, plainDay(from, 1), plainDay(to, 2))
	if err != nil {
		return Overview{}, fmt.Errorf("overview: %w", err)
	}
	o := Overview{Districts: summarise(cells), ByDays: make([]int, longestShown+1)}
	for _, c := range cells {
		if c.outcome == courier.Delivered && c.days >= 0 {
			o.ByDays[min(c.days, longestShown)] += c.n
		}
	}
	return o, nil
}
