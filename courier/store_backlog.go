package courier

import (
	"context"
	"time"
)

// An OrderBacklog says how late the rounds of ordering are: the due time of the oldest due item of each, zero when
// nothing is due. Times are wall times.
type OrderBacklog struct {
	Order       time.Time
	Reconcile   time.Time
	Cancel      time.Time
	Label       time.Time
	FreeNumbers int // up to RefillTo
}

// Backlog reads the oldest due item of each round; each answer is the head of a partial index.
func (o *Orderer) Backlog(ctx context.Context) (OrderBacklog, error) {
	var row struct {
		Order     *time.Time `db:"order_at"`
		Reconcile *time.Time `db:"reconcile_at"`
		Cancel    *time.Time `db:"cancel_at"`
		Label     *time.Time `db:"label_at"`
		Free      int        `db:"free"`
	}
	err := o.db.GetContext(ctx, &row, `
		SELECT
			(SELECT min(next_attempt_at) FROM deliveries WHERE status = 'approved' AND cancel_requested_at IS NULL AND next_attempt_at <= $1) AS order_at,
			(SELECT min(reconcile_at) FROM deliveries WHERE status = 'ordering' AND reconcile_at <= $1) AS reconcile_at,
			least((SELECT min(cancel_attempt_at) FROM deliveries WHERE cancel_attempt_at <= $1),
				(SELECT min(cancel_at) FROM unwanted_waybills WHERE cancel_at <= $1)) AS cancel_at,
			(SELECT min(next_attempt_at) FROM labels WHERE next_attempt_at <= $1) AS label_at,
			(SELECT count(*) FROM (SELECT 1 FROM numbers WHERE state = 'free' AND product = $2 LIMIT $3) n) AS free`,
		o.clock.Wall(), o.opts.Product, o.opts.RefillTo)
	if err != nil {
		return OrderBacklog{}, err
	}
	b := OrderBacklog{FreeNumbers: row.Free}
	for _, x := range []struct {
		to   *time.Time
		from *time.Time
	}{{&b.Order, row.Order}, {&b.Reconcile, row.Reconcile}, {&b.Cancel, row.Cancel}, {&b.Label, row.Label}} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	return b, nil
}
