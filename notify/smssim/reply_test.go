package smssim

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Each gateway passes a reply on in its own form, to the address beside that of its receipts.
func TestRepliesOfEachGateway(t *testing.T) {
	t.Parallel()
	type call struct{ path, body string }
	calls := make(chan call, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls <- call{r.URL.Path, string(body)}
		io.WriteString(w, `{"code":0,"result":0}`)
	}))
	defer srv.Close()
	now := func() time.Time { return start }
	g := New(Config{Now: now, Wall: now, ReceiptTo: srv.URL + "/sms/aliyun/receipts/s3cret",
		Tencent: Tencent{ReceiptTo: srv.URL + "/sms/tencent/receipts/s3cret"}, MAS: MAS{ReceiptTo: srv.URL + "/sms/mas/receipts/s3cret"}})
	for gateway, want := range map[string]string{
		"aliyun":  `"content":"TD","dest_code":"9000000","phone_number":"13900000001","send_time":"2026-11-23 10:00:00","sequence_id":1`,
		"tencent": `{"extend":"","mobile":"13900000001","nationcode":"86","sign":"某某市政务服务","text":"TD","time":1795399200}`,
		"mas":     `{"addSerial":"","mobile":"13900000001","sendTime":"2026-11-23 10:00:00","smsContent":"TD"}`,
	} {
		if err := g.Reply(t.Context(), gateway, "13900000001", "TD"); err != nil {
			t.Errorf("%s: %v", gateway, err)
			continue
		}
		if got := <-calls; got.path != "/sms/"+gateway+"/replies/s3cret" || !strings.Contains(got.body, want) {
			t.Errorf("%s: %+v, want %s", gateway, got, want)
		}
	}
	for _, bad := range [][3]string{{"pigeon", "13900000001", "TD"}, {"mas", "139", "TD"}, {"mas", "13900000001", ""}} {
		if err := g.Reply(t.Context(), bad[0], bad[1], bad[2]); !errors.Is(err, ErrReply) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := New(Config{ReceiptTo: srv.URL + "/elsewhere"}).Reply(t.Context(), "aliyun", "13900000001", "TD"); !errors.Is(err, ErrReply) {
		t.Errorf("no address to derive: %v", err)
	}
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"code":1}`) }))
	defer deaf.Close()
	if err := New(Config{ReceiptTo: deaf.URL + "/sms/aliyun/receipts/s3cret"}).Reply(t.Context(), "aliyun", "13900000001", "TD"); !errors.Is(err, ErrNotHeard) {
		t.Errorf("refused by the receiver: %v", err)
	}
}
