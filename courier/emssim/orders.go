package emssim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// address is one side of an order, as far as the simulator needs it.
type address struct {
	mobile, prov, city, county string
}

// order is a waybill that EMS will charge for, unless it is cancelled. Fields above the line never change.
type order struct {
	ref, waybillNo string
	product        string
	paymentMode    string
	contents       string
	at             time.Time
	leaves         time.Time // not before: the courier comes within hours from then on
	from, to       address
	number         uint64 // serial part of the seed of its journey
	password, idNo string // 密码投递 and the number of the document to check; neither is shown in the ledger

	// Guarded by Carrier.mu.
	cancelled bool
	spare     bool    // made beside the one that was ordered: no envelope bears its label, so nobody scans it
	weight    float64 // grams, as last declared
	journey   Journey
	planned   bool // scans holds the generated journey
	scans     []Scan
	wakeAt    time.Time // when the push loop looks at it next; zero: not at all
}

// Names of the products in 020003 (dossier section 2.1), and the group of bizProductId each goes with (section 2.8).
var products = map[string]struct{ name, group string }{
	"1":  {"特快专递", "1121"},
	"2":  {"快递包裹", "1131"},
	"3":  {"特快到付", "1121"},
	"9":  {"国内即日", "1111"},
	"10": {"电商标快", "1151"},
	"11": {"国内标快", "1161"},
}

// numbered maps a product of 020002 to the one of 020003 with the same name: 10 and 11 stand the other way round there,
// and 4 and 5 are the collect variants of 11 and 9 (dossier section 2.3).
var numbered = map[string]string{"1": "1", "2": "2", "3": "3", "4": "11", "5": "9", "9": "9", "10": "11", "11": "10"}

var sellable = []string{
	"112104102300991", "112104302300991", "112104102300992", "112104302300992", "116104100000991", "116104300000991",
	"116104100000992", "116104300000992", "111114100000191", "111114300000191", "113124300000691", "115104300000691",
}

// reserveNumbers is 020002.
func (c *Carrier) reserveNumbers(in call) answer {
	f := &fields{m: in.all[0]}
	product := f.mustOneOf("bizProductNo", "1", "2", "3", "4", "5", "9", "10", "11")
	f.must("count", 3)
	count := int(f.number("count"))
	if f.fault == "" && (count < 1 || float64(count) != f.number("count")) {
		f.fail("count", "取值不正确")
	}
	if f.fault != "" {
		return refuse(f.fault)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]string, count)
	for i := range list {
		list[i] = c.newNumber(numbered[product])
		c.reserved[list[i]] = numbered[product]
	}
	return success("成功！", string(render(map[string]string{"mailList": strings.Join(list, ",")})))
}

// newNumber makes the next waybill number: prefix by product, serial counting up, check digit, a suffix that varies
// (dossier section 6). The caller holds mu.
func (c *Carrier) newNumber(product string) string {
	prefix := map[string]string{"1": "12", "3": "12", "2": "96", "9": "11", "10": "84", "11": "97"}[product]
	for {
		serial := fmt.Sprintf("%08d", c.serial%100_000_000)
		no := fmt.Sprintf("%s%s%d%02d", prefix, serial, checkDigit(serial), mix(c.cfg.Seed, uint64(c.serial))%100)
		c.serial++
		if _, used := c.orders[no]; !used && c.reserved[no] == "" {
			return no
		}
	}
}

// checkDigit is the UPU S10 digit over the eight serial digits.
func checkDigit(serial string) int {
	sum := 0
	for i, weight := range [8]int{8, 6, 4, 2, 3, 5, 9, 7} {
		sum += int(serial[i]-'0') * weight
	}
	switch d := 11 - sum%11; d {
	case 10:
		return 0
	case 11:
		return 5
	default:
		return d
	}
}

