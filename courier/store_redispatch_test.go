package courier

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// consent is a choice made a minute ago.
func (s *intakeScene) consent() Redispatch {
	return Redispatch{Consent: Consent{Source: "platform", At: s.clock().Add(-time.Minute), NoticeVersion: "2"}, PaymentMethod: Prepaid}
}

// redispatched sends a returned permit again, which must succeed.
func (s *intakeScene) redispatched(id uuid.UUID, r Redispatch) Delivery {
	s.t.Helper()
	res, err := s.svc.Redispatch(s.t.Context(), id, r, "申请人要求重寄", "clerk")
	if err != nil || res.Outcome != Created {
		s.t.Fatalf("re-dispatch: %s, %v", res.Outcome, err)
	}
	return res.Delivery
}

func TestARedispatchIsANewDeliveryWithItsOwnFeeAndConsent(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	old := s.onShelf(1)
	r := s.consent()
	r.Recipient = &Recipient{Phone: vault.Conceal("139 0000 0002"), Province: "广东省", City: "广州市", County: "天河区", Address: vault.Conceal("示例大道9号1栋801")}
	res, err := s.svc.Redispatch(t.Context(), old.ID, r, "张三丰改寄示例大道9号1栋801，电话13900000002", "clerk")
	if err != nil || res.Outcome != Created {
		t.Fatalf("re-dispatch: %s, %v", res.Outcome, err)
	}
	d := res.Delivery
	for _, secret := range []string{"张三丰", "示例大道9号", "13900000002"} {
		if n := value[int](s, `SELECT count(*) FROM audit WHERE detail::text LIKE '%' || $1 || '%'`, secret); n != 0 {
			t.Errorf("I-9: the audit chain shows %q", secret)
		}
	}
	if d.ID == old.ID || d.Supersedes != old.ID || d.Status != AwaitingPayment || d.FeeFen != 2200 || d.PaidFen != 0 || d.OrderNo != "" || d.WaybillNo != "" {
		t.Errorf("became %+v", d)
	}
	v := s.get(d.ID)
	if p := v.Recipient; p.Name.Reveal() != "张三丰" || p.IDNo.Reveal() != "11010519491231002X" || p.Phone.Reveal() != "13900000002" || p.City != "广州市" ||
		p.Address.Reveal() != "示例大道9号1栋801" || v.PermitNo != old.PermitNo || v.ApplicationNo != old.ApplicationNo || v.Consent.NoticeVersion != "2" {
		t.Errorf("the new delivery says %s %s %s", v.PermitNo, v.Consent.NoticeVersion, p.City)
	}
	if ret := s.get(old.ID).Return; ret.RedispatchedAs != d.ID || ret.OnShelf() {
		t.Errorf("the return says %+v", ret)
	}
	if got := s.cases(old.ID); got != "returned=redispatched" {
		t.Errorf("cases of the old one: %s", got)
	}
	if got := s.events(old.ID); !strings.HasSuffix(got, "return.redispatched case.closed") {
		t.Errorf("events of the old one: %s", got)
	}
	if got := value[string](s, `SELECT data->>'superseded_by' FROM events WHERE delivery_id = $1 AND type = 'return.redispatched'`, old.ID); got != d.ID.String() {
		t.Errorf("the old one's event names %s", got)
	}
	if got := value[string](s, `SELECT type || ' ' || (data->>'supersedes') FROM events WHERE delivery_id = $1`, d.ID); got != "delivery.awaiting_payment "+old.ID.String() {
		t.Errorf("the new one's event: %s", got)
	}
	// Its own payment; the old one's money stays where it is.
	if paid := s.pay(d.ID, payment("AGAIN", 2200)); paid.Status != Approved {
		t.Errorf("paid: %s", paid.Status)
	}
	// The same words again are the same delivery, others a conflict.
	again, err := s.svc.Redispatch(t.Context(), old.ID, r, "再次点击", "clerk")
	if err != nil || again.Outcome != Existing || again.Delivery.ID != d.ID {
		t.Errorf("the same again: %s %s, %v", again.Outcome, again.Delivery.ID, err)
	}
	r.Consent.NoticeVersion = "3"
	if _, err := s.svc.Redispatch(t.Context(), old.ID, r, "重寄", "clerk"); conflictCode(err) != "already_redispatched" {
		t.Errorf("another re-dispatch: %v", err)
	}
	if _, err := s.svc.PickUp(t.Context(), old.ID, PickUp{Who: "holder", IDDocument: "passport"}, "clerk"); conflictCode(err) != "already_redispatched" {
		t.Errorf("pick-up of what goes out again: %v", err)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE action = 'redispatch' AND object = $1 AND detail->>'as' = $2`, old.ID.String(), d.ID.String()); n != 1 {
		t.Errorf("audited %d times", n)
	}
	s.checkLog()
}

func TestARedispatchNeedsAnEnvelopeOnTheShelfAndAConsentOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d, onTheWay, notScanned := s.onShelf(1), s.sent(2, InTransit), s.sent(3, Returned)
	s.pass(time.Hour)
	erased := s.onShelf(4)
	s.exec(`UPDATE deliveries SET name_sealed = '', id_no_sealed = '' WHERE id = $1`, erased.ID)
	place := Recipient{Province: "北京市", City: "北京市", County: "海淀区", Address: vault.Conceal("示例街8号3单元")}
	for name, tt := range map[string]struct {
		id   uuid.UUID
		edit func(*Redispatch)
		want string
	}{
		"on the way":        {onTheWay.ID, nil, "not_returned"},
		"not scanned":       {notScanned.ID, nil, "not_received_at_station"},
		"nobody's":          {uuid.Must(uuid.NewV7()), nil, "not_found"},
		"erased":            {erased.ID, nil, "data_erased"},
		"no consent":        {d.ID, func(r *Redispatch) { r.Consent = Consent{} }, "consent required"},
		"the old consent":   {d.ID, func(r *Redispatch) { r.Consent.At = goodApplication().Consent.At }, "consent.at before_return"},
		"consent to come":   {d.ID, func(r *Redispatch) { r.Consent.At = s.clock().Add(time.Hour) }, "consent.at future"},
		"another holder":    {d.ID, func(r *Redispatch) { p := place; p.Name = vault.Conceal("李四"); r.Recipient = &p }, "recipient.name fixed"},
		"another ID":        {d.ID, func(r *Redispatch) { p := place; p.IDNo = vault.Conceal("11010519491231002X"); r.Recipient = &p }, "recipient.id_no fixed"},
		"half an address":   {d.ID, func(r *Redispatch) { p := place; p.County = ""; r.Recipient = &p }, "recipient.county required"},
		"a phone of nobody": {d.ID, func(r *Redispatch) { p := place; p.Phone = vault.Conceal("12"); r.Recipient = &p }, "recipient.phone format"},
		"no payment method": {d.ID, func(r *Redispatch) { r.PaymentMethod = "" }, "payment_method required"},
	} {
		r := s.consent()
		if tt.edit != nil {
			tt.edit(&r)
		}
		if _, err := s.svc.Redispatch(t.Context(), tt.id, r, "重寄", "clerk"); conflictCode(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if _, err := s.svc.Redispatch(t.Context(), d.ID, s.consent(), " ", "clerk"); conflictCode(err) != "reason required" {
		t.Errorf("without a reason: %v", err)
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries WHERE supersedes IS NOT NULL`); n != 0 {
		t.Errorf("%d deliveries were made by refusals", n)
	}
	// The old phone stands where none is given.
	r := s.consent()
	r.Recipient = &place
	if got := s.get(s.redispatched(d.ID, r).ID).Recipient; got.Phone.Reveal() != "13800000001" || got.County != "海淀区" {
		t.Errorf("sent to %s", got.County)
	}
	s.checkLog()
}

