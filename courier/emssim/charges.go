package emssim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Invented prices in fen. The real ones are not public (dossier section 9), so nothing may rest on them but that the
// estimate of 050005 and the charge of 050001 agree for the same weight and places.
const (
	discount   = 70 // per cent of the list price that the agreement customer pays
	unitGrams  = 500
	homeFirst  = 1400
	homeStep   = 400
	otherFirst = 2100
	otherStep  = 900
)

// postage is the list price and the customer's price.
func postage(from, to string, grams float64) (standard, paid int) {
	first, step := otherFirst, otherStep
	if from == to {
		first, step = homeFirst, homeStep
	}
	steps := int(math.Ceil(grams/unitGrams)) - 1
	standard = first + max(steps, 0)*step
	return standard, standard * discount / 100
}

func yuan(fen int) string { return strconv.FormatFloat(float64(fen)/100, 'f', -1, 64) }

// estimate is 050005.
func (c *Carrier) estimate(in call) answer {
	f := &fields{m: in.all[0]}
	f.mustOneOf("productCode", sellable...)
	f.must("weight", 30)
	grams := f.number("weight")
	from, _ := recogniseProvince(f.must("senderInfo", 200))
	to, found := recogniseProvince(f.must("receiveInfo", 200))
	insured := f.oneOf("duty", "2") == "2"
	f.number("insuranceMoney")
	switch {
	case f.fault != "":
		return refuse(f.fault)
	case from == "" || !found:
		return refuse("地址无法识别")
	}
	standard, paid := postage(from, to, grams)
	body := map[string]string{
		"weight": fmt.Sprint(grams), "standardFee": yuan(standard), "realFee": yuan(paid), "totalFee": yuan(paid), "discRate": fmt.Sprint(discount),
	}
	if insured {
		body["BJF"], body["totalFee"] = "1", yuan(paid+100)
	}
	return success("成功！", string(render(body)))
}

func recogniseProvince(whole string) (string, bool) {
	for prov := range national() {
		if strings.HasPrefix(whole, prov) {
			return prov, true
		}
	}
	return "", false
}

// charge is 050001; there is nothing to know before the acceptance.
func (c *Carrier) charge(in call) answer {
	f := &fields{m: in.all[0]}
	no := f.must("waybillNo", 20)
	if f.fault != "" {
		return refuse(f.fault)
	}
	c.mu.Lock()
	o := c.orders[no]
	weighed := o != nil && slices.ContainsFunc(c.visible(o, c.cfg.Now()), func(s Scan) bool { return s.OpCode == opAccept })
	c.mu.Unlock()
	if !weighed {
		return answer{codeQuery, "查询无数据", ""}
	}
	return success("成功！", string(render(o.bill())))
}

type billItem struct {
	Name   string `json:"ITEM_NAME"`
	Amount string `json:"ITEM_AMOUNT"`
}

// bill is the answer of 050001, all numbers as strings. The true weight differs a little from the declared one.
func (o *order) bill() map[string]any {
	grams := o.trueWeight()
	standard, paid := postage(o.from.prov, o.to.prov, grams)
	mode, settlement := "1", "JQ"
	if o.paymentMode == "2" || o.product == "3" {
		mode, settlement, paid = "2", "XJ", standard
	}
	return map[string]any{
		"waybillNo": o.waybillNo, "logisticsOrderNo": o.ref, "realWeight": fmt.Sprint(grams), "feeWeight": fmt.Sprint(grams),
		"volumeWeight": "0", "bizProductName": products[o.product].name, "insuranceAmount": "0",
		"postageStandard": yuan(standard), "postagePaid": yuan(paid), "postageOther": "0", "postageTotal": yuan(paid),
		"length": "0", "width": "0", "height": "0", "codAmount": "0", "settlementMode": settlement, "paymentMode": mode,
		"listMap": []billItem{{"基本资费", yuan(paid)}},
	}
}

// trueWeight is what the branch's scales say: a card in an envelope, whatever was declared.
func (o *order) trueWeight() float64 {
	if o.weight > unitGrams {
		return o.weight
	}
	return float64(40 + o.number%60)
}
