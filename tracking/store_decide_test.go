package tracking

import (
	"context"
	"errors"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/jmoiron/sqlx"
)

// appliedTo tells how far the newest decision is applied.
func appliedTo(t *testing.T, db *sqlx.DB) Progress {
	t.Helper()
	all, err := Decisions(t.Context(), db)
	if err != nil || len(all) == 0 || all[0].Applied == nil {
		t.Fatalf("decisions %+v, %v", all, err)
	}
	return *all[0].Applied
}

// A process that applies a decision dies in the middle: the next goes on behind its last chunk, and counts on.
func TestADecisionIsAppliedFromWhereItStopped(t *testing.T) {
	t.Parallel()
	const n, size = 20, 6
	db := dbtest.Open(t)
	polled(t, db, n, scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "Z9"))
	rounds := func() *Refolder {
		f := newRefolder(db, hour(31))
		f.size = size
		return f
	}
	d := Decision{Code: "Z9", Meaning: "attempt_failed", ValidFrom: hour(0)}
	if _, err := rounds().Decide(t.Context(), d, "a clerk", "邮政答复"); err != nil {
		t.Fatal(err)
	}
	if p := appliedTo(t, db); !p.DoneAt.IsZero() || p.Looked != 0 || count(t, db, `SELECT count(*) FROM deliveries WHERE status = 'attempt_failed'`) != 0 {
		t.Fatalf("applied before the round: %+v", p)
	}
	ctx, die := context.WithCancel(t.Context())
	f := rounds()
	f.Progress = func(looked, _ int) {
		if looked == size {
			die()
		}
	}
	if err := f.Round(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the round ends with %v", err)
	}
	if p := appliedTo(t, db); !p.DoneAt.IsZero() || p.Looked != size || p.Changed != size {
		t.Fatalf("after the first chunk: %+v", p)
	}
	// One that was killed gives nothing back: the lease holds.
	must(t, db, `UPDATE decision_folds SET lease_until = $1`, hour(31).Add(time.Second))
	if err := rounds().Round(t.Context()); err != nil || appliedTo(t, db).Looked != size {
		t.Fatalf("taken up under its lease: %+v, %v", appliedTo(t, db), err)
	}
	must(t, db, `UPDATE decision_folds SET lease_until = $1`, hour(31))
	if err := rounds().Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := appliedTo(t, db); p.DoneAt.IsZero() || p.Looked != n || p.Changed != n || p.Kinds["status out_for_delivery → attempt_failed"] != n {
		t.Errorf("applied as %+v", p)
	}
	if n := count(t, db, `SELECT count(*) FROM events WHERE type = 'delivery.attempt_failed'`); n != 20 {
		t.Errorf("%d events, want one for each delivery", n)
	}
}

// What others hold throughout is not given up: a pass follows.
func TestADecisionIsAppliedToWhatOthersHeld(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	letGo := oneOfThreeHeld(t, db)
	f := newRefolder(db, hour(31))
	if _, err := f.Decide(t.Context(), Decision{Code: "Z9", Meaning: "attempt_failed", ValidFrom: hour(0)}, "a clerk", "x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := appliedTo(t, db); !p.DoneAt.IsZero() || p.Changed != 2 {
		t.Fatalf("with one held throughout: %+v", p)
	}
	letGo()
	if err := newRefolder(db, hour(31).Add(foldAgain)).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := appliedTo(t, db); p.DoneAt.IsZero() || p.Changed != 3 || p.Looked != 3 || p.Skipped != 0 {
		t.Errorf("afterwards: %+v", p)
	}
}

// Within a transaction of somebody else a decision is a part of it, and a forecast leaves nothing locked.
func TestADecisionIsAPartOfItsCallersTransaction(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := polled(t, db, 1, scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "Z9"))
	service, d, undone := courier.New(db, nil, courier.Clock{Wall: time.Now}, courier.Options{}), Decision{Code: "Z9", Meaning: "held", ValidFrom: hour(0)}, errors.New("undone")
	was := state(t, db)
	err := service.Together(t.Context(), func(s *courier.Service) error {
		f := newRefolder(db, hour(31)).On(s.Handle())
		if r, err := f.Forecast(t.Context(), d, "x"); err != nil || r.Changed != 1 {
			t.Errorf("forecast %+v, %v", r, err)
		}
		if n := count(t, db, `SELECT count(*) FROM (SELECT FROM deliveries WHERE id = $1 FOR UPDATE SKIP LOCKED) free`, ids[0]); n != 1 {
			t.Error("after a forecast the delivery is locked")
		}
		if _, err := f.Decide(t.Context(), d, "a clerk", "x"); err != nil {
			t.Error(err)
		}
		return undone
	})
	if err != undone || state(t, db) != was || count(t, db, `SELECT count(*) FROM audit WHERE action = 'code.decide'`) != 0 {
		t.Errorf("%v; a decision that was undone is there", err)
	}
}
