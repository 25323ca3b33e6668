package bench

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"emsd/courier"
	"emsd/notify"
	"emsd/notify/aliyun"

	"github.com/go-resty/resty/v2"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// measureSends gives M1.
func (b *bench) measureSends(ctx context.Context) error {
	var product, floor []result
	rounds := 2*b.Sizes.Rounds + 1 // a run is short, and machines are noisy
	for i := range rounds {
		for _, byHand := range []bool{i%2 == 1, i%2 == 0} { // neither is always the first
			r, err := b.sends(ctx, byHand)
			if err != nil {
				return err
			}
			name := "product"
			if byHand {
				name, floor = "floor", append(floor, r)
			} else {
				product = append(product, r)
			}
			b.say("send %d/%d, %s: %.0f/s, %.0f + %.0f µs, %.0f WAL bytes", i+1, rounds, name, r.perSecond(),
				r.WorkerCPU/float64(r.Items)*1e6, r.PostgresCPU/float64(r.Items)*1e6, r.walEach())
		}
	}
	b.report.add(pair("M1", "messages a second", "/s", product, floor, result.perSecond).atLeast(0.80, 0))
	b.report.add(pair("M1", "CPU a message, worker + PostgreSQL", "µs", product, floor, result.micros))
	b.report.add(pair("M1", "WAL a message", "B", product, floor, result.walEach))
	return nil
}

func (b *bench) sends(ctx context.Context, floor bool) (r result, err error) {
	n := b.Sizes.Messages
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		seed, count, t := b.seedMessages, countSent, task{Kind: "send", Profile: b.profileName("send")}
		if floor {
			seed, count, t = b.seedFloorMessages, countFloorSent, task{Kind: "send-floor"}
		}
		if err := seed(ctx, db, n); err != nil {
			return fmt.Errorf("seed messages: %w", err)
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		t.DSN, t.URL, t.Items, t.Workers, t.Now = dsn, b.stub+pathSMS, n, workers, businessNow
		if _, err := b.asked(ctx); err != nil {
			return err
		}
		if r, err = b.run(ctx, t); err != nil {
			return err
		}
		c, err := b.asked(ctx)
		if err != nil {
			return err
		}
		stored, err := count(ctx, db)
		if err == nil && (stored != n || c.Messages != n) {
			err = fmt.Errorf("check %s: %d requests, %d stored as accepted once, want %d", t.Kind, c.Messages, stored, n)
		}
		return err
	})
	return r, err
}

// seedMessages makes deliveries out for delivery, each with its message queued.
func (b *bench) seedMessages(ctx context.Context, db *sqlx.DB, n int) error {
	if err := b.seedOrders(ctx, db, n); err != nil {
		return err
	}
	if err := moveOut(ctx, db, courier.OutForDelivery, businessNow); err != nil {
		return err
	}
	return insertQueued(ctx, db, businessNow)
}

func (b *bench) seedFloorMessages(ctx context.Context, db *sqlx.DB, n int) error {
	v := benchVault()
	for from := 0; from < n; from += seedChunk {
		var ids []string
		var names, phones [][]byte
		for range min(n, from+seedChunk) - from {
			id := uuid.Must(uuid.NewV7())
			ids = append(ids, id.String())
			names, phones = append(names, v.Seal("deliveries.name", id, seedRecipient.Name)), append(phones, v.Seal("deliveries.phone", id, seedRecipient.Mobile))
		}
		if err := insertFloorMessages(ctx, db, ids, names, phones); err != nil {
			return err
		}
	}
	return nil
}

// smsAccount is the account of the SMS gateway that the stub stands for.
func smsAccount(address string, clock courier.Clock) aliyun.Config {
	templates := map[string]string{}
	for _, m := range notify.Milestones {
		templates[string(m)] = "SMS_000000001"
	}
	return aliyun.Config{URL: address, AccessKeyID: "LTAI5tBench", AccessKeySecret: secret, SignName: "示例政务服务", Templates: templates,
		Concurrency: workers, Now: clock.Now, Wall: clock.Wall}
}

