package ems

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
)

func TestOrderIsSentAsTheDossierHasIt(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "成功！", orderAnswer))
	got, err := c.CreateWaybill(t.Context(), testOrder())
	want := courier.Confirmation{
		OrderNo: "TEST-0001", WaybillNo: "1200000001417", RouteCode: "16Z-16Z-Y13-020", SerialNo: "1a394b38-0000-4000-8000-000000000000",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	const message = `[{"ecommerceUserId":"1100000000000","logisticsOrderNo":"TEST-0001","createdTime":"2026-01-02 03:04:05",` +
		`"senderNo":"1100000000000","waybillNo":"1200000001417","contentsAttribute":"1","bizProductNo":"1","paymentMode":"1","weight":80,` +
		`"remarks":"居住证 <1> & 2","sender":{"name":"示例派出所","mobile":"010-12345678","prov":"北京市","city":"北京市","county":"西城区","address":"甲乙丙路1号"},` +
		`"receiver":{"name":"欧阳𠮷·买买提","mobile":"13900001234","prov":"上海市","city":"上海市","county":"黄浦区","address":"丁戊己弄2号楼301"},` +
		`"cargos":[{"cargoName":"文件","cargoQuantity":1,"cargoWeight":80}]}]`
	if diff := cmp.Diff(message, s.last("020003")); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	form := url.Values{
		"apiCode": {"020003"}, "senderNo": {"1100000000000"}, "authorization": {"AbCd1234EfGh5678"}, "msgType": {"0"},
		"timeStamp": {"2026-01-02 10:04:05"}, "version": {"V1.0.0"}, "logitcsInterface": s.form["logitcsInterface"],
	}
	if diff := cmp.Diff(form, s.form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestCollectedOrderNamesItsPayerAndProduct(t *testing.T) {
	t.Parallel()
	for _, product := range []string{"1", "3"} {
		s, srv := newStub(t, says(envelope("00000", "", orderAnswer)))
		cfg := config(srv.URL)
		if product != "1" {
			cfg.CollectProduct = product
		}
		o := testOrder()
		o.PaymentMode, o.WaybillNo, o.Remarks, o.WeightG = 2, "", "", 0
		if _, err := newClient(t, cfg).CreateWaybill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		m := s.last("020003")
		if !strings.Contains(m, `"bizProductNo":"`+product+`","paymentMode":"2"`) || strings.Contains(m, "waybillNo") ||
			strings.Contains(m, "remarks") || strings.Contains(m, "eight") {
			t.Errorf("message %s", m)
		}
	}
}

func TestConfirmationIsReadWhateverItIsWrappedIn(t *testing.T) {
	t.Parallel()
	want := courier.Confirmation{OrderNo: "7", WaybillNo: "1200000002717", RouteCode: "R"}
	for name, body := range map[string]string{
		"object":                `{"retCode":"00000","retBody":{"logisticsOrderNo":"7","waybillNo":"1200000002717","routeCode":"R"}}`,
		"list of one":           `{"retCode":"00000","retBody":[{"logisticsOrderNo":"7","waybillNo":"1200000002717","routeCode":"R"}]}`,
		"numbers":               `{"retCode":"00000","retBody":{"logisticsOrderNo":7,"waybillNo":1200000002717,"routeCode":"R"}}`,
		"traceNo":               `{"retCode":"00000","retBody":"{\"logisticsOrderNo\":\"7\",\"traceNo\":\"1200000002717\",\"routeCode\":\"R\"}"}`,
		"another number is EMS": `{"retCode" : "00000" , "retBody" : { "logisticsOrderNo" : " 7 " , "waybillNo" : "1200000002717" , "routeCode" : "R" } }`,
		"escaped keys":          `{"ret\u0043ode":"\u00300000","retBody":{"logisticsOrderNo":"7","w\u0061ybillNo":"1200000002717","routeCode":"R"}}`,
	} {
		c, _ := clientOf(t, body)
		o := testOrder()
		o.OrderNo = "7"
		got, err := c.CreateWaybill(t.Context(), o)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestRefusalCarriesCodeTextAndSerialNumber(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("B00001", "收寄管控不可达", ""))
	_, err := c.CreateWaybill(t.Context(), testOrder())
	want := &courier.CarrierError{
		Kind: courier.RefusedByCarrier, API: "020003", RetCode: "B00001", Message: "收寄管控不可达", SerialNo: "1a394b38-0000-4000-8000-000000000000",
	}
	got, _ := errors.AsType[*courier.CarrierError](err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNumbersAreReserved(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string
	}{
		{"text", envelope("00000", "", `{"mailList":"1287525537797, 1297636305804,,1287525537797"}`), []string{"1287525537797", "1297636305804"}},
		{"list", `{"retCode":"00000","retBody":{"mailList":["1287525537797",1297636305804]}}`, []string{"1287525537797", "1297636305804"}},
		{"number", `{"retCode":"00000","retBody":{"mailList":1287525537797}}`, []string{"1287525537797"}},
		{"none", envelope("00000", "", `{"mailList":""}`), nil},
		{"no list", envelope("00000", "", `{}`), nil},
		{"rubbish", envelope("00000", "", `{"mailList":"<a>,{}"}`), nil},
		{"empty", envelope("00000", "", ""), nil},
	}
	for _, tt := range tests {
		c, s := clientOf(t, tt.body)
		got, err := c.ReserveNumbers(t.Context(), 2)
		if diff := cmp.Diff(tt.want, got); diff != "" || (tt.want == nil) != (kindOf(t, err) == courier.Unknown) {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
		if m := s.last("020002"); m != `{"bizProductNo":"1","count":"2"}` || s.count("020002") != 1 {
			t.Errorf("%s: asked %d times, %s", tt.name, s.count("020002"), m)
		}
	}
	c, s := clientOf(t, "")
	for _, n := range []int{0, -1, 1000} {
		if _, err := c.ReserveNumbers(t.Context(), n); kindOf(t, err) != courier.RefusedByCarrier || s.count("020002") != 0 {
			t.Errorf("%d numbers: %v", n, err)
		}
	}
}

func TestNumbersOfTheSameProductHaveTheirOwnCode(t *testing.T) {
	t.Parallel()
	for product, number := range map[string]string{"1": "1", "9": "9", "10": "11", "11": "10"} {
		s, srv := newStub(t, says(envelope("00000", "", `{"mailList":"1287525537797"}`)))
		cfg := config(srv.URL)
		cfg.Product = product
		if _, err := newClient(t, cfg).ReserveNumbers(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if m := s.last("020002"); !strings.Contains(m, `"bizProductNo":"`+number+`"`) {
			t.Errorf("product %s: %s", product, m)
		}
	}
}

func TestCancelIsAnObject(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"retCode":"00000","retMsg":"成功！"}`, envelope("00000", "成功！", "")} {
		c, s := clientOf(t, body)
		if err := c.CancelWaybill(t.Context(), "TEST-0001", "1200000001417", "客户取消"); err != nil {
			t.Error(err)
		}
		if m := s.last("020006"); m != vectors[2].message {
			t.Errorf("message %s", m)
		}
	}
	c, s := clientOf(t, "")
	if err := c.CancelWaybill(t.Context(), "", "1", ""); kindOf(t, err) != courier.RefusedByCarrier || s.count("020006") != 0 {
		t.Errorf("nothing to cancel: %v", err)
	}
}

func pdf(n int) string { return "%PDF-1.4\n" + strings.Repeat("x", n) + "\n%%EOF\n" }

func TestLabelIsAWholePDF(t *testing.T) {
	t.Parallel()
	std := base64.StdEncoding.EncodeToString
	lines := func(s string) string { return s[:76] + "\r\n" + s[76:] }
	tests := []struct {
		name, body string
		ok         bool
	}{
		{"base64", std([]byte(pdf(500))), true},
		{"base64 in lines", lines(std([]byte(pdf(500)))), true},
		{"base64 without padding", strings.TrimRight(std([]byte(pdf(501))), "="), true},
		{"raw", pdf(500), true},
		{"page", "<html>系统维护</html>", false},
		{"page in base64", std([]byte("<html>" + strings.Repeat("x", 500))), false},
		{"cut off", std([]byte(pdf(5000)[:4000])), false},
		{"cut off, raw", pdf(5000)[:4000], false},
		{"too small", std([]byte("%PDF-1.4 %%EOF")), false},
		{"too large", std([]byte(pdf(5 << 20))), false},
		{"address", "http://211.156.195.16/oss/label.pdf", false},
		{"nothing", "", false},
		{"object", `{"pdf":1}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, s := clientOf(t, envelope("00000", "成功", tt.body))
			got, err := c.Label(t.Context(), "1200000001417")
			if tt.ok != (err == nil) || tt.ok && !strings.HasPrefix(string(got), "%PDF-1.4\nxxx") {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !tt.ok && (kindOf(t, err) != courier.Unknown || got != nil) {
				t.Errorf("%d bytes, %v; want unknown", len(got), err)
			}
			if m := s.last("010004"); m != `{"waybillNo":"1200000001417","type":"129"}` {
				t.Errorf("asked %s", m)
			}
		})
	}
}

func TestLabelOfNoOrderSaysSo(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, `{"serialNo":"x","retCode":"B0001","retMsg":"查询预告失败","retBody":"","retDate":"","success":false}`)
	_, err := c.Label(t.Context(), "1200000001417")
	if !errors.Is(err, courier.ErrNoOrder) || kindOf(t, err) != courier.RefusedByCarrier || s.count("010004") != 1 {
		t.Errorf("%v after %d calls, want ErrNoOrder after 1", err, s.count("010004"))
	}
	for _, body := range []string{envelope("B0001", "非法的授权", ""), envelope("S00001", "查询预告失败", ""), "查询预告失败"} {
		c, _ := clientOf(t, body)
		if _, err := c.Label(t.Context(), "1200000001417"); err == nil || errors.Is(err, courier.ErrNoOrder) {
			t.Errorf("%s: %v, want another error", body, err)
		}
	}
}

func TestReachableTellsNoFromDoNotKnow(t *testing.T) {
	t.Parallel()
	o := testOrder()
	for body, want := range map[string]string{
		envelope("00000", "该地址信息可达！", ""): "true none",
		envelope("B00001", "收寄管控不可达", ""): "false none",
		envelope("B00001", "非法的授权", ""):   "false refused",
		envelope("S00001", "不可达", ""):     "false unknown",
	} {
		c, s := clientOf(t, body)
		ok, err := c.Reachable(t.Context(), o.Sender, o.Recipient, 80)
		if got := fmt.Sprint(ok, " ", kindOf(t, err)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		const message = `{"baseProductNo":"1","contentsAttribute":"1","receiverProv":"上海市","receiverCity":"上海市","receiverCounty":"黄浦区",` +
			`"receiverAddress":"丁戊己弄2号楼301","senderProv":"北京市","senderCity":"北京市","senderCounty":"西城区","senderAddress":"甲乙丙路1号","weight":"80"}`
		if diff := cmp.Diff(message, s.last("060002")); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	}
}

func TestAddressIsParsed(t *testing.T) {
	t.Parallel()
	const one = `{"provName":"北京市","cityName":"北京市","countyName":"西城区","proCode":"110000","cityCode":110000,"countyCode":"110102","districtCode":"110102"}`
	want := Address{"北京市", "北京市", "西城区", "110000", "110000", "110102"}
	for _, body := range []string{
		envelope("00000", "", "["+one+"]"), `{"retCode":"00000","retBody":[` + one + `]}`, envelope("00000", "", one),
	} {
		c, s := clientOf(t, body)
		got, err := c.ParseAddress(t.Context(), "北京市西城区示例路1号")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if m := s.last("060001"); m != `[{"wholeAddress":"北京市西城区示例路1号"}]` {
			t.Errorf("message %s", m)
		}
	}
	c, _ := clientOf(t, envelope("00000", "", "[]"))
	if got, err := c.ParseAddress(t.Context(), "某处"); err != nil || got != (Address{}) {
		t.Errorf("%+v, %v; want nothing found", got, err)
	}
}

func TestEstimateIsInFen(t *testing.T) {
	t.Parallel()
	o := testOrder()
	c, s := clientOf(t, envelope("00000", "", `{"totalFee":"22","weight":"10","standardFee":"21","realFee":20.55,"discRate":"100","BJF":"1.0"}`))
	got, err := c.Estimate(t.Context(), o.Sender, o.Recipient, 80, 1)
	if want := (Quote{2200, 2100, 2055}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	const message = `{"productCode":"112104102300991","weight":"80","senderInfo":"北京市北京市西城区甲乙丙路1号","receiveInfo":"上海市上海市黄浦区丁戊己弄2号楼301"}`
	if m := s.last("050005"); m != message {
		t.Errorf("message %s", m)
	}
	if _, err := c.Estimate(t.Context(), o.Sender, o.Recipient, 80, 2); err != nil || !strings.Contains(s.last("050005"), "112104102300992") {
		t.Errorf("recipient pays: %v, %s", err, s.last("050005"))
	}
	for _, body := range []string{`{"totalFee":"二十"}`, `{"totalFee":"21.005"}`, `{}`, ``, `{"totalFee":"1e9"}`, `{"totalFee":"NaN"}`} {
		c, _ := clientOf(t, envelope("00000", "", body))
		if got, err := c.Estimate(t.Context(), o.Sender, o.Recipient, 80, 1); kindOf(t, err) != courier.Unknown {
			t.Errorf("%s: %+v, %v; want unknown", body, got, err)
		}
	}
}

func TestPostageIsInFenAndGrams(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("00000", "", `{"waybillNo":"1200000001417","logisticsOrderNo":"TEST-0001","realWeight":"80.5","feeWeight":80,`+
		`"volumeWeight":"","postageStandard":"21.0","postagePaid":"14.0","postageTotal":"14","settlementMode":"JQ","paymentMode":1,"listMap":[{"ITEM_NAME":"x"}]}`))
	got, err := c.Postage(t.Context(), "1200000001417")
	want := Postage{
		WaybillNo: "1200000001417", OrderNo: "TEST-0001", StandardFen: 2100, PaidFen: 1400, TotalFen: 1400,
		RealWeightG: 81, FeeWeightG: 80, PaymentMode: "1", Settlement: "JQ",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := c.Postage(t.Context(), "1200000002717"); kindOf(t, err) != courier.Unknown {
		t.Errorf("another waybill's: %v, want unknown", err)
	}
	for _, body := range []string{envelope("00000", "成功", ""), envelope("B0001", "查询无数据", "")} {
		c, _ := clientOf(t, body)
		if _, err := c.Postage(t.Context(), "1200000001417"); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", body, err)
		}
	}
}

func TestAmountsAreExact(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"0": 0, "21": 2100, "21.0": 2100, "21.5": 2150, "0.05": 5, " 14.00 ": 1400, "-1.20": -120, "1.2300": 123, "1.": 100,
		"999999999999.99": 99999999999999,
	} {
		if got, err := hundredths(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", ".", ".5", "1.001", "1e3", "一", "1,000", "--1", "+1", "1.2.3", "9999999999999"} {
		if got, err := hundredths(s); err == nil {
			t.Errorf("%q: %d, want an error", s, got)
		}
	}
}

func TestPushIsDecoded(t *testing.T) {
	t.Parallel()
	body, _ := json.Marshal(map[string]string{
		"logitcsInterface": pushSealed, "method": "040002", "msgType": "0", "senderNo": "JDPT",
		"serialNo": "825A010864CA44389AC39CF6FA47E572", "timeStamp": "2026-01-02 10:11:12", "version": "v1.0.0",
	})
	s, _ := newSealer(testSecret)
	sealed := func(event string) string { return sm4Mark + string(s.seal(nil, []byte(event))) }
	for name, b := range map[string]string{
		"JSON":               string(body),
		"BOM and blanks":     "\xef\xbb\xbf\n" + string(body) + "\n",
		"form":               url.Values{"logitcsInterface": {pushSealed}, "method": {"040002"}, "serialNo": {"825A010864CA44389AC39CF6FA47E572"}, "senderNo": {"JDPT"}}.Encode(),
		"secret appended":    strings.Replace(string(body), pushSealed, sealed(pushEvent), 1),
		"list of one":        strings.Replace(string(body), pushSealed, sealed("["+pushEvent+"]"), 1),
		"traceNo, code as n": strings.Replace(string(body), pushSealed, sealed(strings.NewReplacer(`"704"`, "704", "waybillNo", "traceNo").Replace(pushEvent)), 1),
	} {
		got, err := DecodePush(testSecret, []byte(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.SerialNo != "825A010864CA44389AC39CF6FA47E572" || got.SenderNo != "JDPT" || got.WaybillNo != "1200000001417" ||
			got.OrderNo != "TEST-0001" || got.Scan.Code != "704" || got.Scan.DeliverCode != "10" || got.Scan.Desc.Reveal() != "示例事件" ||
			got.Scan.At.Unix() != 1767319872 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWrongPushIsNamedAndItsSerialNumberKept(t *testing.T) {
	t.Parallel()
	s, _ := newSealer(testSecret)
	push := func(value, method string) string {
		b, _ := json.Marshal(map[string]string{"logitcsInterface": value, "method": method, "serialNo": "S1", "senderNo": "N1"})
		return string(b)
	}
	sealed := func(event string) string { return sm4Mark + string(s.seal(nil, []byte(event))) }
	other, _ := newSealer(officialSecret)
	tests := []struct {
		name, body string
		want       error
		serial     string
	}{
		{"nothing", "", ErrPushForm, ""},
		{"page", "<html>", ErrPushForm, ""},
		{"JSON cut off", push(pushSealed, "040002")[:100], ErrPushForm, ""},
		{"no message", `{"serialNo":"S1"}`, ErrPushForm, "S1"},
		{"huge", strings.Repeat("x", 70_000), ErrPushForm, ""},
		{"another interface", push(pushSealed, "030002"), ErrPushOther, "S1"},
		{"another secret", push(sm4Mark+string(other.seal(nil, []byte(pushEvent))), "040002"), errSealed, "S1"},
		{"no scan", push(sealed(`{"waybillNo":"1200000001417"}`), "040002"), ErrPushEvent, "S1"},
		{"no waybill", push(sealed(`{"opCode":"704","opTime":"2026-01-02 10:11:12"}`), "040002"), ErrPushEvent, "S1"},
		{"two scans", push(sealed("["+pushEvent+","+pushEvent+"]"), "040002"), ErrPushEvent, "S1"},
		{"not JSON", push(sealed("hello"), "040002"), ErrPushEvent, "S1"},
	}
	for _, tt := range tests {
		p, err := DecodePush(testSecret, []byte(tt.body))
		if !errors.Is(err, tt.want) || p.SerialNo != tt.serial || p.WaybillNo != "" {
			t.Errorf("%s: %+v, %v; want %v and serial %q", tt.name, p, err, tt.want, tt.serial)
		}
	}
	if _, err := DecodePush("x", []byte(push(pushSealed, "040002"))); err == nil {
		t.Error("a bad secret is no error")
	}
}

func TestPushReplyIsTheDocuments(t *testing.T) {
	t.Parallel()
	if got := string(PushReply("825A", "1100000000000", true)); got != `{"serialNo":"825A","code":"00000","codeMessage":"成功","senderNo":"1100000000000"}` {
		t.Error(got)
	}
	if got := string(PushReply("", "", false)); got != `{"serialNo":"","code":"B00001","codeMessage":"未接收","senderNo":""}` {
		t.Error(got)
	}
}

func TestOrderTellsIDAndPasswordOnlyWhenItIsGivenThem(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "成功！", orderAnswer))
	o := testOrder()
	o.RecipientID, o.Password = vault.Conceal("11010519491231002X"), vault.Conceal("012345")
	if _, err := c.CreateWaybill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	const want = `"deliveryPasswordFlag":"1","deliveryPassword":"012345","receiverAgentIdType":"01","receiverIdNo":"11010519491231002X"`
	if m := s.last("020003"); !strings.Contains(m, want) {
		t.Errorf("message %s, want %s in it", m, want)
	}
	if _, err := c.CreateWaybill(t.Context(), testOrder()); err != nil {
		t.Fatal(err)
	}
	if m := s.last("020003"); strings.Contains(m, "assword") || strings.Contains(m, "receiverIdNo") || strings.Contains(m, "AgentId") {
		t.Errorf("an order without them: %s", m)
	}
	for _, bad := range []struct{ id, password string }{{"1101", ""}, {"", "12345"}, {"", "12345a"}} {
		o := testOrder()
		o.RecipientID, o.Password = vault.Conceal(bad.id), vault.Conceal(bad.password)
		_, err := c.CreateWaybill(t.Context(), o)
		if ce, ok := errors.AsType[*courier.CarrierError](err); !ok || ce.Kind != courier.RefusedByCarrier {
			t.Errorf("ID %q and password %q: %v, want it refused before it leaves", bad.id, bad.password, err)
		}
	}
}

func TestARefusalRepeatsNeitherIDNorPassword(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("B00001", "证件11010519491231002X与密码012345不符", `""`))
	o := testOrder()
	o.RecipientID, o.Password = vault.Conceal("11010519491231002X"), vault.Conceal("012345")
	_, err := c.CreateWaybill(t.Context(), o)
	if err == nil || strings.Contains(err.Error(), "012345") || strings.Contains(err.Error(), "0519491231") {
		t.Errorf("error %v", err)
	}
}

func TestInterventionsAreAnObjectUnderEitherNaming(t *testing.T) {
	t.Parallel()
	to := courier.Party{Province: "北京市", City: "北京市", County: "海淀区", Address: vault.Conceal("示例路1号")}
	for naming, want := range map[string]string{
		"table":  `{"identification":"1","receiverAddress":"示例路1号","receiverCity":"北京市","receiverCounty":"海淀区","receiverProv":"北京市","waybillNo":"1200000001417"}`,
		"sample": `{"identification":"1","receiverAddr":"示例路1号","receiverCityName":"北京市","receiverCountyName":"海淀区","receiverProvinceName":"北京市","waybillNo":"1200000001417"}`,
	} {
		s, srv := newStub(t, says(envelope("00000", "成功", `""`)))
		cfg := config(srv.URL)
		cfg.InterveneAPI, cfg.InterveneNames = "020099", naming
		if err := newClient(t, cfg).Intervene(t.Context(), courier.InterveneReaddress, "1200000001417", to); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.last("020099")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", naming, diff)
		}
	}
	s, srv := newStub(t, says(envelope("00000", "成功", `""`)))
	err := newClient(t, config(srv.URL)).Intervene(t.Context(), courier.InterveneUrge, "1200000001417", courier.Party{})
	if ce, ok := errors.AsType[*courier.CarrierError](err); !ok || ce.Kind != courier.RefusedByCarrier || s.last("") != "" {
		t.Errorf("without a code: %v", err)
	}
}
