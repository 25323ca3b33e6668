package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// FuzzBody: whatever is posted, it is a body with what the call needs or a problem that says what to mend, and no answer
// gives back what stood in a field (I-9).
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"amount_fen":2200,"method":"wechat","transaction_no":"WX-1","paid_at":"2026-10-23T09:00:00+08:00"}`,
		`{"amount_fen":"13900001234","method":13900001234,"transaction_no":null,"paid_at":"13900001234"}`,
		`{"reason":"x","recipient":{"name":"张三","phone":"13900001234"}}`, `{"recipient":"13900001234"}`, `{"recipient":{"13900001234":1}}`,
		`{"kind":"recall","reason":" ","to":{}}`, "{}", "null", "[]", "", "{}{}", "\xff", "{\"a\":\"\\ud800\"}", `{"13900001234":1}`,
		strings.Repeat("[", 10_000), `{"amount_fen":1e400}`, `{"paid_at":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, into := range []any{new(paymentBody), new(addressBody), new(interveneBody)} {
			err := readJSON(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body))), into)
			if err == nil {
				if !utf8.Valid(body) {
					t.Errorf("%T took what is no text", into)
				}
				continue
			}
			p := web.Describe(err)
			if p.Status < 400 || p.Status > 499 {
				t.Errorf("%T: status %d for %v", into, p.Status, err)
			}
			faults, _ := errors.AsType[courier.Faults](err)
			for _, fault := range faults {
				if fault.Field == "" || fault.Detail == "" || strings.Contains(fault.Detail, "13900001234") {
					t.Errorf("%T: fault %+v", into, fault)
				}
			}
		}
	})
}