// newSender is the product's, with the daemon's defaults.
func newSender(db *sqlx.DB, g notify.Gateway, clock courier.Clock) (*notify.Sender, error) {
	gateways, err := notify.NewGateways(g)
	if err != nil {
		return nil, err
	}
	metrics := notify.NewMetrics(prometheus.NewRegistry(), gateways)
	return notify.NewSender(db, benchVault(), gateways, clock, notify.Options{Signatures: map[string]string{"aliyun": "示例政务服务"}}, quiet, metrics), nil
}

// sendProduct runs the product's own send round over everything that is queued.
func sendProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	clock := clockFrom(t.Now)
	gateway, err := aliyun.New(smsAccount(t.URL, clock))
	if err != nil {
		return err
	}
	sender, err := newSender(db, gateway, clock)
	if err != nil {
		return err
	}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := sender.Round(ctx); err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

// A floorText is a row that waits to be sent.
type floorText struct {
	id, attempt uuid.UUID
	name, phone []byte
	bizID       string
}

// sendFloor is sending by hand: claim and intent, commit; a signed request; outcome, commit.
func sendFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	transport := &http.Transport{MaxIdleConns: t.Workers, MaxIdleConnsPerHost: t.Workers, DisableCompression: true}
	client := resty.NewWithClient(&http.Client{Transport: transport, Timeout: 15 * time.Second})
	v := benchVault()
	address, err := url.Parse(t.URL)
	if err != nil {
		return err
	}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	crew := newPool(t.Workers)
	defer crew.close()
	err = lanes(func() (int, error) {
		rows, err := claimFloorMessages(ctx, db, floorChunk)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		err = crew.each(len(rows), func(i int) error {
			r := &rows[i]
			name, err := v.UnsealBytes("deliveries.name", r.id, r.name)
			if err != nil {
				return err
			}
			phone, err := v.UnsealBytes("deliveries.phone", r.id, r.phone)
			if err != nil {
				return err
			}
			return r.send(ctx, client, address, string(name), string(phone))
		})
		if err != nil {
			return 0, err
		}
		return len(rows), settleFloorMessages(ctx, db, rows)
	})
	if err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

// send is one SendSms: the request that the product makes, header for header, with the vendor's signature made by hand.
func (r *floorText) send(ctx context.Context, client *resty.Client, u *url.URL, name, phone string) error {
	body := []byte("OutId=" + r.attempt.String() + "&PhoneNumbers=" + phone + "&SignName=" + url.QueryEscape("示例政务服务") + "&TemplateCode=SMS_000000001&TemplateParam=" +
		url.QueryEscape(`{"name":"`+name[:3]+`**","no":"1200000000001"}`))
	const form, signed = "application/x-www-form-urlencoded", "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
	sum := sha256.Sum256(body)
	hash, date, nonce := hex.EncodeToString(sum[:]), time.Now().UTC().Format("2006-01-02T15:04:05Z"), uuid.NewString()
	canonical := sha256.Sum256([]byte("POST\n/\n\ncontent-type:" + form + "\nhost:" + u.Host + "\nx-acs-action:SendSms\nx-acs-content-sha256:" + hash + "\nx-acs-date:" + date +
		"\nx-acs-signature-nonce:" + nonce + "\nx-acs-version:2017-05-25\n\n" + signed + "\n" + hash))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("ACS3-HMAC-SHA256\n" + hex.EncodeToString(canonical[:])))
	req := client.R().SetContext(ctx).SetBody(body)
	req.Header = http.Header{
		"Accept": {"application/json"}, "User-Agent": {"floor"}, "Content-Type": {form}, "X-Acs-Action": {"SendSms"}, "X-Acs-Content-Sha256": {hash}, "X-Acs-Date": {date},
		"X-Acs-Signature-Nonce": {nonce}, "X-Acs-Version": {"2017-05-25"},
		"Authorization": {"ACS3-HMAC-SHA256 Credential=LTAI5tBench,SignedHeaders=" + signed + ",Signature=" + hex.EncodeToString(mac.Sum(nil))},
	}
	resp, err := req.Post(u.String())
	if err != nil {
		return err
	}
	var a struct{ Code, BizId string }
	if err := json.Unmarshal(resp.Body(), &a); err != nil || a.Code != "OK" {
		return errors.Join(err, errors.New("the message was not taken"))
	}
	r.bizID = a.BizId
	return nil
}

