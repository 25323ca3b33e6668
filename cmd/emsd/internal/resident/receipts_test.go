package resident

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"emsd/courier"
	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/mas"
	"emsd/notify/tencent"
)

type keptReceipts struct{ receipts []notify.Receipt }

func (k *keptReceipts) Append(_ context.Context, _ string, receipts []notify.Receipt) error {
	k.receipts = append(k.receipts, receipts...)
	return nil
}

func TestReceiptsAreTakenAtTheSecretAddressInTheGatewaysOwnForm(t *testing.T) {
	t.Parallel()
	k := &keptReceipts{}
	h := New(Config{ReceiptSecret: "s3cret"}, nil, nil, k, nil, map[string]ReceiptForm{
		"aliyun": {Parse: aliyun.ParseReceipts, Answer: aliyun.ReceiptAnswer}, "tencent": {Parse: tencent.ParseReceipts, Answer: tencent.ReceiptAnswer},
		"mas": {Parse: mas.ParseReceipts, Answer: mas.ReceiptAnswer},
	}, courier.Clock{}, slog.New(slog.DiscardHandler))
	forms := map[string]string{
		"aliyun": `[{"phone_number":"13900000000","send_time":"2026-05-06 12:00:00","report_time":"2026-05-06 12:00:05","success":true,"err_code":"DELIVERED",` +
			`"err_msg":"","sms_size":"1","biz_id":"9^0","out_id":"0198c0de-7b1a-7000-8000-000000000001"}]`,
		"tencent": `[{"user_receive_time":"2026-05-06 12:00:05","nationcode":"86","mobile":"13900000000","report_status":"SUCCESS","errmsg":"DELIVRD","description":"","sid":"2000:1"}]`,
		"mas":     `{"reportStatus":"DELIVRD","mobile":"13900000000","submitDate":"20260506120000","receiveDate":"20260506120005","errorCode":"","msgGroup":"0506120000000001"}`,
	}
	for _, tt := range []struct {
		method, path, body string
		status, kept       int
	}{
		{"POST", "/sms/aliyun/receipts/s3cret", forms["aliyun"], 200, 1},
		{"POST", "/sms/tencent/receipts/s3cret", forms["tencent"], 200, 1},
		{"POST", "/sms/mas/receipts/s3cret", forms["mas"], 200, 1},
		{"GET", "/sms/aliyun/receipts/s3cret", "", 200, 0},
		{"GET", "/sms/aliyun/receipts/guess", "", 404, 0},
		{"POST", "/sms/aliyun/receipts/guess", forms["aliyun"], 404, 0},
		{"POST", "/sms/aliyun/receipts/s3cre", forms["aliyun"], 404, 0},
		{"POST", "/sms/log/receipts/s3cret", forms["aliyun"], 404, 0},
		{"POST", "/sms/aliyun/receipts/s3cret", "<html>", 400, 0},
		{"POST", "/sms/aliyun/receipts/s3cret", strings.Repeat("[", 100000), 400, 0},
		{"POST", "/sms/tencent/receipts/s3cret", strings.Repeat(" ", maxReceipts+1), http.StatusRequestEntityTooLarge, 0},
		{"POST", "/sms/mas/receipts/s3cret", strings.Repeat(" ", maxReceipts+1), http.StatusRequestEntityTooLarge, 0},
	} {
		k.receipts = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.status || len(k.receipts) != tt.kept {
			t.Errorf("%s %s %.20q: %d with %d kept, want %d with %d", tt.method, tt.path, tt.body, w.Code, len(k.receipts), tt.status, tt.kept)
		}
	}
	for _, from := range []string{"aliyun", "tencent", "mas"} { // what is posted to another gateway's address says nothing there
		for to := range forms {
			if to == from {
				continue
			}
			k.receipts = nil
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/sms/"+to+"/receipts/s3cret", strings.NewReader(forms[from])))
			for _, r := range k.receipts {
				if r.Success || r.AttemptID.String() == "0198c0de-7b1a-7000-8000-000000000001" {
					t.Errorf("a receipt of %s is believed at %s: %+v", from, to, r)
				}
			}
		}
	}
}

type brokenStore struct{}

func (brokenStore) Append(context.Context, string, []notify.Receipt) error {
	return errors.New("no database")
}

// TestWhatCannotBeStoredIsSaidWithoutAStorm: every push is told to come again, and the log says so once.
func TestWhatCannotBeStoredIsSaidWithoutAStorm(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	h := New(Config{ReceiptSecret: "s3cret"}, nil, nil, brokenStore{}, nil, map[string]ReceiptForm{"mas": {Parse: mas.ParseReceipts, Answer: mas.ReceiptAnswer}},
		courier.Clock{}, slog.New(slog.NewTextHandler(&logged, nil)))
	for body, want := range map[string]int{`{"reportStatus":"DELIVRD","msgGroup":"1"}`: http.StatusServiceUnavailable, "<html>": http.StatusBadRequest} {
		for range 200 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/sms/mas/receipts/s3cret", strings.NewReader(body)))
			if w.Code != want {
				t.Fatalf("%s: %d, want %d", body, w.Code, want)
			}
		}
	}
	if n := strings.Count(logged.String(), "\n"); n != 2 || !strings.Contains(logged.String(), "receipts not stored") || !strings.Contains(logged.String(), "receipts not understood") {
		t.Errorf("%d lines for 400 pushes, want one of each kind:\n%.500s", n, logged.String())
	}
}
