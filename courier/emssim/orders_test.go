package emssim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNumbersHaveAValidCheckDigitAndAreGivenOnce(t *testing.T) {
	t.Parallel()
	// Published by the operator and valid (dossier section 6).
	for _, no := range []string{"1297636305804", "1295839088299", "1287525537797", "1105593057526", "1244520311098", "1295780512499", "1295838760599", "1149646588868", "1110150118726", "9724655145598", "1200000001417"} {
		if got := checkDigit(no[2:10]); int(no[10]-'0') != got {
			t.Errorf("check digit of %s is %d", no, got)
		}
	}
	r := newRig(t, Config{})
	seen := map[string]bool{}
	for range 3 {
		for _, no := range r.reserve(999) {
			if len(no) != 13 || seen[no] || checkDigit(no[2:10]) != int(no[10]-'0') || !strings.HasPrefix(no, "12") {
				t.Fatalf("number %s", no)
			}
			seen[no] = true
		}
	}
	for _, count := range []string{"0", "1000", "-1", "1.5", "x", ""} {
		if got := r.call("020002", `{"bizProductNo":"1","count":"`+count+`"}`); got.RetCode == "00000" {
			t.Errorf("count %q gives %+v", count, got)
		}
	}
}

func TestOrdersAreCheckedFieldByField(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Unreachable: []string{"上海市上海市崇明区"}})
	tests := []struct {
		name     string
		old, new string
		msg      string // "" is accepted
	}{
		{"as it should be", "", "", ""},
		{"an object", "[{", "{", "非法报文"},
		{"no customer mark", `"ecommerceUserId":"u1",`, "", "ecommerceUserId不能为空"},
		{"no order number", `"logisticsOrderNo":"REF",`, "", "logisticsOrderNo不能为空"},
		{"a long order number", `"REF"`, `"` + strings.Repeat("R", 51) + `"`, "logisticsOrderNo长度超限"},
		{"a time with a zone", `"createdTime":"2026-11-23 10:00:00"`, `"createdTime":"2026-11-23T10:00:00+08:00"`, "createdTime格式不正确"},
		{"contents of a pickup order", `"contentsAttribute":"1"`, `"contentsAttribute":"2"`, "contentsAttribute取值不正确"},
		{"contents as a number", `"contentsAttribute":"1"`, `"contentsAttribute":1`, ""},
		{"a product of 020002 only", `"bizProductNo":"1"`, `"bizProductNo":"4"`, "bizProductNo取值不正确"},
		{"an unknown way to pay", `"paymentMode":"1"`, `"paymentMode":"8"`, "paymentMode取值不正确"},
		{"the recipient pays", `"paymentMode":"1"`, `"paymentMode":"2"`, ""},
		{"the sender pays a collect product", `"bizProductNo":"1"`, `"bizProductNo":"3"`, "paymentMode与业务产品不符"},
		{"a sellable product of another group", `"weight":80`, `"weight":80,"bizProductId":"116104100000991"`, "bizProductId与业务产品不符"},
		{"a sellable product for articles", `"weight":80`, `"weight":80,"bizProductId":"112104302300991"`, "bizProductId与内件性质不符"},
		{"a sellable product the recipient pays", `"weight":80`, `"weight":80,"bizProductId":"112104102300992"`, "bizProductId与付款方式不符"},
		{"a fitting sellable product", `"weight":80`, `"weight":80,"bizProductId":"112104102300991"`, ""},
		{"a negative weight", `"weight":80`, `"weight":-80`, "weight格式不正确"},
		{"weight as words", `"weight":80`, `"weight":"80g"`, "weight格式不正确"},
		{"somebody else's customer number", `"weight":80`, `"weight":80,"senderNo":"1"`, "senderNo取值不正确"},
		{"an unknown field", `"weight":80`, `"weight":80,"colour":"red"`, ""},
		{"no receiver", `"receiver"`, `"reciever"`, "receiver不能为空"},
		{"a nameless receiver", `"name":"李四"`, `"name":" "`, "receiver.name不能为空"},
		{"a telephone of letters", `"mobile":"13900000001"`, `"mobile":"1390000000l"`, "receiver.mobile格式不正确"},
		{"a short province", `"prov":"上海市","city":"上海市"`, `"prov":"上海","city":"上海市"`, "receiver.prov/city/county不是国标全称"},
		{"the list's own city of a municipality", `"city":"上海市"`, `"city":"市辖区"`, "receiver.prov/city/county不是国标全称"},
		{"a county of another city", `"county":"黄浦区"`, `"county":"朝阳区"`, "receiver.prov/city/county不是国标全称"},
		{"no county", `"county":"黄浦区"`, `"county":""`, "receiver.county不能为空"},
		{"an address of 201 characters", `"示例路2号"`, `"` + strings.Repeat("路", 201) + `"`, "receiver.address长度超限"},
		{"an address of 200 characters", `"示例路2号"`, `"` + strings.Repeat("路", 200) + `"`, ""},
		{"cargo without a name", `"cargoName":"文件"`, `"cargoNmae":"文件"`, "cargos.cargoName不能为空"},
		{"a place under embargo", "黄浦区", "崇明区", "收寄管控不可达"},
		{"the test number for refusal", "13900000001", "13900000007", "收件人地址暂停收寄，请联系揽投机构"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			message := orderText("REF", "", "13900000001")
			if tt.old != "" {
				if message = strings.Replace(message, tt.old, tt.new, 1); tt.name == "an object" {
					message = strings.TrimSuffix(message, "]")
				}
			}
			got := r.call("020003", strings.Replace(message, `"REF"`, fmt.Sprintf(`"REF-%d"`, i), 1))
			switch {
			case tt.msg == "" && got.RetCode != "00000":
				t.Errorf("refused: %+v", got)
			case tt.msg != "" && (got.RetCode != "B00001" || got.RetMsg != tt.msg):
				t.Errorf("answer %s %s, want B00001 %s", got.RetCode, got.RetMsg, tt.msg)
			}
		})
	}
}

