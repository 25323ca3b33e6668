package courier_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func inTx(t testing.TB, db *sqlx.DB, f func(tx *sqlx.Tx) error) {
	t.Helper()
	if err := courier.InTx(t.Context(), db, f); err != nil {
		t.Error(err)
	}
}

func TestEveryPairOfStatuses(t *testing.T) {
	// The drawing of ARCHITECTURE.md as pairs that must hold and pairs that never may.
	may := map[courier.Status][]courier.Status{
		courier.AwaitingPayment: {courier.Approved, courier.Cancelled},
		courier.Approved:        {courier.Ordering, courier.Cancelled, courier.AwaitingPayment},
		courier.Ordering:        {courier.Ordered, courier.Approved, courier.Cancelled},
	}
	onTheWay := []courier.Status{courier.Accepted, courier.InTransit, courier.OutForDelivery, courier.AttemptFailed, courier.Held,
		courier.Delivered, courier.Returning, courier.Returned, courier.Lost}
	may[courier.Ordered] = append([]courier.Status{courier.Cancelled, courier.Approved}, onTheWay...)
	for _, s := range []courier.Status{courier.Accepted, courier.InTransit, courier.OutForDelivery, courier.AttemptFailed, courier.Held, courier.Returning} {
		may[s] = append([]courier.Status{courier.Ordered}, onTheWay...)
	}
	for _, from := range courier.Statuses {
		want := map[courier.Status]bool{}
		for _, to := range may[from] {
			want[to] = to != from
		}
		for _, to := range courier.Statuses {
			if got := from.MayBecome(to, ""); got != want[to] {
				t.Errorf("%s → %s: %t, want %t", from, to, got, want[to])
			}
			reopens := (from == courier.Delivered || from == courier.Returned || from == courier.Lost) && to != from &&
				to != courier.Refused && to != courier.AwaitingPayment && to != courier.Approved && to != courier.Ordering && to != courier.Cancelled
			if got := from.MayBecome(to, "scan_voided:743"); got != (want[to] || reopens) {
				t.Errorf("%s → %s by a named rule: %t, want %t", from, to, got, want[to] || reopens)
			}
		}
		if from.Final() != (len(may[from]) == 0) {
			t.Errorf("%s final: %t", from, from.Final())
		}
	}
}

func TestAMoveHappensOnceAndOnlyFromWhereItStarts(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 3, noon)
	moves := func(from, to courier.Status, ids ...uuid.UUID) []courier.Move {
		var ms []courier.Move
		for _, id := range ids {
			ms = append(ms, courier.Move{ID: id, From: from, To: to, At: noon.Add(time.Minute)})
		}
		return ms
	}
	inTx(t, db, func(tx *sqlx.Tx) error {
		moved, err := courier.ApplyMoves(t.Context(), tx, moves(courier.Approved, courier.Cancelled, ids[0]))
		if len(moved) != 1 {
			t.Errorf("moved %v", moved)
		}
		return err
	})
	inTx(t, db, func(tx *sqlx.Tx) error { // one has moved meanwhile: the others go all the same
		moved, err := courier.ApplyMoves(t.Context(), tx, moves(courier.Approved, courier.Cancelled, ids...))
		if len(moved) != 2 {
			t.Errorf("moved %v, want the two that were still approved", moved)
		}
		return err
	})
	err := courier.InTx(t.Context(), db, func(tx *sqlx.Tx) error {
		_, err := courier.ApplyMoves(t.Context(), tx, moves(courier.Cancelled, courier.Approved, ids[1]))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "may not become") {
		t.Errorf("a cancelled delivery was approved again: %v", err)
	}
	var seqs []int
	if err := db.Select(&seqs, `SELECT seq FROM deliveries`); err != nil || fmt.Sprint(seqs) != "[2 2 2]" {
		t.Errorf("seq %v, %v; want one event each", seqs, err)
	}
}