func TestARedispatchIsJudgedByTheRulesOfToday(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.onShelf(1)
	s.exec(`UPDATE policies SET valid_to = $1 WHERE rule = 'R-11'`, s.clock())
	res, err := s.svc.Redispatch(t.Context(), d.ID, s.consent(), "重寄", "clerk")
	if err != nil || res.Outcome != RefusedByRule || res.Delivery.Rule != RuleCarrier {
		t.Fatalf("judged %s by %s, %v", res.Outcome, res.Delivery.Rule, err)
	}
	if !s.get(d.ID).Return.OnShelf() || s.cases(d.ID) != "returned" {
		t.Error("a refused re-dispatch took the envelope off the shelf")
	}
	if got := s.get(res.Delivery.ID); got.Status != Refused {
		t.Errorf("recorded as %s", got.Status)
	}
	if _, err := s.svc.PickUp(t.Context(), d.ID, PickUp{Who: "holder", IDDocument: "resident_id"}, "clerk"); err != nil {
		t.Errorf("the holder comes for it: %v", err)
	}
	s.checkLog()
}

func TestACancelledRedispatchLeavesTheEnvelopeOnTheShelf(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for n, status := range []Status{AwaitingPayment, Approved, Ordered} {
		old := s.onShelf(n)
		first := s.consent()
		d := s.redispatched(old.ID, first)
		if status != AwaitingPayment {
			s.pay(d.ID, payment(fmt.Sprint("A", n), d.FeeFen))
		}
		if status == Ordered { // as the cancel round does it, after EMS has agreed
			s.exec(`UPDATE deliveries SET waybill_no = $2, order_no = 'RP' || $2, number_mode = 'reserved' WHERE id = $1`, d.ID, waybillNo(100+n))
			s.move(d.ID, Approved, Ordering)
			s.move(d.ID, Ordering, Ordered)
			s.move(d.ID, Ordered, Cancelled)
		} else if _, err := s.svc.Cancel(t.Context(), d.ID, "不寄了", "permits"); err != nil {
			t.Fatal(err)
		}
		if v := s.get(old.ID); !v.Return.OnShelf() || s.cases(old.ID) != "returned returned=redispatched" {
			t.Errorf("cancelled at %s: %+v, cases %s", status, v.Return, s.cases(old.ID))
		}
		if got := s.events(old.ID); !strings.HasSuffix(got, "return.available case.opened") {
			t.Errorf("cancelled at %s: events %s", status, got)
		}
		if _, err := s.svc.Redispatch(t.Context(), old.ID, first, "重寄", "clerk"); conflictCode(err) != "consent_used" {
			t.Errorf("cancelled at %s, the same consent again: %v", status, err)
		}
		s.pass(10 * time.Minute)
		if again := s.redispatched(old.ID, s.consent()); again.Supersedes != old.ID || s.get(old.ID).Return.RedispatchedAs != again.ID {
			t.Errorf("cancelled at %s: sent again as %+v", status, again)
		}
	}
	s.checkLog()
}