// newsPerSecond is how many events a second come in while M2 is measured.
const newsPerSecond = 200

// measureNews gives M2.
func (b *bench) measureNews(ctx context.Context) error {
	n := int(newsPerSecond * b.Sizes.NewsSeconds)
	var r result
	err := b.within(ctx, func(db *sqlx.DB, dsn string) (err error) {
		if err := b.seedOrders(ctx, db, n); err != nil {
			return err
		}
		if err := moveOut(ctx, db, courier.InTransit, businessNow); err != nil {
			return err
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		r, err = b.run(ctx, task{Kind: "news", DSN: dsn, URL: b.stub + pathSMS, Items: n, Workers: workers, Now: businessNow})
		return err
	})
	if err != nil {
		return err
	}
	took := milliseconds(r.Took)
	b.say("news: median %.1f ms, 99th %.1f ms", median(took), percentile(took, 99))
	b.report.add(against("M2", fmt.Sprintf("from an event to the gateway's request, %d events a second, median", newsPerSecond), "ms", []float64{median(took)}, nil))
	b.report.add(against("M2", "– 99th percentile", "ms", []float64{percentile(took, 99)}, nil))
	return nil
}

// newsProduct moves deliveries one by one while publisher, planner and sender sleep until they are woken, as in the daemon.
func newsProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	clock := clockFrom(t.Now)
	client, err := aliyun.New(smsAccount(t.URL, clock))
	if err != nil {
		return err
	}
	w := &newsWatch{Client: client, db: db, publisher: courier.NewPublisher(db), planner: notify.NewPlanner(db, clock, quiet, nil), moved: map[string]time.Time{},
		all: make(chan struct{}), want: t.Items}
	if w.sender, err = newSender(db, w, clock); err != nil {
		return err
	}
	deliveries, err := inTransit(ctx, db)
	if err != nil {
		return err
	}
	wakes := pq.NewListener(t.DSN, time.Second, time.Minute, nil)
	defer wakes.Close()
	for _, channel := range []string{courier.WakeEvents, courier.WakePublished, courier.WakeMessages} {
		if err := wakes.Listen(channel); err != nil {
			return err
		}
	}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := w.run(ctx, deliveries, wakes.Notify, clock); err != nil {
		return err
	}
	m.Took = w.took
	return m.stop(ctx, db, t.Items)
}

// A newsWatch is the gateway's client, which notes when each message is about to leave.
type newsWatch struct {
	*aliyun.Client
	db        *sqlx.DB
	publisher *courier.Publisher
	planner   *notify.Planner
	sender    *notify.Sender
	want      int
	all       chan struct{} // closed when everything has left

	mu    sync.Mutex
	moved map[string]time.Time // by waybill number
	took  []float64
}

// Send notes the time and sends.
func (w *newsWatch) Send(ctx context.Context, s notify.SMS) (notify.Sent, error) {
	w.mu.Lock()
	w.took = append(w.took, time.Since(w.moved[s.Vars["no"]]).Seconds())
	if len(w.took) == w.want {
		close(w.all)
	}
	w.mu.Unlock()
	return w.Client.Send(ctx, s)
}

// A tracked delivery is one that will be moved.
type trackedDelivery struct {
	ID        uuid.UUID `db:"id"`
	WaybillNo string    `db:"waybill_no"`
}

