package notify

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/asynctest"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil { // each takes a hundred statements; the command line may ask for more
		panic(err)
	}
	dbtest.Main(m)
}

// A world is a database with deliveries, a clock that stands still until it is moved, and all that is logged.
type world struct {
	t     testing.TB
	db    *sqlx.DB
	vault *vault.Vault
	log   *slog.Logger
	logs  *asynctest.Buffer

	mu   sync.Mutex
	now  time.Time
	wall time.Time
	made int
}

// names and numbers of the fixture, all of them invented; a leak is found by them.
const (
	surname   = "诸葛"
	givenName = "孔明"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOn(t, dbtest.Open(t))
}

func worldOn(t testing.TB, db *sqlx.DB) *world {
	t.Helper()
	logs := &asynctest.Buffer{}
	w := &world{t: t, db: db, now: noon, wall: noon.Add(1000 * time.Hour), logs: logs,
		log:   slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		vault: vault.New(vault.Keys{Active: 1, Seal: map[uint32][]byte{1: bytes.Repeat([]byte{7}, 16)}, Lookup: bytes.Repeat([]byte{8}, 32)}),
	}
	w.exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', $1, $1)`, noon)
	t.Cleanup(w.noLeak)
	return w
}

// noLeak fails the test when anything personal was logged.
func (w *world) noLeak() {
	for _, secret := range []string{"139000", surname, givenName, "诸**"} {
		if text := w.logs.String(); strings.Contains(text, secret) {
			w.t.Errorf("%q stands in the log:\n%s", secret, text)
		}
	}
}

func (w *world) clock() courier.Clock {
	return courier.Clock{
		Now:  func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Wall: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.wall },
	}
}

// pass moves both clocks.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.wall = w.now.Add(d), w.wall.Add(d)
}

// set moves the business clock alone.
func (w *world) set(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) count(query string, args ...any) int {
	w.t.Helper()
	var n int
	if err := w.db.GetContext(w.t.Context(), &n, query, args...); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// phoneOf is the number of the nth delivery.
func phoneOf(n int) string { return fmt.Sprintf("139%08d", n) }

// delivery makes an ordered delivery, the nth.
func (w *world) delivery() uuid.UUID {
	w.t.Helper()
	return w.deliveryWith(phoneOf(w.made), "ordered")
}

func (w *world) deliveryWith(phone string, status courier.Status) uuid.UUID {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7())
	no := fmt.Sprintf("12%011d", w.made)
	w.made++
	w.exec(`
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, fee_fen, paid_fen, created_at, updated_at)
		VALUES ($1, 'A' || $2, 'SQ' || $2, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
			'prepaid', $5, $6, '', '', $7, '', '', '北京市', '北京市', '朝阳区', $4, $3, 'RP' || $2, $2, 2000,
			CASE WHEN $4 = 'awaiting_payment' THEN 0 ELSE 2000 END, $3, $3)`, id, no, noon, status,
		w.vault.Seal(vault.ColumnName, id, surname+givenName), w.vault.Seal(vault.ColumnPhone, id, phone), w.vault.Lookup(vault.ColumnPhone, phone))
	return id
}

