package ems

import (
	"errors"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"

	"github.com/google/go-cmp/cmp"
)

func TestBillsAreReadInEveryShape(t *testing.T) {
	t.Parallel()
	one := `{"custBillNo":"DZ202611","orgNo":"10000001","totalCount":"4","postageTotal":"84.00","billTotalFee":"56.00"}`
	want := courier.StatedBill{BillNo: "DZ202611", OrgNo: "10000001", TotalFen: 5600, Lines: 4}
	for name, tt := range map[string]struct {
		body string
		want []courier.StatedBill
		err  error
	}{
		"as the document has it":        {`{"emsBisBillquery":[` + one + `]}`, []courier.StatedBill{want}, nil},
		"one alone":                     {`{"emsBisBillquery":` + one + `}`, []courier.StatedBill{want}, nil},
		"a list without a name":         {`[` + one + `]`, []courier.StatedBill{want}, nil},
		"none":                          {`{"emsBisBillquery":[]}`, nil, nil},
		"null":                          {`{"emsBisBillquery":null}`, nil, nil},
		"the field table's name":        {`{"emsBisBillquery":[{"custBillNo":"A","orgCode":"B","postageTotal":1}]}`, []courier.StatedBill{{BillNo: "A", OrgNo: "B", TotalFen: 100}}, nil},
		"something else":                {`{"emsBisBill":[]}`, nil, errBody},
		"a bill without number":         {`{"emsBisBillquery":[{"orgNo":"1"}]}`, nil, errBill},
		"an amount that is none":        {`{"emsBisBillquery":[{"custBillNo":"A","orgNo":"1","billTotalFee":"x"}]}`, nil, errBill},
		"a word where a bill should be": {`{"emsBisBillquery":["x"]}`, nil, errBody},
	} {
		var a answer
		if err := a.parse([]byte(envelope("00000", "", tt.body))); err != nil {
			t.Fatal(err)
		}
		got, err := readBills(&a)
		if !errors.Is(err, tt.err) || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, err, tt.want, tt.err)
		}
	}
}

func TestLinesOfABillAreReadWithoutPeople(t *testing.T) {
	t.Parallel()
	var a answer
	body := `{"emsBisBillingdetails":[{"waybillNo":"1200000001417","splitDate":1762131600000,"feeWeight":"80","postageStandard":"21","postagePaid":"14","postageTotal":"0",
		"receiverLinker":"张三","receiverMoblie":"13800000000"},{"waybillNo":"1200000001418","splitDate":"2026-11-03 01:00:00","feeWeight":1600.4,"postagePaid":14.5}]}`
	if err := a.parse([]byte(envelope("00000", "", body))); err != nil {
		t.Fatal(err)
	}
	got, err := readBillLines(&a)
	day := func(y int) time.Time { return time.Date(y, 11, 3, 0, 0, 0, 0, time.UTC) }
	want := []courier.BillLine{{WaybillNo: "1200000001417", PostedOn: day(2025), WeightG: 80}, {WaybillNo: "1200000001418", PostedOn: day(2026), WeightG: 1600, Fen: 1450}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{`{"emsBisBillingdetails":[{"waybillNo":"1200000001417"}]}`, `{"emsBisBillingdetails":[{"postagePaid":"14"}]}`,
		`{"emsBisBillingdetails":[{"waybillNo":"1200000001417","postagePaid":"-14"}]}`} {
		var a answer
		if err := a.parse([]byte(envelope("00000", "", bad))); err != nil {
			t.Fatal(err)
		}
		if lines, err := readBillLines(&a); !errors.Is(err, errBill) {
			t.Errorf("%s: %+v, %v", bad, lines, err)
		}
	}
}

func TestAMonthsBillComesFromTheSimulator(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	_, c := newSim(t, emssim.Config{Now: clock}, nil)
	ctx := t.Context()
	numbers, err := c.ReserveNumbers(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, mode := range []int{1, 2} {
		o := testOrder()
		o.WaybillNo, o.PaymentMode, o.OrderNo = numbers[i], mode, o.OrderNo+numbers[i]
		if _, err := c.CreateWaybill(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	march := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now = now.AddDate(0, 0, 20)
	if bills, err := c.Bills(ctx, march, march.AddDate(0, 1, -1)); err != nil || len(bills) != 0 {
		t.Errorf("before the month is over: %+v, %v", bills, err)
	}
	now = now.AddDate(0, 0, 20)
	bills, err := c.Bills(ctx, march, march.AddDate(0, 1, -1))
	if err != nil || len(bills) != 1 {
		t.Fatalf("bills %+v, %v", bills, err)
	}
	lines, err := c.BillLines(ctx, bills[0])
	if err != nil || len(lines) != 1 || lines[0].WaybillNo != numbers[0] || lines[0].Fen != bills[0].TotalFen || lines[0].PostedOn.Month() != time.March {
		t.Fatalf("lines %+v of %+v, %v", lines, bills[0], err)
	}
	if p, err := c.Postage(ctx, numbers[0]); err != nil || p.TotalFen != lines[0].Fen || int(p.FeeWeightG) != lines[0].WeightG {
		t.Errorf("050001 says %+v, the bill %+v (%v)", p, lines[0], err)
	}
	if _, err := c.BillLines(ctx, courier.StatedBill{BillNo: "DZ9999209901", OrgNo: bills[0].OrgNo}); err == nil {
		t.Error("lines of a bill that there is not")
	}
	if _, err := c.BillLines(ctx, courier.StatedBill{BillNo: "", OrgNo: ""}); !errors.Is(err, ErrNotSendable) {
		t.Errorf("a bill without a number is asked for: %v", err)
	}
}
