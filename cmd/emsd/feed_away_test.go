package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify/smssim"

	"github.com/jmoiron/sqlx"
)

// A feedReader reads the feed of a stepped daemon over HTTP.
type feedReader struct {
	t     *testing.T
	get   func(path string) reply
	after int
}

func (f *feedReader) ask(after int, more string) reply {
	f.t.Helper()
	return f.get(fmt.Sprintf("/v1/events?after=%d%s", after, more))
}

// catchUp reads to the end of the feed and tells how many events came; none may be passed over.
func (f *feedReader) catchUp() (read int) {
	f.t.Helper()
	for {
		r := f.ask(f.after, "&limit=7")
		var page struct {
			Events []struct {
				Position int `json:"position"`
			} `json:"events"`
			After int `json:"after"`
		}
		if err := json.Unmarshal(r.body, &page); err != nil || r.status != http.StatusOK {
			f.t.Fatalf("after %d: %s, %v", f.after, r, err)
		}
		if len(page.Events) == 0 {
			return read
		}
		for _, e := range page.Events {
			if e.Position != f.after+1 {
				f.t.Fatalf("position %d came after %d", e.Position, f.after)
			}
			f.after = e.Position
			read++
		}
		if page.After != f.after {
			f.t.Fatalf("after %d is told at position %d", page.After, f.after)
		}
	}
}

// gone asks for what is kept no more and gives the position from which it goes on.
func (f *feedReader) gone(after int) int {
	f.t.Helper()
	for _, more := range []string{"", "&wait=5s", "&limit=1"} {
		problem(f.t, f.ask(after, more), http.StatusGone, "events_gone")
	}
	return int(f.ask(after, "").in(f.t)["after"].(float64))
}

// TestI8_AReaderOfTheFeedThatWasAwayMissesNothing: a week, or years, while traces are dropped by retention; where an operator has
// dropped events as well it is told so, with the position behind which everything is there.
func TestI8_AReaderOfTheFeedThatWasAwayMissesNothing(t *testing.T) {
	t.Parallel()
	m := newCalmMonth(t, 1, emssim.Config{}, smssim.Config{})
	m.plan(2)
	m.take(m.envelopes)
	told := 0
	tell := func(at time.Time) {
		t.Helper()
		m.clock.set(at)
		err := courier.InTx(t.Context(), m.app.db, func(tx *sqlx.Tx) error {
			return courier.AppendEvents(t.Context(), tx, []courier.NewEvent{
				{DeliveryID: m.envelopes[0].id, Type: courier.EventScan, At: at}, {DeliveryID: m.envelopes[1].id, Type: courier.EventScan, At: at}})
		})
		if err != nil {
			t.Fatal(err)
		}
		told += 2
		m.round("purge", "publish")
		if m.failed["purge"]+m.failed["publish"] > 0 {
			t.Fatalf("rounds failed: %v\n%s", m.failed, m.log)
		}
	}
	tell(monthStart)
	r := &feedReader{t: t, get: m.office("read")}
	r.catchUp()
	week := told
	for day := range 8 {
		tell(monthStart.AddDate(0, 0, day))
	}
	if got := r.catchUp(); got != told-week {
		t.Errorf("after a week away %d events came, want %d", got, told-week)
	}

	away, before := r.after, told
	for month := 1; month <= 30; month++ {
		tell(monthStart.AddDate(0, month, 0))
	}
	var scans int
	if err := m.app.db.Get(&scans, `SELECT count(*) FROM pg_class WHERE relname = 'scans_202611'`); err != nil || scans != 0 {
		t.Fatalf("the traces of the first month are still there: %d, %v", scans, err)
	}
	if got := r.catchUp(); got != told-before {
		t.Errorf("after 30 months away %d events came, want %d", got, told-before)
	}

	// An operator drops two years of events. One of them stands behind an event of the month after it.
	december := time.Date(2028, 12, 1, 0, 0, 0, 0, beijing)
	head := r.after
	err := courier.InTx(t.Context(), m.app.db, func(tx *sqlx.Tx) error {
		for _, at := range []time.Time{december.Add(time.Second), december.Add(-time.Second), december.Add(2 * time.Second)} {
			if err := courier.AppendEvents(t.Context(), tx, []courier.NewEvent{{DeliveryID: m.envelopes[0].id, Type: courier.EventScan, At: at}}); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(t.Context(), `SELECT drop_months('events', '2027-12-01')`) // before it is published: its month stays
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.round("publish")
	r.after = r.gone(away)
	if r.after <= away || r.gone(0) != r.after {
		t.Errorf("what is there begins behind %d for one who was at %d, and behind %d for a new reader", r.after, away, r.gone(0))
	}
	if got, left := r.catchUp(), head+3; r.after != left || got < 20 {
		t.Errorf("%d events came, to position %d; want all up to %d", got, r.after, left)
	}
	if _, err := m.app.db.Exec(`SELECT drop_months('events', '2028-12-01')`); err != nil {
		t.Fatal(err)
	}
	if page := r.ask(head, "").in(t); len(page["events"].([]any)) != 1 || page["after"] != float64(head+1) {
		t.Errorf("before a gap: %v", page)
	}
	if to := r.gone(head + 1); to != head+2 {
		t.Errorf("behind a gap it goes on after %d, want %d", to, head+2)
	}
	r.after = head + 2
	if got := r.catchUp(); got != 1 {
		t.Errorf("%d events behind the gap, want 1", got)
	}
	problem(t, r.ask(head+4, ""), http.StatusConflict, "position_ahead")
	if _, err := m.app.db.Exec(`SELECT drop_months('events', '2040-01-01'); DELETE FROM events`); err != nil {
		t.Fatal(err)
	}
	if to := r.gone(head); to != head+3 {
		t.Errorf("with no event left it goes on after %d, want %d", to, head+3)
	}
}
