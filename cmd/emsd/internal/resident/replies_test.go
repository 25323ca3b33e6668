package resident

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"emsd/courier"
	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/mas"
)

type kept struct{ replies []notify.Reply }

func (k *kept) Append(_ context.Context, _ string, replies []notify.Reply) error {
	k.replies = append(k.replies, replies...)
	return nil
}

func TestRepliesAreTakenAtTheSecretAddressOnly(t *testing.T) {
	t.Parallel()
	k := &kept{}
	h := New(Config{ReceiptSecret: "s3cret"}, nil, nil, nil, k, map[string]ReceiptForm{
		"aliyun": {ParseReplies: aliyun.ParseReplies, Answer: aliyun.ReceiptAnswer}, "mas": {ParseReplies: mas.ParseReplies, Answer: mas.ReceiptAnswer},
	}, courier.Clock{}, slog.New(slog.DiscardHandler))
	one := `[{"phone_number":"13900000000","content":"TD","send_time":"2026-05-06 12:00:00","sequence_id":7}]`
	for _, tt := range []struct {
		method, path, body string
		status, kept       int
	}{
		{"POST", "/sms/aliyun/replies/s3cret", one, 200, 1},
		{"GET", "/sms/aliyun/replies/s3cret", "", 200, 0},
		{"POST", "/sms/aliyun/replies/guess", one, 404, 0},
		{"POST", "/sms/tencent/replies/s3cret", one, 404, 0},
		{"POST", "/sms/mas/replies/s3cret", one, 200, 0}, // another gateway's form names nobody
		{"POST", "/sms/aliyun/replies/s3cret", "<html>", 400, 0},
		{"POST", "/sms/aliyun/replies/s3cret", strings.Repeat("[", 100000), 400, 0},
		{"POST", "/sms/aliyun/replies/s3cret", strings.Repeat(" ", maxReceipts+1), http.StatusRequestEntityTooLarge, 0},
	} {
		k.replies = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.status || len(k.replies) != tt.kept {
			t.Errorf("%s %s %.20q: %d with %d kept, want %d with %d", tt.method, tt.path, tt.body, w.Code, len(k.replies), tt.status, tt.kept)
		}
		if w.Code == 200 && strings.Contains(tt.path, "aliyun") && w.Body.String() != aliyun.ReceiptAnswer {
			t.Errorf("answered %q", w.Body)
		}
	}
}
