package tracking

import (
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTheDefaultRulebookIsWhatTheSchemaBrings(t *testing.T) {
	t.Parallel()
	got, err := readRulebook(t.Context(), dbtest.Open(t), base)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultRulebook(), got, cmp.AllowUnexported(Rulebook{}, recipientPolicy{}, term{}, decided{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("rulebook: in Go -, in the schema +\n%s", diff)
	}
}

func decide(code, meaning string, from time.Time) Decision {
	return Decision{Code: code, Meaning: meaning, ValidFrom: from}
}

func book(decisions ...Decision) *Rulebook {
	return newRulebook(decisions, defaultPolicies(), []term{{placeLocker, 3, false}, {placePickupPoint, 3, true}, {placeCounter, 5, true}})
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	way := []courier.Scan{at(1, "203"), at(8, "702")}
	tests := []struct {
		name      string
		decisions []Decision
		scans     []courier.Scan
		want      string
	}{
		{"a code", []Decision{decide("999", "held", hour(0))}, []courier.Scan{at(9, "999")}, "status=held since=2024-12-26T09:00:00 held_until=2025-01-02 case=held:999"},
		{"not yet valid", []Decision{decide("999", "held", hour(10))}, []courier.Scan{at(9, "999")}, "status=out_for_delivery since=2024-12-26T08:00:00 unknown=999 case=unknown_code:999"},
		{"from its moment on", []Decision{decide("999", "held", hour(9))}, []courier.Scan{at(9, "999")}, "status=held since=2024-12-26T09:00:00 held_until=2025-01-02 case=held:999"},
		{"the newer counts", []Decision{decide("999", "lost", hour(5)), decide("999", "in_transit", hour(0))}, []courier.Scan{at(9, "999")}, "status=lost since=2024-12-26T09:00:00 case=lost:999"},
		{"of one moment the later made", []Decision{decide("999", "lost", hour(0)), decide("999", "in_transit", hour(0))}, []courier.Scan{at(9, "999")}, "status=in_transit since=2024-12-26T09:00:00"},
		{"a void", []Decision{decide("998", "void:702 204", hour(0))}, []courier.Scan{at(9, "998")}, "status=accepted since=2024-12-26T01:00:00 withdrawn=true"},
		{"a void of a decided code", []Decision{decide("998", "void:999", hour(0)), decide("999", "delivered", hour(0))},
			[]courier.Scan{at(9, "999"), at(10, "998")}, "status=out_for_delivery since=2024-12-26T08:00:00 rule=scan_voided:998 withdrawn=true"},
		{"a built-in code corrected", []Decision{decide("307", "out_for_delivery", hour(0))}, []courier.Scan{at(2, "307")}, "status=out_for_delivery since=2024-12-26T02:00:00"},
		{"delivered, to whom nobody says", []Decision{decide("999", "delivered", hour(0))}, []courier.Scan{at(9, "999")}, "status=delivered since=2024-12-26T09:00:00 receiver=unstated"},
		{"a deliverCode", []Decision{decide("704/99", "self", hour(0))}, []courier.Scan{at(9, "704/99")}, "status=delivered since=2024-12-26T09:00:00 receiver=self"},
		{"a deliverCode of a door", []Decision{decide("704/99", "door", hour(0))}, []courier.Scan{at(9, "704/99")}, "status=delivered since=2024-12-26T09:00:00 receiver=door case=delivered_elsewhere:704/99"},
		{"a deliverCode of a locker", []Decision{decide("704/99", "locker", hour(0))}, []courier.Scan{at(9, "704/99")}, "status=held since=2024-12-26T09:00:00 receiver=locker held_until=2024-12-28 case=held:704/99"},
		{"a deliverCode of a claim", []Decision{decide("704/99", "claim", hour(0))}, []courier.Scan{at(9, "704/99")}, "status=out_for_delivery since=2024-12-26T08:00:00 case=lost:704/99"},
		{"a built-in deliverCode corrected", []Decision{decide("704/100", "self", hour(0))}, []courier.Scan{at(9, "704/100")}, "status=delivered since=2024-12-26T09:00:00 receiver=self"},
		{"an attempt with a bad address", []Decision{decide("705/99", "attempt_failed+address", hour(0))}, []courier.Scan{at(9, "705/99")}, "status=attempt_failed since=2024-12-26T09:00:00 case=address:705/99"},
		{"an attempt that keeps", []Decision{decide("705/99", "held", hour(0))}, []courier.Scan{at(9, "705/99")}, "status=held since=2024-12-26T09:00:00 held_until=2025-01-02 case=held:705/99"},
		{"an attempt that returns", []Decision{decide("705/99", "returning+address", hour(0))}, []courier.Scan{at(9, "705/99")}, "status=returning since=2024-12-26T09:00:00 case=address:705/99"},
		{"an attempt that lost it", []Decision{decide("705/99", "lost", hour(0))}, []courier.Scan{at(9, "705/99")}, "status=lost since=2024-12-26T09:00:00 case=lost:705/99"},
		{"a row that makes no sense is left out", []Decision{decide("999", "nonsense", hour(5)), decide("999", "held", hour(0))}, []courier.Scan{at(9, "999")}, "status=held since=2024-12-26T09:00:00 held_until=2025-01-02 case=held:999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := summary(book(tt.decisions...).Fold(append(way, tt.scans...), Envelope{OrderedAt: base}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Fold: want -, got +\n%s", diff)
			}
		})
	}
}

func TestDecisionsSayWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	good := []Decision{
		{"999", "新代码", "in_transit", "邮件正在运输途中。", base}, {"C_099", "", "void:C_002", "", base}, {"704/99", "", "self", "", base},
		{"704/ZDX", "", "pickup_point", "邮件已放在自提点。", base}, {"705/99", "", "attempt_failed+address", "", base}, {"203", "", "accepted", "", base},
	}
	for _, d := range good {
		if err := d.Check(); err != nil {
			t.Errorf("%s %s: %v", d.Code, d.Meaning, err)
		}
	}
	bad := []struct {
		d    Decision
		want string
	}{
		{Decision{"", "", "held", "", base}, "代码"},
		{Decision{"9 9", "", "held", "", base}, "代码"},
		{Decision{"703/1", "", "held", "", base}, "代码"},
		{Decision{"704/", "", "self", "", base}, "代码"},
		{Decision{"704/1/2", "", "self", "", base}, "代码"},
		{Decision{strings.Repeat("9", 65), "", "held", "", base}, "代码"},
		{Decision{"999", "", "held", "", time.Time{}}, "生效"},
		{Decision{"999", strings.Repeat("长", 101), "held", "", base}, "名称"},
		{Decision{"999", "", "Held", "", base}, "含义"},
		{Decision{"999", "", "void", "", base}, "含义"},
		{Decision{"999", "", "void:", "", base}, "撤销"},
		{Decision{"999", "", "void:999", "", base}, "撤销"},
		{Decision{"999", "", "void:743", "", base}, "撤销"},
		{Decision{"999", "", "self", "", base}, "含义"},
		{Decision{"704/99", "", "held", "", base}, "签收类别"},
		{Decision{"704/99", "", "unstated", "", base}, "签收类别"},
		{Decision{"705/99", "", "delivered", "", base}, "未妥投"},
		{Decision{"705/99", "", "held+", "", base}, "未妥投"},
		{Decision{"999", "", "held", "没有句号", base}, "句号"},
		{Decision{"999", "", "held", "请联系13800000000。", base}, "数字"},
		{Decision{"999", "", "held", "见https://example.invalid。", base}, "数字"},
		{Decision{"999", "", "held", "快递员【王某】。", base}, "数字"},
		{Decision{"999", "", "held", strings.Repeat("长", 100) + "。", base}, "过长"},
	}
	for _, tt := range bad {
		if err := tt.d.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %q %q: %v, want something about %s", tt.d.Code, tt.d.Meaning, tt.d.Sentence, err, tt.want)
		}
	}
	if b := book(bad[0].d, good[0], bad[8].d); len(b.Faults) != 2 || !b.Knows("999", base) {
		t.Errorf("faults %v, want two, and the good decision to count", b.Faults)
	}
}

