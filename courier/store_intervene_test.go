package courier_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A fakeIntervener is an EMS that takes interventions as each test tells it to.
type fakeIntervener struct {
	mu     sync.Mutex
	asked  []string
	told   []courier.Party
	answer func() error
}

func (f *fakeIntervener) Intervene(_ context.Context, kind, waybillNo string, to courier.Party) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.told = append(f.asked, kind+" "+waybillNo), append(f.told, to)
	if f.answer != nil {
		return f.answer()
	}
	return nil
}

// An interveneScene is one delivery on its way, with a clock that the test moves.
type interveneScene struct {
	t   *testing.T
	db  *sqlx.DB
	id  uuid.UUID
	ems *fakeIntervener
	now time.Time
	svc *courier.Service
	rnd *courier.Interventions
}

func newIntervene(t *testing.T, status courier.Status, byInterface bool) *interveneScene {
	t.Helper()
	s := &interveneScene{t: t, db: dbtest.Open(t), ems: &fakeIntervener{}, now: noon}
	s.id = addReaddressable(t, s.db, 1)[0]
	settleOrders(t, s.db, newOrderer(t, s.db, newFakeCarrier(), orderOptions()))
	s.stands(status)
	clock := courier.Clock{Now: func() time.Time { return s.now }, Wall: time.Now}
	s.svc = courier.New(s.db, testVault(t), clock, courier.Options{WeightG: 50, Interventions: byInterface})
	var carrier courier.Intervener
	if byInterface {
		carrier = s.ems
	}
	s.rnd = courier.NewInterventions(s.db, testVault(t), carrier, clock, time.Minute, slog.New(slog.DiscardHandler))
	return s
}

func (s *interveneScene) stands(at courier.Status) {
	s.t.Helper()
	execSQL(s.t, s.db, `UPDATE deliveries SET status = $1`, string(at))
}

// ask gives the state of what was asked for, or the code of the conflict.
func (s *interveneScene) ask(kind string, to courier.Recipient) string {
	s.t.Helper()
	i, err := s.svc.Intervene(s.t.Context(), s.id, kind, to, "申请人要求", "clerk")
	if c, ok := errors.AsType[*courier.Conflict](err); ok {
		return c.Code
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return i.State
}

func (s *interveneScene) round() {
	s.t.Helper()
	if err := s.rnd.Round(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// is fails unless the intervention has the state and the open cases are these.
func (s *interveneScene) is(state, cases string) {
	s.t.Helper()
	got := one[string](s.t, s.db, `SELECT state FROM interventions`)
	open := one[string](s.t, s.db, `SELECT coalesce(string_agg(kind, ' ' ORDER BY kind), '') FROM cases WHERE closed_at IS NULL`)
	if got != state || open != cases {
		s.t.Errorf("state %s and open cases %q, want %s and %q", got, open, state, cases)
	}
	checkEventLog(s.t, s.db)
}

func (s *interveneScene) scan(code string) {
	s.t.Helper()
	execSQL(s.t, s.db, `INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, deliver_code, attempt_code, seen_at)
		SELECT id, $2, $1, '10000000', waybill_no, '', '', '', '', '', '', '', $2 FROM deliveries`, code, s.now)
}

var nowhere courier.Recipient

func TestWhatMayBeAskedForWhere(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.Ordered, false)
	kinds := []string{courier.InterveneReaddress, courier.InterveneWithdraw, courier.InterveneUrge, courier.InterveneRedeliver}
	want := map[courier.Status]string{
		courier.Ordered: "", courier.Accepted: "readdress withdraw urge", courier.InTransit: "readdress withdraw urge",
		courier.OutForDelivery: "readdress withdraw urge", courier.AttemptFailed: "readdress withdraw urge redeliver",
		courier.Held: "readdress withdraw urge redeliver", courier.Returning: "urge", courier.Delivered: "", courier.Returned: "", courier.Lost: "", courier.Cancelled: "",
	}
	allowed := func() string {
		var may []string
		for _, k := range kinds {
			switch got := s.ask(k, elsewhere("海淀区")); got {
			case courier.InterventionByPhone:
				may = append(may, k)
				execSQL(t, s.db, `DELETE FROM interventions`)
			case "intervention_not_possible":
			default:
				t.Errorf("%s: %s", k, got)
			}
		}
		return strings.Join(may, " ")
	}
	for status, may := range want {
		s.stands(status)
		if got := allowed(); got != may {
			t.Errorf("%s: %q, want %q", status, got, may)
		}
	}
	// What EMS's courier has taken away is no longer cancelled, and must not be out of reach until the first scan.
	s.stands(courier.Ordered)
	execSQL(t, s.db, `UPDATE deliveries SET handed_over_at = $1`, noon)
	if got := allowed(); got != "readdress withdraw urge" {
		t.Errorf("handed over: %q", got)
	}
	if _, err := s.svc.ChangeAddress(t.Context(), s.id, elsewhere("海淀区"), "写错地址", "clerk"); err == nil || !strings.Contains(err.Error(), "already_handed_over") {
		t.Errorf("change of address after hand-over: %v", err)
	}
}

func TestAnotherAddressWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.InTransit, true)
	for _, tt := range []struct{ county, want string }{{"海淀区", "unsent"}, {"海淀区", "unsent"}, {"丰台区", "intervention_pending"}} {
		if got := s.ask(courier.InterveneReaddress, elsewhere(tt.county)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.county, got, tt.want)
		}
	}
	s.round()
	s.round()
	s.is("agreed", "")
	if len(s.ems.asked) != 1 || s.ems.told[0].County != "海淀区" || s.ems.told[0].Address.Reveal() != "新示例街9号院1号楼101" {
		t.Errorf("EMS was asked for %v", s.ems.asked)
	}
}

