package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func (s *intakeScene) packCheck(permit, waybill string) PackCheck {
	s.t.Helper()
	c, err := s.svc.PackCheck(s.t.Context(), permit, waybill, "li")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// settle has one person propose that a stop is settled and another confirm it.
func (s *intakeScene) settle(id uuid.UUID, first, second string) error {
	s.t.Helper()
	p, err := s.svc.Propose(s.t.Context(), id, ProposePackMismatch, nil, "已打开两个信封核对并换回", first)
	if err != nil {
		return err
	}
	_, err = s.svc.Confirm(s.t.Context(), p.ID, "", second)
	return err
}

func TestPackCheckTellsWhatLiesTogether(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a := s.sent(1, Ordered)
	gone := s.sent(3, Ordered)
	if _, err := s.svc.HandOver(t.Context(), gone.ID, time.Time{}, "", "li"); err != nil {
		t.Fatal(err)
	}
	waiting := s.created(permit(4))
	void := s.sent(5, Ordered)
	s.exec(`INSERT INTO numbers (waybill_no, product, state, reserved_at) VALUES ('EM999999999CN', '1', 'void', $1)`, s.clock())
	tests := []struct {
		name, permit, waybill string
		want                  PackVerdict
	}{
		{"its own label", a.PermitNo, a.WaybillNo, PackMatch},
		{"again, as a scanner in another mode types it", " " + strings.ToLower(a.PermitNo) + " ", "ｅｍ000000001cn", PackAlready},
		{"no such permit", "A999999999999999", a.WaybillNo, PackUnknownPermit},
		{"no number at all", "证件", a.WaybillNo, PackUnknownPermit},
		{"no such waybill", a.PermitNo, "EM123456785CN", PackUnknownWaybill},
		{"the permit scanned twice", a.PermitNo, a.PermitNo, PackUnknownWaybill},
		{"nonsense from the scanner", a.PermitNo, "运单", PackUnknownWaybill},
		{"a label that was cancelled", void.PermitNo, "EM999999999CN", PackSuperseded},
		{"handed over already", gone.PermitNo, gone.WaybillNo, PackNotReady},
		{"not ordered yet", waiting.PermitNo, "EM123456785CN", PackUnknownWaybill},
	}
	for _, tt := range tests {
		if got := s.packCheck(tt.permit, tt.waybill); got.Verdict != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.Verdict, tt.want)
		}
	}
	if n := value[int](s, `SELECT count(*) FROM pack_stops`); n != 0 {
		t.Errorf("%d envelopes are stopped, though nothing lay wrong", n)
	}
	if got := s.events(a.ID); !strings.HasSuffix(got, "delivery.ordered pack.checked") {
		t.Errorf("events of the packed one: %s", got)
	}
	s.checkLog()
}

func TestAMismatchStopsBothEnvelopesUntilTwoPeopleHaveSettledIt(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.sent(1, Ordered), s.sent(2, Ordered)
	if got := s.packCheck(b.PermitNo, b.WaybillNo); got.Verdict != PackMatch {
		t.Fatalf("b: %s", got.Verdict)
	}
	if got := s.packCheck(a.PermitNo, b.WaybillNo); got.Verdict != PackMismatch || got.Expected != a.WaybillNo {
		t.Fatalf("a permit with another's label: %+v", got)
	}
	for _, d := range []Delivery{a, b} {
		if got := s.packCheck(d.PermitNo, d.WaybillNo); got.Verdict != PackStopped {
			t.Errorf("%s checked again: %s, want stopped", d.PermitNo, got.Verdict)
		}
		if _, err := s.svc.HandOver(t.Context(), d.ID, time.Time{}, "", "li"); err == nil || !strings.Contains(err.Error(), "pack_mismatch") {
			t.Errorf("handed over all the same: %v", err)
		}
		_, err := s.db.Exec(`UPDATE deliveries SET handed_over_at = $2 WHERE id = $1`, d.ID, s.clock())
		if err == nil || !strings.Contains(err.Error(), "stopped by a pack check") {
			t.Errorf("SQL hands it over all the same: %v", err)
		}
	}
	results, err := s.svc.HandOverAll(t.Context(), []string{a.WaybillNo}, time.Time{}, "li")
	if err != nil || results[0].Outcome != HandOverMismatch {
		t.Errorf("in a list: %+v, %v", results, err)
	}
	stops, err := s.svc.PackStops(t.Context())
	if err != nil || len(stops) != 2 {
		t.Fatalf("stops %+v, %v", stops, err)
	}
	if err := s.settle(a.ID, "li", "li"); err == nil {
		t.Error("one person settles it alone")
	}
	if _, err := s.db.Exec(`UPDATE pack_stops SET settled_at = now(), settled_by = 'li', confirmed_by = 'li'`); err == nil {
		t.Error("SQL settles it with one person")
	}
	for _, d := range []Delivery{a, b} {
		if err := s.settle(d.ID, "li", "wang"); err != nil {
			t.Fatal(err)
		}
		if got := s.packCheck(d.PermitNo, d.WaybillNo); got.Verdict != PackMatch {
			t.Errorf("%s after it was settled: %s, want match: what was checked before counts no more", d.PermitNo, got.Verdict)
		}
	}
	if err := s.settle(a.ID, "li", "wang"); err == nil {
		t.Error("it is settled twice")
	}
	if got := s.events(a.ID); !strings.HasSuffix(got, "pack.stopped pack.settled pack.checked") {
		t.Errorf("events: %s", got)
	}
	s.checkLog()
}

func TestACorrectedAddressUnpacksTheEnvelope(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a := s.sent(1, Ordered)
	s.packCheck(a.PermitNo, a.WaybillNo)
	s.exec(`UPDATE deliveries SET waybill_no = 'EM000000777CN' WHERE id = $1`, a.ID)
	s.exec(`INSERT INTO numbers (waybill_no, product, state, reserved_at) VALUES ($1, '1', 'void', $2)`, a.WaybillNo, s.clock())
	if got := s.packCheck(a.PermitNo, a.WaybillNo); got.Verdict != PackSuperseded {
		t.Errorf("the old label: %s, want superseded", got.Verdict)
	}
	if got := s.packCheck(a.PermitNo, "EM000000777CN"); got.Verdict != PackMatch {
		t.Errorf("the new label: %s, want match", got.Verdict)
	}
}

func TestAStationSeesItsOwnEnvelopesOnly(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a := s.sent(1, Ordered)
	other := OfStation(t.Context(), "110105801")
	check, err := s.svc.PackCheck(other, a.PermitNo, a.WaybillNo, "li")
	if err != nil || check.Verdict != PackOtherStation || check.DeliveryID != uuid.Nil || check.Expected != "" {
		t.Errorf("pack check by another station: %+v, %v", check, err)
	}
	if list, err := s.svc.ToPack(other, 0); err != nil || len(list) != 0 {
		t.Errorf("another station's list: %+v, %v", list, err)
	}
	list, err := s.svc.ToPack(OfStation(t.Context(), "110105001"), 0)
	if err != nil || len(list) != 1 {
		t.Fatalf("its own list: %+v, %v", list, err)
	}
	want := ToPack{DeliveryID: a.ID, PermitNo: a.PermitNo, WaybillNo: a.WaybillNo, Province: list[0].Province, City: list[0].City, County: list[0].County,
		Station: "110105001", Since: list[0].Since}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
}
