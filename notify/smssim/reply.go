package smssim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// Why a reply could not be passed on.
var (
	ErrReply    = errors.New("a reply needs a known gateway, a mobile number and a text")
	ErrNotHeard = errors.New("the reply was not received")
)

// heldReply is a reply that waits until it is fetched.
type heldReply struct {
	phone, text string
	at          time.Time
}

// Reply answers by SMS from a phone: the gateway posts it, in its own form, to the address beside that of its receipts; or it
// keeps it until it is fetched, where the account is set so.
func (g *Gateway) Reply(ctx context.Context, gateway, phone, text string) error {
	v := vendors[gateway]
	if v == nil || !mobile.MatchString(phone) || text == "" {
		return ErrReply
	}
	if v.holds(&g.cfg) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.held[gateway] = append(g.held[gateway], heldReply{phone, text, g.cfg.Now()})
		return nil
	}
	receipts := v.address(&g.cfg)
	to := strings.Replace(receipts, "/sms/"+gateway+"/receipts/", "/sms/"+gateway+"/replies/", 1)
	if to == receipts {
		return fmt.Errorf("%w: the address of %s's receipts is not of the form …/sms/%s/receipts/SECRET", ErrReply, gateway, gateway)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	if !push(ctx, client, to, v.uplink(g, phone, text), v.heard) {
		return ErrNotHeard
	}
	return nil
}

// uplinkAliyun is the body of SmsUp.
func (g *Gateway) uplinkAliyun(phone, text string) []byte {
	now := g.cfg.Now()
	return encode([]map[string]any{{"phone_number": phone, "content": text, "send_time": now.In(beijing).Format(wireTime), "sign_name": g.cfg.SignName,
		"dest_code": "9000000", "sequence_id": g.sequence.Add(1) + uint64(g.cfg.Wall().UnixMilli())<<10}}) // a restart repeats none
}

// uplinkTencent is the body of the callback for replies.
func (g *Gateway) uplinkTencent(phone, text string) []byte {
	return encode(map[string]any{"extend": "", "mobile": phone, "nationcode": "86", "sign": g.cfg.SignName, "text": text, "time": g.cfg.Now().Unix()})
}

// pullReplies is PullSmsReplyStatus: each reply is handed out once.
func (g *Gateway) pullReplies(body []byte) answer {
	var p struct {
		Limit       int
		SmsSdkAppId string
	}
	if a := strictly(body, &p); a.status != 0 {
		return a
	}
	switch {
	case p.SmsSdkAppId != g.cfg.Tencent.AppID:
		return tc3Error("InvalidParameterValue.SdkAppIdNotExist", "SmsSdkAppId is unknown.")
	case p.Limit < 1 || p.Limit > 100:
		return tc3Error("InvalidParameterValue.LimitOverflow", "Limit is from 1 to 100.")
	}
	list := []map[string]any{}
	for _, r := range g.release("tencent", p.Limit) {
		list = append(list, map[string]any{"ExtendCode": "", "CountryCode": "86", "SubscriberNumber": r.phone, "PhoneNumber": "+86" + r.phone,
			"SignName": g.cfg.SignName, "ReplyContent": r.text, "ReplyTime": r.at.Unix()})
	}
	return answer{http.StatusOK, map[string]any{"PullSmsReplyStatusSet": list}}
}

// deliverMAS is the interface for replies (C.4). Whether one comes twice is not known; here each comes once.
func (g *Gateway) deliverMAS() answer {
	list := []map[string]any{}
	for _, r := range g.release("mas", math.MaxInt) {
		list = append(list, map[string]any{"smsContent": r.text, "mobile": []string{r.phone}, "sendTime": r.at.In(beijing).Format(wireTime), "addSerial": ""})
	}
	return answer{http.StatusOK, map[string]any{"list": list}}
}

// release takes up to limit of the replies that wait at a gateway.
func (g *Gateway) release(gateway string, limit int) []heldReply {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(limit, len(g.held[gateway]))
	var out []heldReply
	out, g.held[gateway] = g.held[gateway][:n], g.held[gateway][n:]
	return out
}

// uplinkMAS is a pushed deliver (C.4).
func (g *Gateway) uplinkMAS(phone, text string) []byte {
	body := encode(map[string]any{"smsContent": text, "mobile": phone, "sendTime": g.cfg.Now().In(beijing).Format(wireTime), "addSerial": ""})
	if g.cfg.MAS.Wrapped {
		return []byte(base64.StdEncoding.EncodeToString(body))
	}
	return body
}