// What scans tell ends an intervention: as done, or as failed, and then a clerk is told that the envelope went its old way.
func TestScansEndInterventions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind  string
		scan  string
		to    courier.Status
		state string
		cases string
	}{
		"address noted":           {courier.InterveneReaddress, "802", courier.InTransit, "done", ""},
		"address noted late":      {courier.InterveneReaddress, "803", courier.Delivered, "done", ""},
		"delivered all the same":  {courier.InterveneReaddress, "", courier.Delivered, "failed", "address"},
		"returned all the same":   {courier.InterveneReaddress, "", courier.Returned, "failed", "address"},
		"nothing yet":             {courier.InterveneReaddress, "305", courier.OutForDelivery, "agreed", ""},
		"called back":             {courier.InterveneWithdraw, "", courier.Returning, "done", ""},
		"too late to call back":   {courier.InterveneWithdraw, "", courier.Delivered, "failed", "stalled"},
		"not called back yet":     {courier.InterveneWithdraw, "", courier.AttemptFailed, "agreed", ""},
		"delivered after urging":  {courier.InterveneUrge, "", courier.Delivered, "done", ""},
		"returned after urging":   {courier.InterveneUrge, "", courier.Returned, "failed", ""},
		"delivered at second try": {courier.InterveneRedeliver, "", courier.Delivered, "done", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newIntervene(t, courier.AttemptFailed, true)
			if got := s.ask(tt.kind, elsewhere("海淀区")); got != "unsent" {
				t.Fatal(got)
			}
			s.round()
			s.now = s.now.Add(time.Hour)
			if tt.scan != "" {
				s.scan(tt.scan)
			}
			s.stands(tt.to)
			s.round()
			s.round()
			s.is(tt.state, tt.cases)
			if tt.state == "agreed" {
				return
			}
			if n := one[int](t, s.db, `SELECT count(*) FROM events WHERE type = 'intervention.ended' AND data->>'outcome' = $1`, tt.state); n != 1 {
				t.Errorf("%d events tell of it", n)
			}
		})
	}
}

// Urging is repeated where nobody knows whether EMS heard it, and the next day; nothing else is ever sent twice.
func TestOnlyUrgingIsRepeated(t *testing.T) {
	t.Parallel()
	unknown := func() error { return &courier.CarrierError{Kind: courier.Unknown, API: "020099"} }
	for _, kind := range []string{courier.InterveneUrge, courier.InterveneWithdraw, courier.InterveneRedeliver, courier.InterveneReaddress} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newIntervene(t, courier.Held, true)
			s.ems.answer = unknown
			s.ask(kind, elsewhere("海淀区"))
			for range 3 {
				s.round()
			}
			if len(s.ems.asked) != 1 {
				t.Errorf("EMS was asked %v by the rounds alone", s.ems.asked)
			}
			s.ems.answer = nil
			s.ask(kind, elsewhere("海淀区"))
			s.round()
			want := 1
			if kind == courier.InterveneUrge {
				want = 2
				s.ask(kind, nowhere) // at once again: it is the same
				s.round()
			}
			if len(s.ems.asked) != want {
				t.Errorf("EMS was asked %v after a clerk asked again, want %d", s.ems.asked, want)
			}
			s.now = s.now.Add(25 * time.Hour)
			s.ask(kind, elsewhere("海淀区"))
			s.round()
			if kind == courier.InterveneUrge {
				want = 3
			}
			if len(s.ems.asked) != want {
				t.Errorf("EMS was asked %v by the next day, want %d", s.ems.asked, want)
			}
		})
	}
}

