package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// calls is the list with a calendar in which every hour is worked.
func (w *world) calls() *Calls {
	service := courier.New(w.db, w.vault, w.clock(), courier.Options{})
	return NewCalls(w.db, w.vault, service, w.clock(), func(from time.Time, d time.Duration) (time.Time, error) { return from.Add(d), nil })
}

// unheard makes a delivery whose message about waiting at the counter was refused for good, and the case of it.
func (w *world) unheard() (delivery, id uuid.UUID) {
	w.t.Helper()
	delivery = w.news(courier.Held, courier.EventData{})
	g := &fakeGateway{name: "a", script: always(Recipient, false)}
	w.run(w.sender(w.gateways(g), Options{}))
	if err := w.db.GetContext(w.t.Context(), &id, `SELECT id FROM cases WHERE delivery_id = $1 AND kind = 'sms_failed'`, delivery); err != nil {
		w.t.Fatal(err)
	}
	return delivery, id
}

func (w *world) callOf(id uuid.UUID) (Call, bool) {
	w.t.Helper()
	page, err := w.calls().List(w.t.Context(), "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range page.Calls {
		if c.ID == id {
			return c, true
		}
	}
	return Call{}, false
}

func TestTheCallListSaysWhomToCallAboutWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, first := w.unheard()
	w.pass(time.Minute)
	_, second := w.unheard()
	c, ok := w.callOf(first)
	if !ok || c.Phone.Reveal() != phoneOf(0) || c.Name.Reveal() != surname+givenName || c.Milestone != Held || c.NextAction != callActions[Held] ||
		!strings.Contains(c.Detail, classWords[Recipient]) {
		t.Errorf("the list holds %t %+v", ok, c)
	}
	page, err := w.calls().List(t.Context(), "", 1)
	if err != nil || len(page.Calls) != 1 || page.Calls[0].ID != first || page.Next == "" {
		t.Fatalf("the first page is %+v, %v", page, err)
	}
	if page, err = w.calls().List(t.Context(), page.Next, 1); err != nil || len(page.Calls) != 1 || page.Calls[0].ID != second || page.Next != "" {
		t.Errorf("the second page is %+v, %v", page, err)
	}
	if page, err = w.calls().List(courier.OfStation(t.Context(), "110105999"), "", 0); err != nil || len(page.Calls) != 0 {
		t.Errorf("another station sees %d, %v", len(page.Calls), err)
	}
}

func TestWhatComesOfACall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome, source string
		addresses       int
	}{{CallReached, "", 0}, {CallWrongNumber, "wrong_person", 1}, {CallRefused, "clerk", 0}} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			delivery, id := w.unheard()
			if err := w.calls().Called(t.Context(), id, c.outcome, "对方是"+surname+givenName, "clerk:a"); err != nil {
				t.Fatal(err)
			}
			if _, open := w.callOf(id); open {
				t.Error("the case is still on the list")
			}
			var outcome, why string
			if err := w.db.QueryRowxContext(t.Context(), `SELECT outcome, why FROM cases WHERE id = $1`, id).Scan(&outcome, &why); err != nil {
				t.Fatal(err)
			}
			if outcome != c.outcome || strings.Contains(why, givenName) || !strings.Contains(why, "对方是") {
				t.Errorf("the case ended as %q, %q", outcome, why)
			}
			all, err := NewRefusals(w.db, w.vault).All(t.Context())
			if err != nil || len(all) != min(1, len(c.source)) || len(all) == 1 && all[0].Source != c.source {
				t.Errorf("the do-not-send list is %+v, %v", all, err)
			}
			if n := w.count(`SELECT count(*) FROM cases WHERE delivery_id = $1 AND kind = 'address'`, delivery); n != c.addresses {
				t.Errorf("%d cases about the address, want %d", n, c.addresses)
			}
			if n := w.count(`SELECT count(*) FROM audit WHERE action = 'case.called' AND object = $1 AND detail->>'outcome' = $2`, id.String(), c.outcome); n != 1 {
				t.Errorf("%d audit entries, want 1", n)
			}
			conflict, ok := errors.AsType[*courier.Conflict](w.calls().Called(t.Context(), id, CallReached, "", "clerk:b"))
			if !ok || conflict.Code != "case_closed" {
				t.Errorf("a second call about it: %v", conflict)
			}
		})
	}
}

func TestACallThatNobodyTakesIsMadeAgainAndInTheEndOtherwise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, id := w.unheard()
	var got []string
	for range 4 {
		if err := w.calls().Called(t.Context(), id, CallNoAnswer, "", "clerk:a"); err != nil {
			t.Fatal(err)
		}
		c, ok := w.callOf(id)
		if !ok {
			t.Fatal("the case is gone")
		}
		got = append(got, c.DueAt.Sub(w.clock().Now()).String()+" "+c.NextAction)
		w.pass(time.Hour)
	}
	want := []string{"2h0m0s " + callActions[Held], "2h0m0s " + callActions[Held], "8h0m0s " + unheardAction, "8h0m0s " + unheardAction}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("when and what next (-want +got):\n%s", diff)
	}
	c, _ := w.callOf(id)
	if len(c.Tries) != 4 || c.Tries[3].By != "clerk:a" || c.Tries[3].Outcome != CallNoAnswer {
		t.Errorf("tries are kept as %+v", c.Tries)
	}
}

func TestACallIsRecordedOnlyWhereItBelongs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, id := w.unheard()
	if err := w.calls().Called(courier.OfStation(t.Context(), "110105999"), id, CallRefused, "", "clerk:a"); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("another station's case: %v", err)
	}
	if err := w.calls().Called(t.Context(), uuid.New(), CallReached, "", "clerk:a"); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("no case: %v", err)
	}
	if faults, ok := errors.AsType[courier.Faults](w.calls().Called(t.Context(), id, "asleep", "", "clerk:a")); !ok || faults[0].Field != "outcome" {
		t.Errorf("another outcome: %v", faults)
	}
	if has, err := NewRefusals(w.db, w.vault).Has(t.Context(), vault.Conceal(phoneOf(0))); err != nil || has {
		t.Errorf("what was refused stopped the number: %t, %v", has, err)
	}
	if n := w.count(`SELECT count(*) FROM call_tries`); n != 0 {
		t.Errorf("%d tries are kept of calls that were refused", n)
	}
}
