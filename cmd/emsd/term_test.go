package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"emsd/courier/emssim"

	"github.com/jmoiron/sqlx"
)

// accept posts permits whose recipients pay, so that they are ordered at once.
func (p *process) accept(from, to int) {
	p.t.Helper()
	for i := from; i <= to; i++ {
		body, err := json.Marshal(permit(i, "payment_method", "collect"))
		if err != nil {
			p.t.Fatal(err)
		}
		if r, err := request(p.api+"/v1/deliveries", "POST", body, "Authorization", "Bearer "+p.token); err != nil || r.status != http.StatusCreated {
			p.t.Fatalf("accept: %s, %v", r, err)
		}
	}
}

func tally(t *testing.T, db *sqlx.DB, query string) (n int) {
	t.Helper()
	if err := db.Get(&n, query); err != nil {
		t.Fatal(err)
	}
	return n
}

// onceEach: EMS was paid for one order per delivery, by one call each.
func (p *process) onceEach(n, calls int) {
	p.t.Helper()
	paid := map[string]int{}
	l := p.ems.Ledger()
	for _, o := range l.Orders {
		if !o.Cancelled {
			paid[o.OrderNo]++
		}
	}
	for no, times := range paid {
		if times != 1 {
			p.t.Errorf("order %s is paid %d times", no, times)
		}
	}
	if len(paid) != n || l.Calls["020003"] != calls {
		p.t.Errorf("%d paid orders for %d deliveries, by %d calls", len(paid), n, l.Calls["020003"])
	}
}

// TestI4_SIGTERMWithCallsInFlight ends the process while EMS is slow: the answers that come are written, the process
// ends well within its time, and the next one goes on where it stopped.
func TestI4_SIGTERMWithCallsInFlight(t *testing.T) {
	t.Parallel()
	const before, during = 5, 30
	p := newProcess(t, emssim.Config{Now: time.Now, Repeat: emssim.RepeatNew}, "EMSD_SHUTDOWN_TIMEOUT=12s", "EMSD_ORDER_CONCURRENCY=8")
	db, err := openDatabase(t.Context(), p.dsn, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p.start()
	p.accept(1, before)
	ordered := `SELECT count(*) FROM deliveries WHERE status = 'ordered'`
	until(t, 20*time.Second, "ordered", func() bool { return tally(t, db, ordered) == before })
	p.ems.SetFault(emssim.Fault{API: "020003", Kind: emssim.Slow, Delay: 1500 * time.Millisecond})
	p.ems.SetFault(emssim.Fault{API: "040001", Kind: emssim.Slow, Delay: 1500 * time.Millisecond})
	for _, o := range p.ems.Ledger().Orders {
		if err := p.ems.SetJourney(o.WaybillNo, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "203"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`UPDATE waybills SET next_poll_at = now() - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	polls := p.ems.Ledger().Calls["040001"]
	p.accept(before+1, before+during)
	until(t, 20*time.Second, "calls of both kinds are in flight", func() bool {
		l := p.ems.Ledger()
		return l.Calls["020003"] >= before+4 && l.Calls["040001"] > polls
	})
	took, err := p.terminate()
	if err != nil || took > 12*time.Second {
		t.Errorf("ended with %v after %s", err, took)
	}
	made := len(p.ems.Ledger().Orders)
	if got := tally(t, db, ordered) + tally(t, db, `SELECT count(*) FROM deliveries WHERE status = 'accepted'`); got != made || made == before+during {
		t.Errorf("EMS confirmed %d orders, %d are written; %d were taken in", made, got, before+during)
	}
	if open := tally(t, db, `SELECT count(*) FROM order_attempts WHERE outcome IS NULL`); open > 0 {
		t.Errorf("%d calls were left without an outcome", open)
	}
	p.ems.ClearFaults()
	p.start()
	until(t, 20*time.Second, "all ordered", func() bool {
		return tally(t, db, `SELECT count(*) FROM deliveries WHERE status NOT IN ('ordered', 'accepted')`) == 0
	})
	until(t, 20*time.Second, "asked again", func() bool {
		return tally(t, db, `SELECT count(*) FROM deliveries WHERE status = 'accepted'`) == before
	})
	p.onceEach(before+during, before+during)
	if _, err := p.terminate(); err != nil {
		t.Errorf("the second process ended with %v", err)
	}
	t.Logf("SIGTERM with %d of %d orders made: ended after %s", made, before+during, took.Round(time.Millisecond))
}

// TestI4_SIGTERMWhileEMSHangs: calls that nobody answers do not keep the process beyond its time. What became of them is
// asked by the next one, and nothing is paid for twice.
func TestI4_SIGTERMWhileEMSHangs(t *testing.T) {
	t.Parallel()
	const n, limit = 6, 2 * time.Second
	p := newProcess(t, emssim.Config{Now: time.Now, Repeat: emssim.RepeatNew}, "EMSD_SHUTDOWN_TIMEOUT="+limit.String(), "EMSD_EMS_TIMEOUT=5s", "EMSD_ORDER_LEASE=6s")
	db, err := openDatabase(t.Context(), p.dsn, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p.start()
	until(t, 20*time.Second, "numbers reserved", func() bool { return tally(t, db, `SELECT count(*) FROM numbers`) > 0 })
	p.ems.SetFault(emssim.Fault{API: "020003", Kind: emssim.Hang, Carried: true})
	p.accept(1, n)
	until(t, 20*time.Second, "orders hang", func() bool { return p.ems.Ledger().Faults[emssim.Hang] >= 1 })
	took, err := p.terminate()
	if err != nil || took > limit+time.Second {
		t.Errorf("ended with %v after %s, the limit is %s", err, took, limit)
	}
	p.ems.ClearFaults()
	p.start()
	until(t, 60*time.Second, "all ordered", func() bool {
		return tally(t, db, `SELECT count(*) FROM deliveries WHERE status = 'ordered'`) == n
	})
	p.onceEach(n, n)
	if _, err := p.terminate(); err != nil {
		t.Errorf("the second process ended with %v", err)
	}
	t.Logf("SIGTERM while EMS hangs: ended after %s", took.Round(time.Millisecond))
}
