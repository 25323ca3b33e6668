package courier

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A View is a delivery with what belongs to it.
type View struct {
	Delivery
	Payments    []Payment
	Cases       []Case
	Return      *Return      // nil unless its envelope was received at the station
	NonReceipts []NonReceipt // the oldest first
}

// Get reads one delivery, its recipient unsealed: who shows it must mask it unless the reader may see it.
func (s *Service) Get(ctx context.Context, id uuid.UUID) (View, error) {
	d, err := s.delivery(ctx, id)
	if err != nil {
		return View{}, err
	}
	v := View{Delivery: d}
	if v.Payments, err = paymentsOf(ctx, s.q(), id); err != nil {
		return View{}, err
	}
	if v.Cases, err = casesOf(ctx, s.q(), id); err != nil {
		return View{}, err
	}
	if v.Return, err = s.readReturn(ctx, id); err != nil {
		return View{}, err
	}
	v.NonReceipts, err = nonReceiptsOf(ctx, s.q(), id)
	return v, err
}

func (s *Service) delivery(ctx context.Context, id uuid.UUID) (Delivery, error) {
	rows, err := readDeliveries(ctx, s.q(), []uuid.UUID{id})
	if err != nil {
		return Delivery{}, err
	}
	row := rows[id]
	if row == nil {
		return Delivery{}, ErrNotFound
	}
	return row.unsealed(s.vault)
}

// A Filter says which deliveries to list; empty fields do not matter. Limit is 1 to 500, 100 when it is 0.
type Filter struct {
	Status       Status
	PermitNo     string
	WaybillNo    string
	UpdatedAfter time.Time
	Cursor       string // of the page before
	Limit        int
}

func (f Filter) byChange() bool { return !f.UpdatedAfter.IsZero() }

// A Page is a part of a list; Next is the cursor of the page behind it, empty on the last one.
type Page struct {
	Deliveries []Delivery
	Next       string
}

// List reads one page. Without UpdatedAfter it is ordered by when deliveries were made, with it by last change: one
// that changes while somebody pages comes once more, later. The feed of events, not this, tells every change.
func (s *Service) List(ctx context.Context, f Filter) (Page, error) {
	after, err := readCursor(f.Cursor, f.cursorKind())
	if err != nil {
		return Page{}, err
	}
	if f.Status != "" && !slices.Contains(Statuses, f.Status) {
		return Page{}, Faults{{"status", "unknown_value", "没有这个状态，请核对"}}
	}
	f.PermitNo, f.WaybillNo, f.Limit = normaliseNo(f.PermitNo), normaliseNo(f.WaybillNo), pageLimit(f.Limit)
	if !printable(f.PermitNo+f.WaybillNo, 2*maxNumber) {
		return Page{}, nil // no such number can be stored
	}
	rows, err := listDeliveries(ctx, s.q(), f, after)
	if err != nil {
		return Page{}, err
	}
	var p Page
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		last := rows[f.Limit-1]
		p.Next = pageMark{true, last.UpdatedAt, last.ID}.cursor(f.cursorKind())
	}
	for i := range rows {
		d, err := rows[i].unsealed(s.vault)
		if err != nil {
			return Page{}, err
		}
		p.Deliveries = append(p.Deliveries, d)
	}
	return p, nil
}

func (f Filter) cursorKind() string {
	if f.byChange() {
		return "changed"
	}
	return "made"
}

func pageLimit(n int) int {
	if n <= 0 {
		return 100
	}
	return min(n, 500)
}

// A pageMark is the last row of a page.
type pageMark struct {
	set bool
	at  time.Time
	id  uuid.UUID
}

// cursor writes a mark so that it can be given away; kind keeps one list's cursor out of another.
func (m pageMark) cursor(kind string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + " " + m.id.String() + " " + m.at.UTC().Format(time.RFC3339Nano)))
}

func readCursor(cursor, kind string) (pageMark, error) {
	if cursor == "" {
		return pageMark{}, nil
	}
	bad := Faults{{"cursor", "format", "游标无效，请使用上一页给出的 next_cursor，并保持其他条件不变"}}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(text), " ")
	if err != nil || len(parts) != 3 || parts[0] != kind {
		return pageMark{}, bad
	}
	id, err1 := uuid.Parse(parts[1])
	at, err2 := time.Parse(time.RFC3339Nano, parts[2])
	if err1 != nil || err2 != nil {
		return pageMark{}, bad
	}
	return pageMark{true, at, id}, nil
}
