package courier

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func (s *intakeScene) caseOf(id uuid.UUID) uuid.UUID {
	s.t.Helper()
	return value[uuid.UUID](s, `SELECT id FROM cases WHERE delivery_id = $1 ORDER BY opened_at DESC LIMIT 1`, id)
}

func TestACaseGoesFromHandToHandAndItsHistoryIsKept(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a := s.sent(1, InTransit)
	s.openCase(a.ID, CaseStalled)
	id := s.caseOf(a.ID)
	steps := []struct {
		name string
		do   func() error
		code string // of the conflict, empty: none
		want string // owner afterwards
	}{
		{"wang hands over what nobody has", func() error { return s.svc.HandCase(t.Context(), id, "li", "", "wang", false) }, "not_your_case", ""},
		{"li takes it", func() error { return s.svc.TakeCase(t.Context(), id, "li") }, "", "li"},
		{"li takes it again", func() error { return s.svc.TakeCase(t.Context(), id, "li") }, "", "li"},
		{"wang takes it too", func() error { return s.svc.TakeCase(t.Context(), id, "wang") }, "case_owned", "li"},
		{"li gives it to wang", func() error {
			return s.svc.HandCase(t.Context(), id, "wang", "休假，请接手 13800000000", "li", false)
		}, "", "wang"},
		{"li takes it back", func() error { return s.svc.HandCase(t.Context(), id, "li", "", "li", false) }, "not_your_case", "wang"},
		{"a supervisor moves it", func() error { return s.svc.HandCase(t.Context(), id, "zhao", "", "chief", true) }, "", "zhao"},
		{"zhao puts it back", func() error { return s.svc.HandCase(t.Context(), id, "", "", "zhao", false) }, "", ""},
	}
	for _, step := range steps {
		err := step.do()
		if c, ok := errors.AsType[*Conflict](err); ok && c.Code != step.code || !ok && (err != nil || step.code != "") {
			t.Errorf("%s: %v, want %q", step.name, err, step.code)
		}
		f, err := s.svc.CaseFile(t.Context(), id)
		if err != nil || f.Owner != step.want {
			t.Errorf("%s: owner %q, want %q (%v)", step.name, f.Owner, step.want, err)
		}
	}
	if _, err := s.svc.CloseCase(t.Context(), id, "delivered", "li", "已妥投"); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.TakeCase(t.Context(), id, "li"); err == nil {
		t.Error("a closed case is taken")
	}
	f, err := s.svc.CaseFile(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var moves []string
	for _, m := range f.Moves {
		moves = append(moves, fmt.Sprintf("%s: %s→%s", m.By, m.From, m.To))
		if strings.Contains(m.Note, "13800000000") {
			t.Errorf("a note keeps the resident's number (I-9): %s", m.Note)
		}
	}
	if diff := cmp.Diff([]string{"li: →li", "li: li→wang", "chief: wang→zhao", "zhao: zhao→"}, moves); diff != "" {
		t.Error(diff)
	}
	if f.PermitNo != a.PermitNo || f.Status != InTransit || f.ClosedBy != "li" {
		t.Errorf("case file %+v", f)
	}
}

func TestTheWorklistIsFilteredAndScoped(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.sent(1, InTransit), s.sent(2, InTransit)
	s.openCase(a.ID, CaseStalled)
	s.openCase(b.ID, CaseHeld)
	if err := s.svc.TakeCase(t.Context(), s.caseOf(b.ID), "li"); err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE cases SET due_at = $1 WHERE delivery_id = $2`, s.clock().Add(time.Hour), b.ID)
	s.exec(`UPDATE cases SET due_at = $1 WHERE delivery_id = $2`, s.clock().Add(-time.Hour), a.ID)
	for name, tt := range map[string]struct {
		f    WorkFilter
		want string
	}{
		"all, the most urgent first": {WorkFilter{}, "stalled held"},
		"mine":                       {WorkFilter{Owner: "li"}, "held"},
		"nobody's":                   {WorkFilter{Unowned: true}, "stalled"},
		"overdue":                    {WorkFilter{Overdue: true}, "stalled"},
		"one kind":                   {WorkFilter{Kind: CaseHeld}, "held"},
		"a station":                  {WorkFilter{StationCode: "110105001"}, "stalled held"},
		"another station":            {WorkFilter{StationCode: "110105801"}, ""},
	} {
		p, err := s.svc.Worklist(t.Context(), tt.f)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, it := range p.Items {
			kinds = append(kinds, string(it.Kind))
		}
		if got := strings.Join(kinds, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	first, err := s.svc.Worklist(t.Context(), WorkFilter{Limit: 1})
	if err != nil || len(first.Items) != 1 || first.Next == "" {
		t.Fatalf("first page %+v, %v", first, err)
	}
	next, err := s.svc.Worklist(t.Context(), WorkFilter{Limit: 1, Cursor: first.Next})
	if err != nil || len(next.Items) != 1 || next.Items[0].Kind != CaseHeld || next.Next != "" {
		t.Errorf("second page %+v, %v", next, err)
	}
	other := OfStation(t.Context(), "110105801")
	if p, err := s.svc.Worklist(other, WorkFilter{}); err != nil || len(p.Items) != 0 {
		t.Errorf("another station lists %+v, %v", p, err)
	}
	id := s.caseOf(a.ID)
	if _, err := s.svc.CaseFile(other, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station reads a case: %v", err)
	}
	if err := s.svc.TakeCase(other, id, "wang"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station takes a case: %v", err)
	}
	if err := s.svc.HandCase(other, id, "wang", "", "wang", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station moves a case: %v", err)
	}
	if _, err := s.svc.CloseCase(other, id, "x", "wang", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another station closes a case: %v", err)
	}
}
