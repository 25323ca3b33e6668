package courier

import (
	"context"
	"strings"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A WorkFilter says which open cases of the worklist to show; empty fields do not matter. Limit is 1 to 500, 100 when it
// is 0. Cases that belong to no delivery are shown only to who asks for them.
type WorkFilter struct {
	Kind        CaseKind
	Owner       string // whose
	Unowned     bool   // nobody's
	Overdue     bool
	StationCode string
	Subjects    bool // also those about no delivery
	Cursor      string
	Limit       int
}

// A WorkItem is a case with what a clerk wants to see of its delivery.
type WorkItem struct {
	Case
	PermitNo    string
	WaybillNo   string
	StationCode string
	Status      Status
}

// Overdue reports whether a case should have been settled by now.
func (w WorkItem) Overdue(now time.Time) bool { return w.ClosedAt.IsZero() && w.DueAt.Before(now) }

// A WorkPage is a part of the worklist; Next is the cursor of the page behind it.
type WorkPage struct {
	Items []WorkItem
	Next  string
}

// Worklist lists open cases, the most urgent first.
func (s *Service) Worklist(ctx context.Context, f WorkFilter) (WorkPage, error) {
	after, err := readCursor(f.Cursor, "work")
	if err != nil {
		return WorkPage{}, err
	}
	f.Limit = pageLimit(f.Limit)
	items, err := listWork(ctx, s.q(), f, s.clock.Now(), after)
	if err != nil {
		return WorkPage{}, err
	}
	p := WorkPage{Items: items}
	if len(items) > f.Limit {
		p.Items = items[:f.Limit]
		last := p.Items[f.Limit-1]
		p.Next = pageMark{true, last.DueAt, last.ID}.cursor("work")
	}
	return p, nil
}

// A CaseMove is one change of who has a case.
type CaseMove struct {
	At   time.Time `db:"at"`
	By   string    `db:"by"`
	From string    `db:"from_owner"` // empty: nobody
	To   string    `db:"to_owner"`
	Note string    `db:"note"`
}

// A CaseFile is one case with who has had it.
type CaseFile struct {
	WorkItem
	Moves []CaseMove // the oldest first
}

// CaseFile reads one case, open or closed.
func (s *Service) CaseFile(ctx context.Context, id uuid.UUID) (CaseFile, error) {
	item, err := readWork(ctx, s.q(), id)
	if err != nil {
		return CaseFile{}, err
	}
	f := CaseFile{WorkItem: item}
	f.Moves, err = caseMoves(ctx, s.q(), id)
	return f, err
}

// TakeCase makes a person the owner of a case that nobody has. Taking one's own again changes nothing.
func (s *Service) TakeCase(ctx context.Context, id uuid.UUID, by string) error {
	return s.moveCase(ctx, id, by, "case.take", "", func(c WorkItem) (string, error) {
		if c.Owner != "" && c.Owner != by {
			return "", &Conflict{"case_owned", "该事项已由同事领取，请先由其转交或退回"}
		}
		return by, nil
	})
}

// HandCase gives a case to somebody else, or back to the worklist when to is empty. Only the owner does so; anyones lets
// a supervisor do it for an owner who is away. Who it goes to must be somebody who works on cases: that is for the
// caller to know.
func (s *Service) HandCase(ctx context.Context, id uuid.UUID, to, note, by string, anyones bool) error {
	if note = oneLine(note); strings.ContainsFunc(note, unwritable) || len([]rune(note)) > 200 {
		return Faults{{"note", "format", "说明最多200个字，不含特殊符号"}}
	}
	action := "case.hand_over"
	if to == "" {
		action = "case.release"
	}
	return s.moveCase(ctx, id, by, action, note, func(c WorkItem) (string, error) {
		if c.Owner != by && !anyones {
			return "", &Conflict{"not_your_case", "该事项不在您名下，不能转交或退回"}
		}
		return to, nil
	})
}

// moveCase changes who has a case, as decide says, and notes it.
func (s *Service) moveCase(ctx context.Context, id uuid.UUID, by, action, note string, decide func(WorkItem) (string, error)) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		c, rows, err := lockCase(ctx, tx, id)
		if err != nil {
			return err
		}
		if !c.ClosedAt.IsZero() {
			return &Conflict{"case_closed", "该事项已经办结，无需重复办理"}
		}
		to, err := decide(WorkItem{Case: c})
		if err != nil || to == c.Owner {
			return err
		}
		if note != "" {
			if note, err = s.scrub(rows[c.DeliveryID], "note", note); err != nil {
				return err
			}
		}
		now := s.clock.Now()
		if err := saveCaseMove(ctx, tx, id, CaseMove{At: now, By: by, From: c.Owner, To: to, Note: note}); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: action, Object: id.String(),
			Detail: map[string]string{"from": c.Owner, "to": to, "note": note}})
	})
}
