package courier

import (
	"strings"
	"testing"
	"time"

	"emsd/courier/vault"
)

var (
	noticeDay     = time.Date(2017, 7, 10, 0, 0, 0, 0, beijing)
	policeStation = Station{Code: "110105001", Name: "示例派出所", Kind: KindPoliceStation}
	flowStation   = Station{Code: "110105901", Name: "示例流管站", Kind: KindRegistrationStation}
)

// noticePolicies are the rows that migration 0001 puts in; TestR12 compares them with the table.
func noticePolicies() []Policy {
	var ps []Policy
	for _, r := range [][3]string{
		{"R-08", "route", "police_station"}, {"R-08", "route", "online"}, {"R-09", "station", "police_station"}, {"R-10", "payer", "applicant"},
		{"R-11", "carrier", "ems"}, {"R-13", "consent_source", "platform"}, {"R-13", "consent_source", "counter"},
		{"R-15", "online_ground", "residence"}, {"R-15", "online_change", "unchanged"}, {"R-20", "business", "exchange"},
	} {
		ps = append(ps, Policy{Rule: r[0], Subject: r[1], Value: r[2], ValidFrom: noticeDay})
	}
	return ps
}

// goodApplication may be sent; tests spoil it.
func goodApplication() Application {
	return Application{
		PermitNo: "A110000202600001", ApplicationNo: "SQ2026-000001", Business: Exchange, Route: RouteOnline, Ground: "residence",
		StationCode: "110105001", Consent: Consent{Source: "platform", At: time.Date(2026, 11, 20, 10, 0, 0, 0, beijing).UTC(), NoticeVersion: "1"},
		ApprovedAt: time.Date(2026, 11, 22, 9, 0, 0, 0, beijing).UTC(), PaymentMethod: Prepaid,
		Recipient: Recipient{Name: vault.Conceal("张三丰"), Phone: vault.Conceal("13800000001"), IDNo: vault.Conceal("11010519491231002X"),
			Province: "北京市", City: "北京市", County: "朝阳区", Address: vault.Conceal("示例路1号院2号楼301"), Language: InChinese},
	}
}

var testNow = time.Date(2026, 11, 24, 9, 0, 0, 0, beijing)

func wantRule(t *testing.T, j Judgement, rule string) {
	t.Helper()
	if j.Allowed != (rule == "") || j.Rule != rule {
		t.Errorf("judged %+v, want rule %q", j, rule)
	}
	if rule != "" && (j.Sentence != Sentences[rule] || j.Sentence == "" || j.Reason == "" || !strings.Contains(j.Text(), j.Sentence)) {
		t.Errorf("rule %s is refused with sentence %q and reason %q", rule, j.Sentence, j.Reason)
	}
}

func TestR08_R09_R20_RouteTimesBusiness(t *testing.T) {
	t.Parallel()
	want := map[[2]string]string{
		{RoutePoliceStation, Exchange}: "", {RouteOnline, Exchange}: "",
		{RouteRegistrationStation, Exchange}: RuleStation, {"kiosk", Exchange}: RuleRoute,
	}
	for _, route := range []string{RoutePoliceStation, RouteOnline, RouteRegistrationStation, "kiosk"} {
		for _, business := range []string{Exchange, Extension, Change, "renewal"} {
			t.Run(route+" "+business, func(t *testing.T) {
				t.Parallel()
				a := goodApplication()
				a.Route, a.Business = route, business
				rule, listed := want[[2]string{route, business}]
				if !listed {
					rule = RuleBusiness
				}
				wantRule(t, Judge(a, policeStation, noticePolicies(), testNow), rule)
			})
		}
	}
}

func TestR09_NeverFromARegistrationStation(t *testing.T) {
	t.Parallel()
	window := func(by string) Station {
		return Station{Code: "w", Name: "窗口", Kind: KindBookedWindow, OperatedBy: by}
	}
	tests := []struct {
		name    string
		route   string
		station Station
		rule    string
	}{
		{"its own route", RouteRegistrationStation, flowStation, RuleStation},
		{"said to be a police station", RoutePoliceStation, flowStation, RuleStation},
		{"said to be online", RouteOnline, flowStation, RuleStation},
		{"route at a police station", RouteRegistrationStation, policeStation, RuleStation},
		{"window run by one", RoutePoliceStation, window("registration_station"), RuleStation},
		{"window run by the police", RoutePoliceStation, window("police_station"), ""},
		{"police station", RoutePoliceStation, policeStation, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := goodApplication()
			a.Route = tt.route
			wantRule(t, Judge(a, tt.station, noticePolicies(), testNow), tt.rule)
		})
	}
}

func TestR17_AnUnclassifiedWindowIsRefused(t *testing.T) {
	t.Parallel()
	a := goodApplication()
	a.Route = RoutePoliceStation
	wantRule(t, Judge(a, Station{Code: "w", Kind: KindBookedWindow}, noticePolicies(), testNow), RuleUnclassified)
}

func TestR10_OnlyTheApplicantPays(t *testing.T) {
	t.Parallel()
	for method, rule := range map[string]string{Prepaid: "", Collect: "", "sender_account": RulePayer, "third_party": RulePayer, "free": RulePayer} {
		a := goodApplication()
		a.PaymentMethod = method
		wantRule(t, Judge(a, policeStation, noticePolicies(), testNow), rule)
	}
}

