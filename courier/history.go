package courier

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// An Attempt is one call that could spend money, as it was kept (I-4). Times are technical.
type Attempt struct {
	Call       string    `db:"call"` // create, create_again, cancel
	WaybillNo  string    `db:"waybill_no"`
	StartedAt  time.Time `db:"started_at"`
	FinishedAt time.Time `db:"finished_at"` // zero while it is under way
	Outcome    string    `db:"outcome"`
	RetCode    string    `db:"ret_code"`
	Detail     string    `db:"detail"`
}

// Attempts lists the calls about a delivery, oldest first.
func (s *Service) Attempts(ctx context.Context, delivery uuid.UUID) ([]Attempt, error) {
	return attemptsOf(ctx, s.db, delivery)
}

// Events lists what has happened to a delivery, oldest first.
func (s *Service) Events(ctx context.Context, delivery uuid.UUID) ([]Event, error) {
	return eventsOf(ctx, s.db, delivery)
}
