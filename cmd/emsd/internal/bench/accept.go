package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"
)

// measureAccept gives A1.
func (b *bench) measureAccept(ctx context.Context) error {
	var product, floor []result
	for i := range b.Sizes.Rounds {
		p, err := b.accept(ctx, task{Kind: "accept", Profile: b.profileName("accept")})
		if err != nil {
			return err
		}
		f, err := b.accept(ctx, task{Kind: "accept-floor"})
		if err != nil {
			return err
		}
		b.say("accept %d/%d: product %.0f/s, floor %.0f/s", i+1, b.Sizes.Rounds, p.perSecond(), f.perSecond())
		product, floor = append(product, p), append(floor, f)
	}
	b.report.add(pair("A1", "permits a second by POST :batch, one sender", "/s", product, floor, result.perSecond))
	b.report.add(pair("A1", "CPU a permit, sender and daemon + PostgreSQL", "µs", product, floor, result.micros))
	b.report.add(pair("A1", "WAL a permit", "B", product, floor, result.walEach))
	return nil
}

func (b *bench) accept(ctx context.Context, t task) (r result, err error) {
	n := b.Sizes.Permits
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		if err := seedIntake(ctx, db, businessNow); err != nil {
			return err
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		t.DSN, t.Items, t.Now = dsn, n, businessNow
		if r, err = b.run(ctx, t); err != nil {
			return err
		}
		count := countAccepted
		if t.Kind == "accept-floor" {
			count = countFloorPermits
		}
		stored, err := count(ctx, db)
		if err == nil && stored != n {
			err = fmt.Errorf("check %s: %d of %d permits were stored exactly once", t.Kind, stored, n)
		}
		return err
	})
	return r, err
}

// application is an approved permit as the permit system posts it.
func application(i int) []byte {
	return fmt.Appendf(nil, `{"permit_no":"A1101052026%08d","application_no":"SQ2026-%08d","business":"exchange","route":"online","ground":"residence",`+
		`"identity_changed":false,"address_changed":false,"station_code":"110105001","consent":{"source":"platform","at":"2026-10-11T11:33:00+08:00",`+
		`"notice_version":"2026-1"},"approved_at":"2026-10-22T11:33:00+08:00","payment_method":"prepaid","recipient":{"name":"张三丰",`+
		`"phone":"138%08d","id_no":"110105198310062311","province":"北京市","city":"北京市","county":"朝阳区","address":"示例路%d号院2号楼3单元301室"}}`, i, i, i, i)
}

func applications(n int) []byte {
	var lines bytes.Buffer
	for i := range n {
		lines.Write(application(i))
		lines.WriteByte('\n')
	}
	return lines.Bytes()
}

// acceptProduct posts everything in one batch to the daemon's own handler.
func acceptProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := openOffice(ctx, db, clockFrom(t.Now), "permits")
	if err != nil {
		return err
	}
	defer o.Close()
	body := applications(t.Items)
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := postBatch(ctx, o, body, t.Items); err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

// postBatch wants a 201 for each line, in order.
func postBatch(ctx context.Context, o *office, body []byte, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL+"/v1/deliveries:batch", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("post a batch: %w", err)
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	taken := 0
	for answers.Scan() {
		taken++
		if want := []byte(`{"line":` + strconv.Itoa(taken) + `,"status":201,`); !bytes.HasPrefix(answers.Bytes(), want) {
			return fmt.Errorf("post a batch: line %d was answered %.200s", taken, answers.Bytes())
		}
	}
	if err := answers.Err(); err != nil || taken != n {
		return errors.Join(err, fmt.Errorf("post a batch: %d of %d lines were answered, status %s", taken, n, resp.Status))
	}
	return nil
}

// A floorApplication is the posted object, read the plain way.
type floorApplication struct {
	PermitNo      string `json:"permit_no"`
	ApplicationNo string `json:"application_no"`
	StationCode   string `json:"station_code"`
	Recipient     struct {
		Name    string `json:"name"`
		Phone   string `json:"phone"`
		IDNo    string `json:"id_no"`
		Address string `json:"address"`
	} `json:"recipient"`
}

