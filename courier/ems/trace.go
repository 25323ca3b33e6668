package ems

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"emsd/courier"
	"emsd/courier/vault"
)

// Trace asks for an item's scans (040001, forward direction). When the answer's retBody has the fingerprint known, its
// scans are not read: Unchanged is set. An item that EMS has not accepted yet, or does not know, has no scans; that is
// no error (§2.4).
func (c *Client) Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error) {
	if err := checkCode(apiTrace, "waybillNo", waybillNo, 20); err != nil {
		return courier.Trace{}, c.refuse(err)
	}
	const before, after = `{"waybillNo":"`, `","direction":"0"}`
	message := make([]byte, 0, len(before)+len(waybillNo)+len(after))
	message = append(append(append(message, before...), waybillNo...), after...)

	var t courier.Trace
	err := c.ask(ctx, apiTrace, message, nil, func(a *answer) error {
		t = courier.Trace{Fingerprint: fingerprint(a.body)}
		if t.Fingerprint == known {
			t.Unchanged = true
			return nil
		}
		err := readTrace(&t, a.body, waybillNo)
		if err == nil && len(t.Scans) > 0 {
			t.Raw = bytes.Clone(a.body) // the answer's own goes with its buffer
		}
		return err
	})
	if err != nil {
		return courier.Trace{}, err
	}
	return t, nil
}

// fingerprint is stable over versions and machines. It covers retBody alone, as it came: serialNo and retDate differ in
// every answer.
func fingerprint(raw []byte) int64 {
	sum := sha256.Sum256(raw)
	if n := int64(binary.BigEndian.Uint64(sum[:8])); n != 0 {
		return n
	}
	return 1
}

// readTrace reads {"responseItems":[…]}, or the bare list. A single scan that names another waybill is kept out; a trace
// that is all another's is no answer.
func readTrace(t *courier.Trace, raw []byte, waybillNo string) error {
	scratch := buffers.Get().(*[]byte)
	defer release(scratch)
	value, grown, ok := unwrap(raw, (*scratch)[:0])
	*scratch = grown
	if !ok {
		return errBody
	}
	if value == nil {
		return nil
	}
	r := traceReader{cursor: cursor{b: value}, t: t, waybillNo: waybillNo}
	if value[0] == '[' {
		r.list()
	} else if err := r.object(); err != nil {
		return err
	}
	if r.end() != nil {
		return errBody
	}
	if r.others > 0 && len(t.Scans) == 0 {
		return errOther
	}
	byTime := func(a, b courier.Scan) int { return a.At.Compare(b.At) }
	if !slices.IsSortedFunc(t.Scans, byTime) {
		slices.SortStableFunc(t.Scans, byTime)
	}
	return nil
}

// A traceReader goes over a trace once, in place.
type traceReader struct {
	cursor
	t         *courier.Trace
	waybillNo string
	others    int // scans of another waybill
	last      courier.Scan
}

func (r *traceReader) object() (err error) {
	r.fields(func(key []byte) {
		switch {
		case string(key) != "responseItems":
		case r.at('['):
			r.list()
		case r.at('"'): // a list in a string once more
			err = readTrace(r.t, r.take(), r.waybillNo)
		}
	})
	return err
}

func (r *traceReader) list() {
	r.items(func() {
		if !r.at('{') {
			r.take()
			r.t.Unreadable++
			return
		}
		s, ok := readScan(&r.cursor, &r.last)
		switch {
		case !ok:
			r.t.Unreadable++
		case s.WaybillNo != "" && s.WaybillNo != r.waybillNo:
			r.t.Unreadable++
			r.others++
		default:
			s.WaybillNo = r.waybillNo
			r.t.Scans = append(r.t.Scans, s)
			r.last = s
		}
	})
}

// Longest values that are taken in. The document's are shorter (§2.4); a code or an organisation's number is part of a
// scan's identity and of an index.
const (
	longestCode = 32
	longestOrg  = 64
	longestName = 600
	longestDesc = 4000
)

// readScan reads the event at the cursor. Without a time and a code it cannot be one. Neighbouring scans are much alike:
// what the last one had too is not copied again.
func readScan(c *cursor, last *courier.Scan) (courier.Scan, bool) {
	var s courier.Scan
	var at []byte
	var traceNo string
	c.fields(func(key []byte) {
		raw := c.take()
		switch string(key) {
		case "waybillNo":
			s.WaybillNo = alike(raw, last.WaybillNo, longestCode)
		case "traceNo":
			traceNo = alike(raw, last.WaybillNo, longestCode)
		case "opTime":
			at = raw
		case "opCode":
			s.Code = alike(raw, last.Code, longestCode+1)
		case "opName":
			s.Name = alike(raw, last.Name, longestName)
		case "opDesc":
			s.Desc = vault.Conceal(cut(text(raw), longestDesc))
		case "opOrgCode":
			s.OrgCode = alike(raw, last.OrgCode, longestOrg)
		case "opOrgName":
			s.OrgName = alike(raw, last.OrgName, longestName)
		case "opOrgProvName":
			s.Province = alike(raw, last.Province, longestName)
		case "opOrgCity":
			s.City = alike(raw, last.City, longestName)
		case "deliverCode":
			s.DeliverCode = alike(raw, last.DeliverCode, longestCode)
		case "attemptDeliveryCode":
			s.AttemptCode = alike(raw, last.AttemptCode, longestCode)
		}
	})
	if s.WaybillNo == "" {
		s.WaybillNo = traceNo
	}
	if c.i < 0 || s.Code == "" || len(s.Code) > longestCode {
		return courier.Scan{}, false
	}
	var ok bool
	s.At, ok = readTime(at)
	return s, ok
}

// alike is the text of raw without blanks around it, cut. When it is known, known itself comes back.
func alike(raw []byte, known string, longest int) string {
	if len(raw) == len(known)+2 && raw[0] == '"' && string(raw[1:len(raw)-1]) == known {
		return known
	}
	return cut(code(raw), longest)
}
