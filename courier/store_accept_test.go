package courier

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

func TestAcceptedPermitWaitsForItsFeeOrIsDueAtOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		app    Application
		status Status
		fee    int64
		zone   string
	}{
		{"prepaid", permit(1), AwaitingPayment, 1200, "同城"},
		{"collected from the recipient", with(permit(2), func(a *Application) { a.PaymentMethod = Collect }), Approved, 1200, "同城"},
		{"elsewhere", with(permit(3), func(a *Application) {
			a.Recipient.Province, a.Recipient.City, a.Recipient.County = "广东省", "东莞市", "虎门镇"
		}), AwaitingPayment, 2200, "远"},
		{"no fee", with(permit(4), func(a *Application) {
			a.Recipient.Province, a.Recipient.City, a.Recipient.County = "天津市", "天津市", "和平区"
		}), Approved, 0, "免"},
		{"window run by the police", with(permit(5), func(a *Application) { a.Route, a.StationCode = RoutePoliceStation, "110105801" }), AwaitingPayment, 1200, "同城"},
	}
	s := newIntake(t, Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := s.created(tt.app)
			if d.Status != tt.status || d.FeeFen != tt.fee || d.Zone != tt.zone || d.Seq != 1 {
				t.Errorf("delivery %s, %d fen, zone %s, seq %d, want %s, %d, %s, 1", d.Status, d.FeeFen, d.Zone, d.Seq, tt.status, tt.fee, tt.zone)
			}
			stored := s.get(d.ID)
			if diff := cmp.Diff(d, stored.Delivery, sameTime); diff != "" {
				t.Errorf("the answer and what is stored differ (-answer +stored):\n%s", diff)
			}
			if got, want := s.events(d.ID), "delivery."+string(tt.status); got != want {
				t.Errorf("events %q, want %q", got, want)
			}
			if due := value[bool](s, `SELECT next_attempt_at IS NOT NULL FROM deliveries WHERE id = $1`, d.ID); due != (tt.status == Approved) {
				t.Errorf("due for an order: %v", due)
			}
		})
	}
	s.checkLog()
}

func TestTheSameApplicationAgainChangesNothing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	first := s.created(permit(1))
	before := value[string](s, `SELECT string_agg(d::text, '|' ORDER BY id) FROM deliveries d`)
	s.pass(time.Hour)
	sloppy := with(permit(1), func(a *Application) {
		a.PermitNo, a.Recipient.Phone = " "+strings.ToLower(a.PermitNo), vault.Conceal("+86 138-0000-0001")
		a.ApprovedAt = a.ApprovedAt.In(time.FixedZone("", -5*3600))
	})
	for _, app := range []Application{permit(1), sloppy} {
		if r := s.accept(app)[0]; r.Outcome != Existing || r.Delivery.ID != first.ID || r.Delivery.Recipient.Name.Reveal() != "张三丰" {
			t.Errorf("outcome %s, delivery %s, want existing %s", r.Outcome, r.Delivery.ID, first.ID)
		}
	}
	if after := value[string](s, `SELECT string_agg(d::text, '|' ORDER BY id) FROM deliveries d`); after != before {
		t.Errorf("the delivery changed from %s to %s", before, after)
	}
	s.checkLog()
}