// acceptFloor takes permits in by hand: parse, seal, one statement for 500, commit.
func acceptFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	v := benchVault()
	lines := bufio.NewScanner(bytes.NewReader(applications(t.Items)))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	for more := true; more; {
		var rows floorPermits
		for len(rows.ids) < floorChunk {
			if more = lines.Scan(); !more {
				break
			}
			var a floorApplication
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				return err
			}
			id, r := uuid.Must(uuid.NewV7()), a.Recipient
			rows.add(id.String(), a.PermitNo, a.ApplicationNo, a.StationCode, v.Seal("deliveries.name", id, r.Name),
				v.Seal("deliveries.phone", id, r.Phone), v.Seal("deliveries.id_no", id, r.IDNo), v.Seal("deliveries.address", id, r.Address))
		}
		if err := insertFloorPermits(ctx, db, rows); err != nil {
			return err
		}
	}
	return m.stop(ctx, db, t.Items)
}

// payEvery is how often somebody pays; slow enough that no two wait for each other, as on a working day.
const payEvery = 20 * time.Millisecond

// measureLatency gives A2.
func (b *bench) measureLatency(ctx context.Context) error {
	n := b.Sizes.Payments
	var product, floor result
	err := b.within(ctx, func(db *sqlx.DB, dsn string) (err error) {
		if err := seedIntake(ctx, db, businessNow); err != nil {
			return err
		}
		if err := seedNumbers(ctx, db, n+seedChunk, businessNow); err != nil {
			return err
		}
		t := task{Kind: "latency", DSN: dsn, URL: b.stub + pathAfter, Items: n, Workers: workers, Now: businessNow}
		if product, err = b.counted(ctx, t, 0, n); err != nil {
			return err
		}
		got, err := readOrdered(ctx, db)
		if want := (ordered{n, n, n, n, n}); err == nil && got != want {
			err = fmt.Errorf("check latency: stored %+v, want %+v", got, want)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = b.within(ctx, func(db *sqlx.DB, dsn string) (err error) {
		if err := b.seedFloorOrders(ctx, db, n); err != nil {
			return err
		}
		floor, err = b.counted(ctx, task{Kind: "latency-floor", DSN: dsn, URL: b.stub + pathAfter, Items: n, Workers: workers}, 0, n)
		return err
	})
	if err != nil {
		return err
	}
	p, f := milliseconds(product.Took), milliseconds(floor.Took)
	b.say("latency: median %.1f ms, 99th %.1f ms", median(p), percentile(p, 99))
	b.report.add(against("A2", "from the payment's call to ordered, median", "ms", []float64{median(p)}, []float64{median(f)}))
	b.report.add(against("A2", "from the payment's call to ordered, 99th percentile", "ms", []float64{percentile(p, 99)}, []float64{percentile(f, 99)}).below(1000, 0))
	return nil
}

func milliseconds(seconds []float64) []float64 {
	ms := make([]float64, len(seconds))
	for i, s := range seconds {
		ms[i] = s * 1000
	}
	return ms
}

// latencyProduct pays one delivery after the other while an order round sleeps until it is woken, as in the daemon.
func latencyProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	clock := clockFrom(t.Now)
	service := courier.New(db, benchVault(), clock, courier.Options{})
	orderer := courier.NewOrderer(db, benchVault(), client, clock, courier.OrderOptions{}, quiet, courier.NewOrderMetrics(reg))
	bills, err := takeIn(ctx, service, t.Items)
	if err != nil {
		return err
	}
	wakes := pq.NewListener(t.DSN, time.Second, time.Minute, nil)
	defer wakes.Close()
	if err := errors.Join(wakes.Listen(courier.WakeOrders), wakes.Listen(courier.WakeEvents)); err != nil {
		return err
	}
	w := &latencyWatch{db: db, orderer: orderer, wakes: wakes.Notify, paid: map[uuid.UUID]time.Time{}}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := w.run(ctx, service, bills); err != nil {
		return err
	}
	m.Took = w.took
	return m.stop(ctx, db, t.Items)
}

// A bill is a delivery that waits for its money.
type bill struct {
	id  uuid.UUID
	fen int64
}

func takeIn(ctx context.Context, service *courier.Service, n int) ([]bill, error) {
	apps := make([]courier.Application, n)
	for i := range apps {
		a, faults := courier.ParseApplication(application(i))
		if len(faults) > 0 {
			return nil, faults
		}
		apps[i] = a
	}
	results, err := service.Accept(ctx, apps)
	if err != nil {
		return nil, err
	}
	bills := make([]bill, n)
	for i, r := range results {
		if r.Delivery.Status != courier.AwaitingPayment {
			return nil, fmt.Errorf("application %d became %s: %w", i, r.Outcome, r.Faults)
		}
		bills[i] = bill{r.Delivery.ID, r.Delivery.FeeFen}
	}
	return bills, nil
}

// A latencyWatch pays, orders when it is woken, and notes when each delivery is seen to be ordered. Paying, ordering and
// looking have a goroutine each, so that none waits for another.
type latencyWatch struct {
	db      *sqlx.DB
	orderer *courier.Orderer
	wakes   <-chan *pq.Notification
	took    []float64

	mu   sync.Mutex
	paid map[uuid.UUID]time.Time // not seen to be ordered yet
}

func (w *latencyWatch) run(ctx context.Context, service *courier.Service, bills []bill) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	due, news := make(chan struct{}, 1), make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error { w.dispatch(ctx, due, news); return nil })
	g.Go(func() error { return w.order(ctx, due) })
	g.Go(func() error { return w.pay(ctx, service, bills) })
	g.Go(func() error {
		defer done()
		for len(w.took) < len(bills) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%d of %d deliveries were ordered in time", len(w.took), len(bills))
			case <-news:
			}
			if err := w.look(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// dispatch turns notifications into signals that do not pile up.
func (w *latencyWatch) dispatch(ctx context.Context, due, news chan<- struct{}) {
	signal := func(c chan<- struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-w.wakes:
			if n == nil || n.Channel == courier.WakeOrders {
				signal(due)
			}
			signal(news)
		}
	}
}

func (w *latencyWatch) order(ctx context.Context, due <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due:
			if err := w.orderer.OrderRound(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (w *latencyWatch) pay(ctx context.Context, service *courier.Service, bills []bill) error {
	tick := time.NewTicker(payEvery)
	defer tick.Stop()
	for _, b := range bills {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		w.mu.Lock()
		w.paid[b.id] = time.Now()
		w.mu.Unlock()
		if err := payBill(ctx, service, b); err != nil {
			return err
		}
	}
	return nil
}

func payBill(ctx context.Context, service *courier.Service, b bill) error {
	_, err := service.Pay(ctx, b.id, courier.Payment{TransactionNo: "WX" + b.id.String(), Method: courier.MethodWeChat, AmountFen: b.fen,
		PaidAt: businessNow, RecordedBy: "bench"})
	return err
}

// look notes which deliveries are ordered by now.
func (w *latencyWatch) look(ctx context.Context) error {
	w.mu.Lock()
	waiting := make([]string, 0, len(w.paid))
	for id := range w.paid {
		waiting = append(waiting, id.String())
	}
	w.mu.Unlock()
	done, err := orderedAmong(ctx, w.db, waiting)
	if err != nil {
		return err
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range done {
		w.took = append(w.took, now.Sub(w.paid[id]).Seconds())
		delete(w.paid, id)
	}
	return nil
}

// latencyFloor does the same by hand, at once: payment, commit; intent, commit; call; outcome, commit.
func latencyFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	wire, err := newFloorWire(t.URL, t.Workers)
	if err != nil {
		return err
	}
	v := benchVault()
	unpaid, err := unpayFloorOrders(ctx, db)
	if err != nil {
		return err
	}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	pay := time.NewTicker(payEvery)
	defer pay.Stop()
	for _, id := range unpaid {
		<-pay.C
		began := time.Now()
		if err := payFloorOrder(ctx, db, id); err != nil {
			return err
		}
		rows, err := claimFloorOrders(ctx, db, 1)
		if err != nil || len(rows) != 1 {
			return errors.Join(err, fmt.Errorf("claimed %d orders, want 1", len(rows)))
		}
		if err := rows[0].send(ctx, wire, v); err != nil {
			return err
		}
		if err := settleFloorOrders(ctx, db, rows); err != nil {
			return err
		}
		m.Took = append(m.Took, time.Since(began).Seconds())
	}
	return m.stop(ctx, db, t.Items)
}