// TestI8_EveryChangeHasItsEvent lets random changes meet random rollbacks: afterwards each delivery has exactly the
// events 1 … seq, and the last status event names its status.
func TestI8_EveryChangeHasItsEvent(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 20, noon)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for n := range 30 {
				err := courier.InTx(t.Context(), db, func(tx *sqlx.Tx) error {
					at := noon.Add(time.Duration(n) * time.Minute)
					var err error
					switch r.IntN(4) {
					case 0:
						_, err = courier.ApplyMoves(t.Context(), tx, []courier.Move{{ID: ids[r.IntN(20)], From: courier.Approved, To: courier.Cancelled, At: at}})
					case 1:
						i := r.IntN(20)
						err = courier.AppendEvents(t.Context(), tx, []courier.NewEvent{{DeliveryID: ids[i], Type: courier.EventScan, At: at},
							{DeliveryID: ids[(i+7)%20], Type: courier.EventScan, At: at}, {DeliveryID: ids[i], Type: courier.EventRetry, At: at}})
					case 2:
						err = courier.OpenCases(t.Context(), tx, []courier.NewCase{{DeliveryID: ids[r.IntN(20)], Kind: courier.CaseStalled, OpenedAt: at, DueAt: at, NextAction: "查"}})
					case 3:
						err = courier.CloseCases(t.Context(), tx, []courier.CaseClosing{{DeliveryID: ids[r.IntN(20)], Kind: courier.CaseStalled, At: at, Outcome: "好", By: "t"}})
					}
					if err == nil && r.IntN(5) == 0 {
						return errRollback
					}
					return err
				})
				if err != nil && err != errRollback && !strings.Contains(err.Error(), "deadlock") {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var bad []string
	err := db.Select(&bad, `
		SELECT d.id::text FROM deliveries d
		WHERE d.seq <> (SELECT count(*) FROM events e WHERE e.delivery_id = d.id)
			OR d.seq <> (SELECT max(seq) FROM events e WHERE e.delivery_id = d.id)
			OR 'delivery.' || d.status <> (SELECT type FROM events e WHERE e.delivery_id = d.id AND type LIKE 'delivery.%' ORDER BY seq DESC LIMIT 1)
			OR (SELECT count(*) FROM events e WHERE e.delivery_id = d.id AND type = 'case.opened') - (SELECT count(*) FROM events e WHERE e.delivery_id = d.id AND type = 'case.closed')
				<> (SELECT count(*) FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL)`)
	if err != nil || len(bad) > 0 {
		t.Errorf("deliveries whose log does not tell what happened: %v, %v", bad, err)
	}
}

var errRollback = fmt.Errorf("rolled back on purpose")

// TestI8_TheFeedNeverSkipsAndNeverReorders has writers that commit late and out of order, two publishers, and a reader
// that follows by position.
func TestI8_TheFeedNeverSkipsAndNeverReorders(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	const writers, each = 20, 25
	ids := addApproved(t, db, testVault(t), writers, noon)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(w)))
			for n := range each {
				inTx(t, db, func(tx *sqlx.Tx) error {
					err := courier.AppendEvents(t.Context(), tx, []courier.NewEvent{{DeliveryID: ids[w], Type: courier.EventScan, At: noon.Add(time.Duration(n) * time.Second)}})
					if err == nil { // hold the transaction open, so that later ids commit first
						_, err = tx.Exec(`SELECT pg_sleep($1)`, r.Float64()*0.02)
					}
					return err
				})
			}
		})
	}
	var publishers sync.WaitGroup
	for range 2 {
		publishers.Go(func() {
			p := courier.NewPublisher(db)
			for {
				if err := p.Round(t.Context()); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	seen := make(chan []courier.Event, 1)
	go func() {
		var all []courier.Event
		after := int64(0)
		for len(all) < writers*(each+1) && t.Context().Err() == nil {
			events, err := courier.ReadFeed(t.Context(), db, after, 7)
			if err != nil {
				break
			}
			for _, e := range events {
				all, after = append(all, e), e.Position
			}
		}
		seen <- all
	}()
	wg.Wait()
	all := <-seen
	close(done)
	publishers.Wait()
	last := map[uuid.UUID]int{}
	for i, e := range all {
		if e.Position != int64(i+1) {
			t.Fatalf("event %d has position %d: the feed has a gap", i+1, e.Position)
		}
		if e.Seq != last[e.DeliveryID]+1 {
			t.Fatalf("delivery %s: seq %d follows %d", e.DeliveryID, e.Seq, last[e.DeliveryID])
		}
		last[e.DeliveryID] = e.Seq
	}
	if len(all) != writers*(each+1) {
		t.Errorf("%d events read, want %d", len(all), writers*(each+1))
	}
}

func TestEventDataHasNoPlaceForPersonalData(t *testing.T) {
	b, err := json.Marshal(courier.EventData{From: "a", Rule: "b", WaybillNo: "c", FeeFen: 1, PaidFen: 1, AmountFen: 1, Case: "d", Outcome: "e",
		ScanAt: "f", ScanCode: "g", Receiver: "h", HeldUntil: "i", Late: true, Withdrawn: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"name", "phone", "address", "id_no"} {
		if strings.Contains(string(b), word) {
			t.Errorf("an event can carry a %s", word)
		}
	}
}
