package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier/emssim"
	"emsd/migrations/dbtest"
	"emsd/notify/smssim"
)

// emsd builds the program once, in emsdDir.
var (
	emsd = sync.OnceValues(func() (string, error) {
		var err error
		if emsdDir, err = os.MkdirTemp("", "emsd-test-"); err != nil {
			return "", err
		}
		path := filepath.Join(emsdDir, "emsd")
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w: %s", err, out)
		}
		return path, nil
	})
	emsdDir string
)

// removeEmsd is for when all tests are done.
func removeEmsd() error { return os.RemoveAll(emsdDir) }

// serve starts the real process with an environment and waits until it is ready, or has ended.
func serve(t *testing.T, env []string) (*exec.Cmd, chan error) {
	t.Helper()
	path, err := emsd()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env, cmd.Stderr = env, io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, ended
}

// TestI3_I5_ADaemonKilledWhileOrderingAndStartedAgain kills the real process at points of ordering, starts it again, and asks
// the simulators' books: one paid order per permit, no message twice, nothing that was acknowledged lost. Those of sending have
// TestI4_I5_KilledAtEveryPointOfSendingAndResolving.
func TestI3_I5_ADaemonKilledWhileOrderingAndStartedAgain(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"order.claimed", "order.intent_committed", "order.called", "order.outcome_written"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			const n = 5
			dsn := emptyDatabase(t)
			d := start(t, setup{dsn: dsn}) // takes the permits in, unpaid, and stops
			var ids []string
			for i := range n {
				ids = append(ids, id(d.accept(permit(i+1))))
			}
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			key := d.app.cfg.MasterKeyFile
			// The pool holds numbers that another simulator gave out.
			s := startSims(t, emssim.Config{Now: time.Now, AcceptUnreserved: true, FirstSerial: 500000}, smssim.Config{})
			env := append(environ(dsn, key, s, "EMSD_SMS_ALIYUN_URL="+s.url+smssim.PrefixAliyun), "PATH="+os.Getenv("PATH"))
			s2, err := openDatabase(t.Context(), dsn, 4)
			if err != nil {
				t.Fatal(err)
			}
			defer s2.Close()
			// Paid by SQL and made due, so that the first daemon finds work the moment it starts.
			for _, stmt := range []string{
				`INSERT INTO payments (id, delivery_id, kind, transaction_no, method, amount_fen, paid_at, recorded_at, recorded_by)
					SELECT gen_random_uuid(), id, 'payment', id::text, 'cash', fee_fen, now(), now(), 'test' FROM deliveries`,
				`UPDATE deliveries SET paid_fen = fee_fen, status = 'approved', next_attempt_at = now() - interval '1 hour'`,
				`UPDATE messages SET not_before = now() - interval '1 hour' WHERE state = 'queued'`,
			} {
				if _, err := s2.Exec(stmt); err != nil {
					t.Fatal(err)
				}
			}
			_, ended := serve(t, append(env, crashPointEnv+"="+point))
			select {
			case <-ended:
			case <-time.After(8 * time.Second): // a point that nothing led to: killed where it stands
			}
			cmd, _ := serve(t, env)
			until(t, 30*time.Second, "ordered", func() bool {
				var left int
				if err := s2.Get(&left, `SELECT count(*) FROM deliveries WHERE status IN ('approved', 'ordering')`); err != nil {
					t.Fatal(err)
				}
				return left == 0
			})
			cmd.Process.Signal(syscall.SIGTERM)
			paid := map[string]int{}
			for _, o := range s.ems.Ledger().Orders {
				if !o.Cancelled {
					paid[o.OrderNo]++
				}
			}
			for _, x := range ids {
				if got := paid["RP"+strings.ReplaceAll(x, "-", "")]; got != 1 {
					t.Errorf("delivery %s has %d paid orders, want 1", x, got)
				}
			}
			twice := map[string]int{}
			for _, m := range s.sms.Messages() {
				if twice[m.Phone+m.Template]++; twice[m.Phone+m.Template] > 1 {
					t.Errorf("template %s went to the same number twice", m.Template)
				}
			}
		})
	}
}

