package courier

import (
	"context"
	"slices"
	"strings"
	"time"

	"emsd/courier/vault"
)

// A QueueFilter says which permits to list; empty fields do not matter. Limit is 1 to 500, 100 when it is 0.
type QueueFilter struct {
	Status  Status
	Station string
	Rule    string    // that refused
	From    time.Time // made on or after
	Before  time.Time // made before
	Cursor  string
	Limit   int
}

func (f QueueFilter) byDay() bool { return !f.From.IsZero() || !f.Before.IsZero() }

func (f QueueFilter) cursorKind() string {
	if f.byDay() {
		return "queue-day"
	}
	return "queue"
}

// A Queued is one permit of the queue.
type Queued struct {
	Delivery
	StationName string
	Open        []CaseKind // kinds of open cases
	Standing    Standing
}

// A QueuePage is a part of the queue; Next is the cursor of the page behind it.
type QueuePage struct {
	Permits []Queued
	Next    string
}

// Queue lists permits, the newest first, each with why it may or may not be sent. The recipient is unsealed: who shows it
// must mask it.
func (s *Service) Queue(ctx context.Context, f QueueFilter) (QueuePage, error) {
	after, err := readCursor(f.Cursor, f.cursorKind())
	if err != nil {
		return QueuePage{}, err
	}
	if f.Status != "" && !slices.Contains(Statuses, f.Status) {
		return QueuePage{}, Faults{{"status", "unknown_value", "没有这个状态，请核对"}}
	}
	f.Station, f.Rule, f.Limit = normaliseNo(f.Station), strings.TrimSpace(f.Rule), pageLimit(f.Limit)
	if !printable(f.Station+f.Rule, 2*maxNumber) {
		return QueuePage{}, nil // no such code can be stored
	}
	rows, err := listQueue(ctx, s.db, f, after)
	if err != nil {
		return QueuePage{}, err
	}
	var p QueuePage
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		last := rows[f.Limit-1]
		p.Next = pageMark{true, last.CreatedAt, last.ID}.cursor(f.cursorKind())
	}
	p.Permits, err = s.queued(rows)
	return p, err
}

// mostFound bounds what a search shows: a number that more permits share says nothing.
const mostFound = 50

// FindByNumber finds permits by permit, application, waybill or order number, the newest first.
func (s *Service) FindByNumber(ctx context.Context, number string) ([]Queued, error) {
	if number = normaliseNo(number); number == "" || !printable(number, maxNumber) {
		return nil, nil
	}
	rows, err := findByNumber(ctx, s.db, number, mostFound)
	if err != nil {
		return nil, err
	}
	return s.queued(rows)
}

// A PersonKey is what a person is looked up by.
type PersonKey string

// The keys of people.
const (
	ByPhone PersonKey = "phone"
	ByIDNo  PersonKey = "id_no"
)

// PersonKeyOf says whether a text that was typed into a search is a phone or an ID number; empty: neither.
func PersonKeyOf(text vault.Secret) PersonKey {
	r := normaliseRecipient(Recipient{Phone: text, IDNo: text})
	switch {
	case len(r.Phone.Reveal()) == 11 && digits(r.Phone.Reveal()) && r.Phone.Reveal()[0] == '1':
		return ByPhone
	case len(r.IDNo.Reveal()) == 18 && digits(r.IDNo.Reveal()[:17]): // also one with a slip in it
		return ByIDNo
	}
	return ""
}

// FindByPerson finds permits by phone or ID number through the keyed index, without opening any other.
func (s *Service) FindByPerson(ctx context.Context, key PersonKey, number vault.Secret) ([]Queued, error) {
	column := map[PersonKey]string{ByPhone: vault.ColumnPhone, ByIDNo: vault.ColumnIDNo}[key]
	if column == "" {
		return nil, Faults{{"q", "format", "请填写11位手机号或18位身份证号"}}
	}
	rows, err := findByPerson(ctx, s.db, key, s.vault.Lookup(column, number.Reveal()), mostFound)
	if err != nil {
		return nil, err
	}
	return s.queued(rows)
}

func (s *Service) queued(rows []queueRow) ([]Queued, error) {
	list := make([]Queued, len(rows))
	for i := range rows {
		d, err := rows[i].unsealed(s.vault)
		if err != nil {
			return nil, err
		}
		q := Queued{Delivery: d, StationName: rows[i].StationName}
		for _, k := range rows[i].Open {
			q.Open = append(q.Open, CaseKind(k))
		}
		q.Standing = StandingOf(d, q.Open)
		list[i] = q
	}
	return list, nil
}
