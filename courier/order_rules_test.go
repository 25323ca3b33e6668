package courier

import (
	"strings"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEMSTextsAreKeptWithoutThePerson(t *testing.T) {
	t.Parallel()
	o := Order{
		Recipient: Party{Name: vault.Conceal("张三"), Phone: vault.Conceal("13800001234"), Address: vault.Conceal("示例路1号院2号楼301")},
		Sender:    Party{Name: vault.Conceal("某派出所"), Phone: vault.Conceal("010-85000000"), Address: vault.Conceal("示例大街9号")},
	}
	tests := []struct{ text, want string }{
		{"收寄管控不可达", "收寄管控不可达"},
		{"张三不在", "…不在"},
		{"手机13800001234错", "手机…错"},
		{"手机１３８００００１２３４错", "手机…错"},
		{"地址[示例路1号院2号楼301]超区", "地址[…]超区"},
		{"地址 1号院2号 超区", "地址 … 超区"},
		{"证件11010119900101123X", "证件…"},
		{"B00001: 01234", "B00001: 01234"},
		{"坏\xff字\x00节", "坏字节"},
		{strings.Repeat("长", 200), strings.Repeat("长", 120) + "…"},
	}
	for _, test := range tests {
		if got := withoutPerson(test.text, o); got != test.want {
			t.Errorf("withoutPerson(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestWhatEMSQuotesIsNeverKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[张王李赵][一-三]{1,2}`).Draw(t, "name")
		phone := rapid.StringMatching(`1[3-9][0-9]{9}`).Draw(t, "phone")
		address := rapid.StringMatching(`[甲乙丙丁]{2}路[0-9]{1,3}号院[0-9]号楼`).Draw(t, "address")
		o := Order{Recipient: Party{Name: vault.Conceal(name), Phone: vault.Conceal(phone), Address: vault.Conceal(address)}}
		parts := rapid.SliceOf(rapid.SampledFrom([]string{name, phone, address, "有误", "，", "B1"})).Draw(t, "parts")
		got := withoutPerson(strings.Join(parts, ""), o)
		for _, secret := range []string{name, phone, address} {
			if strings.Contains(got, secret) {
				t.Fatalf("%q is still in %q", secret, got)
			}
		}
	})
}

func TestAfterAsking(t *testing.T) {
	t.Parallel()
	o := OrderOptions{}.withDefaults()
	again := orderStep{to: "again"}
	tests := []struct {
		name string
		job  orderJob
		h    holding
		want orderStep
	}{
		{"held", orderJob{Reconciles: 1, WaybillNo: "12"}, held, orderStep{to: Ordered, waybillNo: "12"}},
		{"held, though to be cancelled", orderJob{Reconciles: 1, WaybillNo: "12", CancelRequested: true}, held, orderStep{to: Ordered, waybillNo: "12"}},
		{"not held, believed the second time", orderJob{Reconciles: 1}, notHeld, orderStep{wait: 10 * time.Second}},
		{"not held", orderJob{Reconciles: 2}, notHeld, again},
		{"not held, to be cancelled", orderJob{Reconciles: 1, CancelRequested: true}, notHeld, orderStep{wait: 10 * time.Second}},
		{"not held twice, to be cancelled", orderJob{Reconciles: 2, CancelRequested: true}, notHeld, orderStep{to: Cancelled}},
		{"not held, another waybill lives", orderJob{Reconciles: 2, Unwanted: true}, notHeld, orderStep{wait: 20 * time.Second}},
		{"not held, EMS had refused", orderJob{Reconciles: 2, LastOutcome: outcomeRefused, LastRetCode: "B1", LastDetail: "不可达"}, notHeld,
			orderStep{clerk: true, caseKind: CaseOrderRefused, action: actMendOrder, detail: "EMS 拒绝下单：B1 不可达"}},
		{"no answer", orderJob{Reconciles: 3}, notAnswered, orderStep{wait: 40 * time.Second}},
		{"no answer for long", orderJob{Reconciles: 8}, notAnswered,
			orderStep{wait: 30 * time.Minute, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多次询问 EMS 未得到明确答复"}},
		{"never held", orderJob{Reconciles: 8}, notHeld,
			orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多次下单未得到明确答复，EMS 查无此运单"}},
		{"assigned", orderJob{NumberMode: NumbersAssigned, Reconciles: 1, LastOutcome: outcomeUnknown}, notAnswered,
			orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "下单结果不明，且未预留运单号，系统不会重新下单"}},
		{"assigned, refused, to be cancelled", orderJob{NumberMode: NumbersAssigned, Reconciles: 1, LastOutcome: outcomeRefused, CancelRequested: true}, notAnswered,
			orderStep{to: Cancelled}},
	}
	for _, test := range tests {
		got, more := o.afterAsking(test.job, test.h)
		if more {
			got = again
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(orderStep{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestStepsFollowTheLifeCycle holds every step of the rules against the table of statuses.
func TestStepsFollowTheLifeCycle(t *testing.T) {
	t.Parallel()
	o := OrderOptions{}.withDefaults()
	check := func(what string, s orderStep) {
		if s.to != "" && !Ordering.MayBecome(s.to, "") {
			t.Errorf("%s: ordering may not become %s", what, s.to)
		}
		if s.clerk && s.caseKind == "" {
			t.Errorf("%s: left to a clerk without a case", what)
		}
	}
	for _, outcome := range []string{outcomeConfirmed, outcomeRefused, outcomeUnsent, outcomeUnknown, outcomeAnomaly} {
		for _, mode := range []string{NumbersReserved, NumbersAssigned} {
			for attempts := range 3 {
				j := orderJob{NumberMode: mode, Attempts: attempts + 1, Reconciles: attempts}
				r := orderReply{outcome: outcome, waybillNo: "12"}
				check("first "+mode+" "+outcome, o.afterOrder(j, r))
				check("again "+mode+" "+outcome, o.afterAgain(j, r))
				if again := o.afterAgain(j, r); again.to == Approved {
					t.Errorf("again %s: goes back to approved though an earlier call may have got through", outcome)
				}
			}
		}
	}
	for _, s := range []Status{Approved, Ordering, Ordered, AwaitingPayment} {
		if !s.MayBecome(Cancelled, "") {
			t.Errorf("%s may not become cancelled", s)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range []time.Duration{time.Second, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second} {
		if got := backoff(time.Second, 10*time.Second, n); got != want {
			t.Errorf("backoff after %d failures = %s, want %s", n, got, want)
		}
	}
	if got := backoff(time.Hour, 10*time.Hour, 1000); got != 10*time.Hour {
		t.Errorf("backoff after 1000 failures = %s, want 10h", got)
	}
}