// While EMS is out of reach nothing is lost, and after an hour a clerk telephones.
func TestAnInterventionThatCannotLeaveBecomesACase(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.InTransit, true)
	s.ems.answer = func() error { return &courier.CarrierError{Kind: courier.Unsent, API: "020099"} }
	s.ask(courier.InterveneWithdraw, nowhere)
	s.round()
	s.is("unsent", "")
	s.now = s.now.Add(61 * time.Minute)
	s.round()
	s.is("unsent", "stalled")
	s.ems.answer = nil
	s.round()
	s.is("agreed", "stalled")
	s.stands(courier.Returning)
	s.round()
	s.is("done", "")
}

// A round that lasts longer than its lease begins no further call: another replica would take it for lost.
func TestI4_NoInterventionIsSentAfterItsLease(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.InTransit, true)
	wall := time.Now()
	clock := courier.Clock{Now: func() time.Time { return noon }, Wall: func() time.Time { return wall }}
	rnd := courier.NewInterventions(s.db, testVault(t), s.ems, clock, time.Minute, slog.New(slog.DiscardHandler))
	s.ask(courier.InterveneUrge, nowhere)
	s.ask(courier.InterveneWithdraw, nowhere)
	s.ems.answer = func() error { wall = wall.Add(50 * time.Second); return nil }
	if err := rnd.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, s.db, `SELECT string_agg(state, ' ' ORDER BY state) FROM interventions`); got != "agreed unsent" || len(s.ems.asked) != 1 {
		t.Errorf("states %s after %v", got, s.ems.asked)
	}
	if err := rnd.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, s.db, `SELECT string_agg(state, ' ' ORDER BY state) FROM interventions`); got != "agreed agreed" || len(s.ems.asked) != 2 {
		t.Errorf("states %s after %v", got, s.ems.asked)
	}
}

// A clerk finds what to do in the case, also where the clock of a standstill had opened it; failing leaves it open.
func TestACaseThatIsOpenTellsWhatToDoByTelephone(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.InTransit, false)
	err := courier.InTx(t.Context(), s.db, func(tx *sqlx.Tx) error {
		return courier.OpenCases(t.Context(), tx, []courier.NewCase{{DeliveryID: s.id, Kind: courier.CaseStalled, OpenedAt: noon, DueAt: noon.Add(time.Hour), NextAction: "催查"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ask(courier.InterveneWithdraw, nowhere)
	if next := one[string](t, s.db, `SELECT next_action FROM cases`); !strings.Contains(next, "010-56421484") || !strings.Contains(next, "撤回邮件") {
		t.Errorf("next action %q", next)
	}
	id := one[uuid.UUID](t, s.db, `SELECT id FROM interventions`)
	if _, err := s.svc.CloseIntervention(t.Context(), s.id, id, "failed", "网点称已出库", "clerk"); err != nil {
		t.Fatal(err)
	}
	s.is("failed", "stalled")
	if _, err := s.svc.CloseIntervention(t.Context(), uuid.Must(uuid.NewV7()), id, "done", "x", "clerk"); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("another delivery's intervention: %v", err)
	}
}

// I-9: a clerk who writes the new address into the reason does not get it into what is stored in clear.
func TestI9_ReasonsDoNotKeepANewAddress(t *testing.T) {
	t.Parallel()
	s := newIntervene(t, courier.InTransit, true)
	to := courier.Recipient{Province: "北京市", City: "北京市", County: "海淀区", Address: vault.Conceal("新示例街9号院1号楼101")}
	reason := "改到新示例街9号院1号楼101"
	if _, err := s.svc.Intervene(t.Context(), s.id, courier.InterveneReaddress, to, reason, "clerk"); err != nil {
		t.Fatal(err)
	}
	s.ems.answer = func() error {
		return &courier.CarrierError{Kind: courier.RefusedByCarrier, API: "020099", RetCode: "B00001", Message: "地址新示例街9号院1号楼101不可达"}
	}
	s.round()
	s.is("refused", "address")
	s.stands(courier.Ordered)
	if _, err := s.svc.ChangeAddress(t.Context(), s.id, to, reason, "clerk"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"audit", "interventions", "readdressings", "events", "cases", "order_attempts"} {
		if n := one[int](t, s.db, `SELECT count(*) FROM `+table+` x WHERE x::text LIKE '%示例街9号%'`); n != 0 {
			t.Errorf("%s tells the new address", table)
		}
	}
}
