package courier

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALineOfABillIsReadAsEMSsTablesHaveIt(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	head := []string{"序号", "邮件号", "收寄日期", "计费重量(克)", "标准资费(元)", "实收资费（元）", "备注"}
	table, err := ReadBillHeadings(head)
	if err != nil {
		t.Fatal(err)
	}
	row := func(no, at, weight, fen string) map[string]string {
		return map[string]string{"序号": "1", "邮件号": no, "收寄日期": at, "计费重量(克)": weight, "标准资费(元)": "21", "实收资费（元）": fen}
	}
	tests := []struct {
		name   string
		row    map[string]string
		want   BillLine
		line   bool
		faults []string // "column code"
	}{
		{"as it should be", row("1200000001417", "2026-11-03", "80", "14"), BillLine{7, "1200000001417", day, 80, 1400}, true, nil},
		{"as Excel keeps numbers", row("1200000001417.0", "46329", "80.0", "13.800000000000001"), BillLine{7, "1200000001417", day, 80, 1380}, true, nil},
		{"with blanks, a mark and a unit", row(" em123456785cn ", "2026/11/3 10:00", "", "¥1,0.50元"), BillLine{7, "EM123456785CN", day, 0, 1050}, true, nil},
		{"a sum", map[string]string{"邮件号": "合计", "实收资费（元）": "1400"}, BillLine{}, false, nil},
		{"a sum in the first column", map[string]string{"序号": "合 计", "实收资费（元）": "1400"}, BillLine{}, false, nil},
		{"rounded by Excel", row("1.20000000014E+12", "2026-11-03", "80", "14"), BillLine{}, false, []string{"邮件号 excel_number"}},
		{"everything wrong", row("邮件", "昨天", "八十", "十四"), BillLine{}, false, []string{"邮件号 format", "实收资费（元） format", "计费重量(克) format", "收寄日期 format"}},
		{"no number", row("", "", "", "14"), BillLine{}, false, []string{"邮件号 required"}},
		{"money back", row("1200000001417", "", "", "-14"), BillLine{}, false, []string{"实收资费（元） format"}},
		{"a tenth of a fen", row("1200000001417", "", "", "14.005"), BillLine{}, false, []string{"实收资费（元） format"}},
		{"fen taken for yuan", row("1200000001417", "", "", "140000"), BillLine{}, false, []string{"实收资费（元） format"}},
		{"no number at all", row("1200000001417", "", "", "NaN"), BillLine{}, false, []string{"实收资费（元） format"}},
	}
	for _, tt := range tests {
		line, ok, faults := table.Line(7, tt.row)
		var got []string
		for _, f := range faults {
			got = append(got, f.Field+" "+f.Code)
		}
		if ok != tt.line || !cmp.Equal(got, tt.faults) || ok && !cmp.Equal(line, tt.want) {
			t.Errorf("%s: %+v, %t, %v; want %+v, %t, %v", tt.name, line, ok, got, tt.want, tt.line, tt.faults)
		}
	}
	kilos, err := ReadBillHeadings([]string{"运单号码", "计费重量（kg）", "应收金额"})
	if err != nil {
		t.Fatal(err)
	}
	if line, ok, _ := kilos.Line(2, map[string]string{"运单号码": "1200000001417", "计费重量（kg）": "0.08", "应收金额": "14"}); !ok || line.WeightG != 80 {
		t.Errorf("kilograms: %+v", line)
	}
	for _, bad := range [][]string{nil, {"邮件号"}, {"实收资费"}, {"EMS对账单"}} {
		if _, err := ReadBillHeadings(bad); err == nil {
			t.Errorf("the headings %q are taken", bad)
		}
	}
}

func FuzzBillLine(f *testing.F) {
	for _, s := range []string{"1200000001417", "1.2E+12", "合计", "", "¥14.00", "-1", "NaN", "Inf", "1e308", "0x1p-2", "2026-11-03", "46329", "\xff", "14.0000001"} {
		f.Add(s, s, s, s)
	}
	table, err := ReadBillHeadings([]string{"邮件号", "收寄日期", "计费重量", "资费"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, no, at, weight, fen string) {
		line, ok, faults := table.Line(2, map[string]string{"邮件号": no, "收寄日期": at, "计费重量": weight, "资费": fen})
		if ok != (len(faults) == 0 && line.WaybillNo != "") {
			t.Errorf("ok is %t beside %v", ok, faults)
		}
		if ok && (line.Fen < 0 || line.Fen > maxMoney || line.WeightG < 0 || line.WeightG > 50_000 || !plainNumber(line.WaybillNo)) {
			t.Errorf("line %+v", line)
		}
	})
}
