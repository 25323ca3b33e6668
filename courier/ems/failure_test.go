package ems

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/asynctest"
)

// A wire is a server below HTTP: it reads a request whole and does what the test says with the connection.
type wire struct {
	net.Listener
	requests atomic.Int32 // whole requests read
	orders   atomic.Int32 // of those, 020003
}

// newWire runs reply after each request; false closes the connection.
func newWire(t *testing.T, reply func(conn net.Conn, n int32) bool) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(conn, reply)
		}
	}()
	return w
}

func (w *wire) serve(conn net.Conn, reply func(conn net.Conn, n int32) bool) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte("apiCode=020003")) {
			w.orders.Add(1)
		}
		if !reply(conn, w.requests.Add(1)) {
			return
		}
	}
}

func (w *wire) url() string { return "http://" + w.Addr().String() }

func TestOrderThatCannotHaveLeftIsUnsent(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int32
	counting := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
	strange := httptest.NewUnstartedServer(counting)
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	t.Cleanup(strange.Close)
	closed := httptest.NewServer(counting)
	closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing: no handshake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	alive := httptest.NewServer(counting)
	t.Cleanup(alive.Close)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	tests := []struct {
		name string
		url  string
		ctx  context.Context
		says string
	}{
		{"connection refused", closed.URL, t.Context(), "connection refused"},
		{"certificate of an unknown authority", strange.URL, t.Context(), "certificate"},
		{"no such host", "https://emsd-test.invalid/open", t.Context(), "no connection"},
		{"handshake never ends", "https://" + mute.Addr().String(), t.Context(), "no connection"},
		{"cancelled before it began", alive.URL, cancelled, "canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(tt.url)
			cfg.Timeout = 500 * time.Millisecond
			_, err := newClient(t, cfg).CreateWaybill(tt.ctx, testOrder())
			if got := kindOf(t, err); got != courier.Unsent {
				t.Errorf("kind %v, want unsent: %v", got, err)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests arrived, want none", n)
	}
}

func TestOrderWhoseTurnNeverComesIsUnsent(t *testing.T) {
	t.Parallel()
	s, srv := newStub(t, says(envelope("00000", "成功！", orderAnswer)))
	cfg := config(srv.URL)
	cfg.Rate = 0.001
	c := newClient(t, cfg)
	if _, err := c.CreateWaybill(t.Context(), testOrder()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := c.CreateWaybill(ctx, testOrder())
	if kindOf(t, err) != courier.Unsent || !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the rate: %v, want unsent and canceled", err)
	}
	if n := s.count("020003"); n != 1 {
		t.Errorf("%d orders arrived, want 1", n)
	}
}

// An order of which a byte may have left is sent no second time by anybody: not by resty, not by net/http.
func TestOrderWithoutAWellFormedAnswerIsUnknownAndArrivesOnce(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(net.Conn, int32) bool {
		return func(conn net.Conn, _ int32) bool {
			fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
			return true
		}
	}
	raw := func(text string) func(net.Conn, int32) bool {
		return func(conn net.Conn, _ int32) bool { _, _ = io.WriteString(conn, text); return false }
	}
	redirect := func(status int) func(net.Conn, int32) bool {
		return func(conn net.Conn, _ int32) bool {
			fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nLocation: http://%s/again\r\nContent-Length: 0\r\n\r\n", status, conn.LocalAddr())
			return true
		}
	}
	good := envelope("00000", "成功！", orderAnswer)
	tests := []struct {
		name  string
		reply func(net.Conn, int32) bool
		want  courier.Kind
	}{
		{"closed after the request was read", func(net.Conn, int32) bool { return false }, courier.Unknown},
		{"reset after the request was read", func(conn net.Conn, _ int32) bool {
			_ = conn.(*net.TCPConn).SetLinger(0)
			return false
		}, courier.Unknown},
		{"silence", func(conn net.Conn, _ int32) bool { _, _ = conn.Read(make([]byte, 1)); return false }, courier.Unknown},
		{"half a status line", raw("HTTP/1.1 20"), courier.Unknown},
		{"no HTTP", raw("欧阳 13900001234\r\n\r\n"), courier.Unknown},
		{"header without end", raw("HTTP/1.1 200 OK\r\nContent-Le"), courier.Unknown},
		{"body cut off", raw("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + good[:60]), courier.Unknown},
		{"chunk cut off", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"), courier.Unknown},
		{"slow drip", func(conn net.Conn, _ int32) bool {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(conn, " "); err != nil {
					return false
				}
			}
			return false
		}, courier.Unknown},
		{"promises more than any answer has", raw("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}"), courier.Unknown},
		{"status 502 with a page", answer(502, "<html>Bad Gateway</html>"), courier.Unknown},
		{"status 500 with a good answer", answer(500, good), courier.Unknown},
		{"status 429", answer(429, ""), courier.Unknown},
		{"status 204", answer(204, ""), courier.Unknown},
		{"redirect 307", redirect(307), courier.Unknown},
		{"redirect 308", redirect(308), courier.Unknown},
		{"redirect 302", redirect(302), courier.Unknown},
		{"200 with a page", answer(200, "<html><body>系统维护</body></html>"), courier.Unknown},
		{"200 with nothing", answer(200, ""), courier.Unknown},
		{"200 with blanks", answer(200, " \r\n "), courier.Unknown},
		{"truncated JSON", answer(200, good[:len(good)-2]), courier.Unknown},
		{"rubbish behind the JSON", answer(200, good+"x"), courier.Unknown},
		{"no retCode", answer(200, `{"success":true}`), courier.Unknown},
		{"retCode null", answer(200, `{"retCode":null}`), courier.Unknown},
		{"a list", answer(200, `[]`), courier.Unknown},
		{"system error", answer(200, envelope("S00001", "系统级错误", "")), courier.Unknown},
		{"code that nobody knows", answer(200, envelope("X1", "?", "")), courier.Unknown},
		{"another order echoed", answer(200, envelope("00000", "成功！", `{"logisticsOrderNo":"TEST-0002","waybillNo":"1200000001417"}`)), courier.Unknown},
		{"no order echoed", answer(200, envelope("00000", "成功！", `{"waybillNo":"1200000001417"}`)), courier.Unknown},
		{"no waybill", answer(200, envelope("00000", "成功！", `{"logisticsOrderNo":"TEST-0001","waybillNo":""}`)), courier.Unknown},
		{"several waybills", answer(200, envelope("00000", "成功！", `{"logisticsOrderNo":"TEST-0001","waybillNo":"1,2"}`)), courier.Unknown},
		{"retBody empty", answer(200, envelope("00000", "成功！", "")), courier.Unknown},
		{"retBody unreadable", answer(200, envelope("00000", "成功！", `{"logisticsOrderNo":`)), courier.Unknown},
		{"retBody missing", answer(200, `{"retCode":"00000"}`), courier.Unknown},
		{"refused with four digits", answer(200, envelope("B0001", "非法报文", "")), courier.RefusedByCarrier},
		{"refused with five digits", answer(200, envelope("B00001", "非法的授权", "")), courier.RefusedByCarrier},
		{"good", answer(200, good), courier.NotRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, tt.reply)
			cfg := config(w.url())
			cfg.Timeout = 300 * time.Millisecond
			_, err := newClient(t, cfg).CreateWaybill(t.Context(), testOrder())
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("kind %v, want %v: %v", got, tt.want, err)
			}
			if n := w.orders.Load(); n != 1 {
				t.Errorf("the order arrived %d times, want once", n)
			}
			mustNotLeak(t, err)
		})
	}
}

func TestOrderOnAConnectionThatDiesUnderItArrivesOnce(t *testing.T) {
	t.Parallel()
	good := envelope("00000", "", `{"responseItems":[]}`)
	w := newWire(t, func(conn net.Conn, n int32) bool {
		if n > 1 {
			return false // the second request on the pooled connection is read and never answered
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
		return true
	})
	c := newClient(t, config(w.url()))
	if _, err := c.Trace(t.Context(), "1200000001417", 0); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateWaybill(t.Context(), testOrder())
	if kindOf(t, err) != courier.Unknown {
		t.Errorf("kind %v, want unknown: %v", kindOf(t, err), err)
	}
	if n := w.orders.Load(); n != 1 {
		t.Errorf("the order arrived %d times, want once", n)
	}
}

// The server closes each connection right behind its answer, so that an order now and then is written to a connection
// that is closing. Whatever net/http makes of it, no order arrives twice, and one that arrived is not called unsent.
func TestOrderOnAConnectionThatIsClosingNeverArrivesTwice(t *testing.T) {
	t.Parallel()
	good := envelope("00000", "成功！", orderAnswer)
	w := newWire(t, func(conn net.Conn, _ int32) bool {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
		return false
	})
	c := newClient(t, config(w.url()))
	for i := range 300 {
		before := w.orders.Load()
		_, err := c.CreateWaybill(t.Context(), testOrder())
		arrived := w.orders.Load() - before
		kind := kindOf(t, err)
		if arrived > 1 || kind == courier.NotRefused && arrived != 1 || kind == courier.Unsent && arrived != 0 {
			t.Fatalf("order %d: arrived %d times with kind %v: %v", i, arrived, kind, err)
		}
	}
}

func TestCancelIsSentOnce(t *testing.T) {
	t.Parallel()
	s, srv := newStub(t, func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(502) })
	err := newClient(t, config(srv.URL)).CancelWaybill(t.Context(), "TEST-0001", "1200000001417", "客户取消")
	if kindOf(t, err) != courier.Unknown || s.count("020006") != 1 {
		t.Errorf("%v after %d requests, want unknown after 1", err, s.count("020006"))
	}
}

func TestCallsThatOnlyAskAreRepeated(t *testing.T) {
	t.Parallel()
	good := envelope("00000", "查询结果正常返回！", `{"responseItems":[]}`)
	for name, bad := range map[string]func(http.ResponseWriter){
		"502":                  func(w http.ResponseWriter) { w.WriteHeader(502) },
		"page":                 func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"system error":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, envelope("S00001", "", "")) },
		"unknown code":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, envelope("Z9", "", "")) },
		"unreadable retBody":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, envelope("00000", "", "{[")) },
		"connection is closed": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			s, srv := newStub(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				if n.Add(1) < 3 {
					bad(w)
					return
				}
				_, _ = io.WriteString(w, good)
			})
			c := newClient(t, config(srv.URL))
			if _, err := c.Trace(t.Context(), "1200000001417", 0); err != nil || s.count("040001") != 3 {
				t.Errorf("%v after %d requests, want success after 3", err, s.count("040001"))
			}
			n.Store(-100)
			if _, err := c.Trace(t.Context(), "1200000001417", 0); kindOf(t, err) != courier.Unknown || s.count("040001") != 6 {
				t.Errorf("%v after %d requests, want unknown after 3 more", err, s.count("040001"))
			}
			if len(c.slots) != 0 || len(c.line) != 0 {
				t.Errorf("%d slots and %d in line are held after the calls", len(c.slots), len(c.line))
			}
		})
	}
}