func TestR11_OnlyEMSCarriesWhileItsRowIsInForce(t *testing.T) {
	t.Parallel()
	ps := noticePolicies()
	for carrier, want := range map[string]bool{"ems": true, "sf": false, "": false} {
		if got := CarrierAllowed(ps, carrier, testNow); got != want {
			t.Errorf("CarrierAllowed(%q) = %v, want %v", carrier, got, want)
		}
	}
	for i := range ps {
		if ps[i].Rule == RuleCarrier {
			ps[i].ValidTo = testNow
		}
	}
	wantRule(t, Judge(goodApplication(), policeStation, ps, testNow.Add(-time.Second)), "")
	wantRule(t, Judge(goodApplication(), policeStation, ps, testNow), RuleCarrier)
}

func TestR12_PoliciesChangeAtMidnightInBeijing(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2026, 12, 1, 0, 0, 0, 0, beijing)
	opened := append(noticePolicies(), Policy{Rule: RuleStation, Subject: "station", Value: ClassRegistrationStation, ValidFrom: midnight},
		Policy{Rule: RuleStation, Subject: "station", Value: ClassRegistrationStation, ValidFrom: midnight.AddDate(-3, 0, 0), ValidTo: midnight.AddDate(-2, 0, 0)})
	a := goodApplication()
	a.Route = RoutePoliceStation
	tests := []struct {
		name string
		now  time.Time
		rule string
	}{
		{"a row that starts tomorrow changes nothing today", midnight.Add(-time.Nanosecond), RuleStation},
		{"nor at midnight in London, eight hours later it has begun long since", midnight.Add(8 * time.Hour), ""},
		{"midnight is tomorrow", midnight, ""},
		{"23:59:59 said in UTC", time.Date(2026, 11, 30, 15, 59, 59, 0, time.UTC), RuleStation},
		{"16:00 UTC is midnight", time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC), ""},
		{"a row that has ended counts no more", midnight.AddDate(-2, 0, 0), RuleStation},
		{"while it was in force", midnight.AddDate(-2, 0, 0).Add(-time.Second), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantRule(t, Judge(a, flowStation, opened, tt.now), tt.rule)
		})
	}
}

func TestR12_NothingIsAllowedByDefault(t *testing.T) {
	t.Parallel()
	wantRule(t, Judge(goodApplication(), policeStation, nil, testNow), RuleBusiness)
	wantRule(t, Judge(goodApplication(), policeStation, noticePolicies(), noticeDay.Add(-time.Second)), RuleBusiness)
	for i, p := range noticePolicies() {
		without := append(noticePolicies()[:i:i], noticePolicies()[i+1:]...)
		a := goodApplication()
		switch p.Value {
		case "police_station":
			a.Route = RoutePoliceStation
		case "counter":
			a.Consent.Source = "counter"
		}
		wantRule(t, Judge(a, policeStation, without, testNow), p.Rule)
	}
}

func TestR13_DeliveryIsTheApplicantsOwnChoice(t *testing.T) {
	t.Parallel()
	at := goodApplication().Consent.At
	tests := []struct {
		name    string
		consent Consent
		rule    string
	}{
		{"platform", Consent{Source: "platform", At: at}, ""},
		{"counter", Consent{Source: "counter", At: at}, ""},
		{"missing", Consent{}, RuleConsent},
		{"without a time", Consent{Source: "platform"}, RuleConsent},
		{"without a source", Consent{At: at}, RuleConsent},
		{"by phone", Consent{Source: "phone", At: at}, RuleConsent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := goodApplication()
			a.Consent = tt.consent
			wantRule(t, Judge(a, policeStation, noticePolicies(), testNow), tt.rule)
		})
	}
}

func TestR15_OnlineNeedsResidenceAndNothingChanged(t *testing.T) {
	t.Parallel()
	for _, route := range []string{RouteOnline, RoutePoliceStation} {
		for _, ground := range grounds {
			for changes := range 4 {
				a := goodApplication()
				a.Route, a.Ground, a.IdentityChanged, a.AddressChanged = route, ground, changes&1 != 0, changes&2 != 0
				rule := ""
				if route == RouteOnline && (ground != "residence" || changes != 0) {
					rule = RuleOnline
				}
				t.Run(route+" "+ground, func(t *testing.T) { wantRule(t, Judge(a, policeStation, noticePolicies(), testNow), rule) })
			}
		}
	}
}

func TestTheMostGeneralRuleIsNamedFirst(t *testing.T) {
	t.Parallel()
	a := goodApplication()
	a.Business, a.Route, a.Consent, a.Ground, a.PaymentMethod = Extension, RouteRegistrationStation, Consent{}, "study", "free"
	for _, step := range []struct {
		rule string
		mend func()
	}{
		{RuleBusiness, func() { a.Business = Exchange }},
		{RuleStation, func() { a.Route = "kiosk" }},
		{RuleRoute, func() { a.Route = RouteOnline }},
		{RuleConsent, func() { a.Consent = goodApplication().Consent }},
		{RuleOnline, func() { a.Ground = "residence" }},
		{RulePayer, func() { a.PaymentMethod = Collect }},
		{"", func() {}},
	} {
		wantRule(t, Judge(a, policeStation, noticePolicies(), testNow), step.rule)
		step.mend()
	}
}

func TestSecondLineHoldsWhateverThePoliciesSay(t *testing.T) {
	t.Parallel()
	a := goodApplication()
	a.Route = RouteRegistrationStation
	wantRule(t, secondLine(a, flowStation), RuleStation)
	a.Route = RoutePoliceStation
	wantRule(t, secondLine(a, flowStation), RuleStation)
	wantRule(t, secondLine(a, policeStation), "")
	a.Business = Extension
	wantRule(t, secondLine(a, policeStation), RuleBusiness)
}
