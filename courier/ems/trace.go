package ems

import (
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
		return readTrace(&t, a.body, waybillNo)
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
	items := value
	if value[0] == '{' {
		items = nil
		if err := eachField(value, func(key, raw []byte) {
			if string(key) == "responseItems" {
				items = raw
			}
		}); err != nil {
			return errBody
		}
		if items, _, ok = unwrap(items, nil); !ok {
			return errBody
		}
		if items == nil {
			return nil
		}
	}
	others := 0
	if err := eachItem(items, func(raw []byte) {
		s, ok := readScan(raw)
		switch {
		case !ok:
			t.Unreadable++
		case s.WaybillNo != "" && s.WaybillNo != waybillNo:
			t.Unreadable++
			others++
		default:
			s.WaybillNo = waybillNo
			t.Scans = append(t.Scans, s)
		}
	}); err != nil {
		return errBody
	}
	if others > 0 && len(t.Scans) == 0 {
		return errOther
	}
	byTime := func(a, b courier.Scan) int { return a.At.Compare(b.At) }
	if !slices.IsSortedFunc(t.Scans, byTime) {
		slices.SortStableFunc(t.Scans, byTime)
	}
	return nil
}

// Longest values that are taken in. The document's are shorter (§2.4); a code or an organisation's number is part of a
// scan's identity and of an index.
const (
	longestCode = 32
	longestName = 600
	longestDesc = 4000
)

// readScan reads one event. Without a time and a code it cannot be one.
func readScan(raw []byte) (courier.Scan, bool) {
	var s courier.Scan
	var at, traceNo string
	err := eachField(raw, func(key, raw []byte) {
		switch string(key) {
		case "waybillNo":
			s.WaybillNo = code(raw)
		case "traceNo":
			traceNo = code(raw)
		case "opTime":
			at = code(raw)
		case "opCode":
			s.Code = code(raw)
		case "opName":
			s.Name = cut(text(raw), longestName)
		case "opDesc":
			s.Desc = vault.Conceal(cut(text(raw), longestDesc))
		case "opOrgCode":
			s.OrgCode = code(raw)
		case "opOrgName":
			s.OrgName = cut(text(raw), longestName)
		case "opOrgProvName":
			s.Province = cut(text(raw), longestName)
		case "opOrgCity":
			s.City = cut(text(raw), longestName)
		case "deliverCode":
			s.DeliverCode = code(raw)
		case "attemptDeliveryCode":
			s.AttemptCode = code(raw)
		}
	})
	if s.WaybillNo == "" {
		s.WaybillNo = traceNo
	}
	if err != nil || s.Code == "" || len(s.Code) > longestCode {
		return courier.Scan{}, false
	}
	s.OrgCode, s.DeliverCode, s.AttemptCode = cut(s.OrgCode, 64), cut(s.DeliverCode, longestCode), cut(s.AttemptCode, longestCode)
	s.At, err = readTime(at)
	return s, err == nil
}
