package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A NewSubjectCase is something that needs a person and belongs to no delivery. There is no event for it: events are those
// of deliveries.
type NewSubjectCase struct {
	Subject    string // what it is about, for example webhook:ID
	Kind       CaseKind
	OpenedAt   time.Time
	DueAt      time.Time
	NextAction string
	Detail     string
}

// OpenSubjectCase opens a case unless one of its kind is open for the subject.
func OpenSubjectCase(ctx context.Context, tx *sqlx.Tx, c NewSubjectCase) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO cases (id, subject, kind, opened_at, due_at, next_action, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (subject, kind) WHERE closed_at IS NULL AND subject IS NOT NULL DO NOTHING`,
		uuid.Must(uuid.NewV7()), c.Subject, string(c.Kind), c.OpenedAt, c.DueAt, c.NextAction, c.Detail)
	if err != nil {
		return fmt.Errorf("open a case about %s: %w", c.Subject, err)
	}
	return nil
}

// A SubjectClosing ends the open case of a kind about a subject.
type SubjectClosing struct {
	Subject string
	Kind    CaseKind
	At      time.Time
	Outcome string
	By      string
	Why     string
}

// CloseSubjectCase closes the case if one is open.
func CloseSubjectCase(ctx context.Context, tx *sqlx.Tx, c SubjectClosing) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE cases SET closed_at = $3, outcome = $4, closed_by = $5, why = $6
		WHERE subject = $1 AND kind = $2 AND closed_at IS NULL`, c.Subject, string(c.Kind), c.At, c.Outcome, c.By, c.Why)
	if err != nil {
		return fmt.Errorf("close the case about %s: %w", c.Subject, err)
	}
	return nil
}