// TestI10_WhatWasAcknowledgedOutlivesPostgreSQL restarts the server while permits are posted and ordered.
func TestI10_WhatWasAcknowledgedOutlivesPostgreSQL(t *testing.T) {
	t.Parallel()
	server, dsn := dbtest.Private(t, nil)
	d := start(t, setup{dsn: dsn, quick: true})
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for n := w * 1000; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				r, err := d.try("permits", "POST", "/v1/deliveries", permit(n, "payment_method", "collect"))
				if err == nil && r.status == http.StatusCreated {
					mu.Lock()
					acknowledged[fmt.Sprintf("A1101022026%06d", n)] = true
					mu.Unlock()
				}
			}
		})
	}
	size := func() int { mu.Lock(); defer mu.Unlock(); return len(acknowledged) }
	until(t, 20*time.Second, "some taken in", func() bool { return size() > 20 })
	for range 2 {
		before := size()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, 30*time.Second, "taking in again", func() bool { return size() > before+10 })
	}
	close(stop)
	wg.Wait()
	until(t, 40*time.Second, "all ordered", func() bool {
		var left int
		err := d.app.db.Get(&left, `SELECT count(*) FROM deliveries WHERE status <> 'ordered'`)
		return err == nil && left == 0
	})
	var stored []string
	if err := d.app.db.Select(&stored, `SELECT permit_no FROM deliveries`); err != nil {
		t.Fatal(err)
	}
	for _, p := range stored {
		delete(acknowledged, p)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d permits were answered 201 and are not there", len(acknowledged))
	}
	paid := map[string]int{}
	for _, o := range d.ems.Ledger().Orders {
		if !o.Cancelled {
			paid[o.OrderNo]++
		}
	}
	for no, n := range paid {
		if n != 1 {
			t.Errorf("order %s is paid %d times", no, n)
		}
	}
	if len(paid) != len(stored) {
		t.Errorf("%d paid orders for %d deliveries", len(paid), len(stored))
	}
}

func TestABatchAnswersEveryLineInOrder(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	const n = 3000
	var in bytes.Buffer
	want := make([]int, 0, n)
	line := func(status int, text string) {
		in.WriteString(text + "\n")
		want = append(want, status)
	}
	for i := range n {
		body, err := json.Marshal(permit(i + 1))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i%100 == 7:
			line(422, `{"permit_no":"A1"`)
		case i%100 == 8:
			line(422, "{\"permit_no\":\"\xff\"}")
		case i%100 == 9:
			line(413, strings.Repeat("x", intake.MaxLine+100))
		case i%100 == 10:
			refused, err := json.Marshal(permit(i+1, "route", "registration_station"))
			if err != nil {
				t.Fatal(err)
			}
			line(422, string(refused))
		default:
			line(201, string(body))
		}
	}
	post := func() []map[string]any {
		r := d.call("permits", "POST", "/v1/deliveries:batch", in.String())
		var out []map[string]any
		for dec := json.NewDecoder(bytes.NewReader(r.body)); ; {
			var l map[string]any
			if err := dec.Decode(&l); err == io.EOF {
				return out
			} else if err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		}
	}
	for pass, created := range []int{201, 200} {
		out := post()
		if len(out) != n {
			t.Fatalf("%d answers to %d lines", len(out), n)
		}
		for i, l := range out {
			w := want[i]
			if w == 201 {
				w = created
			}
			if l["line"] != float64(i+1) || l["status"] != float64(w) {
				t.Fatalf("pass %d, line %d: %v, want status %d", pass, i+1, l, w)
			}
		}
	}
}

func TestTheSameFileTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	load := func(dry bool) (intake.Summary, string) {
		var out bytes.Buffer
		sum, err := loadFile(t.Context(), testdata("permits.jsonl"), &intake.Loader{Service: d.app.service, DryRun: dry, Bad: complainTo(&out)})
		if err != nil {
			t.Fatal(err)
		}
		return sum, out.String()
	}
	count := func() (n int) {
		if err := d.app.db.Get(&n, `SELECT count(*) FROM deliveries`); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if sum, _ := load(true); count() != 0 || sum.Bad == 0 || sum.Created == 0 {
		t.Errorf("a dry run made %d deliveries and says %s", count(), sum)
	}
	first, told := load(false)
	n := count()
	if first.Created == 0 || n != first.Created+first.Refused {
		t.Errorf("%s, and %d deliveries", first, n)
	}
	for _, part := range []string{"phone 手机", "id_no 身份证号", "station_code 受理点编码", "county 区县", "approved_at 批准时间"} {
		if !strings.Contains(told, part) {
			t.Errorf("no fault names %s", part)
		}
	}
	second, _ := load(false)
	if count() != n || second.Created != 0 || second.Bad != first.Bad {
		t.Errorf("the second time: %s, %d deliveries", second, count())
	}
}

