package mas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/post"
)

// A report is what a carrier said about one message (C.4). Pulled ones hold the number in a list.
type report struct {
	ReportStatus string `json:"reportStatus"`
	Mobile       mobile `json:"mobile"`
	SubmitDate   string `json:"submitDate"`
	ErrorCode    string `json:"errorCode"`
	MsgGroup     string `json:"msgGroup"`
	MgsGroup     string `json:"mgsGroup"`
}

// mobile reads a number that stands alone or in a list of one.
type mobile string

func (m *mobile) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*m = mobile(one)
		return nil
	}
	var list []string
	if json.Unmarshal(b, &list) != nil || len(list) != 1 {
		return fmt.Errorf("one number is wanted")
	}
	*m = mobile(list[0])
	return nil
}

// ReceiptAnswer is what the gateway hears: an empty answer works for every client seen (C.4).
const ReceiptAnswer = ""

// ParseReceipts reads the body of a pushed or pulled report: an object or a list of them, as JSON, wrapped in base64, or
// as a form. An element that cannot be read is kept as a receipt of nothing, so that it is counted.
func ParseReceipts(body []byte) ([]notify.Receipt, error) {
	text := bytes.TrimSpace(body)
	if len(text) > 0 && text[0] != '{' && text[0] != '[' {
		if plain, err := base64.StdEncoding.DecodeString(string(bytes.Trim(text, `"`))); err == nil {
			text = bytes.TrimSpace(plain)
		} else if form, err := url.ParseQuery(string(text)); err == nil && form.Has("msgGroup") {
			return []notify.Receipt{receipt(report{ReportStatus: form.Get("reportStatus"), Mobile: mobile(form.Get("mobile")),
				SubmitDate: form.Get("submitDate"), ErrorCode: form.Get("errorCode"), MsgGroup: form.Get("msgGroup")})}, nil
		}
	}
	var elements []json.RawMessage
	switch {
	case len(text) > 0 && text[0] == '{' && json.Valid(text):
		elements = []json.RawMessage{text}
	case json.Unmarshal(text, &elements) != nil:
		return nil, fmt.Errorf("read reports: neither JSON, nor base64 of it, nor a form")
	}
	receipts := make([]notify.Receipt, 0, len(elements))
	for _, e := range elements {
		var r report
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &r) != nil {
			receipts = append(receipts, notify.Receipt{Code: "unreadable"})
			continue
		}
		receipts = append(receipts, receipt(r))
	}
	return receipts, nil
}

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

func receipt(r report) notify.Receipt {
	got := notify.Receipt{ProviderID: r.MsgGroup, Success: r.ReportStatus == "DELIVRD", Code: r.ErrorCode}
	if got.ProviderID == "" {
		got.ProviderID = r.MgsGroup
	}
	if got.Code == "" {
		got.Code = r.ReportStatus
	}
	if notify.IsMobile(string(r.Mobile)) {
		got.Phone = vault.Conceal(string(r.Mobile))
	}
	if at, err := time.ParseInLocation("20060102150405", r.SubmitDate, beijing); err == nil {
		got.SubmittedAt = at
	}
	return got
}

// Pull fetches the reports that wait at the gateway, if the account is set to. Whether it hands out each of them once only is not known (C.4), so
// they are to be stored before anything else. Fetching sends the secret.
func (c *Client) Pull(ctx context.Context) ([]notify.Receipt, error) {
	if !c.cfg.Pulls {
		return nil, nil
	}
	a, err := c.fetch(ctx, c.cfg.ReportPath)
	if err != nil || len(a.Body) == 0 {
		return nil, err
	}
	list, err := ParseReceipts(a.Body)
	if err != nil {
		return nil, a.Unreadable()
	}
	return list, nil
}

// fetch asks for what waits at the gateway, by an answer without spaces around it; empty when nothing does.
func (c *Client) fetch(ctx context.Context, path string) (post.Answer, error) {
	body, err := wrap(map[string]string{"ecName": c.cfg.ECName, "apId": c.cfg.APID, "secretKey": c.cfg.SecretKey})
	if err != nil {
		return post.Answer{}, err
	}
	a, err := c.post.Post(ctx, c.cfg.URL+path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return post.Answer{}, err
	}
	if refused, err := readAnswer(a.Body); err == nil && refused.Rspcod != "success" {
		m := judge(a.Status, refused.Rspcod)
		return post.Answer{}, &notify.SendError{Class: m.class, Code: refused.Rspcod, Message: m.word}
	}
	if a.Status != http.StatusOK {
		return post.Answer{}, a.Unreadable()
	}
	a.Body = bytes.TrimSpace(a.Body)
	return a, nil
}
