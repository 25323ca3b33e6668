package ems

import (
	"context"
	"errors"
	"time"

	"emsd/courier"
)

// Bills asks which bills EMS has made for a span of days (050002). None is no error.
func (c *Client) Bills(ctx context.Context, from, to time.Time) ([]courier.StatedBill, error) {
	message := marshal(struct {
		From string `json:"startDate"`
		To   string `json:"endDate"`
	}{from.Format(time.DateOnly), to.Format(time.DateOnly)})
	var bills []courier.StatedBill
	err := c.ask(ctx, apiBills, message, nil, func(a *answer) (err error) {
		bills, err = readBills(a)
		return err
	})
	if errors.Is(err, courier.ErrNotFound) {
		return nil, nil
	}
	return bills, err
}

// BillLines asks for the items of a bill (050006). Names and telephone numbers in the answer are not read.
func (c *Client) BillLines(ctx context.Context, b courier.StatedBill) ([]courier.BillLine, error) {
	k := checks{api: apiBillLines}
	k.code("custBillNo", b.BillNo, longestBillNo)
	k.code("orgNo", b.OrgNo, longestBillNo)
	if err := k.err(); err != nil {
		return nil, c.refuse(err)
	}
	message := marshal(struct {
		BillNo string `json:"custBillNo"`
		OrgNo  string `json:"orgNo"`
	}{b.BillNo, b.OrgNo})
	var lines []courier.BillLine
	err := c.ask(ctx, apiBillLines, message, nil, func(a *answer) (err error) {
		lines, err = readBillLines(a)
		return err
	})
	return lines, err
}

const longestBillNo = 21

var errBill = errors.New("the answer holds a bill that cannot be read")

// items calls f with each object of the list that retBody holds under a name, or is; an object alone is a list of one.
func (a *answer) items(name string, f func(object []byte) error) error {
	body, _, ok := unwrap(a.body, nil)
	if !ok {
		return errBody
	}
	if body == nil {
		return nil
	}
	if body[0] == '{' {
		var under []byte
		if err := eachField(body, func(key, raw []byte) {
			if string(key) == name {
				under = raw
			}
		}); err != nil {
			return errBody
		}
		if under == nil {
			return errBody
		}
		if body, _, ok = unwrap(under, nil); !ok {
			return errBody
		}
		if body == nil {
			return nil
		}
	}
	if body[0] == '{' {
		return f(body)
	}
	var inner error
	err := eachItem(body, func(raw []byte) {
		item, _, ok := unwrap(raw, nil)
		if !ok || item == nil || item[0] != '{' {
			inner = errBody
		} else if inner == nil {
			inner = f(item)
		}
	})
	return errors.Join(bodyError(err), inner)
}

// readBills takes the names of the sample (custBillNo, orgNo); the field table has others for some (§2.6).
func readBills(a *answer) (bills []courier.StatedBill, err error) {
	err = a.items("emsBisBillquery", func(object []byte) error {
		var b courier.StatedBill
		var m amounts
		var total, paid int64
		err := eachField(object, func(key, raw []byte) {
			switch string(key) {
			case "custBillNo":
				b.BillNo = code(raw)
			case "orgNo", "orgCode":
				b.OrgNo = code(raw)
			case "billTotalFee":
				total = m.fen(raw)
			case "postageTotal":
				paid = m.fen(raw)
			case "totalCount":
				if n, err := hundredths(code(raw)); err == nil {
					b.Lines = int(n / 100)
				}
			}
		})
		if b.TotalFen = total; total == 0 {
			b.TotalFen = paid
		}
		if err != nil || m.bad || !isPlain(b.BillNo, longestBillNo) || !isPlain(b.OrgNo, longestBillNo) {
			return errBill
		}
		bills = append(bills, b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return bills, nil
}

func readBillLines(a *answer) (lines []courier.BillLine, err error) {
	err = a.items("emsBisBillingdetails", func(object []byte) error {
		var l courier.BillLine
		var m amounts
		var total, paid int64
		haveTotal := false
		err := eachField(object, func(key, raw []byte) {
			switch string(key) {
			case "waybillNo":
				l.WaybillNo = code(raw)
			case "splitDate":
				if at, ok := readTime(raw); ok {
					y, mo, d := at.In(beijing).Date()
					l.PostedOn = time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)
				}
			case "feeWeight":
				l.WeightG = int(m.grams(raw))
			case "postageTotal":
				before := m.read
				total = m.fen(raw)
				haveTotal = m.read > before
			case "postagePaid":
				paid = m.fen(raw)
			}
		})
		if l.Fen = paid; haveTotal {
			l.Fen = total
		}
		if err != nil || m.bad || m.read == 0 || !isCode(l.WaybillNo, 1, 20) || l.Fen < 0 || l.WeightG < 0 {
			return errBill
		}
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lines, nil
}