func TestPeopleReadWhatWasDecided(t *testing.T) {
	t.Parallel()
	b := book(Decision{"999", "新代码", "held", "邮件在新的地方等待领取。", hour(5)}, Decision{"704/99", "", "door", "", hour(0)},
		Decision{"705/99", "", "attempt_failed", "今天没有派送。", hour(0)})
	for _, tt := range []struct {
		s    courier.Scan
		want string
	}{
		{at(4, "999"), "邮件有新的物流记录。"}, {at(6, "999"), "邮件在新的地方等待领取。"},
		{at(6, "704/99"), "邮件已放在家门口。"}, {at(6, "704/98"), "邮件已妥投。"}, {at(6, "705/99"), "今天没有派送。"},
		{readText(signed("", "已代签收【家人】")), "邮件已由家人代收。"}, {readText(signed("20", "已代签收【家人】")), "邮件已由家人代收。"},
		{signed("20", ""), "邮件已由他人代收。"},
	} {
		if got := b.SentenceOf(tt.s); got != tt.want {
			t.Errorf("%s/%s at %s: %s, want %s", tt.s.Code, tt.s.DeliverCode, tt.s.At, got, tt.want)
		}
	}
	steps := b.Steps([]courier.Scan{at(6, "999"), at(4, "999")}, base)
	if len(steps) != 2 || steps[0].Group != "" || steps[1].Group != Held || steps[1].Name != "新代码" {
		t.Errorf("steps %+v", steps)
	}
}

func TestTheRulebookIsReadFromItsTables(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	must(t, db, `
		INSERT INTO code_decisions (code, meaning, sentence, valid_from, decided_at, decided_by, reason) VALUES
			('999', 'held', '', $1, $1, 'clerk', 'asked EMS'), ('999', 'lost', '', $1, $1, 'clerk', 'asked again'), ('998', 'nonsense', '', $1, $1, 'clerk', 'by hand')`, base)
	must(t, db, `UPDATE recipient_policies SET valid_to = $1 WHERE class = 'door'`, hour(5))
	must(t, db, `INSERT INTO recipient_policies (class, action, due_hours, valid_from) VALUES ('door', 'ask', 2, $1)`, hour(5))
	must(t, db, `DELETE FROM recipient_policies WHERE class = 'self'`)
	must(t, db, `UPDATE collection_terms SET days = 7, working = false WHERE place = 'counter'`)
	b, err := readRulebook(t.Context(), db, hour(10))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Faults) != 1 || strings.Contains(b.Faults[0].Error(), "by hand") {
		t.Errorf("faults %v, want that of 998", b.Faults)
	}
	e := Envelope{OrderedAt: base}
	for _, tt := range []struct {
		s    courier.Scan
		want string
	}{
		{at(6, "999"), "status=lost"}, {at(6, "704/161"), "receiver=door"}, {at(4, "704/161"), "case=delivered_elsewhere"},
		{at(6, "704/10"), "case=delivered_elsewhere"}, // a class without a policy is a case
		{at(6, "723"), "held_until=2025-01-01"},
	} {
		if got := summary(b.Fold([]courier.Scan{tt.s}, e)); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.s.Code, got, tt.want)
		}
	}
	if got := b.Fold([]courier.Scan{at(6, "704/161")}, e); got.Receipt != receiptAsk || len(got.Concerns) != 0 {
		t.Errorf("a door by the newer policy: %s %s", summary(got), got.Receipt)
	}
}
