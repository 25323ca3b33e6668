package notify

import (
	"errors"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// interrupted sends one message to each of n numbers and ends the sender when all are answered, before a word of it is written.
func (w *world) interrupted(g *Gateways, n int) (deliveries []uuid.UUID) {
	w.t.Helper()
	for i := range n {
		deliveries = append(deliveries, w.newsTo(phoneOf(i), courier.InTransit))
	}
	func() {
		defer func() { recover() }()
		w.run(w.sender(g, Options{Lanes: 1, Hook: func(point string) {
			if point == PointSendPosted {
				panic("killed")
			}
		}}))
	}()
	if got := w.count(`SELECT count(*) FROM message_attempts WHERE state = 'sending'`); got != n {
		w.t.Fatalf("%d attempts are left sending, want %d", got, n)
	}
	return deliveries
}

// To write that messages were taken writes rows and no index: neither of the attempts nor of the messages does anything change that
// an index holds.
func TestAnOutcomeWritesNoIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 40
	w.interrupted(w.gateways(&fakeFinder{fakeGateway{name: "a"}}), n)
	var settlings []settling
	var ids []uuid.UUID
	if err := w.db.Select(&ids, `SELECT id FROM message_attempts`); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		settlings = append(settlings, settling{attempt: id, state: accepted, messageState: accepted, reason: "短信网关已接收", providerID: "9006197469364984^0"})
	}
	w.exec(`VACUUM messages, message_attempts`) // pages have room, as in a table of more than a page
	type writes struct{ All, InPlace int }
	err := courier.InTx(t.Context(), w.db, func(tx *sqlx.Tx) error {
		count := func(table string) (n writes) {
			if err := tx.Get(&n, `SELECT pg_stat_get_xact_tuples_updated($1::regclass) AS all, pg_stat_get_xact_tuples_hot_updated($1::regclass) AS inplace`, table); err != nil {
				t.Error(err)
			}
			return n
		}
		before := map[string]writes{"message_attempts": count("message_attempts"), "messages": count("messages")}
		lost, err := settle(t.Context(), tx, []string{sending}, settlings, w.clock().Now(), w.clock().Wall())
		if err != nil || len(lost) != 0 {
			t.Errorf("%d attempts did not take their outcome, %v", len(lost), err)
		}
		for table, was := range before {
			now := count(table)
			if got := (writes{now.All - was.All, now.InPlace - was.InPlace}); got != (writes{n, n}) {
				t.Errorf("%s: of %d writes %d touched no index, want all %d", table, got.All, got.InPlace, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A chunk of attempts is remembered until it is known what became of each: one that is still in doubt after a day is looked at again,
// and when it turns out to have been taken its receipt is missed like any other.
func TestAChunkIsKeptWhileAnythingInItIsInDoubt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &vagueFinder{fakeFinder{fakeGateway{name: "a"}}}
	gateways := w.gateways(g)
	first, second := w.newsTo(phoneOf(1), courier.InTransit), w.newsTo(phoneOf(2), courier.InTransit)
	g.script = func(s SMS) (bool, error) {
		if len(g.ledger) == 0 {
			return true, nil
		}
		return true, &SendError{Class: Unknown, Code: "test"}
	}
	w.run(w.sender(gateways, Options{Lanes: 1, Concurrency: 1}))
	chunks := func() int { return w.count(`SELECT count(*) FROM attempt_chunks`) }
	if states := []string{w.attempts(first)[0], w.attempts(second)[0]}; states[0] == states[1] || chunks() != 1 {
		t.Fatalf("attempts are %q in %d chunks, want one accepted and one unknown in one", states, chunks())
	}
	missed := func() int { return w.count(`SELECT count(*) FROM message_attempts WHERE no_receipt_at IS NOT NULL`) }
	receipts := w.receipts(gateways)
	w.pass(receiptsWithin + time.Minute)
	w.run(receipts)
	w.run(receipts)
	if missed() != 1 || chunks() != 1 {
		t.Fatalf("after a day %d receipts are missed and %d chunks kept, want 1 and 1", missed(), chunks())
	}
	w.exec(`UPDATE message_attempts SET state = 'accepted' WHERE state = 'unknown'`)
	w.run(receipts)
	if missed() != 1 {
		t.Errorf("a chunk is looked at before its hour is over")
	}
	w.pass(time.Hour + time.Minute)
	w.run(receipts)
	if missed() != 2 || chunks() != 0 {
		t.Errorf("in the end %d receipts are missed and %d chunks kept, want 2 and 0", missed(), chunks())
	}
}

// What a lost sender left behind is found by its chunk, taken over once, and not looked for any more.
func TestALostSendersChunksAreTakenOverOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeFinder{fakeGateway{name: "a"}}
	gateways := w.gateways(g)
	const n = 30
	w.interrupted(gateways, n)
	open := `SELECT count(*) FROM attempt_chunks WHERE NOT settled`
	w.run(w.resolver(gateways, Options{}))
	if got := w.count(`SELECT count(*) FROM message_attempts WHERE state = 'sending'`); got != n || w.count(open) != 1 {
		t.Fatalf("within the lease %d are sending and %d chunks open, want %d and 1", got, w.count(open), n)
	}
	w.pass(3 * time.Minute)
	w.run(w.resolver(gateways, Options{}))
	if got := w.count(`SELECT count(*) FROM message_attempts WHERE state = 'accepted'`); got != n || w.count(open) != 0 {
		t.Errorf("after it %d are found accepted and %d chunks open, want %d and 0", got, w.count(open), n)
	}
	if len(g.ledger) != n {
		t.Errorf("the gateway took %d messages, want %d", len(g.ledger), n)
	}
}

// A message that may have been sent is never forgotten: its row is what keeps another from being sent.
func TestI5_MessagesAreNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.news(courier.InTransit, courier.EventData{})
	_, err := w.db.ExecContext(t.Context(), `DELETE FROM messages WHERE delivery_id = $1`, id)
	if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code.Name() != "integrity_constraint_violation" {
		t.Errorf("a message was deleted: %v", err)
	}
}

// Attempts from before there were chunks are in some afterwards: what a lost sender left is still taken over, and receipts are
// missed as before.
func TestAttemptsFromBeforeChunksAreNotForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeFinder{fakeGateway{name: "a"}}
	gateways := w.gateways(g)
	taken := w.newsTo(phoneOf(900), courier.InTransit)
	w.run(w.sender(gateways, Options{}))
	left := w.interrupted(gateways, 3)
	if err := migrations.Down(t.Context(), w.db.DB, 1); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), w.db.DB); err != nil {
		t.Fatal(err)
	}
	w.pass(3 * time.Minute)
	w.run(w.resolver(gateways, Options{}))
	for _, id := range append(left, taken) {
		w.wantAttempts(id, "a accepted")
	}
	w.pass(receiptsWithin + time.Hour)
	w.run(w.receipts(gateways))
	if n := w.count(`SELECT count(*) FROM message_attempts WHERE no_receipt_at IS NOT NULL`); n != 4 {
		t.Errorf("%d receipts are missed, want 4", n)
	}
}