func TestI3_AnotherApplicationOfALivePermitIsAConflict(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	first := s.created(permit(1))
	other := with(permit(1), func(a *Application) { a.Recipient.Address = vault.Conceal("另一条路2号楼") })
	newIssue := with(permit(1), func(a *Application) { a.ApplicationNo = "SQ2027-1" })
	for _, app := range []Application{other, newIssue} {
		if r := s.accept(app)[0]; r.Outcome != LivePermit || r.Delivery.ID != first.ID || !r.Delivery.Recipient.Name.IsZero() {
			t.Errorf("outcome %s, delivery %s, want live %s without its recipient", r.Outcome, r.Delivery.ID, first.ID)
		}
	}
	for _, tt := range []struct {
		status                Status
		same, other, newIssue Outcome
	}{
		{Delivered, Existing, LivePermit, Created},
		{Returned, Existing, Created, LivePermit}, // the other one has just been made
	} {
		s.exec(`DELETE FROM events WHERE delivery_id <> $1`, first.ID)
		s.exec(`DELETE FROM deliveries WHERE id <> $1`, first.ID)
		s.exec(`UPDATE deliveries SET paid_fen = fee_fen WHERE id = $1`, first.ID)
		s.toStatus(first.ID, tt.status)
		for _, step := range []struct {
			app  Application
			want Outcome
		}{{permit(1), tt.same}, {other, tt.other}, {newIssue, tt.newIssue}} {
			r := s.accept(step.app)[0]
			if r.Outcome != step.want {
				t.Errorf("after %s: outcome %s, want %s", tt.status, r.Outcome, step.want)
			}
			if r.Outcome == Created && (r.Delivery.Supersedes == first.ID) != (tt.status == Returned) {
				t.Errorf("after %s: the new delivery follows %s", tt.status, r.Delivery.Supersedes)
			}
		}
	}
}

func TestACancelledDeliveryIsNotRaisedFromTheDead(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.created(permit(1))
	if _, err := s.svc.Cancel(t.Context(), d.ID, "不再需要", "permits"); err != nil {
		t.Fatal(err)
	}
	if r := s.accept(permit(1))[0]; r.Outcome != Existing || r.Delivery.ID != d.ID || r.Delivery.Status != Cancelled {
		t.Errorf("outcome %s, status %s, want existing, cancelled", r.Outcome, r.Delivery.Status)
	}
	again := s.created(with(permit(1), func(a *Application) { a.Consent.NoticeVersion = "2" }))
	if again.ID == d.ID || again.Status != AwaitingPayment {
		t.Errorf("a new application became %s in %s", again.ID, again.Status)
	}
}

