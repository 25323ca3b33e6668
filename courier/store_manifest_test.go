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
)

func (s *intakeScene) packed(n int) Delivery {
	s.t.Helper()
	d := s.sent(n, Ordered)
	if c := s.packCheck(d.PermitNo, d.WaybillNo); c.Verdict != PackMatch {
		s.t.Fatalf("pack check of %d: %s", n, c.Verdict)
	}
	return d
}

func (s *intakeScene) open() Manifest {
	s.t.Helper()
	m, err := s.svc.OpenManifest(s.t.Context(), "110105001", "li")
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *intakeScene) add(m Manifest, waybill string) AddOutcome {
	s.t.Helper()
	a, err := s.svc.AddToManifest(s.t.Context(), m.ID, waybill, "li")
	if err != nil {
		s.t.Fatal(err)
	}
	return a.Outcome
}

func closing(n int) ManifestClosing {
	return ManifestClosing{Count: n, Courier: vault.Conceal("王师傅")}
}

func TestAManifestHandsOverWhatStandsOnItAllOrNone(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.packed(1), s.packed(2)
	unpacked := s.sent(3, Ordered)
	m := s.open()
	if again := s.open(); again.ID != m.ID {
		t.Error("a second empty list is opened beside the first")
	}
	if m.Number != "110105001-20261124-01" && !strings.HasPrefix(m.Number, "110105001-") {
		t.Errorf("number %s", m.Number)
	}
	for _, tt := range []struct {
		waybill string
		want    AddOutcome
	}{
		{a.WaybillNo, AddAdded}, {a.WaybillNo, AddOnThis}, {b.WaybillNo, AddAdded}, {unpacked.WaybillNo, AddNotPacked}, {"EM123456785CN", AddOutcome(HandOverUnknown)},
	} {
		if got := s.add(m, tt.waybill); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.waybill, got, tt.want)
		}
	}
	second := s.open()
	if second.ID == m.ID {
		t.Fatal("a list with envelopes on it is opened again")
	}
	if got, err := s.svc.AddToManifest(t.Context(), second.ID, a.WaybillNo, "li"); err != nil || got.Outcome != AddOnAnother || got.Other != m.Number {
		t.Errorf("an envelope on two lists: %+v, %v", got, err)
	}
	if _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(3), "li"); err == nil {
		t.Error("closed though the counts differ")
	}
	s.exec(`UPDATE deliveries SET cancel_requested_at = $2 WHERE id = $1`, b.ID, s.clock())
	if _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(2), "li"); err == nil || !strings.Contains(err.Error(), b.WaybillNo) {
		t.Errorf("closed with an envelope that is being cancelled: %v", err)
	}
	if got := s.get(a.ID); !got.HandedOverAt.IsZero() {
		t.Error("one envelope of a list that was not closed is handed over")
	}
	s.exec(`UPDATE deliveries SET cancel_requested_at = NULL WHERE id = $1`, b.ID)
	closed, err := s.svc.CloseManifest(t.Context(), m.ID, closing(2), "li")
	if err != nil {
		t.Fatal(err)
	}
	if !closed.Closed() || closed.Count != 2 || closed.Courier.Reveal() != "王师傅" || len(closed.Items) != 2 {
		t.Errorf("closed manifest %+v", closed)
	}
	for _, d := range []Delivery{a, b} {
		if got := s.get(d.ID); !got.HandedOverAt.Equal(closed.ClosedAt) {
			t.Errorf("%s handed over at %s, want %s", d.WaybillNo, got.HandedOverAt, closed.ClosedAt)
		}
	}
	if sealed := value[[]byte](s, `SELECT courier_sealed FROM manifests WHERE id = $1`, m.ID); strings.Contains(string(sealed), "王") {
		t.Error("the courier's name is not sealed (I-9)")
	}
	s.checkLog()
}