// createOrder is 020003.
func (c *Carrier) createOrder(in call) answer {
	o, wanted, fault := c.readOrder(in.all[0])
	switch {
	case fault != "":
		return refuse(fault)
	case strings.HasSuffix(o.to.mobile, "0007"):
		return refuse("收件人地址暂停收寄，请联系揽投机构")
	case c.embargoed(o.to):
		return refuse("收寄管控不可达")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := in.fault.Kind == DuplicateWaybill
	held := c.live(o.ref)
	switch {
	case held != nil && !twice && c.repeat == RepeatRefuse:
		return refuse("物流订单号重复")
	case held != nil && !twice && c.repeat == RepeatSame:
		return c.confirm(held, in.fault)
	case held != nil:
		wanted, twice = "", false
	}
	if bad := c.checkNumber(wanted, o.product); bad != "" {
		return refuse(bad)
	}
	if twice {
		first := *o
		c.book(&first, wanted)
		wanted, o.spare = "", true
	}
	c.book(o, wanted)
	return c.confirm(o, in.fault)
}

// book makes the order one that will be charged, under the named number or a new one. The caller holds mu.
func (c *Carrier) book(o *order, no string) {
	if no == "" {
		no = c.newNumber(o.product)
	}
	o.waybillNo = no
	o.number = mix(c.cfg.Seed, hashText(no))
	o.at = c.cfg.Now()
	o.leaves = o.at.Add(c.cfg.PickUpDelay)
	c.orders[no] = o
	c.byRef[o.ref] = append(c.byRef[o.ref], o)
	c.sequence = append(c.sequence, o)
	c.expectPush(o)
}

// live is the oldest order with that order number that is not cancelled. The caller holds mu.
func (c *Carrier) live(ref string) *order {
	for _, o := range c.byRef[ref] {
		if !o.cancelled {
			return o
		}
	}
	return nil
}

// checkNumber says why a number that the client names may not be used. The caller holds mu.
func (c *Carrier) checkNumber(no, product string) string {
	if no == "" {
		return ""
	}
	if c.orders[no] != nil && c.cfg.UsedNumber != UsedAccept {
		return "运单号已被使用"
	}
	if c.cfg.AcceptUnreserved {
		return ""
	}
	switch reserved := c.reserved[no]; {
	case reserved == "":
		return "运单号不属于该客户"
	case reserved != product && !(reserved == "1" && product == "3") && !(reserved == "3" && product == "1"):
		return "运单号与业务产品不符"
	}
	return ""
}

// confirm is the answer to a successful 020003: an object, although the request was an array.
func (c *Carrier) confirm(o *order, fault Fault) answer {
	route, mark := routeCode(o.to)
	body := struct {
		RouteCode string `json:"routeCode"`
		MarkCode  string `json:"markDestinationCode"`
		Package   string `json:"packageCode"`
		Ref       string `json:"logisticsOrderNo"`
		PackageTo string `json:"packageCodeName"`
		MarkName  string `json:"markDestinationName"`
		WaybillNo string `json:"waybillNo"`
	}{route, mark, "", o.ref, mark, mark, o.waybillNo}
	switch fault.Kind {
	case WrongEcho:
		body.Ref = "SIM" + strings.TrimPrefix(o.ref, "S")
	case OtherWaybill:
		body.WaybillNo = c.newNumber(o.product)
	}
	return success("成功！", string(render(body)))
}

// readOrder checks a 020003 message; the second value is the number it names, if any.
func (c *Carrier) readOrder(m map[string]any) (*order, string, string) {
	f := &fields{m: m}
	f.must("ecommerceUserId", 50)
	o := &order{ref: f.must("logisticsOrderNo", 50)}
	f.mustTime("createdTime")
	o.contents = f.mustOneOf("contentsAttribute", "1", "3")
	o.product = f.mustOneOf("bizProductNo", "1", "2", "3", "9", "10", "11")
	if s := f.text("senderNo", 50); s != "" && s != c.cfg.SenderNo {
		f.fail("senderNo", "取值不正确")
	}
	wanted := f.text("waybillNo", 20)
	f.inner("sender", func(in *fields) { o.from = readAddress(in) })
	f.inner("receiver", func(in *fields) { o.to = readAddress(in) })
	readCargos(f)
	for name, allowed := range orderEnumerations {
		f.oneOf(name, allowed...)
	}
	for name, max := range orderTexts {
		f.text(name, max)
	}
	for _, name := range orderNumbers {
		f.number(name)
	}
	if o.idNo = f.text("receiverIdNo", 20); f.text("deliveryPasswordFlag", 1) == "1" {
		if o.password = f.must("deliveryPassword", 6); len(o.password) != 6 || strings.Trim(o.password, "0123456789") != "" {
			f.fail("deliveryPassword", "格式不正确")
		}
	}
	o.weight = f.number("weight")
	o.paymentMode = f.oneOf("paymentMode", "1", "2", "3", "4", "5", "6", "7")
	c.checkProduct(f, o)
	return o, wanted, f.fault
}

// checkProduct holds the parts of an order that must agree with each other: product, sellable product, contents, payer.
func (c *Carrier) checkProduct(f *fields, o *order) {
	collect := o.paymentMode == "2"
	if o.product == "3" && o.paymentMode != "" && !collect {
		f.fail("paymentMode", "与业务产品不符")
	}
	id := f.text("bizProductId", 20)
	if id == "" || f.fault != "" {
		return
	}
	switch {
	case !slices.Contains(sellable, id):
		f.fail("bizProductId", "取值不正确")
	case id[:4] != products[o.product].group:
		f.fail("bizProductId", "与业务产品不符")
	case id[6:7] != o.contents && o.product != "2" && o.product != "10": // those two are sold for articles only
		f.fail("bizProductId", "与内件性质不符")
	case strings.HasSuffix(id, "2") != collect && o.paymentMode != "":
		f.fail("bizProductId", "与付款方式不符")
	}
}

var orderEnumerations = map[string][]string{
	"oneBillFlag":           {"0", "1"},
	"oneBillFeeType":        {"1", "2", "3", "4"},
	"insuranceFlag":         {"1", "2"},
	"codFlag":               {"1", "2", "9"},
	"valuableFlag":          {"0", "1"},
	"teanIncrementFlag":     {"0", "1"},
	"deliveryPasswordFlag":  {"0", "1"},
	"receiverAgentIdType":   {"01", "02", "03", "04", "05", "06", "07", "08", "10", "11"},
	"reservationReturnFlag": {"0", "1"},
	"reservationReturnTime": {"1日内", "3日内", "5日内", "7日内"},
	"receiptFlag":           {"1", "2", "3", "5", "6", "7"},
	"virtualNumFlag":        {"0", "1"},
	"deliverType":           {"1", "2", "3", "4"},
	"pickupType":            {"0", "1"},
}

var orderTexts = map[string]int{
	"batchNo": 50, "submailNo": 200, "remarks": 200, "deliveryPassword": 6, "receiverIdNo": 20, "projectId": 20,
	"returnRelationNo": 50, "receiptWaybillNo": 20, "localCollectionFee": 20,
}

var orderNumbers = []string{"oneBillNum", "weight", "volume", "length", "width", "height", "postageTotal", "insuranceAmount", "codAmount"}

func readAddress(f *fields) address {
	f.must("name", 50)
	f.text("postCode", 20)
	f.digits("phone", f.text("phone", 20))
	a := address{mobile: f.must("mobile", 20), prov: f.must("prov", 20), city: f.must("city", 20), county: f.must("county", 20)}
	f.digits("mobile", a.mobile)
	f.must("address", 200)
	if f.fault == "" && !knownRegion(a.prov, a.city, a.county) {
		f.fail("prov/city/county", "不是国标全称")
	}
	return a
}

func readCargos(f *fields) {
	list, given := f.m["cargos"]
	if !given || list == nil {
		if f.text("oneBillFlag", 1) == "1" {
			f.fail("cargos", "不能为空")
		}
		return
	}
	all, ok := list.([]any)
	if !ok {
		f.fail("cargos", "格式不正确")
		return
	}
	for _, one := range all {
		m, ok := one.(map[string]any)
		if !ok {
			f.fail("cargos", "格式不正确")
			return
		}
		in := &fields{m: m, path: "cargos."}
		in.must("cargoName", 50)
		in.text("cargoCategory", 50)
		for _, name := range []string{"cargoQuantity", "cargoValue", "cargoWeight"} {
			in.number(name)
		}
		if f.fault == "" {
			f.fault = in.fault
		}
	}
}

// updateOrder is 020004.
func (c *Carrier) updateOrder(in call) answer {
	f := &fields{m: in.all[0]}
	ref, no := f.must("logisticsOrderNo", 50), f.must("waybillNo", 20)
	f.must("weight", 30)
	weight := f.number("weight")
	for _, name := range []string{"volume", "length", "width", "height", "heiupght"} {
		f.number(name)
	}
	f.text("remarks", 200)
	if f.fault != "" {
		return refuse(f.fault)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[no]
	if o == nil || o.ref != ref || o.cancelled {
		return refuse("订单不存在")
	}
	o.weight = weight
	return success("成功！", "")
}

// subscribe is 020005. An order of 020003 is subscribed by itself, so for a known one nothing changes.
func (c *Carrier) subscribe(in call) answer {
	f := &fields{m: in.all[0]}
	f.must("logisticsOrderNo", 50)
	f.must("waybillNo", 20)
	f.mustOneOf("oneBillFlag", "0", "1")
	f.text("submailNo", 200)
	if f.fault != "" {
		return refuse(f.fault)
	}
	return success("成功！", "")
}

// cancelOrder is 020006.
func (c *Carrier) cancelOrder(in call) answer {
	f := &fields{m: in.all[0]}
	ref, no := f.must("logisticsOrderNo", 50), f.must("waybillNo", 20)
	f.must("cancelReason", 200)
	if f.fault != "" {
		return refuse(f.fault)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[no]
	switch {
	case (o == nil || o.ref != ref) && c.cfg.CancelUnknown:
	case o == nil || o.ref != ref:
		return refuse("订单不存在")
	case o.cancelled && c.cfg.RefuseCancelTwice:
		return refuse("订单已取消")
	case !o.cancelled && !c.cfg.CancelAccepted && len(c.visible(o, c.cfg.Now())) > 0:
		return refuse("邮件已收寄，不能取消")
	default:
		o.cancelled = true
	}
	return success("成功！", "")
}

// Orders says how many orders EMS would charge for under this order number: made and not cancelled.
func (c *Carrier) Orders(orderNo string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, o := range c.byRef[orderNo] {
		if !o.cancelled {
			n++
		}
	}
	return n
}

// Told says which password and which document number the order of a waybill gave the courier, empty where it gave none.
func (c *Carrier) Told(waybillNo string) (password, idNo string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.orders[waybillNo]; o != nil {
		return o.password, o.idNo
	}
	return "", ""
}
