package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/api"
	"emsd/cmd/emsd/internal/api/spectest"
	"emsd/cmd/emsd/internal/intake"
	"emsd/courier/asynctest"
	"emsd/courier/emssim"
	"emsd/courier/vault"
	"emsd/migrations"
	"emsd/migrations/dbtest"
	"emsd/notify/smssim"
)

func TestMain(m *testing.M) { dbtest.Main(m, everyPageWasLookedAt, closeBrowser, removeEmsd) }

// setup says what a daemon under test differs in; the zero value is a daemon on the real clock.
type setup struct {
	dsn   string // a migrated database; a new one
	scale float64
	env   []string
	ems   emssim.Config
	sms   smssim.Config
	quick bool // technical retries wait less than a second, as in the demo
}

// sims are EMS and the SMS gateway on one address.
type sims struct {
	ems *emssim.Carrier
	sms *smssim.Gateway
	url string
}

func startSims(t testing.TB, e emssim.Config, s smssim.Config) *sims {
	t.Helper()
	x := &sims{ems: emssim.New(e), sms: smssim.New(s)}
	mux := http.NewServeMux()
	for _, prefix := range []string{smssim.PrefixAliyun, smssim.PrefixTencent, smssim.PrefixMAS} {
		mux.Handle(prefix, x.sms)
	}
	mux.Handle("/", x.ems)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	x.url = srv.URL
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { x.ems.Run(ctx) })
	wg.Go(func() { x.sms.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return x
}

func keyFile(t testing.TB) string {
	t.Helper()
	key, err := vault.NewMasterKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const receiptSecret = "receipts-of-the-test"

// environ is a complete configuration against the simulators; later entries win.
func environ(dsn, key string, s *sims, more ...string) []string {
	all := slices.Concat(simulatedAccounts(s.url), []string{
		"EMSD_DATABASE_URL=" + dsn, "EMSD_MASTER_KEY_FILE=" + key,
		"EMSD_LISTEN=127.0.0.1:0", "EMSD_PUBLIC_LISTEN=127.0.0.1:0", "EMSD_OPS_LISTEN=127.0.0.1:0",
		"EMSD_EMS_URL=" + s.url + emssim.PathOpen, "EMSD_EMS_SENDER_NO=" + emssim.SampleSenderNo,
		"EMSD_EMS_AUTHORIZATION=" + emssim.SampleAuthorization, "EMSD_EMS_SECRET=" + emssim.SampleSecret, "EMSD_EMS_RATE=2000", "EMSD_API_RATE=100000", "EMSD_API_BURST=100000",
		"EMSD_EMS_TIMEOUT=3s", "EMSD_ORDER_LEASE=5s", "EMSD_LOG_LEVEL=debug", "EMSD_NUMBERS_LOW=5", "EMSD_NUMBERS_REFILL=50",
		"EMSD_SMS=aliyun", "EMSD_SMS_ALIYUN_TEMPLATES=" + demoTemplates, "EMSD_SMS_RECEIPT_SECRET=" + receiptSecret, "EMSD_SMS_RATE=2000",
		"EMSD_SENDER_NAME=示例派出所", "EMSD_SENDER_PHONE=01080000000", "EMSD_SENDER_PROVINCE=北京市", "EMSD_SENDER_CITY=北京市",
		"EMSD_SENDER_COUNTY=东城区", "EMSD_SENDER_ADDRESS=示例东路1号",
		"EMSD_SCHEDULE_RECONCILE=@every 1s", "EMSD_SCHEDULE_RESOLVE=@every 1s", "EMSD_SCHEDULE_POLL=@every 1s", "EMSD_SCHEDULE_SEND=@every 1s",
	}, more)
	last := map[string]string{}
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		last[name] = kv
	}
	env := make([]string, 0, len(last))
	for _, kv := range last {
		env = append(env, kv)
	}
	return env
}

// A daemon is emsd in this process, on a database of its own, with stations and tariffs loaded.
type daemon struct {
	*sims
	t                testing.TB
	app              *app
	log              *logBook
	api, public, ops string
	cancel           context.CancelFunc
	ended            chan error
	stopOnce         sync.Once
	err              error
	secrets          map[string]string
	mu               sync.Mutex
}

func start(t testing.TB, s setup) *daemon {
	t.Helper()
	if s.dsn == "" {
		s.dsn = emptyDatabase(t)
	}
	if s.scale == 0 {
		s.scale = 1
	}
	clock := newClock(s.scale, time.Now())
	s.ems.Now, s.sms.Now = clock.Now, clock.Now
	public := freeAddr(t)
	if s.ems.PushTo == "here" {
		s.ems.PushTo = "http://" + public + "/ems/push"
	}
	s.sms.ReceiptTo = "http://" + public + "/sms/aliyun/receipts/" + receiptSecret
	d := &daemon{sims: startSims(t, s.ems, s.sms), t: t, log: &logBook{}, secrets: map[string]string{}, ended: make(chan error, 1)}
	cfg, err := readConfig(environ(s.dsn, keyFile(t), d.sims, append([]string{"EMSD_PUBLIC_LISTEN=" + public,
		fmt.Sprintf("EMSD_TIME_SCALE=%g", s.scale)}, s.env...)...))
	if err != nil {
		t.Fatal(err)
	}
	cfg.quickRetries = s.quick
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	if d.app, err = newApp(ctx, cfg, clock, d.log.logger()); err != nil {
		t.Fatal(err)
	}
	loadMasterData(t, d.app)
	addrs := make(chan []string, 1)
	go func() { d.ended <- d.app.run(ctx, func(a []string) { addrs <- a }) }()
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if t.Failed() {
			var lines []string
			for line := range strings.Lines(d.log.String()) {
				if !strings.Contains(line, `"msg":"request","method":"GET"`) { // a test that waits asks a hundred times a second
					lines = append(lines, line)
				}
			}
			t.Logf("the end of the log:\n%s", strings.Join(lines[max(0, len(lines)-40):], ""))
		}
	})
	select {
	case a := <-addrs:
		d.api, d.public, d.ops = "http://"+a[0], "http://"+a[1], "http://"+a[2]
	case err := <-d.ended:
		d.ended <- err
		t.Fatalf("run: %v", err)
	}
	return d
}

