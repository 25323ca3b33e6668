package smssim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Why a reply could not be passed on.
var (
	ErrReply    = errors.New("a reply needs a known gateway, a mobile number and a text")
	ErrNotHeard = errors.New("the reply was not received")
)

// Reply answers by SMS from a phone: the gateway posts it, in its own form, to the address beside that of its receipts.
func (g *Gateway) Reply(ctx context.Context, gateway, phone, text string) error {
	v := vendors[gateway]
	if v == nil || !mobile.MatchString(phone) || text == "" {
		return ErrReply
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

// uplinkMAS is a pushed deliver (C.4).
func (g *Gateway) uplinkMAS(phone, text string) []byte {
	body := encode(map[string]any{"smsContent": text, "mobile": phone, "sendTime": g.cfg.Now().In(beijing).Format(wireTime), "addSerial": ""})
	if g.cfg.MAS.Wrapped {
		return []byte(base64.StdEncoding.EncodeToString(body))
	}
	return body
}
