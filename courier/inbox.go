package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"emsd/courier/audit"
	"github.com/google/uuid"

	"github.com/jmoiron/sqlx"
)

// inboxChunk is how many rows of the exchange table share a transaction.
const inboxChunk = 500

// An Inbox takes in what systems that reach only the database put into inbox.approved_permits, and answers in the same
// row.
type Inbox struct {
	service *Service
	log     *slog.Logger
}

// NewInbox returns an Inbox; it starts nothing.
func NewInbox(s *Service, log *slog.Logger) *Inbox { return &Inbox{s, log} }

// An inboxRow is a row as a stranger wrote it, by column name.
type inboxRow struct {
	id     int64
	values map[string]string
}

// An inboxAnswer is what is written back.
type inboxAnswer struct {
	id       int64
	result   string
	delivery uuid.UUID
}

// Round takes in rows until none is left. Rows that another replica works on are left to it. A row that is answered has
// lost its name, phone, ID number and address: they stand sealed in the delivery, or were of no use.
func (x *Inbox) Round(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := x.chunk(ctx, inboxChunk)
		if unfit(err) {
			// Something in the chunk is more than the checks foresaw: find it row by row, so that it stops nobody else.
			n, err = x.singly(ctx, inboxChunk)
		}
		if err != nil {
			return fmt.Errorf("take in exchange rows: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

// chunk takes in up to limit rows in one transaction: rows, deliveries, payments and answers stand or fall together.
func (x *Inbox) chunk(ctx context.Context, limit int) (n int, err error) {
	err = x.service.inTx(ctx, func(tx *sqlx.Tx) error {
		rows, err := claimInbox(ctx, tx, limit)
		if n = len(rows); err != nil || n == 0 {
			return err
		}
		intakes := make([]Intake, n)
		for i, r := range rows {
			intakes[i].Application, intakes[i].Extras, intakes[i].Faults = ApplicationFromRow(r.values)
		}
		results, err := x.service.acceptIn(ctx, tx, intakes, "inbox")
		if err != nil {
			return err
		}
		answers := make([]inboxAnswer, n)
		for i, res := range results {
			answers[i] = inboxAnswer{rows[i].id, answerOf(res), res.Delivery.ID}
		}
		now := x.service.clock.Now()
		if err := answerInbox(ctx, tx, answers, now); err != nil {
			return err
		}
		return audit.Queue(ctx, tx, acceptEntry(results, "inbox", now)...)
	})
	return n, err
}

// singly takes in rows one at a time, and gives up on those that cannot be stored at all.
func (x *Inbox) singly(ctx context.Context, limit int) (int, error) {
	for done := range limit {
		n, err := x.chunk(ctx, 1)
		if unfit(err) {
			x.log.Error("an exchange row cannot be stored", "error", err)
			n, err = x.giveUp(ctx)
		}
		if err != nil || n == 0 {
			return done, err
		}
	}
	return limit, nil
}

// giveUp answers the row that chunk claims next.
func (x *Inbox) giveUp(ctx context.Context) (n int, err error) {
	err = InTx(ctx, x.service.db, func(tx *sqlx.Tx) error {
		rows, err := claimInbox(ctx, tx, 1)
		if n = len(rows); err != nil || n == 0 {
			return err
		}
		return answerInbox(ctx, tx, []inboxAnswer{{id: rows[0].id, result: "faulty: 该行无法保存，请联系系统管理员"}}, x.service.clock.Now())
	})
	return n, err
}

// answerOf writes a result for the other system: the first word says what happened, the id which delivery it concerns.
func answerOf(r Result) string {
	var text string
	switch r.Outcome {
	case Created, Existing:
		text = "accepted " + r.Delivery.ID.String()
	case RefusedByRule:
		text = "refused " + r.Delivery.Rule + " " + Sentences[r.Delivery.Rule]
	case LivePermit:
		return "conflict " + r.Delivery.ID.String() + ": 该居住证已有一件在途或已妥投的寄递"
	case PickedUp:
		return "conflict " + r.Delivery.ID.String() + ": " + ErrPickedUp.Detail
	default:
		return "faulty: " + r.Faults.Error()
	}
	if r.PaymentErr == nil {
		return text
	}
	detail := r.PaymentErr.Error()
	if c, ok := errors.AsType[*Conflict](r.PaymentErr); ok {
		detail = c.Detail
	}
	return text + "; payment not recorded: " + strings.ReplaceAll(detail, "\n", " ")
}