func emptyDatabase(t testing.TB) string {
	t.Helper()
	dsn := dbtest.DSN(t)
	db, err := openDatabase(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrations.Up(t.Context(), db.DB); err != nil {
		t.Fatal(err)
	}
	return dsn
}

var loopbacks atomic.Uint32

// freeAddr is an address that stays free until it is listened to: on a loopback address of its own, where no other test,
// and no connection that leaves, takes the port meanwhile.
func freeAddr(t testing.TB) string {
	t.Helper()
	n := loopbacks.Add(1)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+os.Getpid()%250, n/250%250, 1+n%250))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func loadMasterData(t testing.TB, a *app) {
	t.Helper()
	loader := &intake.Loader{Service: a.service}
	for _, name := range []string{"stations.csv", "tariffs.csv"} {
		if sum, err := loadFile(context.Background(), testdata(name), loader); err != nil || sum.Bad > 0 {
			t.Fatalf("%s: %v, %s", name, err, sum)
		}
	}
}

func testdata(name string) string { return filepath.Join("..", "..", "courier", "testdata", name) }

// stop ends the daemon as a signal does and gives what run returned.
func (d *daemon) stop() error {
	d.stopOnce.Do(func() {
		d.cancel()
		select {
		case d.err = <-d.ended:
		case <-time.After(60 * time.Second):
			d.err = fmt.Errorf("the daemon did not stop within a minute")
			return
		}
		d.app.close()
	})
	return d.err
}

// token gives a token with the scopes, comma separated.
func (d *daemon) token(scopes string) string {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.secrets[scopes]; s != "" {
		return s
	}
	secret, _, err := d.app.service.CreateToken(context.Background(), "test "+scopes, strings.Split(scopes, ","), 0, "operator")
	if err != nil {
		d.t.Fatal(err)
	}
	d.secrets[scopes] = secret
	return secret
}

// A reply is an answer read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// in reads the answer as JSON into a map.
func (r reply) in(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("the answer is no JSON object: %s", r)
	}
	return m
}

