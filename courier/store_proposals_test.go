package courier

import (
	"context"
	"strings"
	"sync"
	"testing"
)

func TestTwoPersonsDeclareAnEnvelopeLost(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, InTransit)
	if _, err := s.svc.Propose(t.Context(), d.ID, ProposeLost, nil, "找不到了", "staff:a"); conflictCode(err) != "no_open_case" {
		t.Fatalf("without a case: %v", err)
	}
	s.openCase(d.ID, CaseStalled)
	p, err := s.svc.Propose(t.Context(), d.ID, ProposeLost, nil, "找不到了，张三丰也没收到", "staff:a")
	if err != nil || p.State != ProposalOpen {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := s.svc.Propose(t.Context(), d.ID, ProposeLost, nil, "再提一次", "staff:b"); err != nil || again.ID != p.ID {
		t.Errorf("a second one of the kind: %+v, %v", again, err)
	}
	for _, tt := range []struct {
		name string
		do   func() (Proposal, error)
		want string
	}{
		{"confirm one's own", func() (Proposal, error) { return s.svc.Confirm(t.Context(), p.ID, "", "staff:a") }, "same_person"},
		{"reject one's own", func() (Proposal, error) { return s.svc.Reject(t.Context(), p.ID, "不对", "staff:a") }, "same_person"},
		{"withdraw another's", func() (Proposal, error) { return s.svc.Withdraw(t.Context(), p.ID, "staff:b") }, "not_proposer"},
		{"reject without a word", func() (Proposal, error) { return s.svc.Reject(t.Context(), p.ID, " ", "staff:b") }, "why required"},
	} {
		if _, err := tt.do(); conflictCode(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	if got := s.get(d.ID).Status; got != InTransit {
		t.Fatalf("before the second person it is %s", got)
	}
	var wg sync.WaitGroup // two supervisors at the same instant: one decides
	won := make([]error, 4)
	for i := range won {
		wg.Go(func() { _, won[i] = s.svc.Confirm(t.Context(), p.ID, "", "staff:b") })
	}
	wg.Wait()
	confirmed := 0
	for _, err := range won {
		if err == nil {
			confirmed++
		} else if conflictCode(err) != "proposal_closed" {
			t.Errorf("confirm: %v", err)
		}
	}
	if got := s.get(d.ID).Status; confirmed != 1 || got != Lost {
		t.Errorf("confirmed %d times, %s", confirmed, got)
	}
	list, err := s.svc.ProposalsOf(t.Context(), d.ID)
	if err != nil || len(list) != 1 || list[0].State != ProposalConfirmed || list[0].DecidedBy != "staff:b" || strings.Contains(list[0].Reason, "张三丰") {
		t.Errorf("%+v, %v", list, err)
	}
	s.checkLog()
}

func TestAConfirmationThatCannotBeCarriedOutChangesNothing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, Delivered)
	if _, err := s.svc.ReportNotReceived(t.Context(), d.ID, "clerk", "没收到", "staff:a"); err != nil {
		t.Fatal(err)
	}
	p, err := s.svc.Propose(t.Context(), d.ID, ProposeNotReceived, map[string]string{"outcome": OutcomeFound}, "邻居代收，已取回", "staff:a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.EndNotReceived(t.Context(), d.ID, OutcomeResent, "重新投递", "api"); err != nil { // meanwhile, by the API
		t.Fatal(err)
	}
	if _, err := s.svc.Confirm(t.Context(), p.ID, "", "staff:b"); conflictCode(err) != "no_open_report" {
		t.Errorf("confirm what was ended otherwise: %v", err)
	}
	if list, err := s.svc.OpenProposals(t.Context(), 10); err != nil || len(list) != 1 {
		t.Errorf("open: %+v, %v", list, err)
	}
	if _, err := s.svc.Withdraw(t.Context(), p.ID, "staff:a"); err != nil {
		t.Error(err)
	}
	if list, err := s.svc.OpenProposals(t.Context(), 10); err != nil || len(list) != 0 {
		t.Errorf("open after the withdrawal: %+v, %v", list, err)
	}
	if _, err := s.svc.Propose(t.Context(), d.ID, "anything", nil, "原因", "staff:a"); conflictCode(err) != "kind unknown_value" {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestNotEvenSQLLetsOnePersonBeTwo(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, InTransit)
	s.openCase(d.ID, CaseStalled)
	p, err := s.svc.Propose(t.Context(), d.ID, ProposeLost, nil, "找不到了", "staff:a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.db.Exec(`UPDATE proposals SET state = 'confirmed', decided_at = now(), decided_by = 'staff:a' WHERE id = $1`, p.ID)
	if err == nil {
		t.Error("the database let who proposed confirm")
	}
}

func TestAStationSeesAndChangesItsOwnOnly(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, InTransit)
	s.openCase(d.ID, CaseStalled)
	p, err := s.svc.Propose(t.Context(), d.ID, ProposeLost, nil, "找不到了", "staff:a")
	if err != nil {
		t.Fatal(err)
	}
	own, other := OfStation(t.Context(), d.StationCode), OfStation(t.Context(), "999999999")
	c := s.last(d.ID, CaseStalled)
	reads := map[string]func(ctx context.Context) (int, error){
		"list": func(ctx context.Context) (int, error) {
			l, err := s.svc.List(ctx, Filter{})
			return len(l.Deliveries), err
		},
		"cases": func(ctx context.Context) (int, error) {
			l, err := s.svc.Cases(ctx, CaseFilter{})
			return len(l.Cases), err
		},
		"proposals": func(ctx context.Context) (int, error) { l, err := s.svc.OpenProposals(ctx, 10); return len(l), err },
		"proposals of one": func(ctx context.Context) (int, error) {
			l, err := s.svc.ProposalsOf(ctx, d.ID)
			return len(l), err
		},
	}
	for name, read := range reads {
		if n, err := read(own); err != nil || n != 1 {
			t.Errorf("%s of the own station: %d, %v", name, n, err)
		}
		if n, err := read(other); err != nil || n != 0 {
			t.Errorf("%s of another station: %d, %v", name, n, err)
		}
	}
	before := s.get(d.ID).Seq
	do := map[string]func(ctx context.Context) error{
		"get":    func(ctx context.Context) error { _, err := s.svc.Get(ctx, d.ID); return err },
		"cancel": func(ctx context.Context) error { _, err := s.svc.Cancel(ctx, d.ID, "原因", "x"); return err },
		"retry":  func(ctx context.Context) error { _, err := s.svc.Retry(ctx, d.ID, "原因", "x"); return err },
		"hand":   func(ctx context.Context) error { _, err := s.svc.HandOver(ctx, d.ID, s.clock(), "", "x"); return err },
		"missing": func(ctx context.Context) error {
			_, err := s.svc.ReportNotReceived(ctx, d.ID, "clerk", "原因", "x")
			return err
		},
		"lost": func(ctx context.Context) error { _, err := s.svc.DeclareLost(ctx, d.ID, "原因", "x"); return err },
		"urge": func(ctx context.Context) error {
			_, err := s.svc.Intervene(ctx, d.ID, InterveneUrge, Recipient{}, "原因", "x")
			return err
		},
		"return": func(ctx context.Context) error {
			_, err := s.svc.ReceiveReturn(ctx, d.WaybillNo, "A1", "x")
			return err
		},
		"case": func(ctx context.Context) error {
			_, err := s.svc.CloseCase(ctx, c.ID, "好了", "x", "原因")
			return err
		},
		"propose": func(ctx context.Context) error {
			_, err := s.svc.Propose(ctx, d.ID, ProposeLost, nil, "原因", "x")
			return err
		},
		"confirm":  func(ctx context.Context) error { _, err := s.svc.Confirm(ctx, p.ID, "", "x"); return err },
		"withdraw": func(ctx context.Context) error { _, err := s.svc.Withdraw(ctx, p.ID, "staff:a"); return err },
		"pay": func(ctx context.Context) error {
			_, err := s.svc.Pay(ctx, d.ID, Payment{AmountFen: 1, Method: "cash", TransactionNo: "T-idor", PaidAt: s.clock(), RecordedBy: "x"})
			return err
		},
	}
	for name, f := range do {
		if err := f(other); conflictCode(err) != "not_found" {
			t.Errorf("%s by another station: %v, want not found", name, err)
		}
	}
	if got := s.get(d.ID); got.Seq != before {
		t.Errorf("something was changed: %+v", got)
	}
}
