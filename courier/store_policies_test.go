package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (s *intakeScene) policy(rule, subject, value string) StoredPolicy {
	s.t.Helper()
	all, err := s.svc.AllPolicies(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		if p.Rule == rule && p.Subject == subject && p.Value == value {
			return p
		}
	}
	s.t.Fatalf("no policy %s %s %s", rule, subject, value)
	return StoredPolicy{}
}

func TestR12_APolicyChangeIsTriedOnThePastAndTouchesOnlyTheFuture(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	online := func(n int) Application {
		return with(permit(n), func(a *Application) { a.Route, a.Ground = RouteOnline, "residence" })
	}
	s.accept(online(1), online(2), with(permit(3), func(a *Application) { a.Route = RoutePoliceStation }),
		with(online(4), func(a *Application) { a.Ground = "employment" }))
	tomorrow := s.clock().Add(24 * time.Hour)
	end := PolicyChange{ID: s.policy(RuleRoute, "route", RouteOnline).ID, At: tomorrow, Note: "京公〔2026〕1号"}
	open := PolicyChange{Rule: RuleOnline, Subject: "online_ground", Value: "employment", At: tomorrow, Note: "京公〔2026〕2号"}

	preview := func(c PolicyChange) PolicyPreview {
		t.Helper()
		p, err := s.svc.PreviewPolicy(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if diff := cmp.Diff(PolicyPreview{Judged: 4, Refused: 2, ByRule: map[string]int{RuleRoute: 2}}, preview(end)); diff != "" {
		t.Errorf("ending the online route (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(PolicyPreview{Judged: 4, Allowed: 1, ByRule: map[string]int{RuleOnline: 1}}, preview(open)); diff != "" {
		t.Errorf("opening a ground (-want +got):\n%s", diff)
	}
	for _, c := range []PolicyChange{end, open} {
		if err := s.svc.ChangePolicy(t.Context(), c, "zhao"); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.accept(online(5))[0]; got.Outcome != Created {
		t.Errorf("today the online route is %s, %s", got.Outcome, got.Delivery.Rule)
	}
	s.pass(25 * time.Hour)
	if got := s.accept(online(6))[0]; got.Outcome != RefusedByRule || got.Delivery.Rule != RuleRoute {
		t.Errorf("tomorrow the online route is %s, %s", got.Outcome, got.Delivery.Rule)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE actor = 'zhao' AND action IN ('policy.open', 'policy.end')`); n != 2 {
		t.Errorf("%d entries in the audit chain, want 2", n)
	}
}

func TestPolicyChangesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	soon := s.clock().Add(time.Hour)
	carrier := s.policy(RuleCarrier, "carrier", CarrierEMS)
	tests := []struct {
		name   string
		change PolicyChange
		want   string // fields with faults
	}{
		{"in the past", PolicyChange{ID: carrier.ID, At: s.clock(), Note: "x"}, "at"},
		{"without a reason", PolicyChange{ID: carrier.ID, At: soon}, "note"},
		{"of nothing", PolicyChange{ID: 9999, At: soon, Note: "x"}, "id"},
		{"R-09 a registration station", PolicyChange{Rule: RuleStation, Subject: "station", Value: ClassRegistrationStation, At: soon, Note: "x"}, "value"},
		{"R-11 another carrier", PolicyChange{Rule: RuleCarrier, Subject: "carrier", Value: "sf", At: soon, Note: "x"}, "value"},
		{"what is open already", PolicyChange{Rule: RuleCarrier, Subject: "carrier", Value: CarrierEMS, At: soon, Note: "x"}, "value"},
		{"ends before it begins", PolicyChange{Rule: RuleOnline, Subject: "online_ground", Value: "study", At: soon, Until: soon, Note: "x"}, "until"},
	}
	for _, tt := range tests {
		err := s.svc.ChangePolicy(t.Context(), tt.change, "zhao")
		faults, _ := err.(Faults)
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, " "); got != tt.want {
			t.Errorf("%s: faults of %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestATariffIsPreviewedAndBeginsLater(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.accept(permit(1), permit(2))
	day := s.clock().AddDate(0, 0, 3).Format(time.DateOnly)
	row := map[string]string{"zone": "同城", "provinces": "北京市 天津市", "valid_from": day, "first_weight_g": "500", "first_fen": "1500", "step_weight_g": "500", "step_fen": "200"}
	got, err := s.svc.PreviewTariff(t.Context(), row)
	want := []TariffPreview{{"北京市", 1200, 1500, true, 2}, {"天津市", 0, 1500, true, 0}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("preview: %v (-want +got):\n%s", err, diff)
	}
	if err := s.svc.AddTariff(t.Context(), row, "zhao", "文号1"); err != nil {
		t.Fatal(err)
	}
	if d := s.created(permit(3)); d.FeeFen != 1200 {
		t.Errorf("today's fee is %d", d.FeeFen)
	}
	s.pass(4 * 24 * time.Hour)
	if d := s.created(permit(4)); d.FeeFen != 1500 {
		t.Errorf("the fee from then on is %d", d.FeeFen)
	}
	if err := s.svc.AddTariff(t.Context(), row, "zhao", ""); err == nil || !strings.Contains(err.Error(), "valid_from") || !strings.Contains(err.Error(), "why") {
		t.Errorf("a tariff in the past without a reason: %v", err)
	}
}

func TestAStationIsSavedWithItsReason(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	row := map[string]string{"code": "110105803", "name": "窗口三", "kind": KindBookedWindow, "operated_by": ClassPoliceStation, "hours": "09:00-12:00"}
	if err := s.svc.SaveStation(t.Context(), row, "zhao", ""); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("without a reason: %v", err)
	}
	if err := s.svc.SaveStation(t.Context(), row, "zhao", "新设窗口"); err != nil {
		t.Fatal(err)
	}
	all, err := s.svc.Stations(t.Context())
	want := Station{Code: "110105803", Name: "窗口三", Kind: KindBookedWindow, OperatedBy: ClassPoliceStation, Hours: "09:00-12:00"}
	if len(all) != 5 || err != nil {
		t.Fatal(all, err)
	}
	if diff := cmp.Diff(want, all[3]); diff != "" {
		t.Error(diff)
	}
}
