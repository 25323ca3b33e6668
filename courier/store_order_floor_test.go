package courier_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// floorRound does the work of an order round and nothing else: claim and intent, commit, calls, outcome and one event,
// commit, four lanes over 64 workers. No pool of numbers, no label, no tracking, no second event, no care.
func floorRound(b *testing.B, db *sqlx.DB, v *vault.Vault, c courier.Carrier) {
	type job struct {
		ID        uuid.UUID `db:"id"`
		Attempt   uuid.UUID `db:"attempt"`
		WaybillNo string    `db:"waybill_no"`
		Name      []byte    `db:"name_sealed"`
		Phone     []byte    `db:"phone_sealed"`
		Address   []byte    `db:"address_sealed"`
	}
	ctx := context.Background()
	work := make(chan func())
	var workers, lanes sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	for range 4 {
		lanes.Go(func() {
			for {
				var jobs []job
				err := courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
					return tx.SelectContext(ctx, &jobs, `
						WITH due AS (
							SELECT id FROM deliveries WHERE status = 'approved' AND cancel_requested_at IS NULL AND next_attempt_at <= $1
							ORDER BY next_attempt_at, id LIMIT 500 FOR UPDATE SKIP LOCKED
						), moved AS (
							UPDATE deliveries d SET status = 'ordering', status_since = $1, updated_at = $1, seq = d.seq + 1, attempts = 1, reconcile_at = $1,
								next_attempt_at = NULL, number_mode = 'reserved', order_no = 'RP' || replace(d.id::text, '-', ''), waybill_no = '12' || replace(d.id::text, '-', '')
							FROM due WHERE d.id = due.id
							RETURNING d.id, d.waybill_no, d.order_no, d.name_sealed, d.phone_sealed, d.address_sealed, gen_random_uuid() AS attempt
						), intents AS (
							INSERT INTO order_attempts (id, delivery_id, call, order_no, waybill_no, started_at)
							SELECT attempt, id, 'create', order_no, waybill_no, $1 FROM moved
						)
						SELECT id, attempt, waybill_no, name_sealed, phone_sealed, address_sealed FROM moved`, time.Now())
				})
				if err != nil {
					b.Error(err)
				}
				if err != nil || len(jobs) == 0 {
					return
				}
				var done sync.WaitGroup
				done.Add(len(jobs))
				for _, j := range jobs {
					work <- func() {
						defer done.Done()
						name, _ := v.Unseal("deliveries.name", j.ID, j.Name)
						phone, _ := v.Unseal("deliveries.phone", j.ID, j.Phone)
						address, _ := v.Unseal("deliveries.address", j.ID, j.Address)
						_, err := c.CreateWaybill(ctx, courier.Order{OrderNo: "RP" + j.WaybillNo[2:], WaybillNo: "1200000001417", PaymentMode: 1, CreatedAt: noon, WeightG: 50, Contents: "x",
							Sender: orderOptions().Sender, Recipient: courier.Party{Name: name, Phone: phone, Address: address, Province: "北京市", City: "北京市", County: "朝阳区"}})
						if err != nil {
							b.Error(err)
						}
					}
				}
				done.Wait()
				ids, attempts := make([]string, len(jobs)), make([]string, len(jobs))
				for i, j := range jobs {
					ids[i], attempts[i] = j.ID.String(), j.Attempt.String()
				}
				err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
					_, err := tx.ExecContext(ctx, `
						WITH r AS (SELECT id, attempt FROM unnest($1::uuid[], $2::uuid[]) AS r(id, attempt)), closed AS (
							UPDATE order_attempts a SET outcome = 'confirmed', finished_at = $3 FROM r WHERE a.id = r.attempt
						), moved AS (
							UPDATE deliveries d SET status = 'ordered', status_since = $3, updated_at = $3, seq = d.seq + 1, reconcile_at = NULL
							FROM r WHERE d.id = r.id RETURNING d.id, d.seq
						)
						INSERT INTO events (delivery_id, seq, type, at, data) SELECT id, seq, 'delivery.ordered', $3, '{}' FROM moved`,
						pq.Array(ids), pq.Array(attempts), time.Now())
					return err
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	lanes.Wait()
	close(work)
	workers.Wait()
}
