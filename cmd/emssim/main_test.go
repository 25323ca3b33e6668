package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// start runs emssim on a free port and returns its address.
func start(t *testing.T, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	f, code, done := parse(append([]string{"--listen", "127.0.0.1:0"}, args...), io.Discard, &errs)
	if done {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, f, write) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("serve does not end")
		}
	})
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
	if address == "" {
		t.Fatalf("no address in %q", line)
	}
	return address
}

func send(t *testing.T, method, address, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestTheProcessServesBothSimulators(t *testing.T) {
	t.Parallel()
	address := start(t, "--speed", "1000", "--aliyun-template", "SMS_1=name,no")

	// V0 of the dossier under the sample secret: it opens, and is no order.
	form := url.Values{"apiCode": {"020006"}, "senderNo": {"1100000000000"}, "authorization": {"SIMAUTHORIZATION"}, "timeStamp": {"2026-01-02 03:04:05"},
		"logitcsInterface": {"|$4|efB6PnjDpgHG4xfrvYlXonyBuMJoGTynkfasopHvbl2u3nmNeP+rznA3DyRwb/2GeZL7I3rL6HKD5+Tv3Uy6x8jIDISbYG8Bg14caH2flYE="}}
	resp, err := http.PostForm(address+"/amp-prod-api/f/amp/api/test", form)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(body), "logisticsOrderNo不能为空") {
		t.Errorf("EMS answers %s, %v", body, err)
	}
	if code, body := send(t, "POST", address+"/aliyun/", ""); code != 400 || !strings.Contains(body, "MissingAccessKeyId") {
		t.Errorf("Aliyun answers %d %s", code, body)
	}
	if code, body := send(t, "POST", address+"/sim/registry", `{"Signature":"refused","Carriers":{"unicom":{"Status":2}}}`); code != 204 {
		t.Errorf("registry: %d %s", code, body)
	}
	if code, body := send(t, "POST", address+"/sim/registry", `{"Colour":"red"}`); code != 400 || !strings.Contains(body, "Colour") {
		t.Errorf("registry: %d %s", code, body)
	}
	code, body2 := send(t, "GET", address+"/sim/ledger", "")
	var ledger struct {
		Orders, Messages []any
		Calls            map[string]int
		NumbersReserved  *int `json:"numbers_reserved"`
	}
	if err := json.Unmarshal([]byte(body2), &ledger); code != 200 || err != nil || ledger.Orders == nil || ledger.Messages == nil || ledger.NumbersReserved == nil {
		t.Errorf("ledger %d %s: %v", code, body2, err)
	}
}

func TestFaultsReachTheSimulatorTheyName(t *testing.T) {
	t.Parallel()
	address := start(t)
	tests := []struct {
		body string
		want int
	}{
		{`{"api":"aliyun:SendSms","kind":"throttle"}`, 204},
		{`{"api":"aliyun:Nothing","kind":"throttle"}`, 400},
		{`{"api":"aliyun:SendSms","kind":"drip"}`, 400},
		{`{"api":"mas:","kind":"receipt_lost","count":1}`, 204},
		{`{"api":"aliyun:SendSms","kind":"receipt_lost"}`, 400},
		{`{"api":"mas:","kind":"down","for":"1h"}`, 204},
		{`{"api":"mas:","kind":"down","for":"-1h"}`, 400},
		{`{"api":"mas:","kind":"down","for":"an hour"}`, 400},
		{`{"api":"020003","kind":"http_502","for":"1h"}`, 400},
		{`{"api":"020003","kind":"http_502","rate":1,"count":0}`, 204},
		{`{"api":"020003","kind":"throttle"}`, 400},
		{`{"api":"020003","kind":"html","colour":"red"}`, 400},
	}
	for _, tt := range tests {
		if code, body := send(t, "POST", address+"/sim/faults", tt.body); code != tt.want {
			t.Errorf("%s = %d %s, want %d", tt.body, code, body, tt.want)
		}
	}
	sms := func() string {
		r, err := http.NewRequestWithContext(t.Context(), "POST", address+"/aliyun/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-acs-action", "SendSms")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := sms(); !strings.Contains(got, "Throttling.User") {
		t.Errorf("with the fault: %s", got)
	}
	if code, body := send(t, "DELETE", address+"/sim/faults", ""); code != 204 {
		t.Errorf("DELETE = %d %s", code, body)
	}
	if got := sms(); strings.Contains(got, "Throttling.User") {
		t.Errorf("after DELETE: %s", got)
	}
}

func TestWrongUsageIsSaidAndExitsWithTwo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"unknown flag", []string{"--colour"}, 2, "colour"},
		{"bad secret", []string{"--ems-secret", "abc"}, 2, "--ems-secret"},
		{"standing clock", []string{"--speed", "0"}, 2, "--speed"},
		{"unknown behaviour", []string{"--repeat", "often"}, 2, "repeat"},
		{"help", []string{"--help"}, 0, "--listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			_, code, done := parse(tt.args, &out, &out)
			if !done || code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit %d %v: %s", code, done, out.String())
			}
		})
	}
}

func TestTheClockRunsFaster(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Second)
	if got := (clock{began, 3600}).now().Sub(began); got < time.Hour || got > 10*time.Hour {
		t.Errorf("after a second at speed 3600: %v", got)
	}
}

func TestTemplatesListTheirVariables(t *testing.T) {
	t.Parallel()
	f, _, done := parse([]string{"--aliyun-template", "SMS_1=name,no", "--aliyun-template", "SMS_2=no"}, io.Discard, io.Discard)
	if done || len(f.AliyunTemplate) != 2 || strings.Join(f.AliyunTemplate["SMS_1"], " ") != "name no" || len(f.AliyunTemplate["SMS_2"]) != 1 {
		t.Errorf("templates %v", f.AliyunTemplate)
	}
}

func TestAReplyReachesTheDaemonsAddress(t *testing.T) {
	t.Parallel()
	paths := make(chan string, 1)
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	defer daemon.Close()
	address := start(t, "--mas-receipt-to", daemon.URL+"/sms/mas/receipts/s3cret")
	if code, body := send(t, "POST", address+"/sim/reply", `{"gateway":"mas","phone":"13900000001","text":"TD"}`); code != 204 {
		t.Fatalf("reply = %d %s", code, body)
	}
	if got := <-paths; got != "/sms/mas/replies/s3cret" {
		t.Errorf("posted to %s", got)
	}
	for _, body := range []string{`{"gateway":"aliyun","phone":"13900000001","text":"TD"}`, `{"gateway":"mas","phone":"13900000001"}`, `{"colour":"red"}`} {
		if code, _ := send(t, "POST", address+"/sim/reply", body); code != 400 {
			t.Errorf("%s = %d", body, code)
		}
	}
	daemon.Close()
	if code, _ := send(t, "POST", address+"/sim/reply", `{"gateway":"mas","phone":"13900000001","text":"TD"}`); code != 502 {
		t.Errorf("nobody listens: %d", code)
	}
}
