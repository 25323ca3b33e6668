package ems

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The trace of §4.6, as one that was published goes on the wire.
const traceBody = `{"responseItems":[` +
	`{"waybillNo":"1200000001417","opTime":"2024-12-26 15:26:55","opCode":"306","opName":"揽投解车","opDesc":"快件到达【丙揽投部】","opOrgProvName":"上海市","opOrgCity":"上海市","opOrgCode":"20000001","opOrgName":"丙揽投部","operatorNo":"XTZD","operatorName":"系统自动"},` +
	`{"waybillNo":"1200000001417","opTime":"2024-12-26 18:28:09","opCode":"705","opName":"投递结果反馈-未妥投","opDesc":"因收件人…","opOrgProvName":"上海市","opOrgCity":"上海市","opOrgCode":"20000001","opOrgName":"丙揽投部","attemptDeliveryCode":"1"},` +
	`{"waybillNo":"1200000001417","opTime":"2024-12-27 12:32:28","opCode":"704","opName":"投递结果反馈-妥投","opDesc":"您的快件已代签收【家人,,】","opOrgProvName":"上海市","opOrgCity":"上海市","opOrgCode":"20000001","opOrgName":"丙揽投部","deliverCode":"20"}]}`

func scan(day, clock, code, name string) courier.Scan {
	at, err := time.ParseInLocation(time.DateTime, "2024-12-"+day+" "+clock, beijing)
	if err != nil {
		panic(err)
	}
	return courier.Scan{
		WaybillNo: "1200000001417", At: at.UTC(), Code: code, Name: name,
		OrgCode: "20000001", OrgName: "丙揽投部", Province: "上海市", City: "上海市",
	}
}

var noDesc = cmpopts.IgnoreFields(courier.Scan{}, "Desc")

func TestTraceIsReadWhateverItIsWrappedIn(t *testing.T) {
	t.Parallel()
	attempt, delivered := scan("26", "18:28:09", "705", "投递结果反馈-未妥投"), scan("27", "12:32:28", "704", "投递结果反馈-妥投")
	attempt.AttemptCode, delivered.DeliverCode = "1", "20"
	want := []courier.Scan{scan("26", "15:26:55", "306", "揽投解车"), attempt, delivered}

	var items struct{ ResponseItems json.RawMessage }
	if err := json.Unmarshal([]byte(traceBody), &items); err != nil {
		t.Fatal(err)
	}
	list := string(items.ResponseItems)
	quoted, _ := json.Marshal(list)
	for name, body := range map[string]string{
		"object in a string":       envelope("00000", "查询结果正常返回！", traceBody),
		"object":                   `{"retCode":"00000","retBody":` + traceBody + `}`,
		"list in a string":         envelope("00000", "", list),
		"list":                     `{"retCode":"00000","retBody":` + list + `}`,
		"list in a string, inside": `{"retCode":"00000","retBody":{"responseItems":` + string(quoted) + `}}`,
		"traceNo for waybillNo":    envelope("00000", "", strings.ReplaceAll(traceBody, "waybillNo", "traceNo")),
		"no number at all":         envelope("00000", "", strings.ReplaceAll(traceBody, `"waybillNo":"1200000001417",`, "")),
		"numbers for texts":        envelope("00000", "", numbers.Replace(traceBody)),
		"BOM and blanks":           "\xef\xbb\xbf \r\n" + envelope("00000", "", " \n"+traceBody+"\r\n ") + " \n",
		"escaped":                  envelope("00000", "", escape(traceBody)),
		"newest first":             envelope("00000", "", reversed(t, list)),
		"blanks in values":         envelope("00000", "", strings.NewReplacer(`"704"`, `" 704 "`, `12:32:28"`, `12:32:28 "`).Replace(traceBody)),
	} {
		c, s := clientOf(t, body)
		got, err := c.Trace(t.Context(), "1200000001417", 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got.Scans, noDesc); diff != "" || got.Unreadable != 0 || got.Fingerprint == 0 || got.Unchanged {
			t.Errorf("%s: unreadable %d, fingerprint %d, scans (-want +got):\n%s", name, got.Unreadable, got.Fingerprint, diff)
		}
		if d := got.Scans[2].Desc.Reveal(); d != "您的快件已代签收【家人,,】" {
			t.Errorf("%s: description %q", name, d)
		}
		if m := s.last("040001"); m != `{"waybillNo":"1200000001417","direction":"0"}` {
			t.Errorf("asked %s", m)
		}
	}
}

