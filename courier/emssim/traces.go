package emssim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// wireScan is one event as 040001 and, without the product, 040002 send it.
type wireScan struct {
	WaybillNo    string `json:"waybillNo"`
	OrderNo      string `json:"orderNo,omitempty"`
	OpTime       string `json:"opTime"`
	OpCode       string `json:"opCode"`
	OpName       string `json:"opName"`
	OpDesc       string `json:"opDesc"`
	Prov         string `json:"opOrgProvName"`
	City         string `json:"opOrgCity"`
	OrgCode      string `json:"opOrgCode"`
	OrgName      string `json:"opOrgName"`
	OperatorNo   string `json:"operatorNo"`
	OperatorName string `json:"operatorName"`
	DeliverCode  string `json:"deliverCode,omitempty"`
	AttemptCode  string `json:"attemptDeliveryCode,omitempty"`
	ProductName  string `json:"productName,omitempty"`
}

func (s Scan) wire(waybillNo string) wireScan {
	return wireScan{
		WaybillNo: waybillNo, OpTime: s.At.In(beijing).Format(wireTime), OpCode: s.OpCode, OpName: s.OpName, OpDesc: s.OpDesc,
		Prov: s.Prov, City: s.City, OrgCode: s.OrgCode, OrgName: s.OrgName, OperatorNo: s.OperatorNo, OperatorName: s.OperatorName,
		DeliverCode: s.DeliverCode, AttemptCode: s.AttemptCode,
	}
}

// trace is 040001. An unknown number, nonsense and an envelope that nobody has scanned look alike (dossier section 2.4).
func (c *Carrier) trace(in call) answer {
	f := &fields{m: in.all[0]}
	no := f.must("waybillNo", 20)
	back := f.oneOf("direction", "0", "1") == "1"
	if f.fault != "" {
		return refuse(f.fault)
	}
	now := c.cfg.Now()
	c.mu.Lock()
	o := c.orders[no]
	var scans []Scan
	if o != nil && !back {
		scans = slices.Clone(c.visible(o, now))
	}
	c.mu.Unlock()
	scans = slices.DeleteFunc(scans, func(s Scan) bool { return s.At.Before(now.AddDate(-1, 0, 0)) })
	if in.fault.Kind == Stale {
		scans = stale(scans)
	}
	if len(scans) == 0 {
		return success("当前邮件无客户信息！", `{"responseItems":[]}`)
	}
	slices.SortStableFunc(scans, func(a, b Scan) int { return a.At.Compare(b.At) })
	if in.fault.Kind == OtherWaybill || in.fault.Kind == WrongEcho {
		no = strangeNumber(no)
	}
	body := struct {
		Items []wireScan `json:"responseItems"`
	}{make([]wireScan, len(scans))}
	for i, s := range scans {
		body.Items[i] = s.wire(no)
		body.Items[i].ProductName = products[o.product].name
	}
	text := string(render(body))
	if mix(o.number, 5)%1000 < uint64(c.cfg.OddTraces*1000) {
		text = odd(text)
	}
	return success("查询结果正常返回！", text)
}

var (
	numericCode = regexp.MustCompile(`"opCode":"([1-9][0-9]*)"`)
	spacedTime  = regexp.MustCompile(`"opTime":"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)"`)
)

// odd writes a trace as other programs of the same house do: codes as numbers, a T in times, a bare list.
func odd(body string) string {
	body = numericCode.ReplaceAllString(body, `"opCode":$1`)
	body = spacedTime.ReplaceAllString(body, `"opTime":"${1}T$2"`)
	return strings.TrimSuffix(strings.TrimPrefix(body, `{"responseItems":`), "}")
}

// Trace is what EMS knows of a waybill now, oldest first: the truth that a client has to reach, whatever faults stand in
// its way. It is empty for a number without an order.
func (c *Carrier) Trace(waybillNo string) []Scan {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[waybillNo]
	if o == nil {
		return nil
	}
	scans := slices.Clone(c.visible(o, now))
	slices.SortStableFunc(scans, func(a, b Scan) int { return a.At.Compare(b.At) })
	return scans
}

// stale is what a copy of EMS that lags behind would show: all but the latest two scans.
func stale(scans []Scan) []Scan { return scans[:max(0, len(scans)-2)] }

// strangeNumber is a well-formed number that nobody asked about.
func strangeNumber(no string) string {
	serial := fmt.Sprintf("%08d", hashText(no)%100_000_000)
	return fmt.Sprintf("12%s%d99", serial, checkDigit(serial))
}

func (c *Carrier) controlJourney(in struct {
	WaybillNo string  `json:"waybill_no"`
	Outcome   Outcome `json:"outcome"`
	Events    []struct {
		OpCode      string `json:"op_code"`
		After       string `json:"after"`
		OpDesc      string `json:"op_desc"`
		DeliverCode string `json:"deliver_code"`
		AttemptCode string `json:"attempt_delivery_code"`
	} `json:"events"`
}) error {
	j := Journey{Outcome: in.Outcome}
	for _, e := range in.Events {
		after, err := duration(e.After)
		if err != nil {
			return fmt.Errorf("after: %w", err)
		}
		if e.OpCode == "" {
			return fmt.Errorf("an event needs an op_code")
		}
		j.Events = append(j.Events, JourneyEvent{e.OpCode, after, e.OpDesc, e.DeliverCode, e.AttemptCode})
	}
	return c.SetJourney(in.WaybillNo, j)
}

func (c *Carrier) controlScan(in struct {
	WaybillNo   string    `json:"waybill_no"`
	At          time.Time `json:"at"`
	Back        string    `json:"back"` // how long before now it claims to have happened
	OpCode      string    `json:"op_code"`
	OpName      string    `json:"op_name"`
	OpDesc      string    `json:"op_desc"`
	OrgCode     string    `json:"org_code"`
	OrgName     string    `json:"org_name"`
	DeliverCode string    `json:"deliver_code"`
	AttemptCode string    `json:"attempt_delivery_code"`
	Rewrite     bool      `json:"rewrite"`
}) error {
	back, err := duration(in.Back)
	if err != nil {
		return fmt.Errorf("back: %w", err)
	}
	at := in.At
	if back != 0 {
		at = c.cfg.Now().Add(-back)
	}
	return c.AddScan(in.WaybillNo, Scan{
		At: at, OpCode: in.OpCode, OpName: in.OpName, OpDesc: in.OpDesc, OrgCode: in.OrgCode, OrgName: in.OrgName,
		DeliverCode: in.DeliverCode, AttemptCode: in.AttemptCode, Rewrite: in.Rewrite,
	})
}

func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return time.ParseDuration(s)
}
