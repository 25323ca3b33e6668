package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

func TestAWrongPersonStopsTheNumberAndAsksAboutEveryLiveDeliveryOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, other := w.delivery(), w.delivery()
	again := w.deliveryWith(phoneOf(0), courier.InTransit)
	over := w.deliveryWith(phoneOf(0), courier.Delivered)
	list := NewRefusals(w.db, w.vault)
	for range 2 { // a page sent again
		if err := list.WrongPerson(t.Context(), id, "机主说不认识"+surname+givenName+"，号码"+phoneOf(0), "resident", noon); err != nil {
			t.Fatal(err)
		}
	}
	if stopped, err := list.Has(t.Context(), vault.Conceal(phoneOf(0))); err != nil || !stopped {
		t.Errorf("stopped: %t, %v", stopped, err)
	}
	for name, c := range map[string]struct {
		delivery uuid.UUID
		want     int
	}{"the delivery": {id, 1}, "another under way": {again, 1}, "one that has arrived": {over, 0}, "another number": {other, 0}} {
		if n := w.count(`SELECT count(*) FROM cases WHERE kind = 'address' AND delivery_id = $1`, c.delivery); n != c.want {
			t.Errorf("%s: %d cases, want %d", name, n, c.want)
		}
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action = 'do_not_send.add' AND actor = 'resident' AND detail->>'delivery' = $1`, id.String()); n != 1 {
		t.Errorf("%d audit entries, want 1", n)
	}
	all, err := list.All(t.Context())
	if err != nil || len(all) != 1 || all[0].Source != "wrong_person" {
		t.Fatalf("the list is %+v, %v", all, err)
	}
	var detail string
	if err := w.db.GetContext(t.Context(), &detail, `SELECT detail FROM cases WHERE delivery_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{all[0].Why, detail} {
		if strings.Contains(text, givenName) || strings.Contains(text, phoneOf(0)) || !strings.Contains(text, "机主说不认识") {
			t.Errorf("I-9: a reason is kept as %q", text)
		}
	}
}

func TestAWrongPersonNeedsADeliveryAReasonAndAStationOfOnesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.delivery()
	list := NewRefusals(w.db, w.vault)
	if err := list.WrongPerson(t.Context(), uuid.New(), "机主称不是本人", "clerk", noon); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("an unknown delivery: %v", err)
	}
	if err := list.WrongPerson(courier.OfStation(t.Context(), "110105999"), id, "机主称不是本人", "clerk", noon); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("another station's delivery: %v", err)
	}
	var faults courier.Faults
	if err := list.WrongPerson(t.Context(), id, " ", "clerk", noon.Add(time.Hour)); !errors.As(err, &faults) || faults[0].Field != "reason" {
		t.Errorf("without a reason: %v", err)
	}
	if n := w.count(`SELECT (SELECT count(*) FROM do_not_send) + (SELECT count(*) FROM cases) + (SELECT count(*) FROM audit)`); n != 0 {
		t.Errorf("%d rows are left by what was refused", n)
	}
}
