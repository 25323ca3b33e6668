package audit_test

import (
	"fmt"
	"sync"
	"testing"

	"emsd/courier/audit"
	"emsd/migrations/dbtest"
)

func TestQueuedEntriesAreChainedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	const writers, each = 4, 300
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				e := audit.Entry{At: noon, Actor: fmt.Sprint(w), Action: "test", Object: fmt.Sprint(n), Detail: map[string]string{"k": "<v> “中文”"}}
				if err := audit.Queue(t.Context(), db, e); err != nil {
					t.Error(err)
				}
				if n%100 == 99 {
					if err := audit.Chain(t.Context(), db); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := audit.Chain(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, db); got.Fault != "" || got.Entries != writers*each {
		t.Errorf("Verify = %+v, want %d entries and no fault", got, writers*each)
	}
	var disorder int
	if err := db.Get(&disorder, `SELECT count(*) FROM (SELECT object::int AS n, lag(object::int) OVER (PARTITION BY actor ORDER BY id) AS before FROM audit) x WHERE n <= before`); err != nil {
		t.Fatal(err)
	}
	if disorder > 0 {
		t.Errorf("%d entries of one writer stand before an earlier one of his", disorder)
	}
}

func TestAnEntryThatTheChainWouldRefuseIsNotQueued(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	if err := audit.Queue(t.Context(), db, audit.Entry{At: noon, Action: "test", Object: "a\x00b"}); err == nil {
		t.Error("a zero byte was queued")
	}
}