func (w *newsWatch) run(ctx context.Context, deliveries []trackedDelivery, wakes <-chan *pq.Notification, clock courier.Clock) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	publish, tell := make(chan struct{}, 1), make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	work, done := context.WithCancel(ctx)
	g.Go(func() error { signals(work, wakes, publish, tell); return nil })
	g.Go(func() error { return whenWoken(work, publish, w.publisher.Round) })
	g.Go(func() error {
		return whenWoken(work, tell, func(ctx context.Context) error { return errors.Join(w.planner.Round(ctx), w.sender.Round(ctx)) })
	})
	g.Go(func() error {
		tick := time.NewTicker(time.Second / newsPerSecond)
		defer tick.Stop()
		for _, d := range deliveries {
			<-tick.C
			w.mu.Lock()
			w.moved[d.WaybillNo] = time.Now()
			w.mu.Unlock()
			if err := moveOne(ctx, w.db, d, clock.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer done()
		select {
		case <-w.all:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages left in time", len(w.took), w.want)
		}
	})
	return g.Wait()
}

// moveOne is what a scan does: the delivery is out, and its event says so.
func moveOne(ctx context.Context, db *sqlx.DB, d trackedDelivery, now time.Time) error {
	return courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		moved, err := courier.ApplyMoves(ctx, tx, []courier.Move{{ID: d.ID, From: courier.InTransit, To: courier.OutForDelivery, At: now,
			Data: courier.EventData{WaybillNo: d.WaybillNo, ScanAt: now.Format(time.RFC3339)}}})
		if err == nil && len(moved) != 1 {
			err = fmt.Errorf("delivery %s did not move", d.ID)
		}
		return err
	})
}

// signals turns notifications into signals that do not pile up.
func signals(ctx context.Context, wakes <-chan *pq.Notification, publish, tell chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-wakes:
			to := tell
			if n != nil && n.Channel == courier.WakeEvents {
				to = publish
			}
			select {
			case to <- struct{}{}:
			default:
			}
		}
	}
}

func whenWoken(ctx context.Context, woken <-chan struct{}, round func(context.Context) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
			if err := round(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// measureFeed gives F1.
func (b *bench) measureFeed(ctx context.Context) error {
	var runs []result
	for range b.Sizes.Rounds {
		err := b.within(ctx, func(db *sqlx.DB, dsn string) error {
			if err := seedFeed(ctx, db, b.Sizes.Feed, businessNow); err != nil {
				return err
			}
			if err := settle(ctx, db); err != nil {
				return err
			}
			r, err := b.run(ctx, task{Kind: "feed", DSN: dsn, Items: b.Sizes.Feed, Now: businessNow, Profile: b.profileName("feed")})
			runs = append(runs, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	var perSecond []float64
	for _, r := range runs {
		perSecond = append(perSecond, r.perSecond())
	}
	b.say("feed: %.0f events a second", median(perSecond))
	b.report.add(against("F1", fmt.Sprintf("events a second that a reader gets over HTTP, in pages of %d", feedPage), "/s", perSecond, nil))
	return nil
}

// feedPage is how many events a reader asks for at a time.
const feedPage = 1000

// feedProduct reads the whole feed through the daemon's own handler.
func feedProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := openOffice(ctx, db, clockFrom(t.Now), "read")
	if err != nil {
		return err
	}
	defer o.Close()
	if err := m.start(ctx, db); err != nil {
		return err
	}
	n, err := readFeed(ctx, o)
	if err != nil {
		return err
	}
	if n != t.Items {
		return fmt.Errorf("the reader got %d of %d events", n, t.Items)
	}
	return m.stop(ctx, db, n)
}

// readFeed reads to the end; positions must follow each other without a gap.
func readFeed(ctx context.Context, o *office) (n int, err error) {
	for after := int64(0); ; {
		body, err := ask(ctx, o, fmt.Sprintf("/v1/events?limit=%d&after=%d", feedPage, after))
		if err != nil {
			return n, fmt.Errorf("a page of the feed: %w", err)
		}
		var page struct {
			Events []struct{ Position int64 }
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return n, err
		}
		if len(page.Events) == 0 {
			return n, nil
		}
		for _, e := range page.Events {
			if e.Position != after+1 {
				return n, fmt.Errorf("position %d came after %d", e.Position, after)
			}
			after = e.Position
		}
		n += len(page.Events)
	}
}