func TestAClosedManifestNeverChanges(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.packed(1), s.packed(2)
	m := s.open()
	s.add(m, a.WaybillNo)
	if _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(1), "li"); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"close again": func() error { _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(1), "li"); return err },
		"add":         func() error { _, err := s.svc.AddToManifest(t.Context(), m.ID, b.WaybillNo, "li"); return err },
		"remove":      func() error { return s.svc.RemoveFromManifest(t.Context(), m.ID, a.ID, "li") },
	} {
		if c, ok := errors.AsType[*Conflict](f()); !ok || c.Code != "manifest_closed" {
			t.Errorf("%s: %v, want manifest_closed", name, c)
		}
	}
	for _, statement := range []string{
		`UPDATE manifests SET count = 5 WHERE id = $1`, `UPDATE manifests SET closed_at = NULL, closed_by = NULL, count = NULL, courier_sealed = NULL WHERE id = $1`,
		`DELETE FROM manifest_items WHERE manifest_id = $1`, `UPDATE manifest_items SET waybill_no = 'X' WHERE manifest_id = $1`,
		`INSERT INTO manifest_items (manifest_id, delivery_id, waybill_no, added_at, added_by) SELECT $1, id, 'Y', created_at, 'x' FROM deliveries WHERE waybill_no = 'EM000000002CN'`,
	} {
		if _, err := s.db.Exec(statement, m.ID); err == nil || !strings.Contains(err.Error(), "it is closed") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	s.exec(`UPDATE manifests SET courier_sealed = courier_sealed || '\x00' WHERE id = $1`, m.ID) // a rotated key
}

func TestManifestsOfADayAreNumberedOneByOneWhoeverOpensThem(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.svc.OpenManifest(t.Context(), "110105001", "li"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := value[int](s, `SELECT count(*) FROM manifests`); n != 1 {
		t.Errorf("%d empty lists, want the one", n)
	}
	other := OfStation(t.Context(), "110105801")
	m := s.open()
	if _, err := s.svc.Manifest(other, m.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station reads it: %v", err)
	}
	if _, err := s.svc.OpenManifest(other, "110105001", "li"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station opens one here: %v", err)
	}
	for name, err := range map[string]error{
		"add":    func() error { _, err := s.svc.AddToManifest(other, m.ID, "EM000000001CN", "li"); return err }(),
		"remove": s.svc.RemoveFromManifest(other, m.ID, uuid.New(), "li"),
		"close":  func() error { _, err := s.svc.CloseManifest(other, m.ID, closing(1), "li"); return err }(),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("another station may %s: %v", name, err)
		}
	}
	if list, err := s.svc.Manifests(other, 0); err != nil || len(list) != 0 {
		t.Errorf("another station lists %+v, %v", list, err)
	}
}

func TestTwoWhoScanTheSameEnvelopeForTwoListsGetItOnOne(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	first, second := s.packed(1), s.packed(2)
	one := s.open()
	s.add(one, first.WaybillNo)
	two := s.open()
	var wg sync.WaitGroup
	outcomes := make([]AddOutcome, 2)
	for i, m := range []Manifest{one, two} {
		wg.Go(func() { outcomes[i] = s.add(m, second.WaybillNo) })
	}
	wg.Wait()
	if fmt.Sprint(outcomes) != "[added on_another]" && fmt.Sprint(outcomes) != "[on_another added]" {
		t.Errorf("outcomes %v", outcomes)
	}
}

func TestAnEnvelopeHandedOverMeanwhileIsNamedAtTheClosing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.packed(1), s.packed(2)
	m := s.open()
	s.add(m, a.WaybillNo)
	s.add(m, b.WaybillNo)
	if _, err := s.svc.HandOver(t.Context(), a.ID, time.Time{}, "", "wang"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(2), "li"); err == nil || !strings.Contains(err.Error(), a.WaybillNo) {
		t.Fatalf("closed with an envelope that had gone: %v", err)
	}
	if err := s.svc.RemoveFromManifest(t.Context(), m.ID, a.ID, "li"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.CloseManifest(t.Context(), m.ID, closing(1), "li"); err != nil {
		t.Error(err)
	}
}