func TestRefusalsAndRedirectsAreNotRepeated(t *testing.T) {
	t.Parallel()
	elsewhere, elsewhereSrv := newStub(t, says("{}"))
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, string){
		"refusal": says(envelope("B00001", "非法的授权", "")),
		"redirect": func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r, elsewhereSrv.URL, http.StatusTemporaryRedirect)
		},
	} {
		s, srv := newStub(t, answer)
		_, err := newClient(t, config(srv.URL)).Trace(t.Context(), "1200000001417", 0)
		if err == nil || s.count("040001") != 1 {
			t.Errorf("%s: %v after %d requests, want an error after 1", name, err, s.count("040001"))
		}
	}
	if n := elsewhere.count("040001"); n != 0 {
		t.Errorf("%d requests followed the redirect", n)
	}
}

func TestBreakerOpensOnFailuresAndClosesAgain(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	s, srv := newStub(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if down.Load() {
			w.WriteHeader(503)
			return
		}
		_, _ = io.WriteString(w, envelope("00000", "成功！", orderAnswer))
	})
	cfg := config(srv.URL)
	cfg.Retries, cfg.BreakerPause = -1, 50*time.Millisecond
	c := newClient(t, cfg)
	for range 10 {
		if _, err := c.Trace(t.Context(), "1200000001417", 0); kindOf(t, err) != courier.Unknown {
			t.Fatalf("kind %v, want unknown: %v", kindOf(t, err), err)
		}
	}
	if !c.Open() {
		t.Fatal("the breaker is closed after ten failures")
	}
	_, err := c.CreateWaybill(t.Context(), testOrder())
	if kindOf(t, err) != courier.Unsent || !errors.Is(err, ErrBreakerOpen) || s.count("020003") != 0 {
		t.Errorf("order while open: %v with %d sent, want unsent with none", err, s.count("020003"))
	}
	down.Store(false)
	asynctest.Eventually(t, "the breaker closed by a success", func() bool { _, err := c.CreateWaybill(t.Context(), testOrder()); return err == nil })
	if c.Open() {
		t.Error("the breaker is open after a success")
	}
}

