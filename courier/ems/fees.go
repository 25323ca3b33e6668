package ems

import (
	"context"
	"errors"

	"emsd/courier"
)

// A Quote is EMS's estimate of a charge, in fen.
type Quote struct {
	TotalFen    int64 // with insurance and surcharges
	StandardFen int64 // list price
	RealFen     int64 // this account's price
}

// sellable gives 可售卖产品代码 of documents (§2.8) by product and by who pays; the last digit says who.
var sellable = map[string][2]string{
	"1":  {"112104102300991", "112104102300992"},
	"3":  {"112104102300992", "112104102300992"},
	"9":  {"111114100000191", ""},
	"11": {"116104100000991", "116104100000992"},
}

// Estimate asks what a document will cost (050005). paymentMode is 1 or 2, as in an order.
func (c *Client) Estimate(ctx context.Context, sender, recipient courier.Party, weightG, paymentMode int) (Quote, error) {
	from, to := party(sender), party(recipient)
	fromLine := from.Province + from.City + from.County + from.Address
	toLine := to.Province + to.City + to.County + to.Address
	k := checks{api: apiEstimate}
	k.text("senderInfo", fromLine, 200)
	k.text("receiveInfo", toLine, 200)
	if weightG <= 0 {
		k.wrong("weight", "a number above 0 is wanted")
	}
	var product string
	switch paymentMode {
	case 1:
		product = sellable[c.cfg.Product][0]
	case 2:
		product = sellable[c.cfg.CollectProduct][1]
	}
	if product == "" {
		k.wrong("productCode", "the product has none for documents and this payment")
	}
	if err := k.err(); err != nil {
		return Quote{}, c.refuse(err)
	}
	message := marshal(struct {
		Product string `json:"productCode"`
		WeightG string `json:"weight"`
		From    string `json:"senderInfo"`
		To      string `json:"receiveInfo"`
	}{product, grams(weightG), fromLine, toLine})

	var q Quote
	err := c.ask(ctx, apiEstimate, message, []string{fromLine, toLine}, func(a *answer) (err error) {
		q, err = readQuote(a)
		return err
	})
	if err != nil {
		return Quote{}, err
	}
	return q, nil
}

var errPrice = errors.New("the answer holds no readable price")

func readQuote(a *answer) (Quote, error) {
	var q Quote
	var m amounts
	found, err := a.object(func(key, raw []byte) {
		switch string(key) {
		case "totalFee":
			q.TotalFen = m.fen(raw)
		case "standardFee":
			q.StandardFen = m.fen(raw)
		case "realFee":
			q.RealFen = m.fen(raw)
		}
	})
	if err != nil {
		return Quote{}, err
	}
	if !found || m.bad || m.read == 0 {
		return Quote{}, errPrice
	}
	if q.TotalFen == 0 {
		q.TotalFen = q.RealFen
	}
	return q, nil
}

// A Postage is what EMS charged for an accepted item: fen and grams.
type Postage struct {
	WaybillNo, OrderNo               string
	StandardFen, PaidFen, TotalFen   int64
	RealWeightG, FeeWeightG, VolumeG int64
	PaymentMode                      string // 1 sender, 2 recipient
	Settlement                       string // XJ at once, JQ on account
}

// Postage asks what an item was charged (050001). errors.Is(err, courier.ErrNotFound): EMS has charged nothing under
// the number yet.
func (c *Client) Postage(ctx context.Context, waybillNo string) (Postage, error) {
	if err := checkCode(apiPostage, "waybillNo", waybillNo, 20); err != nil {
		return Postage{}, c.refuse(err)
	}
	message := marshal(struct {
		WaybillNo string `json:"waybillNo"`
	}{waybillNo})

	var p Postage
	err := c.ask(ctx, apiPostage, message, nil, func(a *answer) (err error) {
		p, err = readPostage(a, waybillNo)
		return err
	})
	if err != nil {
		return Postage{}, err
	}
	return p, nil
}

var errOther = errors.New("the answer is about another waybill")

func readPostage(a *answer, waybillNo string) (Postage, error) {
	var p Postage
	var m amounts
	found, err := a.object(func(key, raw []byte) {
		switch string(key) {
		case "waybillNo", "traceNo":
			p.WaybillNo = code(raw)
		case "logisticsOrderNo":
			p.OrderNo = cut(code(raw), 50)
		case "postageStandard":
			p.StandardFen = m.fen(raw)
		case "postagePaid":
			p.PaidFen = m.fen(raw)
		case "postageTotal":
			p.TotalFen = m.fen(raw)
		case "realWeight":
			p.RealWeightG = m.grams(raw)
		case "feeWeight":
			p.FeeWeightG = m.grams(raw)
		case "volumeWeight":
			p.VolumeG = m.grams(raw)
		case "paymentMode":
			p.PaymentMode = cut(code(raw), longestCode)
		case "settlementMode":
			p.Settlement = cut(code(raw), longestCode)
		}
	})
	switch {
	case err != nil:
		return Postage{}, err
	case !found:
		return Postage{}, &courier.CarrierError{
			Kind: courier.RefusedByCarrier, Message: "nothing charged yet", Err: courier.ErrNotFound,
		}
	case p.WaybillNo != "" && p.WaybillNo != waybillNo:
		return Postage{}, errOther
	case m.bad || m.read == 0:
		return Postage{}, errPrice
	}
	p.WaybillNo = waybillNo
	return p, nil
}

// amounts reads decimals and remembers whether one could not be read. An empty one is none.
type amounts struct {
	read int
	bad  bool
}

func (m *amounts) fen(raw []byte) int64 {
	s := code(raw)
	if s == "" {
		return 0
	}
	n, err := hundredths(s)
	if err != nil {
		m.bad = true
		return 0
	}
	m.read++
	return n
}

// grams rounds to whole grams. A weight alone makes no price.
func (m *amounts) grams(raw []byte) int64 {
	s := code(raw)
	if s == "" {
		return 0
	}
	n, err := hundredths(s)
	if err != nil {
		m.bad = true
		return 0
	}
	return (n + 50) / 100
}
