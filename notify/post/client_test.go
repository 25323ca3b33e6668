package post

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"emsd/notify"
)

// An answer is read whole, with its length told or not; one that is longer than any gateway's, or that breaks off, leaves the
// message in doubt, and one that takes too long does, too.
func TestAnswersAreReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string
		told int // Content-Length; -1: none
		ok   bool
	}{
		{"length told", "{}", 2, true},
		{"empty", "", 0, true},
		{"length not told", strings.Repeat("x", 70_000), -1, true},
		{"as long as allowed", strings.Repeat("x", maxAnswer), -1, true},
		{"too long, told", strings.Repeat("x", maxAnswer+1), maxAnswer + 1, false},
		{"too long, not told", strings.Repeat("x", maxAnswer+1), -1, false},
		{"breaks off", "{", 2, false},
		{"never comes", "{", 1 << 19, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			end := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.told >= 0 {
					w.Header().Set("Content-Length", strconv.Itoa(tt.told))
				}
				io.WriteString(w, tt.body)
				http.NewResponseController(w).Flush()
				if tt.name == "never comes" {
					<-end
				}
			}))
			defer server.Close()
			defer close(end)
			c, err := New(Config{Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			a, err := c.Post(t.Context(), server.URL, http.Header{}, []byte("x"))
			if tt.ok {
				if err != nil || string(a.Body) != tt.body || a.Status != http.StatusOK {
					t.Errorf("%d bytes of %d, status %d, %v", len(a.Body), len(tt.body), a.Status, err)
				}
				return
			}
			if e, ok := errors.AsType[*notify.SendError](err); !ok || e.Class != notify.Unknown {
				t.Errorf("an answer of %d bytes: %v, want a message in doubt", len(tt.body), err)
			}
		})
	}
}
