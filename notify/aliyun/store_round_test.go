package aliyun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// A world is the whole of notify on one database, against the simulator. Its clocks move when they are told to.
type world struct {
	t     *testing.T
	db    *sqlx.DB
	vault *vault.Vault
	sim   *smssim.Gateway
	url   string
	log   *slog.Logger

	mu   sync.Mutex
	at   time.Time
	made int
}

func newWorld(t *testing.T, cfg smssim.Config) *world {
	t.Helper()
	w := &world{t: t, db: dbtest.Open(t), at: time.Date(2026, 11, 23, 10, 0, 0, 0, beijing), log: slog.New(slog.DiscardHandler),
		vault: vault.New(vault.Keys{Active: 1, Seal: map[uint32][]byte{1: bytes.Repeat([]byte{7}, 16)}, Lookup: bytes.Repeat([]byte{8}, 32)})}
	cfg.Now, cfg.Wall = w.time, w.time
	w.sim, w.url = simulate(t, cfg)
	w.exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', $1, $1)`, w.at)
	return w
}

func (w *world) time() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.at }

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) count(query string) int {
	w.t.Helper()
	var n int
	if err := w.db.GetContext(w.t.Context(), &n, query); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// deliveries makes n of them, ordered, with numbers of their own.
func (w *world) deliveries(n int) []uuid.UUID {
	w.t.Helper()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		id := uuid.Must(uuid.NewV7())
		ids[i] = id
		no, phone := fmt.Sprintf("12%011d", w.made), fmt.Sprintf("1391111%04d", 1000+w.made)
		w.exec(`
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
			VALUES ($1, 'A' || $2, 'SQ' || $2, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
				'prepaid', $4, $5, '', '', $6, '', '', '北京市', '北京市', '朝阳区', 'ordered', $3, 'RP' || $2, $2, $3, $3)`, id, no, w.at,
			w.vault.Seal(vault.ColumnName, id, "张三"), w.vault.Seal(vault.ColumnPhone, id, phone), w.vault.Lookup(vault.ColumnPhone, phone))
		w.made++
	}
	return ids
}

// move takes all deliveries on and plans their messages.
func (w *world) move(ids []uuid.UUID, from, to courier.Status) {
	w.t.Helper()
	moves := make([]courier.Move, len(ids))
	for i, id := range ids {
		moves[i] = courier.Move{ID: id, From: from, To: to, At: w.time(), Data: courier.EventData{Receiver: "self"}}
	}
	err := courier.InTx(w.t.Context(), w.db, func(tx *sqlx.Tx) error {
		_, err := courier.ApplyMoves(w.t.Context(), tx, moves)
		return err
	})
	if err == nil {
		err = courier.NewPublisher(w.db).Round(w.t.Context())
	}
	if err == nil {
		err = notify.NewPlanner(w.db, w.clock(), w.log, nil).Round(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() courier.Clock { return courier.Clock{Now: w.time, Wall: w.time} }

// A daemon is one process: it knows nothing but what stands in the database.
type daemon struct {
	sender   *notify.Sender
	resolver *notify.Resolver
	receipts *notify.Receipts
}

func (w *world) daemon(opts notify.Options) daemon {
	w.t.Helper()
	cfg := config(w.url)
	cfg.Now, cfg.Wall, cfg.Timeout = w.time, w.time, 300*time.Millisecond
	gateways, err := notify.NewGateways(newClient(w.t, cfg))
	if err != nil {
		w.t.Fatal(err)
	}
	return daemon{
		sender:   notify.NewSender(w.db, w.vault, gateways, w.clock(), opts, w.log, nil),
		resolver: notify.NewResolver(w.db, w.vault, gateways, w.clock(), opts, w.log, nil),
		receipts: notify.NewReceipts(w.db, w.vault, gateways, w.clock(), opts, w.log, nil),
	}
}

func (w *world) round(d daemon) {
	w.t.Helper()
	ctx := w.t.Context()
	if err := d.sender.Round(ctx); err != nil && !errors.Is(err, notify.ErrStopped) {
		w.t.Error(err)
	}
	if err := errors.Join(d.receipts.Round(ctx), d.resolver.Round(ctx)); err != nil {
		w.t.Error(err)
	}
}

// once holds the simulator's ledger against I-5 and gives its length.
func (w *world) once() int {
	w.t.Helper()
	seen := make(map[string]bool)
	messages := w.sim.Messages()
	for _, m := range messages {
		if key := m.Phone + m.Template; seen[key] {
			w.t.Errorf("I-5: template %s reached …%s twice", m.Template, m.Phone[7:])
		} else {
			seen[key] = true
		}
	}
	return len(messages)
}

// TestI5_LostReplyAndRestart: every reply is lost and the process ends; the next one asks and does not repeat.
func TestI5_LostReplyAndRestart(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%t", restart), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, smssim.Config{})
			w.move(w.deliveries(5), courier.Ordered, courier.OutForDelivery)
			w.sim.SetFault(smssim.Fault{API: "SendSms", Kind: smssim.LoseReply})
			opts := notify.Options{Lanes: 1}
			if restart {
				opts.Hook = func(point string) {
					if point == notify.PointSendPosted {
						panic("killed")
					}
				}
			}
			func() {
				defer func() { recover() }()
				w.round(w.daemon(opts))
			}()
			if n := w.once(); n != 5 {
				t.Fatalf("%d taken, want 5", n)
			}
			next := w.daemon(notify.Options{})
			for range 3 {
				w.pass(3 * time.Minute)
				w.round(next)
			}
			if n := w.once(); n != 5 {
				t.Errorf("%d in the ledger after the restart, want 5", n)
			}
			if n := w.count(`SELECT count(*) FROM messages WHERE state IN ('accepted', 'delivered')`); n != 5 {
				t.Errorf("%d known as taken, want 5", n)
			}
		})
	}
}

