package emssim

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// How much of a bench on loopback the simulator itself eats.
func BenchmarkCalls(b *testing.B) {
	k := newClock()
	c := New(Config{Now: k.now})
	serve := func(api, message string) string {
		form := (&rig{}).form(api, message)
		r := httptest.NewRequest(http.MethodPost, PathOpen, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		return w.Body.String()
	}
	serve("020003", orderText("FIRST", "", "13900000001"))
	no := c.sequence[0].waybillNo
	b.Run("020003", func(b *testing.B) {
		for i := range b.N {
			if got := serve("020003", orderText(fmt.Sprintf("R-%d-%d", b.N, i), "", "13900000001")); !strings.Contains(got, "00000") {
				b.Fatal(got)
			}
		}
	})
	k.forward(30 * 24 * time.Hour)
	b.Run("040001", func(b *testing.B) {
		for range b.N {
			if got := serve("040001", `{"waybillNo":"`+no+`"}`); !strings.Contains(got, "704") {
				b.Fatal(got)
			}
		}
	})
}