// post calls the API; body may be text, bytes or anything that marshals. extra are header names and values in turn.
func (d *daemon) call(scopes, method, path string, body any, extra ...string) reply {
	d.t.Helper()
	r, err := d.try(scopes, method, path, body, extra...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (d *daemon) try(scopes, method, path string, body any, extra ...string) (reply, error) {
	if scopes != "" {
		extra = append([]string{"Authorization", "Bearer " + d.token(scopes)}, extra...)
	}
	return request(d.api+path, method, body, extra...)
}

var client = &http.Client{Timeout: 90 * time.Second, Transport: held(&http.Transport{MaxIdleConnsPerHost: 64})}

// held holds every call of the API against openapi.yaml.
func held(next http.RoundTripper) http.RoundTripper {
	t, err := spectest.New(api.Spec, next)
	if err != nil {
		panic(err)
	}
	return t
}

func request(url, method string, body any, extra ...string) (reply, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(extra); i += 2 {
		req.Header.Set(extra[i], extra[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, text}, err
}

// until looks again and again, for at most the limit, and tells how long it took.
var until = asynctest.Within

// status asks the API what a delivery is.
func (d *daemon) status(id string) string {
	d.t.Helper()
	r := d.call("read", "GET", "/v1/deliveries/"+id, nil)
	s, _ := r.in(d.t)["status"].(string)
	return s
}

// A posted is a permit as the permit system posts it.
type posted map[string]any

// permit makes the nth invented permit, eligible and prepaid; its phone ends in 0001, which EMS delivers. Edits are
// paths and values in turn.
func permit(n int, edits ...any) posted {
	p := posted{
		"permit_no": fmt.Sprintf("A1101022026%06d", n), "application_no": fmt.Sprintf("SQ2026-%06d", n), "business": "exchange",
		"route": "online", "ground": "residence", "identity_changed": false, "address_changed": false, "station_code": "110102001",
		"consent":     map[string]any{"source": "platform", "at": "2026-10-20T10:00:00+08:00", "notice_version": "1"},
		"approved_at": "2026-10-22T09:00:00+08:00", "payment_method": "prepaid",
		"recipient": map[string]any{"name": "欧阳测试" + string(rune('一'+n%2000)), "phone": fmt.Sprintf("139%04d0001", n%10000), "id_no": idNumber(n),
			"province": "北京市", "city": "北京市", "county": "西城区", "address": fmt.Sprintf("试验胡同%d号院4单元1402", n+1)},
	}
	for i := 0; i+1 < len(edits); i += 2 {
		in, name := map[string]any(p), edits[i].(string)
		if group, field, ok := strings.Cut(name, "."); ok {
			in, name = p[group].(map[string]any), field
		}
		if edits[i+1] == nil {
			delete(in, name)
		} else {
			in[name] = edits[i+1]
		}
	}
	return p
}

// idNumber makes a valid number of somebody who does not exist.
func idNumber(n int) string {
	s := fmt.Sprintf("110105%04d%02d%02d%03d", 1960+n%40, 1+n/40%12, 1+n/480%28, n%1000)
	sum := 0
	for i, w := range []int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += int(s[i]-'0') * w
	}
	return s + string("10X98765432"[sum%11])
}

// accept posts a permit that must be taken in, and gives the delivery.
func (d *daemon) accept(p posted) map[string]any {
	d.t.Helper()
	r := d.call("permits", "POST", "/v1/deliveries", p)
	if r.status != http.StatusCreated {
		d.t.Fatalf("accept: %s", r)
	}
	return r.in(d.t)
}

func id(delivery map[string]any) string { s, _ := delivery["id"].(string); return s }

// money is the body of a payment.
func money(fen any, transaction string) map[string]any {
	return map[string]any{"amount_fen": fen, "method": "wechat", "transaction_no": transaction, "paid_at": "2026-10-23T09:00:00+08:00"}
}

func (d *daemon) pay(id string, fen any, transaction string) reply {
	d.t.Helper()
	return d.call("payments", "POST", "/v1/deliveries/"+id+"/payments", money(fen, transaction))
}

// ordered takes in a paid permit and waits until EMS has its order.
func (d *daemon) ordered(n int, edits ...any) string {
	d.t.Helper()
	v := d.accept(permit(n, edits...))
	if v["status"] == "awaiting_payment" {
		if r := d.pay(id(v), v["fee_fen"], fmt.Sprintf("WX-ordered-%d", n)); r.status != http.StatusOK {
			d.t.Fatalf("pay: %s", r)
		}
	}
	until(d.t, 10*time.Second, "ordered", func() bool { return d.status(id(v)) == "ordered" })
	return id(v)
}
