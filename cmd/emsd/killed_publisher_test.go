package main

import (
	"net/url"
	"os/exec"
	"testing"
	"time"

	"emsd/courier"
	"emsd/tracking"
)

// A duel is two daemons on one database, told apart there by name, and a reader of the feed that keeps what it has seen.
type duel struct {
	*mortal
	daemons map[string]*exec.Cmd
	seen    []courier.Event
}

func (d *duel) join(name string) {
	d.t.Helper()
	dsn, err := url.Parse(d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	query := dsn.Query()
	query.Set("application_name", name)
	dsn.RawQuery = query.Encode()
	d.daemons[name], _ = d.live("EMSD_DATABASE_URL=" + dsn.String())
	until(d.t, time.Minute, name+" at work", func() bool {
		return d.count(`SELECT count(*) FROM pg_stat_activity WHERE application_name = $1`, name) > 0
	})
}

func (d *duel) count(query string, args ...any) (n int) {
	d.t.Helper()
	if err := d.db.Get(&n, query, args...); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// catch writes events, holds the last of them, and waits until both daemons want to number them: one amid its transaction, the other
// behind it. It gives the first one's name and backend, and what lets the event go.
func (d *duel) catch() (name string, backend int, release func()) {
	d.t.Helper()
	head, last := d.db.MustBegin(), d.db.MustBegin()
	d.t.Cleanup(func() { head.Rollback(); last.Rollback() })
	head.MustExec(`SELECT position FROM feed_head FOR UPDATE`)
	d.news(6)
	last.MustExec(`SELECT id FROM events WHERE id = (SELECT max(id) FROM events WHERE position IS NULL) FOR UPDATE`)
	waiting := func(what string, n int) {
		d.t.Helper()
		until(d.t, time.Minute, what, func() bool {
			return d.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'daemon-%'
				AND wait_event_type = 'Lock' AND (query LIKE '%feed_head FOR UPDATE%' OR query LIKE '%fresh AS MATERIALIZED%')`) == n
		})
	}
	waiting("both want the head of the feed", 2)
	if err := head.Rollback(); err != nil {
		d.t.Fatal(err)
	}
	var numbering struct {
		Name    string `db:"application_name"`
		Backend int    `db:"pid"`
	}
	until(d.t, time.Minute, "one is numbering", func() bool {
		return d.db.Get(&numbering, `SELECT application_name, pid FROM pg_stat_activity WHERE datname = current_database()
			AND wait_event_type = 'Lock' AND query LIKE '%fresh AS MATERIALIZED%'`) == nil
	})
	waiting("the other is behind it", 2)
	return numbering.Name, numbering.Backend, func() {
		d.t.Helper()
		if err := last.Rollback(); err != nil {
			d.t.Fatal(err)
		}
	}
}

// read goes on where the reader was, until every event has its place.
func (d *duel) read() {
	d.t.Helper()
	until(d.t, time.Minute, "all events have their place", func() bool { return d.count(`SELECT count(*) FROM events WHERE position IS NULL`) == 0 })
	for {
		events, err := courier.ResumeFeed(d.t.Context(), d.db, int64(len(d.seen)), 4)
		if err != nil {
			d.t.Fatalf("after %d: %v", len(d.seen), err)
		}
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			if d.seen = append(d.seen, e); e.Position != int64(len(d.seen)) {
				d.t.Fatalf("position %d stands where %d is due", e.Position, len(d.seen))
			}
		}
	}
}

// TestI8_APublisherThatDiesAmidItsTransactionLeavesNoGap: of two daemons the one that is numbering events is killed, and later the
// connection of one is cut. The other goes on; a reader from before loses nothing and sees nothing twice.
func TestI8_APublisherThatDiesAmidItsTransactionLeavesNoGap(t *testing.T) {
	t.Parallel()
	d := &duel{mortal: newMortal(t), daemons: map[string]*exec.Cmd{}}
	if err := tracking.EnsurePartitions(t.Context(), d.db, d.now(), 3); err != nil { // a daemon that makes them would meet the events written here
		t.Fatal(err)
	}
	d.join("daemon-one")
	d.join("daemon-two")
	d.envelopes(2)
	d.read()

	name, _, release := d.catch()
	if err := d.daemons[name].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if events, err := courier.ReadFeed(t.Context(), d.db, int64(len(d.seen)), 10); err != nil || len(events) > 0 {
		t.Errorf("a reader sees %d events that are not committed, %v", len(events), err)
	}
	release()
	d.read()

	d.join("daemon-three")
	_, backend, release := d.catch()
	if d.count(`SELECT pg_terminate_backend($1)::int`, backend) != 1 {
		t.Fatal("the connection was gone already")
	}
	release()
	d.read()

	if all := d.count(`SELECT count(*) FROM events`); len(d.seen) != all {
		t.Errorf("%d events read of %d", len(d.seen), all)
	}
	if head := d.count(`SELECT position FROM feed_head`); head != len(d.seen) {
		t.Errorf("the head is %d after %d events", head, len(d.seen))
	}
	last := map[string]int{}
	for _, e := range d.seen {
		if id := e.DeliveryID.String(); e.Seq != last[id]+1 {
			t.Errorf("%s: seq %d follows %d", id, e.Seq, last[id])
		} else {
			last[id] = e.Seq
		}
	}
}
