package courier_test

import (
	"strconv"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// readdressScene is a database with three orders to be readdressed and four to be made, at an EMS that loses requests and
// replies.
func readdressScene(t *testing.T, repeat emssim.RepeatBehaviour, faults ...emssim.Fault) (db *sqlx.DB, dsn string, sim *emssim.Carrier, url string, before map[uuid.UUID]orderState) {
	t.Helper()
	dsn = dbtest.DSN(t)
	db = sqlx.MustConnect("postgres", dsn)
	t.Cleanup(func() { db.Close() })
	sim, url = serveEMS(t, emssim.Config{Repeat: repeat, Seed: 11})
	ids := addReaddressable(t, db, 3)
	settleOrders(t, db, newOrderer(t, db, emsClient(t, url), orderOptions()))
	before = orderStates(t, db)
	for _, id := range ids {
		if _, err := newService(t, db).ChangeAddress(t.Context(), id, elsewhere("海淀区"), "写错地址", "clerk"); err != nil {
			t.Fatal(err)
		}
	}
	addApproved(t, db, testVault(t), 4, time.Now())
	for _, f := range faults {
		sim.SetFault(f)
	}
	return db, dsn, sim, url, before
}

func keys(states map[uuid.UUID]orderState) (ids []uuid.UUID) {
	for id := range states {
		ids = append(ids, id)
	}
	return ids
}

func TestI3_I4_KilledWhileReaddressingNothingIsLostOrPaidTwice(t *testing.T) {
	t.Parallel()
	points := []string{courier.PointCancelIntentCommitted, courier.PointCancelCalled, courier.PointCancelOutcomeWritten,
		courier.PointOrderIntentCommitted, courier.PointOrderCalled, courier.PointOrderOutcomeWritten, courier.PointReconcileCalled}
	for _, point := range points {
		for _, nth := range []int{1, 2} {
			t.Run(point+"/"+strconv.Itoa(nth), func(t *testing.T) {
				t.Parallel()
				db, dsn, sim, url, before := readdressScene(t, repeatBehaviours[nth%3],
					emssim.Fault{API: "020003", Kind: emssim.LoseRequest, Count: 2},
					emssim.Fault{API: "020003", Kind: emssim.LoseReply, Count: 2},
					emssim.Fault{API: "020006", Kind: emssim.LoseReply, Count: 2})
				if killed := runChild(t, dsn, url, point, nth); !killed && nth == 1 {
					t.Fatalf("no process died at %s: the point is never passed", point)
				}
				runChild(t, dsn, url, "", 0)
				checkPaidOnce(t, db, sim)
				checkReaddressed(t, db, before, keys(before), "海淀区")
			})
		}
	}
}

func TestI3_KilledAgainAndAgainWhileReaddressing(t *testing.T) {
	t.Parallel()
	for _, repeat := range repeatBehaviours {
		t.Run(string(repeat), func(t *testing.T) {
			t.Parallel()
			db, dsn, sim, url, before := readdressScene(t, repeat, emssim.Fault{Kind: emssim.LoseReply, Rate: 0.2}, emssim.Fault{Kind: emssim.LoseRequest, Rate: 0.2})
			for _, nth := range []int{2, 3, 5, 8, 13} {
				runChild(t, dsn, url, "any", nth)
			}
			runChild(t, dsn, url, "", 0)
			checkPaidOnce(t, db, sim)
			checkReaddressed(t, db, before, keys(before), "海淀区")
		})
	}
}
