package courier_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// The environment of a child process: see TestOrderChild.
const (
	childDSN   = "EMSD_ORDER_CHILD_DSN"
	childURL   = "EMSD_ORDER_CHILD_URL"
	childPoint = "EMSD_ORDER_CHILD_POINT" // where to die; "any" counts all points
	childNth   = "EMSD_ORDER_CHILD_NTH"   // at which passing
)

// TestOrderChild is the body of a child process of the crash tests. It runs all rounds until nothing is left, or until it
// kills itself where it was told to. Run as an ordinary test it has nothing to do.
func TestOrderChild(t *testing.T) {
	dsn := os.Getenv(childDSN)
	if dsn == "" {
		return
	}
	db, err := sqlx.Connect("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	opts := orderOptions()
	opts.LowWater, opts.RefillTo = 200, 300
	opts.Hook = dieAt(os.Getenv(childPoint), os.Getenv(childNth))
	settleOrders(t, db, newOrderer(t, db, emsClient(t, os.Getenv(childURL)), opts))
}

// dieAt ends the process with SIGKILL at the n-th passing of a point, as a power cut would.
func dieAt(point, nth string) func(string) {
	n, _ := strconv.ParseInt(nth, 10, 64)
	var passed atomic.Int64
	return func(p string) {
		if n > 0 && (p == point || point == "any") && passed.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// runChild reports whether the child was killed; any other failure of it fails the test.
func runChild(t *testing.T, dsn, url, point string, nth int) (killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrderChild$", "-test.count=1", "-test.timeout=90s")
	cmd.Env = append(os.Environ(), childDSN+"="+dsn, childURL+"="+url, childPoint+"="+point, childNth+"="+strconv.Itoa(nth))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if err != nil {
		t.Fatalf("child that dies at %s: %v\n%s", point, err, out)
	}
	return false
}

// crashScene is a database with work of every kind: three deliveries to be cancelled, eight to be ordered at an EMS that
// loses requests and replies.
func crashScene(t *testing.T, repeat emssim.RepeatBehaviour, faults ...emssim.Fault) (db *sqlx.DB, dsn string, sim *emssim.Carrier, url string) {
	t.Helper()
	dsn = dbtest.DSN(t)
	db = sqlx.MustConnect("postgres", dsn)
	t.Cleanup(func() { db.Close() })
	sim, url = serveEMS(t, emssim.Config{Repeat: repeat, Seed: 3})
	addApproved(t, db, testVault(t), 3, time.Now())
	if err := newOrderer(t, db, emsClient(t, url), orderOptions()).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	execSQL(t, db, `UPDATE deliveries SET cancel_requested_at = $1, cancel_attempt_at = $2, cancel_reason = '不寄了'`, noon, time.Now())
	addApproved(t, db, testVault(t), 8, time.Now())
	for _, f := range faults {
		sim.SetFault(f)
	}
	return db, dsn, sim, url
}

func TestI3_I4_KilledAtEveryPointNothingIsLostOrPaidTwice(t *testing.T) {
	t.Parallel()
	for _, point := range courier.OrderPoints {
		for _, nth := range []int{1, 2} {
			t.Run(point+"/"+strconv.Itoa(nth), func(t *testing.T) {
				t.Parallel()
				faults := []emssim.Fault{
					{API: "020003", Kind: emssim.LoseRequest, Count: 2},
					{API: "020003", Kind: emssim.LoseReply, Count: 2},
					{API: "020006", Kind: emssim.LoseReply, Count: 1},
				}
				if strings.HasPrefix(point, "cancel.") {
					// Only here: a reply that names a second waybill and dies with the process is known to nobody.
					faults = append(faults, emssim.Fault{API: "020003", Kind: emssim.DuplicateWaybill, Count: 2})
				}
				db, dsn, sim, url := crashScene(t, repeatBehaviours[nth%3], faults...)
				if killed := runChild(t, dsn, url, point, nth); !killed && nth == 1 {
					t.Fatalf("no process died at %s: the point is never passed", point)
				}
				runChild(t, dsn, url, "", 0)
				checkPaidOnce(t, db, sim)
				checkCancelled(t, db, 3)
			})
		}
	}
}

func TestI3_KilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, repeat := range repeatBehaviours {
		t.Run(string(repeat), func(t *testing.T) {
			t.Parallel()
			db, dsn, sim, url := crashScene(t, repeat, emssim.Fault{Kind: emssim.LoseReply, Rate: 0.2}, emssim.Fault{Kind: emssim.LoseRequest, Rate: 0.2})
			for _, nth := range []int{3, 5, 8, 13, 21, 13, 8} {
				runChild(t, dsn, url, "any", nth)
			}
			runChild(t, dsn, url, "", 0)
			checkPaidOnce(t, db, sim)
			checkCancelled(t, db, 3)
		})
	}
}

func checkCancelled(t *testing.T, db *sqlx.DB, want int) {
	t.Helper()
	var cancelled []uuid.UUID
	for id, d := range orderStates(t, db) {
		if d.Status == courier.Cancelled {
			cancelled = append(cancelled, id)
		}
	}
	if len(cancelled) != want {
		t.Errorf("%d deliveries are cancelled, want %d", len(cancelled), want)
	}
	if n := one[int](t, db, `SELECT count(*) FROM numbers n JOIN deliveries d ON d.waybill_no = n.waybill_no
		WHERE (d.status = 'cancelled') <> (n.state = 'void') OR n.delivery_id <> d.id`); n != 0 {
		t.Errorf("%d numbers are void without a cancelled delivery, or the other way round", n)
	}
	if n := one[int](t, db, `SELECT count(*) FROM unwanted_waybills WHERE cancelled_at IS NULL`); n != 0 {
		t.Errorf("%d unwanted waybills are not cancelled", n)
	}
}
