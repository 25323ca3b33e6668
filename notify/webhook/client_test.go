package webhook

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func newTestClient(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func postTo(t *testing.T, c *Client, url string) result {
	t.Helper()
	k := keys{secret: newSecret()}
	now := time.Now()
	return c.post(t.Context(), url, k.signer(now).headers("msg_1", now, []byte("{}")), []byte("{}"), now)
}

func TestAnswersAndWhatTheyMean(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, ClientConfig{Allow: mustAllow(t, "127.0.0.0/8:*"), Timeout: 2 * time.Second})
	var elsewhere sync.Map
	target := newSubscriber(t, func(_ int, w http.ResponseWriter, r *http.Request) { elsewhere.Store("reached", true) })
	tests := []struct {
		name   string
		answer func(int, http.ResponseWriter, *http.Request)
		want   string
		status int
	}{
		{"200", status(200), outcomeDelivered, 200}, {"204", status(204), outcomeDelivered, 204}, {"400", status(400), outcomeRefused, 400},
		{"410", status(410), outcomeGone, 410}, {"500", status(500), outcomeRefused, 500},
		{"a redirect", func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
		}, outcomeRedirect, 0},
		{"304", status(304), outcomeRedirect, 304},
		{"a hang", func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, outcomeTimeout, 0},
		{"a broken connection", func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, outcomeUnreachable, 0},
		{"an answer without end", func(_ int, w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, outcomeDelivered, 200},
		{"no HTTP", func(_ int, w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Write([]byte("SSH-2.0-OpenSSH\r\n"))
				conn.Close()
			}
		}, outcomeUnreachable, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sub := newSubscriber(t, tt.answer)
			r := postTo(t, c, sub.URL+"/path?token=geheim")
			if r.outcome != tt.want || r.status != tt.status && tt.status != 0 {
				t.Errorf("%+v, want %s with %d", r, tt.want, tt.status)
			}
			if n := len(sub.all()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if strings.Contains(r.detail, "geheim") || strings.Contains(r.detail, "127.0.0.1") {
				t.Errorf("the detail tells the address: %s", r.detail)
			}
		})
	}
	t.Cleanup(func() {
		if _, reached := elsewhere.Load("reached"); reached {
			t.Error("a redirect was followed")
		}
	})
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := newSubscriber(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	sub := newSubscriber(t, nil)
	c := newTestClient(t, ClientConfig{Allow: mustAllow(t, "127.0.0.0/8:*")})
	if r := postTo(t, c, sub.URL); r.outcome != outcomeDelivered || len(proxy.all()) != 0 {
		t.Errorf("%+v, %d requests to the proxy", r, len(proxy.all()))
	}
	if tr := c.http.GetClient().Transport.(*http.Transport); tr.Proxy != nil {
		t.Error("the transport has a proxy")
	}
}

// TestANameThatComesToAnotherAddressIsNotFollowed is DNS rebinding: the name is allowed, the address it resolves to at the
// time of the request decides.
func TestANameThatComesToAnotherAddressIsNotFollowed(t *testing.T) {
	t.Parallel()
	sub := &subscriber{}
	srv := httptest.NewTLSServer(sub)
	t.Cleanup(srv.Close)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	dns := newDNS(t)
	port := portOf(t, srv.URL)
	url := "https://example.com:" + port + "/" // a name of httptest's certificate
	cfg := ClientConfig{Allow: mustAllow(t, "example.com:"+port, "127.0.0.1:"+port), CAFile: caFile, Resolver: dns.resolver(), Timeout: 5 * time.Second, IdlePerHost: 1}
	c := newTestClient(t, cfg)
	dns.say("127.0.0.1")
	if r := postTo(t, c, url); r.outcome != outcomeDelivered {
		t.Fatalf("a name that leads to a named address: %+v", r)
	}
	for _, address := range []string{"127.0.0.2", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "::ffff:127.0.0.3", "fe80::1"} {
		dns.say(address)
		c.Close() // the connection that is open was checked when it was made
		if r := postTo(t, c, url); r.outcome != outcomeForbidden {
			t.Errorf("rebound to %s: %+v", address, r)
		}
	}
	if n := len(sub.all()); n != 1 {
		t.Errorf("%d requests came through, want 1", n)
	}
	cfg.Allow = mustAllow(t, "example.com:"+port) // the host alone: its address is private, and not named
	dns.say("127.0.0.1")
	if r := postTo(t, newTestClient(t, cfg), url); r.outcome != outcomeForbidden {
		t.Errorf("a private address that is not named: %+v", r)
	}
}

func TestWhatIsNoLongerAllowedIsNotSent(t *testing.T) {
	t.Parallel()
	sub := newSubscriber(t, nil)
	c := newTestClient(t, ClientConfig{Allow: mustAllow(t, "10.0.0.0/8")})
	if r := postTo(t, c, sub.URL); r.outcome != outcomeForbidden || len(sub.all()) != 0 {
		t.Errorf("%+v, %d requests", r, len(sub.all()))
	}
}

func TestACertificateMustBeValid(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the refused handshake
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := newTestClient(t, ClientConfig{Allow: mustAllow(t, "127.0.0.1:*")})
	if r := postTo(t, c, srv.URL); r.outcome != outcomeUnreachable || !strings.Contains(r.detail, "certificate") {
		t.Errorf("%+v", r)
	}
}

// A dnsStub answers every question with the address it was told last.
type dnsStub struct {
	conn net.PacketConn
	mu   sync.Mutex
	ip   net.IP
}

func newDNS(t *testing.T) *dnsStub {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsStub{conn: conn}
	var wg sync.WaitGroup
	wg.Go(d.serve)
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return d
}

func (d *dnsStub) say(ip string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ip = net.ParseIP(ip)
	if strings.HasPrefix(ip, "::ffff:") {
		d.ip = append(net.IP{}, d.ip.To16()...)
	}
}

func (d *dnsStub) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", d.conn.LocalAddr().String())
	}}
}

func (d *dnsStub) serve() {
	buf := make([]byte, 2000)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
		d.mu.Lock()
		ip := d.ip
		d.mu.Unlock()
		header := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Type: q.Questions[0].Type, Class: dnsmessage.ClassINET}
		switch v4 := ip.To4(); {
		case v4 != nil && header.Type == dnsmessage.TypeA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte(v4)}})
		case v4 == nil && header.Type == dnsmessage.TypeAAAA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip)}})
		}
		if text, err := a.Pack(); err == nil {
			d.conn.WriteTo(text, from)
		}
	}
}
