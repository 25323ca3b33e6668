package ems

import (
	"encoding/json"
	"errors"
	"net/url"

	"emsd/courier"
)

// A Push is a scan that EMS tells unasked (040002). Nothing but the shared key vouches for it, and the key's mode has no
// integrity check: it is a hint that a trace should be asked for (§5).
type Push struct {
	SerialNo  string
	SenderNo  string // of the envelope; may be empty or another's: no proof of anything
	WaybillNo string
	OrderNo   string
	Scan      courier.Scan
}

// Pushes that cannot be taken in.
var (
	ErrPushForm  = errors.New("not a push of EMS")
	ErrPushOther = errors.New("a push of another interface")
	ErrPushEvent = errors.New("the push holds no readable scan")
)

// maxPush bounds a push: one event has at most some kilobytes.
const maxPush = 64 << 10

// DecodePush reads the body of a push. With an error, Push holds as much of the envelope as was read, so that the reply
// can name its serial number.
func DecodePush(secret string, body []byte) (Push, error) {
	s, err := newSealer(secret)
	if err != nil {
		return Push{}, errKey
	}
	if len(body) > maxPush {
		return Push{}, ErrPushForm
	}
	p, method, sealed, err := readPushEnvelope(trim(body))
	if err != nil {
		return p, err
	}
	if method != "" && method != apiPush {
		return p, ErrPushOther
	}
	message, err := s.open([]byte(sealed))
	if err != nil {
		return p, err
	}
	return p, readPushEvent(&p, trim(message))
}

// readPushEnvelope takes JSON, as every push seen was, and a form, as requests to EMS are.
func readPushEnvelope(body []byte) (p Push, method, sealed string, err error) {
	if len(body) > 0 && body[0] != '{' {
		form, err := url.ParseQuery(string(body))
		if err != nil || !form.Has("logitcsInterface") {
			return p, "", "", ErrPushForm
		}
		p = Push{SerialNo: plain(form.Get("serialNo"), 64), SenderNo: plain(form.Get("senderNo"), 64)}
		return p, form.Get("method"), form.Get("logitcsInterface"), nil
	}
	err = eachField(body, func(key, raw []byte) {
		switch string(key) {
		case "logitcsInterface", "logisticsInterface":
			sealed = text(raw)
		case "method", "apiCode":
			method = code(raw)
		case "serialNo":
			p.SerialNo = plain(text(raw), 64)
		case "senderNo":
			p.SenderNo = plain(text(raw), 64)
		}
	})
	if err != nil || sealed == "" {
		return p, "", "", ErrPushForm
	}
	return p, method, sealed, nil
}

func readPushEvent(p *Push, event []byte) error {
	if len(event) > 0 && event[0] == '[' { // a list of one is taken, as elsewhere
		n := 0
		var only []byte
		if err := eachItem(event, func(raw []byte) { n, only = n+1, raw }); err != nil || n != 1 {
			return ErrPushEvent
		}
		event = only
	}
	var orderNo string
	_ = eachField(event, func(key, raw []byte) {
		if string(key) == "orderNo" {
			orderNo = code(raw)
		}
	})
	c := cursor{b: event}
	scan, ok := readScan(&c, &courier.Scan{})
	if !ok || c.end() != nil || !isCode(scan.WaybillNo, 1, 20) {
		return ErrPushEvent
	}
	p.WaybillNo, p.OrderNo, p.Scan = scan.WaybillNo, cut(orderNo, 50), scan
	return nil
}

// PushReply is the body that answers a push: taken, or to be sent again.
func PushReply(serialNo, senderNo string, ok bool) []byte {
	reply := struct {
		SerialNo string `json:"serialNo"`
		Code     string `json:"code"`
		Message  string `json:"codeMessage"`
		SenderNo string `json:"senderNo"`
	}{serialNo, "00000", "成功", senderNo}
	if !ok {
		reply.Code, reply.Message = "B00001", "未接收"
	}
	b, err := json.Marshal(reply)
	if err != nil {
		panic(err) // strings only
	}
	return b
}
