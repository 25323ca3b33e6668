package notify

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A MessageState is what became of one message to a resident, and why; the text itself is not kept.
type MessageState struct {
	ID        uuid.UUID `db:"id"`
	Milestone Milestone `db:"milestone"`
	EventAt   time.Time `db:"event_at"`
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
	NotBefore time.Time `db:"not_before"`
	State     string    `db:"state"`
	Verdict   string    `db:"verdict"`
	Reason    string    `db:"reason"`
	Gateway   string    `db:"gateway"` // of the last attempt; empty before the first
	Tries     int       `db:"tries"`

	SentAt      *time.Time `db:"sent_at"`    // of the last attempt, too
	ReceiptAt   *time.Time `db:"receipt_at"` // its first receipt
	NoReceiptAt *time.Time `db:"no_receipt_at"`
	AttemptedAs string     `db:"attempt_state"`
}

// Receipt says what a carrier's receipt said of the last attempt: delivered, failed, awaited or none; empty when there
// is none to wait for.
func (m MessageState) Receipt() string {
	switch {
	case m.AttemptedAs == delivered || m.AttemptedAs == failed:
		return m.AttemptedAs
	case m.AttemptedAs == accepted && m.NoReceiptAt != nil:
		return "none"
	case m.AttemptedAs == accepted:
		return "awaited"
	}
	return ""
}

// A Reader reads what residents were told, for pages.
type Reader struct{ db *sqlx.DB }

// NewReader returns a Reader.
func NewReader(db *sqlx.DB) *Reader { return &Reader{db} }

// Messages lists the messages of a delivery, oldest first. That the caller may see the delivery, the caller knows.
func (r *Reader) Messages(ctx context.Context, delivery uuid.UUID) ([]MessageState, error) {
	return messagesOf(ctx, r.db, delivery)
}
