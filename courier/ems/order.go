package ems

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"emsd/courier"
	"emsd/courier/vault"
)

// ReserveNumbers reserves 1 to 999 waybill numbers (020002). An answer that gets lost loses its numbers, which costs
// nothing (§3); it is not repeated here all the same, so that a slow EMS is not asked for thousands.
func (c *Client) ReserveNumbers(ctx context.Context, count int) ([]string, error) {
	if count < 1 || count > 999 {
		k := checks{api: apiNumbers}
		k.wrong("count", "1 to 999 is wanted")
		return nil, c.refuse(k.err())
	}
	message := marshal(struct {
		Product string `json:"bizProductNo"`
		Count   string `json:"count"`
	}{c.cfg.NumberProduct, strconv.Itoa(count)})

	var numbers []string
	err := c.order(ctx, apiNumbers, message, nil, func(a *answer) (err error) {
		numbers, err = readNumbers(a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return numbers, nil
}

var errNumbers = errors.New("the answer holds no list of waybill numbers")

// readNumbers reads mailList, a text with commas or a list. What cannot be a number is left out, and so is a repetition.
func readNumbers(a *answer) ([]string, error) {
	var listed []string
	_, err := a.object(func(key, raw []byte) {
		if string(key) != "mailList" {
			return
		}
		if raw[0] == '[' {
			_ = eachItem(raw, func(item []byte) { listed = append(listed, text(item)) })
			return
		}
		listed = strings.Split(text(raw), ",")
	})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(listed))
	var numbers []string
	for _, n := range listed {
		if n = strings.TrimSpace(n); isCode(n, 5, 20) && !seen[n] {
			seen[n] = true
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, errNumbers
	}
	return numbers, nil
}

// wireOrder is the message of 020003 (§2.1), in the form that was in production: enumerations as text, quantities as numbers.
type wireOrder struct {
	UserID    string `json:"ecommerceUserId"`
	OrderNo   string `json:"logisticsOrderNo"`
	CreatedAt string `json:"createdTime"`
	SenderNo  string `json:"senderNo"`
	WaybillNo string `json:"waybillNo,omitempty"`
	Contents  string `json:"contentsAttribute"`
	Product   string `json:"bizProductNo"`
	Payment   string `json:"paymentMode"`
	WeightG   int    `json:"weight,omitempty"`
	Remarks   string `json:"remarks,omitempty"`

	PasswordFlag string `json:"deliveryPasswordFlag,omitempty"`
	Password     string `json:"deliveryPassword,omitempty"`
	IDType       string `json:"receiverAgentIdType,omitempty"`
	IDNo         string `json:"receiverIdNo,omitempty"`

	Sender     wireParty   `json:"sender"`
	Recipient  wireParty   `json:"receiver"`
	CargoItems []wireCargo `json:"cargos"`
}

type wireParty struct {
	Name     string `json:"name"`
	Mobile   string `json:"mobile"`
	Province string `json:"prov"`
	City     string `json:"city"`
	County   string `json:"county"`
	Address  string `json:"address"`
}

type wireCargo struct {
	Name     string `json:"cargoName"`
	Quantity int    `json:"cargoQuantity"`
	WeightG  int    `json:"cargoWeight,omitempty"`
}

// residentID is receiverAgentIdType of the resident identity card; permits are issued on it.
const residentID = "01"

// document is contentsAttribute: a permit is a document.
const document = "1"

// CreateWaybill orders one waybill (020003). At most one request leaves. The confirmation may name another number than
// the one reserved: what that means is for the caller to decide.
func (c *Client) CreateWaybill(ctx context.Context, o courier.Order) (courier.Confirmation, error) {
	w := c.wireOrder(o)
	if err := checkOrder(o, w); err != nil {
		return courier.Confirmation{}, c.refuse(err)
	}
	var conf courier.Confirmation
	hidden := append(private(w.Sender, w.Recipient), w.IDNo, w.Password)
	err := c.order(ctx, apiOrder, marshal([]wireOrder{w}), hidden, func(a *answer) (err error) {
		conf, err = readConfirmation(a, o.OrderNo)
		return err
	})
	if err != nil {
		return courier.Confirmation{}, err
	}
	return conf, nil
}

func (c *Client) wireOrder(o courier.Order) wireOrder {
	product := c.cfg.Product
	if o.PaymentMode == 2 {
		product = c.cfg.CollectProduct
	}
	w := wireOrder{
		UserID:     c.cfg.SenderNo, // any value under 50 characters will do
		OrderNo:    o.OrderNo,
		CreatedAt:  wireTime(o.CreatedAt),
		SenderNo:   c.cfg.SenderNo,
		WaybillNo:  o.WaybillNo,
		Contents:   document,
		Product:    product,
		Payment:    strconv.Itoa(o.PaymentMode),
		WeightG:    o.WeightG,
		Remarks:    o.Remarks,
		Sender:     party(o.Sender),
		Recipient:  party(o.Recipient),
		CargoItems: []wireCargo{{Name: o.Contents, Quantity: 1, WeightG: o.WeightG}},
	}
	if w.IDNo = reveal(o.RecipientID); w.IDNo != "" {
		w.IDType = residentID
	}
	if w.Password = reveal(o.Password); w.Password != "" {
		w.PasswordFlag = "1"
	}
	return w
}

func party(p courier.Party) wireParty {
	return wireParty{
		Name: reveal(p.Name), Mobile: reveal(p.Phone), Province: p.Province, City: p.City, County: p.County, Address: reveal(p.Address),
	}
}

// private lists what no error may repeat.
func private(parties ...wireParty) []string {
	var values []string
	for _, p := range parties {
		values = append(values, p.Name, p.Mobile, p.Address)
	}
	return values
}

// checkOrder holds an order against the lengths and enumerations of §2.1, before anything leaves.
func checkOrder(o courier.Order, w wireOrder) *courier.CarrierError {
	c := checks{api: apiOrder}
	c.code("logisticsOrderNo", o.OrderNo, 50)
	if o.WaybillNo != "" && !isCode(o.WaybillNo, 1, 20) {
		c.wrong("waybillNo", "1 to 20 letters and digits are wanted")
	}
	if o.CreatedAt.IsZero() {
		c.wrong("createdTime", "empty")
	}
	if o.PaymentMode != 1 && o.PaymentMode != 2 {
		c.wrong("paymentMode", "1 or 2 is wanted: the applicant pays (R-10)")
	}
	if o.WeightG < 0 {
		c.wrong("weight", "negative")
	}
	c.optional("remarks", o.Remarks, 200)
	c.text("cargoName", o.Contents, 50)
	if w.IDNo != "" && !isCode(w.IDNo, 15, 20) {
		c.wrong("receiverIdNo", "15 to 20 letters and digits are wanted")
	}
	if w.Password != "" && (len(w.Password) != 6 || !onlyDigits(w.Password)) {
		c.wrong("deliveryPassword", "six digits are wanted")
	}
	c.party("sender", w.Sender)
	c.party("receiver", w.Recipient)
	return c.err()
}

func (c *checks) party(who string, p wireParty) {
	c.text(who+".name", p.Name, 50)
	c.phone(who+".mobile", p.Mobile)
	c.region(who, p)
	c.text(who+".address", p.Address, 200)
}

func (c *checks) region(who string, p wireParty) {
	c.text(who+".prov", p.Province, 20)
	c.text(who+".city", p.City, 20)
	c.text(who+".county", p.County, 20)
}

// phone takes a station's landline too: mobile is the field that EMS requires.
func (c *checks) phone(field, value string) {
	digits := strings.ReplaceAll(value, "-", "")
	if len(value) > 20 || len(digits) < 7 || !onlyDigits(digits) {
		c.wrong(field, "7 to 20 digits and hyphens are wanted")
	}
}

var (
	errNoWaybill = errors.New("the answer holds no waybill number")
	errManyBills = errors.New("the answer holds several waybill numbers or none that is well-formed")
	errEcho      = errors.New("the echoed logisticsOrderNo is not ours")
)

// readConfirmation reads the answer to an order. Without our own order number in it, the answer is somebody else's.
func readConfirmation(a *answer, orderNo string) (courier.Confirmation, error) {
	conf := courier.Confirmation{SerialNo: a.serialNo()}
	var traceNo string
	_, err := a.object(func(key, raw []byte) {
		switch string(key) {
		case "logisticsOrderNo":
			conf.OrderNo = code(raw)
		case "waybillNo":
			conf.WaybillNo = code(raw)
		case "traceNo":
			traceNo = code(raw)
		case "routeCode":
			conf.RouteCode = cut(code(raw), 50)
		}
	})
	if conf.WaybillNo == "" {
		conf.WaybillNo = traceNo
	}
	switch {
	case err != nil:
		return courier.Confirmation{}, err
	case conf.OrderNo != orderNo:
		return courier.Confirmation{}, errEcho
	case conf.WaybillNo == "":
		return courier.Confirmation{}, errNoWaybill
	case !isCode(conf.WaybillNo, 1, 20):
		return courier.Confirmation{}, errManyBills
	}
	return conf, nil
}

// CancelWaybill cancels an order before hand-over (020006). At most one request leaves.
func (c *Client) CancelWaybill(ctx context.Context, orderNo, waybillNo, reason string) error {
	k := checks{api: apiCancel}
	k.code("logisticsOrderNo", orderNo, 50)
	if !isCode(waybillNo, 1, 20) {
		k.wrong("waybillNo", "1 to 20 letters and digits are wanted")
	}
	k.text("cancelReason", reason, 200)
	if err := k.err(); err != nil {
		return c.refuse(err)
	}
	message := marshal(struct { // an object: in a list, as an order is, it is 非法报文 (§1.3)
		OrderNo   string `json:"logisticsOrderNo"`
		WaybillNo string `json:"waybillNo"`
		Reason    string `json:"cancelReason"`
	}{orderNo, waybillNo, reason})
	return c.order(ctx, apiCancel, message, []string{reason}, envelopeOnly)
}

// envelopeOnly reads an answer whose code says everything.
func envelopeOnly(*answer) error { return nil }

// reveal is the one way of personal data out of its type, on its way into an encrypted message.
func reveal(s vault.Secret) string { return s.Reveal() }
