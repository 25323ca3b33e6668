package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const goodJSON = `{"permit_no":"A110000202600001","application_no":"SQ2026-000001","business":"exchange","route":"online","ground":"residence",
 "identity_changed":false,"address_changed":false,"station_code":"110105001",
 "consent":{"source":"platform","at":"2026-11-20T10:00:00+08:00","notice_version":"1"},
 "approved_at":"2026-11-22T09:00:00+08:00","payment_method":"prepaid",
 "recipient":{"name":"张三丰","phone":"13800000001","id_no":"11010519491231002X","province":"北京市","city":"北京市","county":"朝阳区","address":"示例路1号院2号楼301"}}`

var sameTime = cmpopts.EquateApproxTime(0)

func TestTheContractsExampleIsRead(t *testing.T) {
	t.Parallel()
	for _, line := range []string{goodJSON, "\ufeff" + goodJSON, " " + goodJSON + "\r\n"} {
		a, faults := ParseApplication([]byte(line))
		if faults != nil {
			t.Fatalf("faults %v", faults)
		}
		if diff := cmp.Diff(goodApplication(), Normalise(a), sameTime); diff != "" {
			t.Errorf("application (-want +got):\n%s", diff)
		}
	}
}

func TestJSONIsReadStrictly(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) string {
		if !strings.Contains(goodJSON, old) {
			panic(old)
		}
		return strings.Replace(goodJSON, old, new, 1)
	}
	tests := []struct{ name, line, want string }{
		{"unknown field", replace(`"route"`, `"carrier":"sf","route"`), "carrier unknown_field"},
		{"unknown field inside", replace(`"name"`, `"nick":{"a":[1,{"b":2}]},"name"`), "recipient.nick unknown_field"},
		{"upper case is another field", replace(`"route":"online"`, `"Route":"online"`), "Route unknown_field"},
		{"nested under a known name", replace(`"route":"online"`, `"route":{"name":"online"}`), "route type"},
		{"number for a string", replace(`"13800000001"`, `13800000001`), "recipient.phone type"},
		{"boolean for a string", replace(`"exchange"`, `true`), "business type"},
		{"list for a string", replace(`"exchange"`, `["exchange"]`), "business type"},
		{"string for a boolean", replace(`"identity_changed":false`, `"identity_changed":"false"`), "identity_changed type"},
		{"number for a boolean", replace(`"identity_changed":false`, `"identity_changed":0`), "identity_changed type"},
		{"missing boolean", replace(`"identity_changed":false,`, ``), "identity_changed required"},
		{"null boolean", replace(`"identity_changed":false`, `"identity_changed":null`), "identity_changed required"},
		{"null string is missing", replace(`"exchange"`, `null`), ""},
		{"null consent is missing", replace(`{"source":"platform","at":"2026-11-20T10:00:00+08:00","notice_version":"1"}`, `null`), ""},
		{"consent is a list", replace(`{"source":"platform","at":"2026-11-20T10:00:00+08:00","notice_version":"1"}`, `[{"source":"platform"}]`), "consent type"},
		{"time without a zone", replace(`2026-11-22T09:00:00+08:00`, `2026-11-22 09:00:00`), "approved_at format"},
		{"repeated field", replace(`"route"`, `"route":"online","route"`), "route duplicate"},
		{"repeated object", replace(`"recipient"`, `"recipient":{},"recipient"`), "recipient duplicate"},
		{"two at once", replace(`"exchange","route"`, `1,"x":2,"route"`), "business type, x unknown_field"},
		{"invalid UTF-8", replace("张三丰", "张\xff"), " invalid_utf8"},
		{"behind the object", goodJSON + `{}`, " json"},
		{"half a line", goodJSON[:200], " json"},
		{"nothing", "", " json"},
		{"a list", "[" + goodJSON + "]", " json"},
		{"a string", `"x"`, " json"},
		{"null", `null`, " json"},
		{"NaN", replace("false", "NaN"), " json"},
		{"comment", goodJSON + "// ok", " json"},
		{"too long", `{"permit_no":"` + strings.Repeat("1", maxApplication) + `"}`, " too_long"},
		{"deep", `{"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}", "identity_changed required, address_changed required, x unknown_field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, faults := ParseApplication([]byte(tt.line))
			if got := fieldsAndCodes(faults); got != tt.want {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
		})
	}
}

func fieldsAndCodes(faults Faults) string {
	var got []string
	for _, f := range faults {
		got = append(got, f.Field+" "+f.Code)
	}
	return strings.Join(got, ", ")
}

func goodRow() map[string]string {
	return map[string]string{"permit_no": "A110000202600001", "application_no": "SQ2026-000001", "business": "exchange", "route": "online", "ground": "residence",
		"identity_changed": "false", "address_changed": "0", "station_code": "110105001", "consent_source": "platform", "consent_at": "2026-11-20T10:00:00+08:00",
		"approved_at": "2026-11-22 09:00", "payment_method": "prepaid", "transaction_no": "WX1", "paid_fen": "2000", "name": "张三丰", "phone": "13800000001",
		"id_no": "11010519491231002X", "province": "北京市", "city": "北京市", "county": "朝阳区", "address": "示例路1号院2号楼301"}
}

func TestChineseAndEnglishHeadingsSayTheSame(t *testing.T) {
	t.Parallel()
	want := goodApplication()
	want.Consent.NoticeVersion = "" // tables have no column for it
	chinese := map[string]string{}
	for name, value := range goodRow() {
		c, ok := ColumnFor(name)
		if !ok {
			t.Fatalf("no column %s", name)
		}
		chinese[c.Chinese] = value
	}
	chinese["业务类型"], chinese["受理渠道"], chinese["申领条件"], chinese["同意来源"], chinese["付费方式"] = "换领", "网上", "合法稳定住所", "平台", "预付"
	chinese["身份变更"], chinese["住址变更"], chinese["批准时间"] = "否", "否", "2026/11/22 9:00:00"
	for _, row := range []map[string]string{goodRow(), chinese} {
		a, extras, faults := ApplicationFromRow(row)
		if faults != nil {
			t.Fatalf("faults %v", faults)
		}
		if diff := cmp.Diff(want, Normalise(a), sameTime); diff != "" {
			t.Errorf("application (-want +got):\n%s", diff)
		}
		if extras != (RowExtras{"WX1", 2000}) {
			t.Errorf("extras %+v", extras)
		}
	}
	if len(Columns) != 22 {
		t.Errorf("%d columns, contract.md has 21 and 语言 was added", len(Columns))
	}
}

func TestHeadingsAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, h := range []string{"permit_no", "居住证编号", "\ufeff居住证编号", " Permit_No ", "居住证编号*", "ｐｅｒｍｉｔ_no", "居住证编号："} {
		if c, ok := ColumnFor(h); !ok || c.Name != "permit_no" {
			t.Errorf("ColumnFor(%q) = %q, %v", h, c.Name, ok)
		}
	}
	if _, ok := ColumnFor("result"); ok {
		t.Error("result passes for a column of a permit")
	}
}

func TestCellsOfASpreadsheet(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, column, value, want string }{
		{"rounded ID", "id_no", "1.10105194912310E+17", "recipient.id_no excel_number"},
		{"rounded phone", "phone", "1.38E+10", "recipient.phone excel_number"},
		{"phone as a decimal", "phone", "13800000001.0", ""},
		{"apostrophe", "id_no", "'11010519491231002X", ""},
		{"yes", "identity_changed", "是", ""},
		{"perhaps", "identity_changed", "也许", "identity_changed format"},
		{"neither", "identity_changed", "", "identity_changed required"},
		{"day number", "approved_at", "46348.375", ""},
		{"other number", "approved_at", "20261122", "approved_at format"},
		{"not a number", "approved_at", "NaN", "approved_at format"},
		{"Chinese day", "approved_at", "2026年11月22日 9:00", ""},
		{"thirteenth month", "approved_at", "2026-13-01", "approved_at format"},
		{"American day", "approved_at", "11/22/2026", "approved_at format"},
		{"no consent", "consent_at", "", ""},
		{"yuan", "paid_fen", "20.00", "paid_fen format"},
		{"negative", "paid_fen", "-1", "paid_fen format"},
		{"a hundred thousand yuan", "paid_fen", "10000000", "paid_fen format"},
		{"paid without a number", "transaction_no", "", "transaction_no required"},
		{"number without money", "paid_fen", "", "paid_fen required"},
		{"rounded transaction", "transaction_no", "4.2E+27", "transaction_no excel_number"},
		{"transaction with Han", "transaction_no", "微信1", "transaction_no format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			row := goodRow()
			row[tt.column] = tt.value
			a, _, faults := ApplicationFromRow(row)
			if got := fieldsAndCodes(faults); got != tt.want {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
			if tt.column == "approved_at" && tt.want == "" && !a.ApprovedAt.Equal(time.Date(2026, 11, 22, 9, 0, 0, 0, beijing)) {
				t.Errorf("read as %v", a.ApprovedAt)
			}
		})
	}
	row := goodRow()
	row["姓名"], row["备注"] = "李四", "x"
	if _, _, faults := ApplicationFromRow(row); fieldsAndCodes(faults) != "recipient.name duplicate, 备注 unknown_field" {
		t.Errorf("faults %q", fieldsAndCodes(faults))
	}
}

func FuzzParseApplication(f *testing.F) {
	f.Add([]byte(goodJSON))
	f.Add([]byte(`{"consent":{"at":"\ud800"},"x":[[]],"recipient":null}`))
	f.Add([]byte("{\"permit_no\":\"\\u0000\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, faults := ParseApplication(line)
		checkParsed(t, a, faults)
	})
}

func FuzzApplicationFromRow(f *testing.F) {
	f.Add("permit_no", "A1", "批准时间", "46348.375")
	f.Add("姓名", "张三", "name", "\xff")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		row := goodRow()
		row[k1], row[k2] = v1, v2
		a, extras, faults := ApplicationFromRow(row)
		if extras.PaidFen < 0 || extras.PaidFen > maxMoney || (extras.PaidFen > 0) != (extras.TransactionNo != "") {
			t.Errorf("extras %+v", extras)
		}
		checkParsed(t, a, faults)
	})
}

// checkParsed holds whatever came in: what passes every check can be stored.
func checkParsed(t *testing.T, a Application, faults Faults) {
	for _, f := range faults {
		if f.Code == "" || f.Detail == "" || strings.ContainsAny(f.Field+f.Detail, "\x00\n") {
			t.Errorf("fault %+v", f)
		}
	}
	n := Normalise(a)
	if len(merge(faults, Validate(n, testNow))) > 0 {
		return
	}
	for _, s := range []string{n.PermitNo, n.ApplicationNo, n.Business, n.Route, n.Ground, n.StationCode, n.Consent.Source, n.Consent.NoticeVersion,
		n.PaymentMethod, n.Recipient.Name.Reveal(), n.Recipient.Address.Reveal()} {
		if strings.ContainsAny(s, "\x00\ufffd") {
			t.Errorf("%q passes", s)
		}
	}
	if y := n.ApprovedAt.Year(); y < 1999 || y > 2100 {
		t.Errorf("approved in %d", y)
	}
}