func TestRefusalsAreRecordedOnceWithTheirRule(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule  string
		spoil func(*Application)
	}{
		{RuleRoute, func(a *Application) { a.Route = "kiosk" }},
		{RuleStation, func(a *Application) { a.Route = RouteRegistrationStation }},
		{RuleStation, func(a *Application) { a.StationCode = "110105901" }},
		{RulePayer, func(a *Application) { a.PaymentMethod = "sender_account" }},
		{RuleConsent, func(a *Application) { a.Consent = Consent{} }},
		{RuleConsent, func(a *Application) { a.Consent.Source = "phone" }},
		{RuleOnline, func(a *Application) { a.Ground = "study" }},
		{RuleOnline, func(a *Application) { a.AddressChanged = true }},
		{RuleUnclassified, func(a *Application) { a.StationCode = "110105802" }},
		{RuleBusiness, func(a *Application) { a.Business = Extension }},
	}
	s := newIntake(t, Options{})
	var apps []Application
	for i, tt := range tests {
		apps = append(apps, with(permit(i), tt.spoil))
	}
	first, again := s.accept(apps...), s.accept(apps...)
	for i, tt := range tests {
		r := first[i]
		if r.Outcome != RefusedByRule || r.Delivery.Status != Refused || r.Delivery.Rule != tt.rule || !strings.Contains(r.Delivery.Reason, Sentences[tt.rule]) {
			t.Errorf("case %d: outcome %s, rule %s, reason %s, want %s", i, r.Outcome, r.Delivery.Rule, r.Delivery.Reason, tt.rule)
		}
		if a := again[i]; a.Outcome != RefusedByRule || a.Delivery.ID != r.Delivery.ID {
			t.Errorf("case %d: refused again as %s %s, want %s", i, a.Outcome, a.Delivery.ID, r.Delivery.ID)
		}
		if v := s.get(r.Delivery.ID); v.Rule != tt.rule || v.FeeFen != 0 || v.Recipient.Name.Reveal() != "张三丰" {
			t.Errorf("case %d: stored %+v", i, v.Rule)
		}
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries`); n != len(tests) {
		t.Errorf("%d rows, want %d", n, len(tests))
	}
	s.checkLog()
}

func TestR12_APolicyChangesAtMidnightInBeijing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	midnight := time.Date(2026, 11, 25, 0, 0, 0, 0, beijing)
	s.exec(`UPDATE policies SET valid_to = $1 WHERE rule = 'R-13' AND value = 'counter'`, midnight)
	s.exec(`INSERT INTO policies (rule, subject, value, valid_from) VALUES ('R-15', 'online_ground', 'employment', $1)`, midnight)
	counter := func(n int) Application { return with(permit(n), func(a *Application) { a.Consent.Source = "counter" }) }
	worker := func(n int) Application { return with(permit(n), func(a *Application) { a.Ground = "employment" }) }

	s.now = midnight.Add(-time.Millisecond)
	r := s.accept(counter(1), worker(2))
	if r[0].Outcome != Created || r[1].Delivery.Rule != RuleOnline {
		t.Errorf("before midnight: %s and %s (%s)", r[0].Outcome, r[1].Outcome, r[1].Delivery.Rule)
	}
	refused := r[1].Delivery.ID
	s.now = midnight
	r = s.accept(counter(1), counter(3), worker(2))
	if r[0].Outcome != Existing || r[1].Delivery.Rule != RuleConsent {
		t.Errorf("after midnight: %s and %s (%s)", r[0].Outcome, r[1].Outcome, r[1].Delivery.Rule)
	}
	if r[2].Outcome != Created || r[2].Delivery.ID == refused {
		t.Errorf("what was refused yesterday is %s today, want created anew", r[2].Outcome)
	}
	if diff := cmp.Diff(noticePoliciesAt(t, s, noticeDay), noticePolicies(), sameTime); diff != "" {
		t.Errorf("the seed rows and the tests' differ (-table +tests):\n%s", diff)
	}
}

func noticePoliciesAt(t *testing.T, s *intakeScene, at time.Time) []Policy {
	ps, err := s.svc.Policies(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	byRule := map[string]Policy{}
	for _, p := range ps {
		p.Note, p.ValidTo = "", time.Time{}
		byRule[p.Rule+p.Subject+p.Value] = p
	}
	var ordered []Policy
	for _, p := range noticePolicies() {
		ordered = append(ordered, byRule[p.Rule+p.Subject+p.Value])
	}
	return append(ordered, make([]Policy, len(ps)-len(ordered))...)
}

func TestI1_APolicyThatOpensTooMuchRefusesAndBreaksNothing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.exec(`INSERT INTO policies (rule, subject, value, valid_from) VALUES ('R-09', 'station', 'registration_station', '2020-01-01'),
		('R-20', 'business', 'extension', '2020-01-01'), ('R-08', 'route', 'kiosk', '2020-01-01')`)
	r := s.accept(
		with(permit(1), func(a *Application) { a.Route, a.StationCode = RoutePoliceStation, "110105901" }),
		with(permit(2), func(a *Application) { a.Business = Extension }),
		with(permit(3), func(a *Application) { a.Route = "kiosk" }),
		permit(4))
	for i, rule := range []string{RuleStation, RuleBusiness, RuleRoute, ""} {
		if r[i].Delivery.Rule != rule {
			t.Errorf("application %d: rule %q, want %q", i, r[i].Delivery.Rule, rule)
		}
	}
}

func TestI1_NotEvenSQLMovesARefusedDelivery(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	r := s.accept(with(permit(1), func(a *Application) { a.Route = RouteRegistrationStation }), permit(2),
		with(permit(3), func(a *Application) { a.Consent = Consent{} }))
	refused, good, noConsent := r[0].Delivery.ID, r[1].Delivery.ID, r[2].Delivery.ID
	for _, tt := range []struct {
		constraint, sql string
		id              uuid.UUID
	}{
		{"i1_refused_is_final", `UPDATE deliveries SET status = 'approved', next_attempt_at = now(), rule = NULL, reason = NULL WHERE id = $1`, refused},
		{"i1_facts_are_fixed", `UPDATE deliveries SET route = 'online' WHERE id = $1`, refused},
		{"", `UPDATE deliveries SET route = 'online', status = 'approved', next_attempt_at = now(), rule = NULL, reason = NULL WHERE id = $1`, refused},
		{"", `UPDATE deliveries SET consent_source = 'platform', consent_at = now(), status = 'approved', next_attempt_at = now(), rule = NULL, reason = NULL WHERE id = $1`, noConsent},
		{"i1_facts_are_fixed", `UPDATE deliveries SET route = 'registration_station' WHERE id = $1`, good},
		{"i1_facts_are_fixed", `UPDATE deliveries SET station_code = '110105901' WHERE id = $1`, good},
		{"i1_facts_are_fixed", `UPDATE deliveries SET consent_at = NULL WHERE id = $1`, good},
	} {
		_, err := s.db.Exec(tt.sql, tt.id)
		e := pq.As(err, pqerror.CheckViolation)
		if e == nil || !strings.HasPrefix(e.Constraint, "i1_") || tt.constraint != "" && e.Constraint != tt.constraint {
			t.Errorf("%s\n gives %v, want constraint %s", tt.sql, err, tt.constraint)
		}
	}
	// A row that never was refused: inserted ready to go.
	for constraint, change := range map[string]string{
		"i1_exchange_with_consent":  `route = 'registration_station'`,
		"i1_exchange_with_consent ": `business = 'extension'`,
		"i1_exchange_with_consent2": `consent_source = NULL`,
		"i1_exchange_with_consent3": `station_class = 'registration_station'`,
		"deliveries_payment_method": `payment_method = 'free'`,
	} {
		column, expr, _ := strings.Cut(change, " = ")
		err := s.copyDelivery(good, column, expr)
		e := pq.As(err, pqerror.CheckViolation)
		if want := strings.TrimRight(constraint, " 23"); e == nil || e.Constraint != want {
			t.Errorf("inserted with %s: %v, want %s", change, err, want)
		}
	}
}

// copyDelivery inserts a copy of a delivery under a new permit with one column changed.
func (s *intakeScene) copyDelivery(id uuid.UUID, column, expr string) error {
	_, err := s.db.Exec(fmt.Sprintf(`
		INSERT INTO deliveries SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(), 'permit_no', gen_random_uuid()::text,
			'status', 'approved', 'next_attempt_at', now(), 'paid_fen', d.fee_fen, '%s', %s))).* FROM deliveries d WHERE id = $1`, column, expr), id)
	return err
}

func TestI3_NotEvenSQLMakesASecondLiveDeliveryOrWaybill(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	r := s.accept(permit(1), permit(2))
	one, two := r[0].Delivery.ID, r[1].Delivery.ID
	if _, err := s.db.Exec(`UPDATE deliveries SET payment_method = 'collect', status = 'ordering', order_no = 'RP1', waybill_no = '1200000001417', reconcile_at = now() WHERE id = $1`, one); err != nil {
		t.Fatal(err)
	}
	for constraint, statement := range map[string]string{
		"i3_one_live_delivery": `INSERT INTO deliveries SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(), 'application_no', 'SQ9'))).* FROM deliveries d WHERE id = $1`,
		"i3_one_order_no":      `UPDATE deliveries SET order_no = 'RP1' WHERE id = $1`,
		"i3_one_waybill_no":    `UPDATE deliveries SET waybill_no = '1200000001417' WHERE id = $1`,
	} {
		_, err := s.db.Exec(statement, two)
		if e, ok := errors.AsType[*pq.Error](err); !ok || e.Constraint != constraint {
			t.Errorf("%s\n gives %v, want constraint %s", statement, err, constraint)
		}
	}
}

func TestI2_NotEvenSQLOrdersWhatIsNotPaid(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.created(permit(1))
	for _, status := range Statuses {
		if status == Refused || status == AwaitingPayment || status == Cancelled {
			continue
		}
		for _, paid := range []int64{0, d.FeeFen - 1} {
			_, err := s.db.Exec(`UPDATE deliveries SET status = $2, paid_fen = $3, next_attempt_at = now(), waybill_no = 'W', order_no = 'O' WHERE id = $1`, d.ID, string(status), paid)
			if e := pq.As(err, pqerror.CheckViolation); e == nil || e.Constraint != "i2_paid_before_order" {
				t.Errorf("%s with %d of %d fen paid: %v, want i2_paid_before_order", status, paid, d.FeeFen, err)
			}
		}
	}
}

func TestI3_OneDeliveryHoweverManyPostAtOnce(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	const clients = 20
	var mu sync.Mutex
	var wg sync.WaitGroup
	ids := map[string]map[uuid.UUID]bool{}
	count := map[Outcome]int{}
	start := make(chan struct{})
	for c := range clients {
		wg.Go(func() {
			// The same thirty permits, half of the clients in the opposite order, two of them with other content, some refused.
			apps := make([]Application, 30)
			for i := range apps {
				n := i
				if c%2 == 1 {
					n = len(apps) - 1 - i
				}
				apps[i] = permit(n)
				if n%10 == 9 {
					apps[i].Route = RouteRegistrationStation
				}
				if c >= clients-2 {
					apps[i].Consent.NoticeVersion = "other"
				}
			}
			<-start
			results, err := s.svc.Accept(t.Context(), apps)
			if err != nil {
				t.Errorf("client %d: %v", c, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, r := range results {
				count[r.Outcome]++
				key := apps[i].PermitNo
				if r.Outcome == RefusedByRule {
					key += apps[i].Consent.NoticeVersion
				}
				if ids[key] == nil {
					ids[key] = map[uuid.UUID]bool{}
				}
				ids[key][r.Delivery.ID] = true
			}
		})
	}
	close(start)
	wg.Wait()
	for key, set := range ids {
		if len(set) != 1 {
			t.Errorf("%s has %d deliveries, want 1", key, len(set))
		}
	}
	if count[Created] != 27 || count[Faulty] != 0 {
		t.Errorf("outcomes %v, want 27 created", count)
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries WHERE status = 'awaiting_payment'`); n != 27 {
		t.Errorf("%d live deliveries, want 27", n)
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries WHERE status = 'refused'`); n != 6 {
		t.Errorf("%d refusals, want 3 of each content", n)
	}
	s.checkLog()
}

func TestTheSamePermitTwiceInOneBatch(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	other := with(permit(1), func(a *Application) { a.Consent.NoticeVersion = "2" })
	refused := with(permit(2), func(a *Application) { a.Ground = "study" })
	r := s.accept(permit(1), permit(1), other, refused, refused, permit(2), permit(2))
	want := []Outcome{Created, Existing, LivePermit, RefusedByRule, RefusedByRule, Created, Existing}
	for i, o := range want {
		if r[i].Outcome != o {
			t.Errorf("line %d: %s, want %s", i+1, r[i].Outcome, o)
		}
	}
	if r[1].Delivery.ID != r[0].Delivery.ID || r[2].Delivery.ID != r[0].Delivery.ID || r[4].Delivery.ID != r[3].Delivery.ID || r[6].Delivery.ID != r[5].Delivery.ID {
		t.Error("a repeated line names another delivery than the first")
	}
	s.checkLog()
}

func TestEveryFaultOfAnIntakeIsToldAtOnceAndStopsNoOther(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{PaymentMethods: []string{Prepaid}})
	bad := permit(1)
	bad.StationCode, bad.PaymentMethod, bad.Recipient.Phone, bad.ApprovedAt = "999", Collect, vault.Conceal("1"), testNow.Add(time.Hour)
	noTariff := with(permit(2), func(a *Application) {
		a.Recipient.Province, a.Recipient.City, a.Recipient.County = "西藏自治区", "拉萨市", "城关区"
	})
	nul := with(permit(3), func(a *Application) { a.StationCode = "1\x00" })
	parsed, faults := ParseApplication([]byte(`{"permit_no":1,"colour":"red"}`))
	results, err := s.svc.AcceptPaid(t.Context(), []Intake{{Application: bad}, {Application: noTariff}, {Application: nul},
		{Application: parsed, Faults: faults}, {Application: permit(5)}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"station_code unknown_station, approved_at future, payment_method not_offered, recipient.phone format",
		"recipient.province no_tariff",
		"station_code format",
		"permit_no type, application_no required, business required, route required, ground required, identity_changed required, address_changed required, " +
			"station_code required, approved_at required, payment_method required, recipient.name required, recipient.phone required, recipient.id_no required, " +
			"recipient.province required, recipient.address required, colour unknown_field",
		"",
	}
	for i, r := range results {
		if got := fieldsAndCodes(r.Faults); got != want[i] {
			t.Errorf("intake %d: faults %q, want %q", i, got, want[i])
		}
		if (r.Outcome == Faulty) != (want[i] != "") {
			t.Errorf("intake %d: %s", i, r.Outcome)
		}
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestPreviewWritesNothing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.created(permit(1))
	intakes := []Intake{{Application: permit(1)}, {Application: permit(2)}, {Application: permit(2)},
		{Application: with(permit(3), func(a *Application) { a.Business = Change })}, {Application: Application{}}}
	results, err := s.svc.Preview(t.Context(), intakes, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Outcome{Existing, Created, Existing, RefusedByRule, Faulty} {
		if results[i].Outcome != want || want != Existing && results[i].Delivery.ID != uuid.Nil {
			t.Errorf("intake %d: %s %s, want %s", i, results[i].Outcome, results[i].Delivery.ID, want)
		}
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// TestI9 looks for clear values in everything that is stored and everything that is said.
func TestI9_NothingStoredOrSaidShowsAPerson(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	secrets := []string{"张三丰", "13800000001", "11010519491231002X", "示例路1号院2号楼301"}
	var said []string
	for i, app := range []Application{permit(1), with(permit(2), func(a *Application) { a.Business = Extension }),
		with(permit(3), func(a *Application) { a.Recipient.Phone = vault.Conceal("138000000012") }),
		with(permit(4), func(a *Application) { a.Recipient.County = "示例路1号院2号楼301" })} {
		r := s.accept(app)[0]
		said = append(said, fmt.Sprintf("%d %v %+v %#v", i, r, r, r), r.Faults.Error(), r.Delivery.Reason)
	}
	d := s.created(permit(5))
	if _, err := s.svc.Pay(t.Context(), d.ID, payment("T1", 1500)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Cancel(t.Context(), d.ID, "张三丰（13800000001）住示例路1号院2号楼301，身份证11010519491231002X，来电取消", "clerk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Cancel(t.Context(), uuid.New(), "张三丰", "clerk"); !errors.Is(err, ErrNotFound) {
		t.Errorf("cancel of nothing: %v", err)
	}
	said = append(said, s.dump())
	for _, text := range said {
		for _, secret := range append(secrets, "138000000012") {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows in %.300s…", secret, text[max(0, strings.Index(text, secret)-100):])
			}
		}
	}
}

// dump gives every row of every table as text, sealed bytes as they lie.
func (s *intakeScene) dump() string {
	s.t.Helper()
	var tables []string
	err := s.db.Select(&tables, `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'inbox') ORDER BY 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for _, table := range tables {
		var rows []string
		if err := s.db.Select(&rows, `SELECT t::text || encode(convert_to(t::text, 'UTF8'), 'escape') FROM `+table+` t`); err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintln(&b, table, rows)
		// bytea shows as hex: look behind it too.
		var blobs [][]byte
		if table == "public.deliveries" {
			err := s.db.Select(&blobs, `SELECT name_sealed || phone_sealed || id_no_sealed || address_sealed || phone_lookup || id_no_lookup || content_lookup FROM deliveries`)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, blob := range blobs {
				b.Write(blob)
			}
		}
	}
	return b.String()
}