func TestBreakerTakesNoOffenceAtRefusalsOrAtCallersWhoLeave(t *testing.T) {
	t.Parallel()
	c, _ := clientOf(t, envelope("B00001", "非法报文", ""))
	for range 30 {
		_, _ = c.CreateWaybill(t.Context(), testOrder())
	}
	if c.Open() {
		t.Error("refusals opened the breaker")
	}
	arrived := make(chan struct{})
	_, srv := newStub(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	c = newClient(t, config(srv.URL))
	for range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if _, err := c.CreateWaybill(ctx, testOrder()); kindOf(t, err) != courier.Unknown {
			t.Fatalf("left while it was under way: %v, want unknown", err)
		}
	}
	if c.Open() {
		t.Error("callers who left opened the breaker")
	}
}

// A round of polls that has used up the rate must not make a paid order wait behind all of itself.
func TestOrderWaitsForFewOfTheCallsThatOnlyAsk(t *testing.T) {
	t.Parallel()
	first := make(chan struct{}, 100)
	s, srv := newStub(t, func(w http.ResponseWriter, _ *http.Request, m string) {
		if strings.HasPrefix(m, "[") {
			_, _ = io.WriteString(w, envelope("00000", "", orderAnswer))
			return
		}
		first <- struct{}{}
		_, _ = io.WriteString(w, envelope("00000", "", ""))
	})
	cfg := config(srv.URL)
	cfg.Rate, cfg.Concurrency = 20, 64
	c := newClient(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 60 {
		go func() { _, _ = c.Trace(ctx, "1200000001417", 0) }()
	}
	<-first
	before := s.count("040001")
	if _, err := c.CreateWaybill(t.Context(), testOrder()); err != nil {
		t.Fatal(err)
	}
	if n := s.count("040001") - before; n > 5 {
		t.Errorf("%d polls went before the order, want at most 5", n)
	}
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	_, srv := newStub(t, says(envelope("00000", "", "")))
	cfg := config(srv.URL)
	cfg.Rate = 1e6
	c := newClient(t, cfg)
	c.SetRate(50)
	c.SetRate(-1) // ignored
	_, _ = c.Trace(t.Context(), "1", 0)
	began := time.Now()
	for range 10 {
		if _, err := c.Trace(t.Context(), "1", 0); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(began); d < 100*time.Millisecond {
		t.Errorf("ten calls at 50 a second took %v, want about 200 ms", d)
	}
}

func TestCertificateOfTheCAFileIsTrusted(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, envelope("00000", "", ""))
	}))
	t.Cleanup(srv.Close)
	cfg := config(srv.URL)
	cfg.CAFile = t.TempDir() + "/ca.pem"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newClient(t, cfg).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { through.Add(1) }))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("HTTP_PROXY", proxy.URL)
	err := newClient(t, config("https://emsd-test.invalid/open")).CancelWaybill(t.Context(), "1", "1", "x")
	if kindOf(t, err) != courier.Unsent || through.Load() != 0 {
		t.Errorf("%v with %d requests through the proxy", err, through.Load())
	}
}
