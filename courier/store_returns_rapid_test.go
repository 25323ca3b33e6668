package courier

import (
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// TestI3_AnyOrderOfActsSendsAnEnvelopeOneWay lets clerks, the permit system and EMS act on one permit in any order, and
// looks after each act: one delivery under way at most, none beside a permit that was handed out, and an open case for
// exactly what waits on the shelf.
func TestI3_AnyOrderOfActsSendsAnEnvelopeOneWay(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{RetainDays: 1})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		first := s.sent(n, rapid.SampledFrom([]Status{InTransit, Delivered, Returned, Lost}).Draw(rt, "first"))
		all := []uuid.UUID{first.ID}
		versions := 0
		ctx := t.Context()
		acts := map[string]func(id uuid.UUID) error{
			"receive": func(id uuid.UUID) error {
				return second(s.svc.ReceiveReturn(ctx, s.get(id).WaybillNo, rapid.SampledFrom([]string{"A-1", "B-2"}).Draw(rt, "shelf"), "clerk"))
			},
			"move": func(id uuid.UUID) error { return second(s.svc.MoveReturn(ctx, id, "C-3", "clerk")) },
			"pick up": func(id uuid.UUID) error {
				return second(s.svc.PickUp(ctx, id, PickUp{Who: "holder", IDDocument: "resident_id", PermitValid: rapid.Bool().Draw(rt, "valid")}, "clerk"))
			},
			"dispose": func(id uuid.UUID) error {
				return second(s.svc.Dispose(ctx, id, rapid.SampledFrom([]string{SentBack, Destroyed}).Draw(rt, "how"), "期满", "clerk"))
			},
			"wait":   func(uuid.UUID) error { s.pass(20 * time.Hour); return nil },
			"cancel": func(id uuid.UUID) error { return second(s.svc.Cancel(ctx, id, "不寄了", "permits")) },
			"miss": func(id uuid.UUID) error {
				return second(s.svc.ReportNotReceived(ctx, id, "resident", "没收到", "clerk"))
			},
			"lose": func(id uuid.UUID) error {
				return second(s.svc.EndNotReceived(ctx, id, OutcomeLost, "找不到", "clerk"))
			},
			"redispatch": func(id uuid.UUID) error {
				s.pass(10 * time.Minute)
				res, err := s.svc.Redispatch(ctx, id, s.consent(), "重寄", "clerk")
				if res.Outcome == Created {
					all = append(all, res.Delivery.ID)
				}
				return err
			},
			"post": func(uuid.UUID) error {
				versions++
				r := s.accept(with(permit(n), func(a *Application) {
					a.Recipient.Address = vault.Conceal("另一条路" + string(rune('一'+versions)) + "号院2号楼")
				}))[0]
				if r.Outcome == Created {
					all = append(all, r.Delivery.ID)
				}
				return nil
			},
			"send": func(id uuid.UUID) error { // as payment, order and tracking do it
				v := s.get(id)
				if v.Status != AwaitingPayment {
					return nil
				}
				s.pay(id, payment("R"+id.String(), v.FeeFen))
				no := "E" + id.String()[24:]
				s.exec(`UPDATE deliveries SET waybill_no = upper($2), order_no = 'RP' || $2, number_mode = 'reserved' WHERE id = $1`, id, no)
				s.move(id, Approved, Ordering)
				s.move(id, Ordering, Ordered)
				s.move(id, Ordered, rapid.SampledFrom([]Status{InTransit, Delivered, Returned}).Draw(rt, "sent"))
				return nil
			},
		}
		names := []string{"receive", "receive", "move", "pick up", "dispose", "wait", "cancel", "miss", "lose", "redispatch", "redispatch", "post", "send", "send"}
		for range rapid.IntRange(1, 12).Draw(rt, "acts") {
			act, id := rapid.SampledFrom(names).Draw(rt, "act"), rapid.SampledFrom(all).Draw(rt, "delivery")
			if err := acts[act](id); err != nil && conflictCode(err) == err.Error() {
				rt.Fatalf("%s: %v", act, err)
			}
			s.oneWay(rt, act, all)
		}
	})
	s.checkLog()
}

func (s *intakeScene) oneWay(rt *rapid.T, act string, all []uuid.UUID) {
	live, pickedUp := 0, 0
	for _, id := range all {
		v := s.get(id)
		if v.Status.Live() || v.Status == Delivered {
			live++
		}
		c := s.last(id, CaseReturned)
		open := c.ID != uuid.Nil && c.ClosedAt.IsZero()
		shelf := v.Return != nil && v.Return.OnShelf()
		if v.Return != nil && !v.Return.PickedUpAt.IsZero() {
			pickedUp++
		}
		if open != shelf {
			rt.Fatalf("after %s: %s on the shelf %t, its case open %t", act, v.Status, shelf, open)
		}
		if v.Return != nil && v.Return.RedispatchedAs != uuid.Nil && s.get(v.Return.RedispatchedAs).Status == Cancelled {
			rt.Fatalf("after %s: an envelope waits for a delivery that was cancelled", act)
		}
		if shelf && v.Status != Returned {
			rt.Fatalf("after %s: %s lies on the shelf", act, v.Status)
		}
	}
	if live+pickedUp > 1 {
		rt.Fatalf("after %s: %d deliveries under way or arrived, %d permits handed out", act, live, pickedUp)
	}
}