func TestAPermitTakenInAgainIsLinkedWithItsEnvelope(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	again := func(n int) Application {
		return with(permit(n), func(a *Application) { a.Consent.NoticeVersion = "2" })
	}
	onShelf := s.onShelf(1)
	d := s.created(again(1))
	if v := s.get(onShelf.ID); v.Return.RedispatchedAs != d.ID || s.cases(onShelf.ID) != "returned=redispatched" {
		t.Errorf("posted again: %+v, cases %s", v.Return, s.cases(onShelf.ID))
	}
	// Posted before its envelope was scanned: linked when it is.
	early := s.sent(2, Returned)
	s.openCase(early.ID, CaseReturned)
	d = s.created(again(2))
	v, err := s.svc.ReceiveReturn(t.Context(), early.WaybillNo, "A-1", "clerk")
	if err != nil || v.Return.RedispatchedAs != d.ID || s.cases(early.ID) != "returned=redispatched" {
		t.Errorf("received late: %+v, cases %s, %v", v.Return, s.cases(early.ID), err)
	}
	if _, err := s.svc.PickUp(t.Context(), early.ID, PickUp{Who: "holder", IDDocument: "resident_id"}, "clerk"); conflictCode(err) != "already_redispatched" {
		t.Errorf("picked up beside a live delivery: %v", err)
	}
	s.checkLog()
}