// manyInTransit makes a delivery in transit for each phone number.
func (w *world) manyInTransit(numbers []string) (ids []string) {
	w.t.Helper()
	n := len(numbers)
	ids, nos, names, phones, lookups := make([]string, n), make([]string, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, number := range numbers {
		id := uuid.Must(uuid.NewV7())
		ids[i], nos[i] = id.String(), fmt.Sprintf("13%011d", i)
		names[i], phones[i] = w.vault.Seal(vault.ColumnName, id, surname+givenName), w.vault.Seal(vault.ColumnPhone, id, number)
		lookups[i] = w.vault.Lookup(vault.ColumnPhone, number)
	}
	w.exec(`
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
		SELECT id, 'A' || no, 'SQ' || no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $6, $6,
			'prepaid', name, phone, '', '', lookup, '', '', '北京市', '北京市', '朝阳区', 'in_transit', $6, 'RP' || no, no, $6, $6
		FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[]) AS d(id, no, name, phone, lookup)`,
		pq.Array(ids), pq.Array(nos), pq.ByteaArray(names), pq.ByteaArray(phones), pq.ByteaArray(lookups), noon)
	return ids
}

// move makes moves at the present time and publishes their events.
func (w *world) move(id uuid.UUID, to courier.Status, data courier.EventData) {
	w.t.Helper()
	var from courier.Status
	if err := w.db.GetContext(w.t.Context(), &from, `SELECT status FROM deliveries WHERE id = $1`, id); err != nil {
		w.t.Fatal(err)
	}
	now := w.clock().Now()
	err := courier.InTx(w.t.Context(), w.db, func(tx *sqlx.Tx) error {
		moved, err := courier.ApplyMoves(w.t.Context(), tx, []courier.Move{{ID: id, From: from, To: to, At: now, Data: data}})
		if err == nil && len(moved) != 1 {
			err = fmt.Errorf("moved %d", len(moved))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish()
}

func (w *world) publish() {
	w.t.Helper()
	if err := courier.NewPublisher(w.db).Round(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// plan runs the planner.
func (w *world) plan() {
	w.t.Helper()
	if err := NewPlanner(w.db, w.clock(), w.log, nil).Round(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// news moves a new delivery to a status and plans its message.
func (w *world) news(to courier.Status, data courier.EventData) uuid.UUID {
	w.t.Helper()
	id := w.delivery()
	w.move(id, to, data)
	w.plan()
	return id
}

func (w *world) gateways(list ...Gateway) *Gateways {
	w.t.Helper()
	g, err := NewGateways(list...)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// sender is a Sender with one lane, so that a hook may end it.
func (w *world) sender(g *Gateways, opts Options) *Sender {
	opts.Lanes = 1
	return NewSender(w.db, w.vault, g, w.clock(), opts, w.log, nil)
}

func (w *world) resolver(g *Gateways, opts Options) *Resolver {
	return NewResolver(w.db, w.vault, g, w.clock(), opts, w.log, nil)
}

func (w *world) receipts(g *Gateways) *Receipts {
	return NewReceipts(w.db, w.vault, g, w.clock(), Options{}, w.log, nil)
}

type round interface{ Round(context.Context) error }

// run runs a round; that every gateway is stopped is an answer, too.
func (w *world) run(r round) {
	w.t.Helper()
	if err := r.Round(w.t.Context()); err != nil && !errors.Is(err, ErrStopped) {
		w.t.Fatal(err)
	}
}

// state is what stands in messages about a delivery's milestone.
type state struct {
	State   string
	Verdict Action
	Tries   int
}

func (w *world) message(id uuid.UUID, m Milestone) state {
	w.t.Helper()
	var s state
	err := w.db.GetContext(w.t.Context(), &s, `SELECT state, verdict, tries FROM messages WHERE delivery_id = $1 AND milestone = $2`, id, m)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// attempts are the states of the attempts for a delivery, oldest first.
func (w *world) attempts(id uuid.UUID) []string {
	w.t.Helper()
	var states []string
	err := w.db.SelectContext(w.t.Context(), &states, `
		SELECT a.gateway || ' ' || a.state FROM message_attempts a JOIN messages m ON m.id = a.message_id
		WHERE m.delivery_id = $1 ORDER BY a.started_at, a.id`, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

func (w *world) attemptID(id uuid.UUID) uuid.UUID {
	w.t.Helper()
	var attempt uuid.UUID
	err := w.db.GetContext(w.t.Context(), &attempt, `
		SELECT a.id FROM message_attempts a JOIN messages m ON m.id = a.message_id WHERE m.delivery_id = $1 ORDER BY a.id DESC LIMIT 1`, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return attempt
}

func (w *world) wantMessage(id uuid.UUID, m Milestone, want state) {
	w.t.Helper()
	if got := w.message(id, m); got != want {
		w.t.Errorf("message %s = %+v, want %+v", m, got, want)
	}
}

func (w *world) wantAttempts(id uuid.UUID, want ...string) {
	w.t.Helper()
	if got := w.attempts(id); !slices.Equal(got, want) {
		w.t.Errorf("attempts = %q, want %q", got, want)
	}
}

// openCases counts a delivery's open cases of failed messages.
func (w *world) openCases(id uuid.UUID) int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM cases WHERE delivery_id = $1 AND kind = 'sms_failed' AND closed_at IS NULL`, id)
}

// A fakeGateway keeps a ledger of what reached it, and answers as its script says.
type fakeGateway struct {
	name string

	mu     sync.Mutex
	ledger []SMS
	script func(s SMS) (taken bool, err error) // nil: taken
	found  map[uuid.UUID]Found
	err    error // of Find
	asked  int
}

func (g *fakeGateway) Name() string { return g.name }

func (g *fakeGateway) Send(_ context.Context, s SMS) (Sent, error) {
	taken, err := true, error(nil)
	if g.script != nil {
		taken, err = g.script(s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if taken {
		g.ledger = append(g.ledger, s)
	}
	if err != nil {
		return Sent{}, err
	}
	return Sent{ProviderID: "p-" + s.AttemptID.String()}, nil
}

// once fails the test unless every number got each milestone at most once; it returns how many messages there are.
func (g *fakeGateway) once(t *testing.T) int {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := make(map[string]bool)
	for _, s := range g.ledger {
		key := s.Phone.Reveal() + " " + string(s.Milestone)
		if seen[key] {
			t.Errorf("I-5: %s was sent twice to …%s", s.Milestone, s.Phone.Reveal()[7:])
		}
		seen[key] = true
	}
	return len(g.ledger)
}

func (g *fakeGateway) took(id uuid.UUID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.ledger, func(s SMS) bool { return s.AttemptID == id })
}

// A fakeFinder is a fakeGateway that can be asked.
type fakeFinder struct{ fakeGateway }

func (g *fakeFinder) Questions() Questions {
	return Questions{After: []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute}, Proof: true}
}

func (g *fakeFinder) Find(_ context.Context, q Query) (Found, error) {
	g.mu.Lock()
	g.asked++
	found, err := g.found[q.AttemptID], g.err
	g.mu.Unlock()
	if err != nil {
		return Found{}, err
	}
	if found.Outcome == Absent && g.took(q.AttemptID) {
		return Found{Outcome: Pending}, nil
	}
	return found, nil
}

func (g *fakeFinder) ReadReceipt(success bool, code string) (Outcome, Class) {
	switch {
	case code == "PENDING":
		return Pending, Unknown
	case success:
		return Arrived, Unknown
	}
	return NotArrived, Recipient
}

func always(class Class, taken bool) func(SMS) (bool, error) {
	return func(SMS) (bool, error) { return taken, &SendError{Class: class, Code: "test"} }
}

// eventOf appends an event and publishes it.
func (w *world) eventOf(id uuid.UUID, typ courier.EventType, data courier.EventData) {
	w.t.Helper()
	err := courier.InTx(w.t.Context(), w.db, func(tx *sqlx.Tx) error {
		return courier.AppendEvents(w.t.Context(), tx, []courier.NewEvent{{DeliveryID: id, Type: typ, At: w.clock().Now(), Data: data}})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish()
}
