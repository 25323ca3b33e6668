package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"
	"emsd/notify"
	"emsd/notify/webhook"
	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// night is the time of every test here; morning is when somebody who was not reached is called again.
var (
	night   = time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	morning = night.Add(12 * time.Hour)
)

// A desk is the API on a database of its own, with a token that may do everything.
type desk struct {
	*API
	t      *testing.T
	secret string
	at     atomic.Pointer[func(point string)]
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	db, v, log := dbtest.Open(t), vault.Fixed([]byte("api")), slog.New(slog.DiscardHandler)
	now := func() time.Time { return night }
	clock := courier.Clock{Now: now, Wall: now}
	service := courier.New(db, v, clock, courier.Options{})
	for _, table := range []struct {
		row  map[string]string
		save func(context.Context, []map[string]string, bool) ([]courier.Faults, error)
	}{
		{map[string]string{"code": "110102001", "name": "试验派出所", "kind": "police_station"}, service.SaveStations},
		{map[string]string{"zone": "北京", "provinces": "北京市", "valid_from": "2026-01-01", "first_weight_g": "500", "first_fen": "1200", "step_weight_g": "500", "step_fen": "200"},
			service.SaveTariffs},
	} {
		if faults, err := table.save(t.Context(), []map[string]string{table.row}, false); err != nil || len(faults[0]) > 0 {
			t.Fatal(err, faults)
		}
	}
	allow, err := webhook.ParseAllow([]string{"127.0.0.0/8:*"})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t}
	working := func(time.Time, time.Duration) (time.Time, error) { return morning, nil }
	d.API = New(service, nil, nil, db, clock, Feed{}, tracking.NewRefolder(db, v, clock, log), v, Options{
		Webhooks: webhook.NewService(db, v, allow, clock), Refusals: notify.NewRefusals(db, v), Calls: notify.NewCalls(db, v, service, clock, working),
		Hook: func(point string) {
			if f := d.at.Load(); f != nil {
				(*f)(point)
			}
		}}, log)
	if d.secret, _, err = service.CreateToken(t.Context(), "clerk", []string{"admin"}, 0, "test"); err != nil {
		t.Fatal(err)
	}
	return d
}

// hooked calls f at every named point of the API from now on.
func (d *desk) hooked(f func(point string)) { d.at.Store(&f) }

// call makes a call; header names and their values follow the body.
func (d *desk) call(method, path string, body any, header ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.callAs(d.t.Context(), method, path, body, header...)
}

func (d *desk) callAs(ctx context.Context, method, path string, body any, header ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(string(text)))
	r.Header.Set("Authorization", "Bearer "+d.secret)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// must is a call that is to succeed; it gives the answer's members.
func (d *desk) must(method, path string, body any, header ...string) map[string]any {
	d.t.Helper()
	w := d.call(method, path, body, header...)
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code >= 300 {
		d.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return v
}

// accept takes a permit in and gives its delivery; all of them go to one phone.
func (d *desk) accept(n int) uuid.UUID {
	d.t.Helper()
	v := d.must("POST", "/v1/deliveries", map[string]any{
		"permit_no": fmt.Sprintf("A1101022026%06d", n), "application_no": fmt.Sprintf("SQ2026-%06d", n), "business": "exchange", "route": "online", "ground": "residence",
		"identity_changed": false, "address_changed": false, "station_code": "110102001", "consent": map[string]any{"source": "platform", "at": "2026-10-20T10:00:00+08:00",
			"notice_version": "1"}, "approved_at": "2026-10-22T09:00:00+08:00", "payment_method": "prepaid", "recipient": map[string]any{"name": "欧阳测试",
			"phone": "13900010001", "id_no": "110105198310062311", "province": "北京市", "city": "北京市", "county": "西城区", "address": "试验胡同1号院4单元1402"}})
	return uuid.MustParse(v["id"].(string))
}

// unreached is a case of the call list about a delivery.
func (d *desk) unreached(delivery uuid.UUID) (id string) {
	d.t.Helper()
	err := courier.InTx(d.t.Context(), d.db, func(tx *sqlx.Tx) error {
		return courier.OpenCases(d.t.Context(), tx, []courier.NewCase{{DeliveryID: delivery, Kind: courier.CaseSMSFailed, OpenedAt: night, DueAt: morning,
			NextAction: "电话通知", Detail: "号码无法接收短信"}})
	})
	if err == nil {
		err = d.db.Get(&id, `SELECT id FROM cases WHERE delivery_id = $1 AND kind = 'sms_failed' AND closed_at IS NULL`, delivery)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// state is all that the database holds, table by table, but for when a token was used last.
func (d *desk) state() map[string]string {
	d.t.Helper()
	var tables []string
	err := d.db.Select(&tables, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'tokens'`)
	if err != nil {
		d.t.Fatal(err)
	}
	state := map[string]string{}
	for _, name := range tables {
		var rows string
		if err := d.db.Get(&rows, `SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM `+name+` t`); err != nil {
			d.t.Fatal(err)
		}
		state[name] = rows
	}
	return state
}

// audited tells how many entries of an action the audit has; what waits to be chained counts.
func (d *desk) audited(action string) (n int) {
	d.t.Helper()
	if err := d.db.Get(&n, `SELECT (SELECT count(*) FROM audit WHERE action = $1) + (SELECT count(*) FROM audit_queue WHERE action = $1)`, action); err != nil {
		d.t.Fatal(err)
	}
	return n
}

func status(w *httptest.ResponseRecorder) string {
	return fmt.Sprintf("%d %s%s", w.Code, http.StatusText(w.Code), strings.TrimSpace(" "+w.Body.String()))
}
