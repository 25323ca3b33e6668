package emssim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// billOrg is the institution that bills the simulated customer.
const billOrg = "10000001"

// billNo is how the bill of a month is numbered: DZ, the customer's last four digits, yyyyMM.
func (c *Carrier) billNo(month time.Time) string {
	return "DZ" + c.cfg.SenderNo[max(0, len(c.cfg.SenderNo)-4):] + month.Format("200601")
}

// A charged is an item that EMS took on the customer's account.
type charged struct {
	o        *order
	at       time.Time // of acceptance
	grams    float64
	standard int
	paid     int
}

// chargedIn lists what was accepted in a month (Beijing) on the account. An item that was cancelled after acceptance was
// charged all the same.
func (c *Carrier) chargedIn(month time.Time) (items []charged) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.sequence {
		if o.paymentMode == "2" || o.product == "3" {
			continue
		}
		scans := c.visible(o, now)
		i := slices.IndexFunc(scans, func(s Scan) bool { return s.OpCode == opAccept })
		if i < 0 {
			continue
		}
		at := scans[i].At.In(beijing)
		if at.Format("200601") != month.Format("200601") {
			continue
		}
		grams := o.trueWeight()
		standard, paid := postage(o.from.prov, o.to.prov, grams)
		items = append(items, charged{o, at, grams, standard, paid})
	}
	return items
}

func (f *fields) mustDay(name string) time.Time {
	s := f.must(name, 10)
	day, err := time.ParseInLocation(time.DateOnly, s, beijing)
	if s != "" && err != nil {
		f.fail(name, "格式不正确")
	}
	return day
}

// bills is 050002: the bills of the months that end within the days asked for. A bill is made when its month is over.
func (c *Carrier) bills(in call) answer {
	f := &fields{m: in.all[0]}
	from, to := f.mustDay("startDate"), f.mustDay("endDate")
	if f.fault == "" && (to.Before(from) || to.Sub(from) > 366*24*time.Hour) {
		f.fail("endDate", "取值不正确")
	}
	if f.fault != "" {
		return refuse(f.fault)
	}
	var list []map[string]any
	for month := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, beijing); !month.After(to); month = month.AddDate(0, 1, 0) {
		end := month.AddDate(0, 1, -1)
		if end.After(to) || !c.cfg.Now().After(month.AddDate(0, 1, 0)) {
			continue
		}
		items := c.chargedIn(month)
		if len(items) == 0 {
			continue
		}
		standard, paid := 0, 0
		for _, it := range items {
			standard, paid = standard+it.standard, paid+it.paid
		}
		list = append(list, map[string]any{
			"custBillNo": c.billNo(month), "billMonth": month.Format("200601"), "billBeginDatetime": month.Format(wireTime), "billEndDatetime": end.Format(wireTime),
			"orgNo": billOrg, "orgName": "示例揽投部", "senderNo": c.cfg.SenderNo, "senderName": "示例客户", "totalCount": fmt.Sprint(len(items)),
			"postageStandard": yuan(standard), "postagePaid": yuan(paid), "postageTotal": yuan(paid), "addRecordAmount": "0", "billTotalFee": yuan(paid),
			"billType": "1", "custBillState": "1",
		})
	}
	if len(list) == 0 {
		return answer{codeQuery, "查询无数据", ""}
	}
	return success("成功！", string(render(map[string]any{"emsBisBillquery": list})))
}

// billLines is 050006. Names and numbers of people are starred: the simulator keeps no name.
func (c *Carrier) billLines(in call) answer {
	f := &fields{m: in.all[0]}
	no, org := f.must("custBillNo", 21), f.must("orgNo", 20)
	if f.fault != "" {
		return refuse(f.fault)
	}
	month, err := time.ParseInLocation("200601", no[max(0, len(no)-6):], beijing)
	if err != nil || org != billOrg || !strings.HasPrefix(no, "DZ") || no != c.billNo(month) {
		return answer{codeQuery, "查询无数据", ""}
	}
	var lines []map[string]any
	for _, it := range c.chargedIn(month) {
		lines = append(lines, map[string]any{
			"waybillNo": it.o.waybillNo, "splitDate": it.at.UnixMilli(), "bizProductName": products[it.o.product].name, "bizProductNo": sellable[0],
			"receiverProvinceName": it.o.to.prov, "receiverCityName": it.o.to.city, "receiverCountyName": it.o.to.county, "feeWeight": fmt.Sprint(it.grams),
			"postageStandard": yuan(it.standard), "postagePaid": yuan(it.paid), "postageTotal": yuan(it.paid), "receiverLinker": "***",
			"receiverMoblie": "***", "senderLinker": "***", "senderMobile": "***",
		})
	}
	if len(lines) == 0 {
		return answer{codeQuery, "查询无数据", ""}
	}
	return success("成功！", string(render(map[string]any{"emsBisBillingdetails": lines})))
}