func TestPushesAndReceiptsFromOutside(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	post := func(path, body string) reply {
		r, err := request(d.public+path, "POST", body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, body := range map[string]string{"garbage": "x", "empty": "", "forged": `{"logitcsInterface":"|$4|AAAA","method":"040002","serialNo":"S"}`,
		"oversized": strings.Repeat("x", 100<<10)} {
		if r := post("/ems/push", body); r.status != 200 || !bytes.Contains(r.body, []byte(`"B00001"`)) {
			t.Errorf("%s: %s, want B00001", name, r)
		}
	}
	right := "/sms/aliyun/receipts/" + receiptSecret
	stranger := `[{"phone_number":"13900000000","success":true,"err_code":"DELIVERED","biz_id":"1^0","out_id":"nobody","send_time":"2026-11-20 10:00:00","report_time":"2026-11-20 10:00:05","sms_size":"1"}]`
	for _, tt := range []struct {
		path, body string
		want       int
	}{{right, stranger, 200}, {right, "x", 400}, {right + "x", stranger, 404}, {"/sms/pigeon/receipts/" + receiptSecret, stranger, 404}} {
		if r := post(tt.path, tt.body); r.status != tt.want {
			t.Errorf("%s: %s, want %d", strings.Replace(tt.path, receiptSecret, "…", 1), r, tt.want)
		}
	}
	if r, err := request(d.public+right, "GET", nil); err != nil || r.status != 200 || !bytes.Contains(r.body, []byte(`"code":0`)) {
		t.Errorf("probe: %s, %v", r, err)
	}
	if strings.Contains(d.log.String(), receiptSecret) || strings.Contains(d.log.String(), "13900000000") {
		t.Error("the log holds the secret address or a number")
	}
}

func TestReadyNamesWhatFailsAndMetricsNameNobody(t *testing.T) {
	t.Parallel()
	server, dsn := dbtest.Private(t, nil)
	d := start(t, setup{dsn: dsn})
	d.accept(permit(1))
	if r, err := request(d.ops+"/readyz", "GET", nil); err != nil || r.status != 200 {
		t.Errorf("readyz: %s, %v", r, err)
	}
	m, err := request(d.ops+"/metrics", "GET", nil)
	if err != nil || !bytes.Contains(m.body, []byte(`emsd_oldest_due_seconds{round="poll"}`)) || !bytes.Contains(m.body, []byte(`emsd_poll_behind_seconds{stage="out_for_delivery"} 0`)) || !bytes.Contains(m.body, []byte("emsd_round_last_success_timestamp_seconds")) {
		t.Errorf("metrics lack what an operator watches: %v", err)
	}
	if bytes.Contains(m.body, []byte("欧阳")) || bytes.Contains(m.body, []byte("1390001")) {
		t.Error("the metrics hold personal data")
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	r, err := request(d.ops+"/readyz", "GET", nil)
	if err != nil || r.status != 503 || !bytes.Contains(r.body, []byte(`"database":"`)) || bytes.Contains(r.body, []byte(`"database":"ok"`)) {
		t.Errorf("readyz without a database: %s, %v", r, err)
	}
	if err := server.StartAgain(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "ready again", func() bool {
		r, err := request(d.ops+"/readyz", "GET", nil)
		return err == nil && r.status == 200
	})
}

func TestCommandsEndAsTheContractSays(t *testing.T) {
	t.Parallel()
	dsn := emptyDatabase(t)
	env := environ(dsn, keyFile(t), startSims(t, emssim.Config{}, smssim.Config{}))
	for _, tt := range []struct {
		args string
		env  []string
		code int
		says string
	}{
		{"version", nil, 0, "emsd "},
		{"fly", nil, 2, "unexpected argument"},
		{"serve --fast", nil, 2, "unknown flag"},
		{"serve", nil, 1, "EMSD_DATABASE_URL is required"},
		{"check-config", env, 0, `"redacted"`},
		{"migrate status", env, 0, "init"},
		{"migrate down", env, 2, "--yes"},
		{"doctor", env, 0, "credentials accepted"},
		{"doctor", append(env[:len(env):len(env)], "EMSD_EMS_AUTHORIZATION=WRONG"), 1, "FAIL"},
		{"import /no/such.csv", env, 1, "no such file"},
		{"token create --name x --scopes read", env, 0, "emsd_"},
		{"token create --name x --scopes fly", env, 2, "scopes"},
		{"token list", env, 0, "valid"},
		{"verify-audit", env, 0, "the chain holds"},
		{"rotate-key", env, 0, "is active"},
		{"purge", env, 0, ""},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), tt.env, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("emsd %s: code %d, want %d saying %q:\n%s", tt.args, code, tt.code, tt.says, out.String())
		}
		for _, s := range []string{emssim.SampleSecret, smssim.SampleAccessKeySecret} {
			if strings.Contains(out.String(), s) {
				t.Errorf("emsd %s prints a secret", tt.args)
			}
		}
	}
}