var numbers = strings.NewReplacer(`"1200000001417"`, `1200000001417`, `"704"`, `704`, `"705"`, `705`, `"306"`, `306`,
	`"20000001"`, `20000001`, `"20"`, `20`, `"1"`, `1`)

// escape writes all beyond ASCII as \uXXXX.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		b.WriteString(`\u` + strings.ToUpper(string("0123456789abcdef"[r>>12&15])+string("0123456789abcdef"[r>>8&15])+
			string("0123456789abcdef"[r>>4&15])+string("0123456789abcdef"[r&15])))
	}
	return b.String()
}

func reversed(t *testing.T, list string) string {
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(list), &items); err != nil {
		t.Fatal(err)
	}
	items[0], items[2] = items[2], items[0]
	b, _ := json.Marshal(items)
	return string(b)
}

func TestTraceWithoutScansIsNoError(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"serialNo":"2245c312-0000-4000-8000-000000000000","retCode":"00000","retMsg":"当前邮件无客户信息！","retBody":"{\"responseItems\":[]}","retDate":"2026-03-25 05:19:17","success":true}`,
		envelope("00000", "", ""), `{"retCode":"00000"}`, `{"retCode":"00000","retBody":null}`, envelope("00000", "", "[]"),
		envelope("00000", "", "{}"), envelope("00000", "", `{"responseItems":null}`), envelope("00000", "", `{"responseItems":""}`),
		envelope("00000", "", "null"),
	} {
		c, _ := clientOf(t, body)
		got, err := c.Trace(t.Context(), "1200000001417", 0)
		if err != nil || len(got.Scans) != 0 || got.Unreadable != 0 || got.Fingerprint == 0 {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestUnreadableScansAreCountedAndKeptOut(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("00000", "", `{"responseItems":[
		{"opTime":"2024-12-26 15:26","opCode":"306"},
		{"opTime":"2024-12-26 15:26:00","opCode":""},
		{"opTime":"","opCode":"306"},
		{"opTime":"2024-13-26 15:26:00","opCode":"306"},
		{"opTime":"0001-01-01 00:00:00","opCode":"306"},
		{"opTime":"2024-12-26 15:26:00","opCode":"`+strings.Repeat("3", 40)+`"},
		{"opTime":"2024-12-26 15:26:00","opCode":"306","waybillNo":"1200000002717"},
		"x", 7, null, [], {},
		{"opTime":"2024-12-26 15:27:00","opCode":"C_002","opDesc":"a\u0000b\ud800c"}
	]}`))
	got, err := c.Trace(t.Context(), "1200000001417", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Scans) != 2 || got.Unreadable != 11 {
		t.Fatalf("%d scans and %d unreadable, want 2 and 11", len(got.Scans), got.Unreadable)
	}
	if at := got.Scans[0].At; !at.Equal(time.Date(2024, 12, 26, 7, 26, 0, 0, time.UTC)) || at.Location() != time.UTC {
		t.Errorf("time without seconds read as %v", at)
	}
	if got.Scans[1].Code != "C_002" || got.Scans[1].Desc.Reveal() != "ab\uFFFDc" {
		t.Errorf("scan %q with description %q", got.Scans[1].Code, got.Scans[1].Desc.Reveal())
	}
}

// Whatever a scan's code looks like, it is taken as it is; what it means is not decided here.
func TestCodesAreTakenAsTheyCome(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("00000", "", `{"responseItems":[
		{"opTime":"2024-12-26 15:26:00","opCode":704,"deliverCode":10},
		{"opTime":"2024-12-26 15:26:00","opCode":"704","deliverCode":"10","opOrgCode":20000001},
		{"opTime":20241226152600,"opCode":" C_002 "},
		{"opTime":"2024-12-26 15:26:00","opCode":"Z9新"},
		{"opTime":"2024-12-26 15:26:00","opCode":-7.5e3},
		{"opTime":"2024-12-26 15:26:00","opCode":true},
		{"opTime":"2024-12-26 15:26:00","opCode":null},
		{"opTime":"2024-12-26 15:26:00","opCode":["704"]},
		{"opTime":"2024-12-26 15:26:00","opCode":{"704":1}}
	]}`))
	got, err := c.Trace(t.Context(), "1200000001417", 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, s := range got.Scans {
		codes = append(codes, s.Code+"/"+s.DeliverCode+"/"+s.OrgCode)
	}
	want := []string{"704/10/", "704/10/20000001", "C_002//", "Z9新//", "-7.5e3//", "true//"}
	if diff := cmp.Diff(want, codes); diff != "" || got.Unreadable != 3 {
		t.Errorf("%d unreadable, codes (-want +got):\n%s", got.Unreadable, diff)
	}
}

// Not parallel, and in seconds of the processor: what other tests do beside it is not what the scans cost.
func TestTenThousandScansAreReadInASecond(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"responseItems":[`)
	at := time.Date(2024, 12, 1, 0, 0, 0, 0, beijing)
	for i := range 10_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"waybillNo":"1200000001417","opTime":"%s","opCode":"389","opName":"邮件到达投递局","opDesc":"快件到达【第%d揽投部】","opOrgCode":"%08d"}`,
			at.Add(time.Duration(i)*time.Minute).Format(time.DateTime), i, i)
	}
	b.WriteString(`]}`)
	c, _ := clientOf(t, envelope("00000", "", b.String()))
	began := processorTime(t)
	got, err := c.Trace(t.Context(), "1200000001417", 0)
	took := processorTime(t) - began
	t.Logf("%d scans of %d bytes asked for and read in %s", len(got.Scans), b.Len(), took)
	if err != nil || len(got.Scans) != 10_000 || got.Unreadable != 0 || took > time.Second {
		t.Errorf("%d scans, %d unreadable in %s, %v", len(got.Scans), got.Unreadable, took, err)
	}
}

// processorTime is what this process has used so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestNonsenseIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "<html><body>502 Bad Gateway</body></html>", "{", "[]", "null", `"00000"`, "\x00\xff", `{"retCode":"00000","retBody":`,
		envelope("00000", "", "您好"), envelope("00000", "", `{"responseItems":[{"opCode":"704"`), envelope("00000", "", "[1,2"),
		envelope("00000", "", `{"responseItems":[]} {}`), `{"retCode":"00000","retBody":7}`,
	} {
		c, _ := clientOf(t, body)
		if got, err := c.Trace(t.Context(), "1200000001417", 0); err == nil || len(got.Scans) != 0 || got.Raw != nil {
			t.Errorf("%.60q: %d scans, %v; want an error", body, len(got.Scans), err)
		}
	}
}

// What is kept for a dispute is what the fingerprint is of, of answers that told something.
func TestOnlyAChangedAnswerWithScansIsKept(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("00000", "", traceBody))
	got, err := c.Trace(t.Context(), "1200000001417", 0)
	if err != nil || fingerprint(got.Raw) != got.Fingerprint {
		t.Errorf("%d bytes are kept, %v", len(got.Raw), err)
	}
	if got, err = c.Trace(t.Context(), "1200000001417", got.Fingerprint); err != nil || !got.Unchanged || got.Raw != nil {
		t.Errorf("of an unchanged answer %d bytes are kept, %v", len(got.Raw), err)
	}
	c, _ = clientOf(t, envelope("00000", "", `{"responseItems":[]}`))
	if got, err = c.Trace(t.Context(), "1200000001417", 0); err != nil || got.Raw != nil {
		t.Errorf("of an empty answer %d bytes are kept, %v", len(got.Raw), err)
	}
}

func TestTraceOfAnotherWaybillIsNoAnswer(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("00000", "", traceBody))
	if got, err := c.Trace(t.Context(), "1200000002717", 0); kindOf(t, err) != courier.Unknown {
		t.Errorf("%+v, %v; want unknown", got, err)
	}
}

func TestUnchangedTraceIsRecognisedByItsBodyAlone(t *testing.T) {
	t.Parallel()
	body := traceBody
	answer := func() string {
		return strings.NewReplacer("1a394b38", time.Now().Format("05.00000"), "14:02:04", time.Now().Format(time.TimeOnly)).
			Replace(envelope("00000", "查询结果正常返回！", body))
	}
	s, srv := newStub(t, nil)
	s.answer = says(answer())
	c := newClient(t, config(srv.URL))
	first, err := c.Trace(t.Context(), "1200000001417", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.answer = says(answer())
	same, err := c.Trace(t.Context(), "1200000001417", first.Fingerprint)
	if err != nil || !same.Unchanged || same.Fingerprint != first.Fingerprint || same.Scans != nil {
		t.Errorf("the same body: %+v, %v; want unchanged", same, err)
	}
	body = strings.Replace(traceBody, "20000001", "20000002", 1)
	s.answer = says(answer())
	other, err := c.Trace(t.Context(), "1200000001417", first.Fingerprint)
	if err != nil || other.Unchanged || other.Fingerprint == first.Fingerprint || len(other.Scans) != 3 {
		t.Errorf("another body: %+v, %v; want changed", other, err)
	}
}

// The fingerprint is stored, so that a new version of the program must give the same.
func TestFingerprintIsStable(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]int64{
		``:                         -2039914840885289964,
		`"{\"responseItems\":[]}"`: -8052113805225293667,
	} {
		if got := fingerprint([]byte(raw)); got != want {
			t.Errorf("fingerprint(%q) = %d, want %d", raw, got, want)
		}
	}
}

func TestTraceRefusesWhatIsNoNumberBeforeSending(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "", ""))
	for _, no := range []string{"", "12000000014171200000001417", `1","direction":"1`, "一二"} {
		if _, err := c.Trace(t.Context(), no, 0); kindOf(t, err) != courier.RefusedByCarrier {
			t.Errorf("%q: %v, want refused", no, err)
		}
	}
	if n := s.count("040001"); n != 0 {
		t.Errorf("%d were sent", n)
	}
}

func TestTimesAreBeijings(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 1, 1, 16, 4, 5, 0, time.UTC)
	for _, s := range []string{
		"2026-01-02 00:04:05", " 2026-01-02 00:04:05", "2026-01-02 00:04:05.0", "2026-01-02T00:04:05", "2026/01/02 00:04:05", "20260102000405", "2026-1-2 0:4:5",
		"2026-01-02T00:04:05+08:00", "2026-01-01T16:04:05Z", "2026-01-02T00:04:05.000+0800", "2026-01-02 01:04:05+09:00", "1767283445000",
	} {
		if got, ok := readTime([]byte(`"` + s + `"`)); !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "2026-02-30 00:00:00", "2026-00-01 00:00:00", "2026-01-02 24:00:00", "2026-01-02 23:60:00", "2026-01-02", "1999-12-31 23:59:59", "9999-01-01 00:00:00", "现在",
		"2026-01-02T00:04:05+99:00", "9999999999999", "-176728344500", "176728344500", "2026-01-02T00:04:05 CST"} {
		if got, ok := readTime([]byte(`"` + s + `"`)); ok {
			t.Errorf("%s: %v, want an error", s, got)
		}
	}
}

func TestACallCarriesTheTraceOfItsRequestOn(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "", `{"responseItems":[]}`))
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for want, ctx := range map[string]context.Context{trace: courier.WithTrace(t.Context(), trace), "": t.Context()} {
		if err := c.Check(ctx); err != nil || s.trace != want {
			t.Errorf("sent traceparent %q, %v; want %q", s.trace, err, want)
		}
	}
}

func TestCheckAsksForATraceThatNobodyHas(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "当前邮件无客户信息！", `{"responseItems":[]}`))
	if err := c.Check(t.Context()); err != nil || s.count("040001") != 1 {
		t.Errorf("%v after %d calls", err, s.count("040001"))
	}
	c, _ = clientOf(t, envelope("B00001", "非法的授权", ""))
	if err := c.Check(t.Context()); kindOf(t, err) != courier.RefusedByCarrier || !strings.Contains(err.Error(), "非法的授权") {
		t.Errorf("%v, want the refusal", err)
	}
}
