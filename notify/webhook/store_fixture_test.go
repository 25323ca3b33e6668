package webhook

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// A world is a database with a feed, clocks that stand still until they are moved, and all that is logged.
type world struct {
	t     testing.TB
	db    *sqlx.DB
	vault *vault.Vault
	allow *Allow
	hooks *Service
	log   *slog.Logger
	logs  *asynctest.Buffer

	mu   sync.Mutex
	now  time.Time
	wall time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	allow, err := ParseAllow([]string{"127.0.0.0/8:*"})
	if err != nil {
		t.Fatal(err)
	}
	logs := &asynctest.Buffer{}
	w := &world{t: t, db: dbtest.Open(t), vault: vault.Fixed([]byte("webhooks")), allow: allow, logs: logs,
		log: slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		now: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC), wall: time.Now().Truncate(time.Microsecond)}
	w.hooks = NewService(w.db, w.vault, allow, w.clock())
	w.exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', $1, $1)`, w.now)
	t.Cleanup(func() {
		if text := logs.String(); strings.Contains(text, secretPrefix) {
			t.Errorf("a secret stands in the log:\n%s", text)
		}
	})
	return w
}

func (w *world) clock() courier.Clock {
	return courier.Clock{
		Now:  func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Wall: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.wall },
	}
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.wall = w.now.Add(d), w.wall.Add(d)
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

// news writes n published events of a type, of one delivery that nobody knows, and gives the last position.
func (w *world) news(n int, typ string) int64 {
	w.t.Helper()
	w.exec(`INSERT INTO events (delivery_id, seq, type, at, data) SELECT $1, i, $2, $3, '{"waybill_no":"1135250000000"}' FROM generate_series(1, $4) AS i`,
		uuid.New(), typ, w.clock().Now(), n)
	if err := courier.NewPublisher(w.db).Round(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	head, err := courier.FeedHead(w.t.Context(), w.db)
	if err != nil {
		w.t.Fatal(err)
	}
	return head
}

func ptr[T any](v T) *T { return &v }

// endpoint makes an endpoint for a subscriber.
func (w *world) endpoint(url string, more Wish) (Endpoint, Credentials) {
	w.t.Helper()
	more.Name, more.URL = ptr("测试订阅方"), &url
	e, c, err := w.hooks.Create(w.t.Context(), more, "test")
	if err != nil {
		w.t.Fatalf("create an endpoint: %v", err)
	}
	return e, c
}

func (w *world) get(id uuid.UUID) Endpoint {
	w.t.Helper()
	e, err := w.hooks.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) sender(o Options) *Sender {
	w.t.Helper()
	c, err := NewClient(ClientConfig{Allow: w.allow, Timeout: time.Minute}) // longer than any test: only what is to time out does
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return NewSender(w.db, w.vault, c, w.clock(), o, w.log, nil)
}

// run runs a round and waits until nothing is in flight.
func (w *world) run(s *Sender) {
	w.t.Helper()
	if err := s.Round(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	s.Wait()
}

func (w *world) openCases() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM cases WHERE kind = 'webhook_disabled' AND closed_at IS NULL`)
}

// A received message is one request as a subscriber saw it.
type received struct {
	id, body, timestamp, signature string
	header                         http.Header
	at                             time.Time
}

// A subscriber keeps what it is sent, and answers as its script says.
type subscriber struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer func(n int, w http.ResponseWriter, r *http.Request) // n counts requests from 1; nil: 204
	now    int
	most   int // requests at a time
}

func newSubscriber(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *subscriber {
	t.Helper()
	s := &subscriber{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.got = append(s.got, received{r.Header.Get(HeaderID), string(text), r.Header.Get(HeaderTimestamp), r.Header.Get(HeaderSignature), r.Header.Clone(), time.Now()})
	n := len(s.got)
	s.now++
	s.most = max(s.most, s.now)
	answer := s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(n, w, r)
}

// says makes every later answer the given one.
func (s *subscriber) says(answer func(n int, w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *subscriber) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// ids counts how often each message came.
func (s *subscriber) ids() map[string]int {
	ids := map[string]int{}
	for _, r := range s.all() {
		ids[r.id]++
	}
	return ids
}

// verify checks every request with the official library.
func (s *subscriber) verify(t testing.TB, secret string) {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.all() {
		if err := hook.VerifyIgnoringTimestamp([]byte(r.body), r.header); err != nil {
			t.Errorf("%s: %v", r.id, err)
		}
	}
}

func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func hostOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func portOf(t testing.TB, raw string) string {
	t.Helper()
	_, port, ok := strings.Cut(hostOf(t, raw), ":")
	if !ok {
		t.Fatal(fmt.Errorf("%s has no port", raw))
	}
	return port
}
