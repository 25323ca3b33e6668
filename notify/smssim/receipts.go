package smssim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// How receipts are sent: how often Run looks at the simulated clock (real time), and how long the receiver may take,
// which is Aliyun's limit, the shortest.
const (
	receiptLook     = 20 * time.Millisecond
	receiptPatience = 700 * time.Millisecond
)

// receipt is one report on its way.
type receipt struct {
	at    time.Time
	m     *message
	tries int
	early chan struct{} // what the answer to the send waits for, until the first push
}

// plan decides when, and how often, a message's receipt is pushed. The caller holds mu.
func (g *Gateway) plan(m *message, rng *rand.Rand) {
	if vendors[m.Gateway].address(&g.cfg) == "" {
		return
	}
	lost, late, twice := rng.Float64() < g.cfg.LostReceipts, rng.Float64() < g.cfg.LateReceipts, rng.Float64() < g.cfg.TwiceReceipts
	if len(g.receipts) >= g.cfg.ReceiptQueue {
		return
	}
	kind := g.faults.pickReceipt(m.Gateway, m.At)
	late, twice, lost = late || kind == ReceiptLate, twice || kind == ReceiptTwice, lost || kind == ReceiptLost
	if kind == ReceiptEarly {
		g.planEarly(m)
		return
	}
	if lost {
		return
	}
	at := m.settled
	if late {
		at = at.Add(time.Hour + time.Duration(rng.IntN(3*60))*time.Minute)
	}
	g.receipts = append(g.receipts, &receipt{at: at, m: m})
	if twice {
		g.receipts = append(g.receipts, &receipt{at: at.Add(time.Duration(rng.IntN(600)) * time.Second), m: m})
	}
	if kind == ReceiptContradictory || kind == ReceiptStranger {
		after := at.Add(time.Duration(1+rng.IntN(600)) * time.Second)
		other := m.contradicted(after)
		if kind == ReceiptStranger {
			other = m.stranger(rng)
		}
		g.receipts = append(g.receipts, &receipt{at: after, m: other})
	}
}

// Run pushes receipts until ctx is done.
func (g *Gateway) Run(ctx context.Context) {
	client := &http.Client{
		Timeout:       receiptPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(receiptLook)
	defer tick.Stop()
	for {
		for batch := g.due(); len(batch) > 0 && ctx.Err() == nil; batch = g.due() {
			v := vendors[batch[0].m.Gateway]
			g.settle(batch, v.again, push(ctx, client, v.address(&g.cfg), v.report(g, batch), v.heard))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// due takes up to a batch of one gateway's receipts whose time has come.
func (g *Gateway) due() []*receipt {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	var batch []*receipt
	g.receipts = slices.DeleteFunc(g.receipts, func(r *receipt) bool {
		if r.at.After(now) || len(batch) > 0 && (r.m.Gateway != batch[0].m.Gateway || len(batch) == vendors[r.m.Gateway].batch) {
			return false
		}
		batch = append(batch, r)
		return true
	})
	return batch
}

// settle puts back what was not received, until its tries are used up.
func (g *Gateway) settle(batch []*receipt, again []time.Duration, received bool) {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range batch {
		g.precede(r)
		if !received && r.tries < len(again) {
			r.at = now.Add(again[r.tries])
			r.tries++
			g.receipts = append(g.receipts, r)
		}
	}
}

// reportAliyun is the body of SmsReport (A.8).
func (g *Gateway) reportAliyun(batch []*receipt) []byte {
	type wire struct {
		Phone      string `json:"phone_number"`
		SendTime   string `json:"send_time"`
		ReportTime string `json:"report_time"`
		Success    bool   `json:"success"`
		ErrCode    string `json:"err_code"`
		ErrMsg     string `json:"err_msg"`
		Size       string `json:"sms_size"`
		BizID      string `json:"biz_id"`
		OutID      string `json:"out_id"`
	}
	list := make([]wire, 0, len(batch))
	for _, r := range batch {
		m, ok := r.m, r.m.errCode == codeDelivered
		text := "用户接收成功"
		if !ok {
			text = "手机关机、停机、空号或不在服务区"
		}
		list = append(list, wire{m.Phone, m.At.In(beijing).Format(wireTime), m.settled.In(beijing).Format(wireTime), ok, m.errCode, text,
			strconv.Itoa(segments(m.content)), m.bizID, m.OutID})
	}
	return encode(list)
}

func heardAliyun(answer []byte) bool {
	var reply struct {
		Code *int `json:"code"`
	}
	return json.Unmarshal(answer, &reply) == nil && reply.Code != nil && *reply.Code == 0
}

// push posts a report; whether it was heard is for the vendor to say.
func push(ctx context.Context, client *http.Client, to string, body []byte, heard func([]byte) bool) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return err == nil && resp.StatusCode == http.StatusOK && heard(answer)
}

// segments is how many messages a text of more than 70 characters is billed as.
func segments(text string) int {
	n := len([]rune(text))
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}
