package aliyun

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"emsd/notify"
)

const (
	pageSize = 50 // the most that is allowed
	maxPages = 40 // a number gets 50 messages a day per template: more pages are no answer
)

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// A detail is one message in QuerySendDetails.
type detail struct {
	SendStatus number64 `json:"SendStatus"` // 1 awaiting receipt, 2 failed, 3 delivered
	ErrCode    string   `json:"ErrCode"`
	OutID      string   `json:"OutId"`
}

type total struct {
	TotalCount number64 `json:"TotalCount"` // a string on the wire
}

// number64 reads a number that may come as a string.
type number64 int64

func (n *number64) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || text == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("a number is wanted")
	}
	*n = number64(v)
	return nil
}

var _ json.Unmarshaler = (*number64)(nil)

// Questions are generous: how soon a message becomes visible is not documented (E.3).
func (c *Client) Questions() notify.Questions {
	return notify.Questions{After: []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute}, Proof: true}
}

// Find looks for an attempt by number and day (E.3). Around midnight the gateway's day may be the neighbour of ours, so
// both neighbours are looked at before an attempt counts as absent; a day that has not begun is left out.
func (c *Client) Find(ctx context.Context, q notify.Query) (notify.Found, error) {
	day, err := time.ParseInLocation("20060102", q.Day, beijing)
	if err != nil {
		return notify.Found{}, &notify.SendError{Class: notify.Unknown, Code: "day", Message: "the attempt's day cannot be read"}
	}
	for _, offset := range []int{0, 1, -1} {
		d := day.AddDate(0, 0, offset)
		if offset == 1 && c.cfg.Now().Before(d) {
			continue
		}
		found, err := c.findOn(ctx, q, d.Format("20060102"))
		if err != nil || found.Outcome != notify.Absent {
			return found, err
		}
	}
	return notify.Found{}, nil
}

// findOn reads all pages of one day.
func (c *Client) findOn(ctx context.Context, q notify.Query, day string) (notify.Found, error) {
	seen := 0
	for page := 1; page <= maxPages; page++ {
		a, err := c.query(ctx, q, day, page)
		if err != nil {
			return notify.Found{}, err
		}
		for _, d := range a.Details.List {
			if d.OutID == q.AttemptID.String() {
				return c.found(d)
			}
		}
		seen += len(a.Details.List)
		if seen >= int(a.TotalCount) {
			return notify.Found{}, nil
		}
		if len(a.Details.List) == 0 {
			break
		}
	}
	return notify.Found{}, &notify.SendError{Class: notify.Unknown, Code: "pages", Message: "the list is shorter than its count says"}
}

func (c *Client) query(ctx context.Context, q notify.Query, day string, page int) (answer, error) {
	r, err := c.call(ctx, "QuerySendDetails", map[string]string{
		"PhoneNumber": q.Phone.Reveal(),
		"SendDate":    day,
		"PageSize":    strconv.Itoa(pageSize),
		"CurrentPage": strconv.Itoa(page),
	})
	if err != nil {
		return answer{}, err
	}
	if r.status != 200 || r.body.Code != "OK" {
		m := judge(r.status, r.body.Code)
		return answer{}, &notify.SendError{Class: m.class, Code: r.body.Code, Message: m.word}
	}
	return r.body, nil
}

func (c *Client) found(d detail) (notify.Found, error) {
	switch d.SendStatus {
	case 1:
		return notify.Found{Outcome: notify.Pending}, nil
	case 2:
		_, class := c.ReadReceipt(false, d.ErrCode)
		return notify.Found{Outcome: notify.NotArrived, Code: d.ErrCode, Class: class}, nil
	case 3:
		return notify.Found{Outcome: notify.Arrived, Code: d.ErrCode}, nil
	}
	return notify.Found{Outcome: notify.Pending}, nil // it is there, whatever its status
}

// Check asks for the messages of a number that nobody has: nil when Aliyun answers and takes the credentials.
func (c *Client) Check(ctx context.Context) error {
	r, err := c.call(ctx, "QuerySendDetails", map[string]string{
		"PhoneNumber": "13000000000", "SendDate": c.cfg.Now().In(beijing).Format("20060102"), "PageSize": "1", "CurrentPage": "1",
	})
	if err != nil {
		return err
	}
	if r.status != 200 || r.body.Code != "OK" {
		m := judge(r.status, r.body.Code)
		return &notify.SendError{Class: m.class, Code: r.body.Code, Message: m.word}
	}
	return nil
}
