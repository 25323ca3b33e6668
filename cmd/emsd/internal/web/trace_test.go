package web

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"emsd/courier"
)

const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

func TestARequestGoesOnWithItsCallersTrace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, header, trace, flags string
	}{
		{"sampled", "00-" + id + "-" + span + "-01", id, "01"},
		{"a later version", "cc-" + id + "-" + span + "-01-what-will-be", id, "01"},
		{"none", "", "", "00"},
		{"no trace", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", "", "00"},
		{"no parent", "00-" + id + "-" + strings.Repeat("0", 16) + "-01", "", "00"},
		{"upper case", "00-" + strings.ToUpper(id) + "-" + span + "-01", "", "00"},
		{"version ff", "ff-" + id + "-" + span + "-01", "", "00"},
		{"version 00 and more", "00-" + id + "-" + span + "-01-x", "", "00"},
		{"cut off", "00-" + id + "-" + span, "", "00"},
		{"dashes", strings.Repeat("-", 55), "", "00"},
	} {
		var log bytes.Buffer
		var inner string
		h := Log(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner = courier.TraceOf(r.Context())
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("traceparent", tt.header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header().Get("traceparent")
		trace, flags, ok := parseTraceparent(got)
		if !ok || tt.trace != "" && trace != tt.trace || tt.trace == "" && trace == id || flags != tt.flags || strings.Contains(got, span) {
			t.Errorf("%s: answered %q", tt.name, got)
		}
		if inner != got {
			t.Errorf("%s: calls made for the request carry %q, it was answered %q", tt.name, inner, got)
		}
		var line map[string]any
		if err := json.Unmarshal(log.Bytes(), &line); err != nil || line["trace"] != trace {
			t.Errorf("%s: the log says %s, want the trace %s", tt.name, log.String(), trace)
		}
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-" + id + "-" + span + "-01")
	f.Add("cc-" + id + "-" + span + "-01-x")
	f.Fuzz(func(t *testing.T, h string) {
		id, flags, ok := parseTraceparent(h)
		if ok != (id != "") || ok && (len(id) != 32 || len(flags) != 2 || !strings.Contains(h, id)) {
			t.Errorf("%q was read as %q, %q, %t", h, id, flags, ok)
		}
		if _, _, again := parseTraceparent(newTrace(h).String()); !again {
			t.Errorf("of %q a trace is made that cannot be read", h)
		}
	})
}