// TestI5_UnderFaults: two daemons on one database, every fault of the gateway in a fifth of the calls, and receipts
// that come late, twice or never.
func TestI5_UnderFaults(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var receive *notify.Receipts
	inbox := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		list, parseErr := ParseReceipts(body)
		mu.Lock()
		to := receive
		mu.Unlock()
		if err != nil || parseErr != nil || to == nil || to.Append(r.Context(), "aliyun", list) != nil {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		io.WriteString(rw, ReceiptAnswer)
	}))
	defer inbox.Close()
	w := newWorld(t, smssim.Config{Seed: 7, ReceiptTo: inbox.URL, Undelivered: 0.1, LateReceipts: 0.2, TwiceReceipts: 0.3, LostReceipts: 0.2, Hang: time.Second})
	for _, kind := range []smssim.FaultKind{smssim.LoseReply, smssim.LoseRequest, smssim.HTTP502, smssim.HTML, smssim.Throttle, smssim.NonceUsed, smssim.Truncate, smssim.Hang} {
		w.sim.SetFault(smssim.Fault{Kind: kind, Rate: 0.06})
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.sim.Run(ctx) })
	defer running.Wait()
	defer stop()

	daemons := []daemon{w.daemon(notify.Options{Chunk: 10}), w.daemon(notify.Options{Chunk: 10})}
	mu.Lock()
	receive = daemons[0].receipts
	mu.Unlock()
	const n = 40
	ids := w.deliveries(n)
	rounds := func(times int, step time.Duration) {
		for range times {
			var wg sync.WaitGroup
			for _, d := range daemons {
				wg.Go(func() { w.round(d) })
			}
			wg.Wait()
			w.pass(step)
		}
	}
	for _, step := range []struct{ from, to courier.Status }{
		{courier.Ordered, courier.InTransit}, {courier.InTransit, courier.OutForDelivery}, {courier.OutForDelivery, courier.Delivered},
	} {
		w.move(ids, step.from, step.to)
		rounds(8, 10*time.Minute)
	}
	open := `SELECT count(*) FROM messages WHERE state IN ('queued', 'sending', 'unknown')`
	for range 100 { // a question needs luck, too: two of five calls go wrong
		if rounds(1, 10*time.Minute); w.count(open) == 0 {
			break
		}
	}

	taken := w.once()
	if taken < 2*n {
		t.Errorf("only %d messages of %d arrived at the gateway", taken, 3*n)
	}
	if n := w.count(open); n != 0 {
		t.Errorf("%d messages are not settled", n)
	}
	if silent := w.count(`SELECT count(*) FROM messages WHERE state IN ('failed', 'suppressed') AND reason = ''`); silent != 0 {
		t.Errorf("%d messages were not sent without a reason", silent)
	}
	known := make(map[string]bool)
	var attempts []string
	if err := w.db.SelectContext(t.Context(), &attempts, `
		SELECT a.id::text FROM message_attempts a JOIN messages m ON m.id = a.message_id
		WHERE a.state IN ('accepted', 'delivered', 'failed')`); err != nil {
		t.Fatal(err)
	}
	for _, a := range attempts {
		known[a] = true
	}
	for _, m := range w.sim.Messages() {
		if !known[m.OutID] {
			t.Errorf("the gateway took attempt %s, which is not known as taken", m.OutID)
		}
		delete(known, m.OutID)
	}
	if len(known) > 0 {
		t.Errorf("%d attempts count as taken that the gateway does not have", len(known))
	}
}

// Midnight in Beijing between sending and asking.
func TestUnknownIsFoundOverMidnight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smssim.Config{})
	w.at = time.Date(2026, 11, 23, 23, 59, 55, 0, beijing)
	w.move(w.deliveries(3), courier.Ordered, courier.InTransit)
	w.sim.SetFault(smssim.Fault{API: "SendSms", Kind: smssim.LoseReply})
	policy := notify.DefaultPolicy()
	policy.Quiet = notify.Window{}
	d := w.daemon(notify.Options{Policy: &policy})
	w.round(d)
	w.pass(20 * time.Second)
	w.round(d)
	if n := w.count(`SELECT count(*) FROM messages WHERE state IN ('accepted', 'delivered')`); n != 3 || w.once() != 3 {
		t.Errorf("%d found, want 3", n)
	}
}

// The account runs out of money for an hour; nothing is lost, nothing is sent twice, nobody's message fails.
func TestOutOfMoneyKeepsTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smssim.Config{})
	w.move(w.deliveries(20), courier.Ordered, courier.InTransit)
	w.sim.SetFault(smssim.Fault{API: "SendSms", Kind: smssim.OutOfMoney})
	d := w.daemon(notify.Options{Chunk: 5, Lanes: 1})
	for range 6 {
		w.round(d)
		w.pass(10 * time.Minute)
	}
	if n := w.count(`SELECT count(*) FROM message_attempts`); n > 40 {
		t.Errorf("%d attempts against an account without money", n)
	}
	w.sim.ClearFaults()
	for range 3 {
		w.round(d)
		w.pass(10 * time.Minute)
	}
	if n := w.once(); n != 20 {
		t.Errorf("%d sent, want 20", n)
	}
	var reasons []string
	if err := w.db.SelectContext(t.Context(), &reasons, `SELECT detail FROM cases`); err != nil || len(reasons) > 0 {
		t.Errorf("cases %s, %v", strings.Join(reasons, "; "), err)
	}
}