func TestAnEnvelopeIsSentAgainFromItsLastReturnOnly(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	first := s.onShelf(1)
	next := s.redispatched(first.ID, s.consent())
	s.pay(next.ID, payment("A1", next.FeeFen))
	s.exec(`UPDATE deliveries SET waybill_no = 'EM2', order_no = 'RP2', number_mode = 'reserved' WHERE id = $1`, next.ID)
	s.move(next.ID, Approved, Ordering)
	s.move(next.ID, Ordering, Ordered)
	s.move(next.ID, Ordered, Returned)
	s.pass(time.Hour)
	for id, want := range map[uuid.UUID]string{first.ID: "already_redispatched", next.ID: "not_received_at_station"} {
		if _, err := s.svc.Redispatch(t.Context(), id, s.consent(), "重寄", "clerk"); conflictCode(err) != want {
			t.Errorf("sent again before it was received: %v, want %s", err, want)
		}
	}
	if _, err := s.svc.ReceiveReturn(t.Context(), "EM2", "A-1", "clerk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Redispatch(t.Context(), first.ID, s.consent(), "重寄", "clerk"); conflictCode(err) != "already_redispatched" {
		t.Errorf("from the first return: %v", err)
	}
	if third := s.redispatched(next.ID, s.consent()); third.Supersedes != next.ID {
		t.Errorf("the third follows %s, want %s", third.Supersedes, next.ID)
	}
	// Another issue of the same permit is under way: this one waits.
	other := s.onShelf(2)
	live := s.created(with(permit(2), func(a *Application) { a.ApplicationNo = "SQ2031-2" }))
	if _, err := s.svc.Redispatch(t.Context(), other.ID, s.consent(), "重寄", "clerk"); errAs[*LiveDelivery](err) == nil || errAs[*LiveDelivery](err).ID != live.ID {
		t.Errorf("beside another issue: %v", err)
	}
	s.checkLog()
}

func TestI3_RedispatchesAtOnceMakeOneDelivery(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for n := range 3 {
		old := s.onShelf(n)
		base := s.consent()
		var mu sync.Mutex
		var wg sync.WaitGroup
		ids := map[uuid.UUID]bool{}
		made := 0
		for c := range 12 {
			r := base
			if c%2 == 1 {
				r.Consent.NoticeVersion = fmt.Sprint("of client ", c)
			}
			wg.Go(func() {
				res, err := s.svc.Redispatch(t.Context(), old.ID, r, "重寄", "clerk")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && (res.Outcome == Created || res.Outcome == Existing):
					ids[res.Delivery.ID] = true
					if res.Outcome == Created {
						made++
					}
				case conflictCode(err) != "already_redispatched":
					t.Errorf("client %d: %s, %v", c, res.Outcome, err)
				}
			})
		}
		wg.Wait()
		if live := value[int](s, `SELECT count(*) FROM deliveries WHERE supersedes = $1`, old.ID); len(ids) != 1 || made != 1 || live != 1 {
			t.Errorf("%d deliveries answered, %d made, %d stored, want one", len(ids), made, live)
		}
	}
	s.checkLog()
}