func TestARepeatedOrderIsAnsweredAsConfigured(t *testing.T) {
	t.Parallel()
	tests := []struct {
		repeat RepeatBehaviour
		code   string
		same   bool
		paid   int
	}{{RepeatSame, "00000", true, 1}, {RepeatNew, "00000", false, 2}, {RepeatRefuse, "B00001", false, 1}}
	for _, tt := range tests {
		t.Run(string(tt.repeat), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{})
			if code, body := r.control("POST", "/sim/repeat", `{"repeat":"`+string(tt.repeat)+`"}`); code != 204 {
				t.Fatalf("repeat = %d %s", code, body)
			}
			no := r.reserve(1)[0]
			r.order("R", no, "13900000001")
			again := r.call("020003", orderText("R", no, "13900000001"))
			if again.RetCode != tt.code || strings.Contains(again.RetBody, no) != tt.same {
				t.Errorf("again = %+v", again)
			}
			if n := r.c.Orders("R"); n != tt.paid {
				t.Errorf("%d paid orders, want %d", n, tt.paid)
			}
		})
	}
}

func TestANumberMustBeReservedFreeAndOfTheProduct(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	numbers := r.reserve(2)
	r.order("A", numbers[0], "13900000001")
	if got := r.call("020003", orderText("B", numbers[0], "13900000001")); got.RetMsg != "运单号已被使用" {
		t.Errorf("a used number: %+v", got)
	}
	if got := r.call("020003", orderText("B", "1200000001417", "13900000001")); got.RetMsg != "运单号不属于该客户" {
		t.Errorf("a number from nowhere: %+v", got)
	}
	if got := r.call("020003", orderText("B", numbers[1], "13900000001", `"bizProductNo":"1"`, `"bizProductNo":"11"`)); got.RetMsg != "运单号与业务产品不符" {
		t.Errorf("a number of another product: %+v", got)
	}
	// 国内标快 is 10 in 020002 and 11 in 020003.
	swapped := r.call("020002", `{"bizProductNo":"10","count":"1"}`)
	var list struct{ MailList string }
	if err := json.Unmarshal([]byte(swapped.RetBody), &list); err != nil {
		t.Fatal(err)
	}
	r.order("C", list.MailList, "13900000001", `"bizProductNo":"1"`, `"bizProductNo":"11"`)

	loose := newRig(t, Config{AcceptUnreserved: true, UsedNumber: UsedAccept})
	loose.order("A", "1200000001417", "13900000001")
	loose.order("B", "1200000001417", "13900000001")
}

func TestCancelIsForItemsNotYetAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	early, late := r.order("EARLY", "", "13900000001"), r.order("LATE", "", "13900000001")
	cancel := func(ref, no string) reply {
		return r.call("020006", fmt.Sprintf(`{"logisticsOrderNo":"%s","waybillNo":"%s","cancelReason":"客户取消"}`, ref, no))
	}
	for range 2 {
		if got := cancel("EARLY", early); got.RetCode != "00000" || got.RetMsg != "成功！" {
			t.Errorf("cancel = %+v", got)
		}
	}
	if n := r.c.Orders("EARLY"); n != 0 || !r.c.Ledger().Orders[0].Cancelled {
		t.Errorf("%d paid orders after the cancel", n)
	}
	if got := r.call("010004", `{"waybillNo":"`+early+`","type":"129"}`); got.RetCode != "B0001" || got.RetMsg != "查询预告失败" {
		t.Errorf("the label of a cancelled order = %+v", got)
	}
	for _, wrong := range [][2]string{{"EARLY", late}, {"NOBODY", "1200000001417"}} {
		if got := cancel(wrong[0], wrong[1]); got.RetMsg != "订单不存在" {
			t.Errorf("cancel %v = %+v", wrong, got)
		}
	}
	if got := r.call("020006", `[{"logisticsOrderNo":"LATE","waybillNo":"`+late+`","cancelReason":"x"}]`); got.RetMsg != "非法报文" {
		t.Errorf("a cancel in an array = %+v", got)
	}
	r.clock.forward(48 * time.Hour)
	if got := cancel("LATE", late); got.RetMsg != "邮件已收寄，不能取消" || r.c.Orders("LATE") != 1 {
		t.Errorf("cancel after acceptance = %+v", got)
	}
	if got := r.trace(early); len(got) != 0 {
		t.Errorf("a cancelled item travels: %s", codes(got))
	}
	r.order("EARLY", "", "13900000001") // the order number is free again, the waybill number is not
	if got := r.call("020003", orderText("OTHER", early, "13900000001")); got.RetMsg != "运单号已被使用" {
		t.Errorf("a cancelled order's number = %+v", got)
	}
}

