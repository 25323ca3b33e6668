package courier

import (
	"errors"
	"testing"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// What is sealed of people goes when nobody works on a permit any more, and what proves the work stays (design.md, "Retention").
func TestI9_WhatIsSealedOfPeopleIsErasedAndTheProofStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newIntake(t, Options{})
	n := 0
	next := func() int { n++; return n }

	byOutcome := map[string]Delivery{
		"delivered": s.sent(next(), Delivered), "lost": s.sent(next(), Lost), "cancelled": s.sent(next(), Cancelled),
		"held": s.sent(next(), Held), "with an open case": s.sent(next(), Delivered), "still on the shelf": s.onShelf(next()),
		"picked up": s.onShelf(next()), "money owed back": s.sent(next(), Delivered), "call to EMS open": s.sent(next(), Delivered),
		"refused": s.accept(with(permit(next()), func(a *Application) { a.Business = Extension }))[0].Delivery,
	}
	s.openCase(byOutcome["with an open case"].ID, CaseNotReceived)
	s.exec(`UPDATE deliveries SET refund_due_fen = 100 WHERE id = $1`, byOutcome["money owed back"].ID)
	s.exec(`INSERT INTO interventions (id, delivery_id, kind, waybill_no, asked_at, asked_by, reason, state) VALUES (gen_random_uuid(), $1, 'urge', 'EM1', $2, 'clerk', '催办', 'by_phone')`,
		byOutcome["call to EMS open"].ID, s.clock())
	delivered, pickedUp := byOutcome["delivered"].ID, byOutcome["picked up"].ID
	agent := PickUp{Who: "agent", IDDocument: "resident_id", AgentName: vault.Conceal("李四光")}
	if _, err := s.svc.PickUp(ctx, pickedUp, agent, "clerk"); err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE cases SET closed_at = opened_at, outcome = 'x', closed_by = 'x' WHERE closed_at IS NULL AND delivery_id <> $1`, byOutcome["with an open case"].ID)
	s.exec(`UPDATE deliveries SET password_sealed = 'sealed' WHERE id = $1`, delivered)
	s.exec(`INSERT INTO labels (delivery_id, waybill_no, pdf_sealed, fetched_at) VALUES ($1, 'EM1', 'sealed', now())`, delivered)

	ended := s.clock()
	s.pass(400 * 24 * time.Hour)
	byOutcome["delivered lately"] = s.sent(next(), Delivered)
	events := s.events(delivered)
	before := s.get(delivered).Delivery
	if n, err := s.svc.Erase(ctx, ended.Add(-24*time.Hour)); n != 0 || err != nil {
		t.Fatalf("%d erased before their time: %v", n, err)
	}
	erased, err := s.svc.Erase(ctx, s.clock().AddDate(0, 0, -365))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.svc.Erase(ctx, s.clock().AddDate(0, 0, -365)); again != 0 || err != nil {
		t.Errorf("the second pass erased %d more: %v", again, err)
	}

	gone := map[string]bool{}
	for what, d := range byOutcome {
		r := s.get(d.ID).Delivery.Recipient
		empty := []bool{r.Name.IsZero(), r.Phone.IsZero(), r.IDNo.IsZero(), r.Address.IsZero()}
		for _, e := range empty[1:] {
			if e != empty[0] {
				t.Errorf("%s: erased by halves: %v", what, empty)
			}
		}
		if empty[0] {
			gone[what] = true
		}
	}
	want := map[string]bool{"delivered": true, "lost": true, "cancelled": true, "picked up": true, "refused": true}
	if diff := cmp.Diff(want, gone); diff != "" || erased != len(want) {
		t.Errorf("erased %d (-want +got):\n%s", erased, diff)
	}

	left := value[int](s, `
		SELECT (SELECT count(*) FROM deliveries WHERE erased_at IS NOT NULL AND (length(phone_lookup) + length(id_no_lookup) > 0 OR password_sealed IS NOT NULL))
			+ (SELECT count(*) FROM labels WHERE delivery_id = $1) + (SELECT count(*) FROM returns WHERE delivery_id = $2 AND agent_name_sealed IS NOT NULL)`, delivered, pickedUp)
	if left != 0 {
		t.Errorf("%d places still hold or find a person", left)
	}
	found, err := s.svc.FindByPerson(ctx, ByPhone, permit(1).Recipient.Phone)
	if err != nil || len(found) != len(byOutcome)-len(want) {
		t.Errorf("by phone %d permits are found, want the %d that are kept: %v", len(found), len(byOutcome)-len(want), err)
	}
	if _, err := s.svc.HolderOf(ctx, delivered); !errors.Is(err, ErrNotFound) {
		t.Errorf("the resident's page of an erased permit: %v, want ErrNotFound", err)
	}
	after := s.get(delivered).Delivery
	before.Recipient, before.UpdatedAt = Recipient{Province: before.Recipient.Province, City: before.Recipient.City, County: before.Recipient.County,
		Language: before.Recipient.Language}, after.UpdatedAt
	if diff := cmp.Diff(before, after, cmp.AllowUnexported(vault.Secret{})); diff != "" || s.events(delivered) != events {
		t.Errorf("the proof changed (-before +after):\n%s", diff)
	}
	if again := s.accept(with(permit(n-1), func(a *Application) { a.Business = Extension }))[0]; again.Delivery.ID != byOutcome["refused"].ID {
		t.Errorf("the refused application, posted again, is %s of another delivery", again.Outcome)
	}
	if err := audit.Chain(ctx, s.db); err != nil {
		t.Fatal(err)
	}
	entries, err := audit.List(ctx, s.db, audit.Filter{Action: "delivery.erase", Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	named := map[uuid.UUID]bool{}
	for _, e := range entries {
		named[uuid.MustParse(e.Object)] = true
	}
	for what := range want {
		if !named[byOutcome[what].ID] {
			t.Errorf("%s: no audit entry says that it was erased", what)
		}
	}
}