func TestI3_AReturnedPermitIsHandedOutOrSentAgainNeverBoth(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	ended := map[string]int{}
	for n := range 12 {
		old := s.onShelf(n)
		r := s.consent()
		app := with(permit(n), func(a *Application) { a.Consent.NoticeVersion = "posted" })
		start := make(chan struct{})
		var wg sync.WaitGroup
		for _, act := range []func() error{
			func() error {
				return second(s.svc.PickUp(t.Context(), old.ID, PickUp{Who: "holder", IDDocument: "resident_id"}, "clerk"))
			},
			func() error { return second(s.svc.Redispatch(t.Context(), old.ID, r, "重寄", "clerk")) },
			func() error { return second(s.svc.Accept(t.Context(), []Application{app})) },
			func() error {
				return second(s.svc.PickUp(t.Context(), old.ID, PickUp{Who: "agent", IDDocument: "passport", AgentName: vault.Conceal("李四")}, "clerk"))
			},
		} {
			wg.Go(func() {
				<-start
				if err := act(); err != nil && errAs[*Conflict](err) == nil && errAs[*LiveDelivery](err) == nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		v := s.get(old.ID)
		live := value[int](s, `SELECT count(*) FROM deliveries WHERE supersedes = $1`, old.ID)
		picked := !v.Return.PickedUpAt.IsZero()
		if picked == (live > 0) || live > 1 || picked == (v.Return.RedispatchedAs != uuid.Nil) {
			t.Errorf("picked up %t, %d deliveries, return %+v", picked, live, v.Return)
		}
		ended[fmt.Sprintf("picked up %t", picked)]++
	}
	t.Log(ended)
	s.checkLog()
}

func TestI3_CancellingWhileSendingAgainEndsInOneState(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for n := range 6 {
		old := s.onShelf(n)
		first := s.redispatched(old.ID, s.consent())
		s.pass(10 * time.Minute)
		again := s.consent()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.svc.Cancel(t.Context(), first.ID, "不寄了", "permits"); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := s.svc.Redispatch(t.Context(), old.ID, again, "重寄", "clerk"); err != nil && conflictCode(err) != "already_redispatched" && !errors.Is(err, ErrStale) {
				t.Error(err)
			}
		})
		wg.Wait()
		var live []uuid.UUID
		if err := s.db.Select(&live, `SELECT id FROM deliveries WHERE supersedes = $1 AND status NOT IN ('cancelled', 'refused')`, old.ID); err != nil {
			t.Fatal(err)
		}
		ret := s.get(old.ID).Return
		if ret.OnShelf() != (len(live) == 0) || len(live) > 1 || len(live) == 1 && ret.RedispatchedAs != live[0] {
			t.Errorf("live %v, return %+v", live, ret)
		}
	}
	s.checkLog()
}

func TestI3_WhatTurnsUpWhileItIsIssuedAnewIsNotHandedOut(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for n, status := range []Status{Lost, Returned, Lost, Returned, Lost, Returned} {
		old := s.sent(n, status)
		app := with(permit(n), func(a *Application) { a.Consent.NoticeVersion = "anew" })
		start := make(chan struct{})
		var wg sync.WaitGroup
		for _, act := range []func() error{
			func() error { return second(s.svc.ReceiveReturn(t.Context(), old.WaybillNo, "A-1", "clerk")) },
			func() error { return second(s.svc.Accept(t.Context(), []Application{app})) },
		} {
			wg.Go(func() {
				<-start
				if err := act(); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		anew := value[uuid.UUID](s, `SELECT id FROM deliveries WHERE supersedes = $1`, old.ID)
		if v := s.get(old.ID); v.Status != Returned || v.Return.RedispatchedAs != anew {
			t.Errorf("%s: now %s, its envelope goes out as %s, want %s", status, v.Status, v.Return.RedispatchedAs, anew)
		}
	}
	s.checkLog()
}

func TestI3_NotEvenSQLEndsAReturnTwice(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	old := s.onShelf(1)
	s.redispatched(old.ID, s.consent())
	err := InTx(t.Context(), s.db, func(tx *sqlx.Tx) error {
		return savePickUp(t.Context(), tx, Return{DeliveryID: old.ID, PickedUpAt: s.clock(), PickedUpBy: "x", PickedUpWho: "holder", IDDocument: "passport"}, nil)
	})
	if err == nil || !strings.Contains(err.Error(), "returns_one_end") {
		t.Errorf("handed out as well: %v", err)
	}
}
