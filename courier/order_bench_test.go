package courier_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/ems"
	"emsd/courier/emssim"
	"emsd/migrations/dbtest"

	"github.com/emmansun/gmsm/sm4"
	"github.com/jmoiron/sqlx"
)

// benchOrders is what one run orders.
const benchOrders = 20_000

// A stubCarrier confirms what is ordered, in no time.
type stubCarrier struct{ *fakeCarrier }

func (stubCarrier) CreateWaybill(_ context.Context, o courier.Order) (courier.Confirmation, error) {
	return courier.Confirmation{OrderNo: o.OrderNo, WaybillNo: o.WaybillNo, SerialNo: "1a394b38-0000-4000-8000-000000000000"}, nil
}

// BenchmarkOrderRound is goal P3 (performance.md) in small: the product's own round beside a floor on the same tables, with
// a carrier that costs nothing and with the real client over loopback. The pool of numbers is full beforehand, as its own
// round keeps it. CPU per order is what to compare on a busy machine.
func BenchmarkOrderRound(b *testing.B) {
	for _, over := range []string{"nothing", "nothing-floor", "loopback", "loopback-floor"} {
		b.Run(over, func(b *testing.B) {
			var seconds float64
			for b.Loop() {
				b.StopTimer()
				seconds += benchOrderRound(b, over).Seconds()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*benchOrders/seconds, "orders/s")
		})
	}
}

func benchOrderRound(b *testing.B, over string) time.Duration {
	pg, dsn := dbtest.Private(b, nil)
	db := sqlx.MustConnect("postgres", dsn)
	db.SetMaxIdleConns(20)
	defer db.Close()
	for range benchOrders / 1000 {
		addApproved(b, db, testVault(b), 1000, time.Now())
	}
	execSQL(b, db, `INSERT INTO numbers (waybill_no, product, state, reserved_at)
		SELECT '12' || lpad(n::text, 8, '0') || '017', '1', 'free', $1 FROM generate_series(1, $2) n`, noon, benchOrders+5000)
	var carrier courier.Carrier = stubCarrier{newFakeCarrier()}
	if strings.HasPrefix(over, "loopback") {
		carrier = loopbackClient(b)
	}
	o := newOrderer(b, db, carrier, courier.OrderOptions{Sender: orderOptions().Sender})
	execSQL(b, db, `CHECKPOINT`)
	cpu0, pg0, wal0 := ownCPU(), familyCPU(b, pg.PID()), one[int64](b, db, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`)
	began := time.Now()
	if strings.HasSuffix(over, "floor") {
		floorRound(b, db, testVault(b), carrier)
	} else if err := o.OrderRound(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	b.ReportMetric(float64((ownCPU()-cpu0).Microseconds())/benchOrders, "go-µs/order")
	b.ReportMetric(float64((familyCPU(b, pg.PID())-pg0).Microseconds())/benchOrders, "pg-µs/order")
	b.ReportMetric(float64(one[int64](b, db, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`)-wal0)/benchOrders, "wal-B/order")
	if n := one[int](b, db, `SELECT count(DISTINCT waybill_no) FROM deliveries WHERE status = 'ordered'`); n != benchOrders {
		b.Fatalf("%d ordered, want %d", n, benchOrders)
	}
	return took
}

// loopbackClient is the real client before a stub that opens each order no further than its number.
func loopbackClient(b *testing.B) courier.Carrier {
	key, err := base64.StdEncoding.DecodeString(emssim.SampleSecret)
	if err != nil {
		b.Fatal(err)
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		order, waybill := readStubOrder(block, r)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"serialNo":"1a394b38-0000-4000-8000-000000000000","retCode":"00000","retMsg":"成功！","retBody":"{\"logisticsOrderNo\":\"%s\",\"waybillNo\":\"%s\"}","retDate":"2026-03-24 14:02:04","success":true}`, order, waybill)
	}))
	b.Cleanup(srv.Close)
	c, err := ems.New(ems.Config{URL: srv.URL + emssim.PathOpen, SenderNo: emssim.SampleSenderNo, Authorization: emssim.SampleAuthorization,
		Secret: emssim.SampleSecret, Rate: 1e9, Concurrency: 64}, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// readStubOrder opens the first blocks of a sealed order: both numbers stand in them.
func readStubOrder(block cipher.Block, r *http.Request) (order, waybill string) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(form.Get("logitcsInterface"), "|$4|"))
	head := make([]byte, min(len(sealed), 320))
	for i := 0; i+16 <= len(head); i += 16 {
		block.Decrypt(head[i:], sealed[i:])
	}
	field := func(name string) string {
		_, rest, _ := strings.Cut(string(head), `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	return field("logisticsOrderNo"), field("waybillNo")
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// familyCPU is what the living children of a process have used, in clock ticks of 10 ms.
func familyCPU(b *testing.B, parent int) (sum time.Duration) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if ppid, _ := strconv.Atoi(f[1]); ppid == parent {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			sum += time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return sum
}