func TestTheLabelMayTakeItsTimeAndHaveAnAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{LabelDelay: 3 * time.Second})
	no := r.order("R", "", "13900000001")
	ask := func() reply { return r.call("010004", `{"waybillNo":"`+no+`","type":"179","getURL":"1"}`) }
	if got := ask(); got.RetCode != "B0001" || *got.Success {
		t.Errorf("at once = %+v", got)
	}
	r.clock.forward(3 * time.Second)
	got := ask()
	if got.RetMsg != "成功，面单URL有效期为1个月" || strings.Contains(got.RetBody, "黄浦") {
		t.Fatalf("later = %+v", got)
	}
	resp, err := http.Get(got.RetBody)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "%PDF-") || !strings.Contains(string(body), "startxref") {
		t.Errorf("%s: %q, %v", got.RetBody, body, err)
	}
}

func TestEstimateAndChargeAgree(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001", `"weight":80`, `"weight":1200`)
	guess := r.call("050005", `{"productCode":"112104102300991","weight":"1200","senderInfo":"北京市西城区示例路1号","receiveInfo":"上海市黄浦区示例路2号"}`)
	r.clock.forward(48 * time.Hour)
	bill := r.call("050001", `{"waybillNo":"`+no+`"}`)
	var e struct{ RealFee string }
	var b struct{ PostageTotal, RealWeight, PaymentMode string }
	if json.Unmarshal([]byte(guess.RetBody), &e) != nil || json.Unmarshal([]byte(bill.RetBody), &b) != nil ||
		e.RealFee == "" || e.RealFee != b.PostageTotal || b.RealWeight != "1200" || b.PaymentMode != "1" {
		t.Errorf("estimate %+v, charge %+v", guess, bill)
	}
}

func TestAddressesAreParsedAndChecked(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Unreachable: []string{"西藏自治区"}})
	got := r.call("060001", `[{"wholeAddress":"北京市朝阳区示例路1号"},{"wholeAddress":"湖北省仙桃市示例路1号"},{"wholeAddress":"广东省广州市天河区示例路"},{"wholeAddress":"某地"}]`)
	var list []map[string]string
	if err := json.Unmarshal([]byte(got.RetBody), &list); err != nil || len(list) != 4 {
		t.Fatalf("060001 = %+v, %v", got, err)
	}
	if a := list[0]; a["provName"] != "北京市" || a["cityName"] != "北京市" || a["countyName"] != "朝阳区" || a["countyCode"] != "110105" || a["cityCode"] != "110000" {
		t.Errorf("Beijing: %v", a)
	}
	if a := list[2]; a["cityName"] != "广州市" || a["countyCode"] != "440106" || a["cityCode"] != "440100" {
		t.Errorf("Guangzhou: %v", a)
	}
	if list[3]["provName"] != "" {
		t.Errorf("nonsense: %v", list[3])
	}
	ask := func(prov, city, county string) reply {
		return r.call("060002", fmt.Sprintf(`{"baseProductNo":"1","contentsAttribute":"1","receiverProv":"%s","receiverCity":"%s","receiverCounty":"%s","senderProv":"北京市","senderCity":"北京市","senderCounty":"西城区"}`, prov, city, county))
	}
	if got := ask("北京市", "北京市", "延庆区"); got.RetMsg != "该地址信息可达！" || got.RetBody != "" {
		t.Errorf("060002 = %+v", got)
	}
	if got := ask("西藏自治区", "拉萨市", "城关区"); got.RetMsg != "收寄管控不可达" {
		t.Errorf("060002 under embargo = %+v", got)
	}
	for _, known := range [][3]string{{"重庆市", "重庆市", "城口县"}, {"广东省", "东莞市", "东莞市"}, {"湖北省", "仙桃市", "仙桃市"}, {"新疆维吾尔自治区", "石河子市", "石河子市"}} {
		if got := ask(known[0], known[1], known[2]); got.RetCode != "00000" {
			t.Errorf("%v = %+v", known, got)
		}
	}
}

func TestManyClientsAtOnceAreChargedOnceEach(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 40 {
				ref := fmt.Sprintf("R-%d", i) // every worker orders the same
				message := orderText(ref, "", "13900000001")
				a := r.c.carryOut(nil, r.form("020003", message), Fault{})
				if a.code != codeSuccess {
					t.Errorf("worker %d, %s: %+v", worker, ref, a)
				}
				r.c.Ledger()
			}
		})
	}
	all.Wait()
	for i := range 40 {
		if n := r.c.Orders(fmt.Sprintf("R-%d", i)); n != 1 {
			t.Errorf("order %d was charged %d times", i, n)
		}
	}
}

func (r *rig) control(method, path, body string) (int, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.srv.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}
