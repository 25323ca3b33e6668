package ems

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"emsd/courier"
)

// benchBody is a trace as long as a delivered item's: fourteen scans.
func benchBody() string {
	var items []string
	for i := range 14 {
		items = append(items, fmt.Sprintf(`{"waybillNo":"1200000001417","opTime":"2024-12-26 15:%02d:55","opCode":"389","opName":"处理中心封车",`+
			`"opDesc":"快件离开【甲中心】,正在发往下一站","opOrgProvName":"上海市","opOrgCity":"上海市","opOrgCode":"20000001","opOrgName":"甲中心","operatorNo":"XTZD","operatorName":"系统自动"}`, i))
	}
	return envelope("00000", "查询结果正常返回！", `{"responseItems":[`+strings.Join(items, ",")+`]}`)
}

// benchServer answers every request with one body and does nothing else.
func benchServer(b *testing.B, body string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, body)
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

func benchClient(b *testing.B, body string) *Client {
	cfg := config(benchServer(b, body))
	cfg.Rate, cfg.Concurrency = 1e9, 64
	c, err := New(cfg, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// BenchmarkTrace asks over loopback with 64 workers; the stub shares the processors.
func BenchmarkTrace(b *testing.B) {
	body := benchBody()
	for _, changed := range []bool{false, true} {
		b.Run(map[bool]string{false: "unchanged", true: "changed"}[changed], func(b *testing.B) {
			c := benchClient(b, body)
			t, err := c.Trace(b.Context(), "1200000001417", 0)
			if err != nil {
				b.Fatal(err)
			}
			known := t.Fingerprint
			if changed {
				known++
			}
			b.ReportAllocs()
			workers(b, 64, func() error { _, err := c.Trace(b.Context(), "1200000001417", known); return err })
		})
	}
}

// BenchmarkFloor is the same exchange over net/http alone, with a body that was built before: what no client can beat.
func BenchmarkFloor(b *testing.B) {
	url := benchServer(b, benchBody())
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	form := strings.Repeat("x", 390)
	b.ReportAllocs()
	workers(b, 64, func() error {
		resp, err := hc.Post(url, "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	})
}

func workers(b *testing.B, n int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, n)
	b.ResetTimer()
	for range n {
		go func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range n {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkOrder(b *testing.B) {
	c := benchClient(b, envelope("00000", "成功！", orderAnswer))
	o := testOrder()
	b.ReportAllocs()
	workers(b, 64, func() error { _, err := c.CreateWaybill(b.Context(), o); return err })
}

// The parts, without a network.

func BenchmarkForm(b *testing.B) {
	c, err := New(config("http://127.0.0.1:1/"), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		k := call{c: c, api: apiTrace, message: []byte(vectors[1].message)}
		_ = k.form()
	}
}

func BenchmarkUnchangedAnswer(b *testing.B) {
	body := []byte(benchBody())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var a answer
		if err := a.parse(body); err != nil || fingerprint(a.body) == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkChangedAnswer(b *testing.B) {
	body := []byte(benchBody())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var a answer
		var t courier.Trace
		if err := a.parse(body); err != nil {
			b.Fatal(err)
		}
		if err := readTrace(&t, a.body, "1200000001417"); err != nil {
			b.Fatal(err)
		}
	}
}
