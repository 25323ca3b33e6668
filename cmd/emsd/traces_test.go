package main

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"
	"emsd/notify"
	"emsd/tracking"
	"emsd/tracking/tracetest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

var updateTraces = flag.Bool("update-traces", false, "write the messages of the worked traces into their files")

const tracesDir = "../../tracking/testdata/traces"

// TestWorkedTracesEndToEnd plays every worked trace on one database, as it came: EMS is asked just after each scan could
// be seen, and news is published, planned and sent. What clerks and residents end up with stands in the files.
func TestWorkedTracesEndToEnd(t *testing.T) {
	t.Parallel()
	traces, err := tracetest.Read(tracesDir)
	if err != nil {
		t.Fatal(err)
	}
	p := newTracePlay(t, traces)
	p.run()
	got := map[string]map[string]string{}
	for i, tr := range traces {
		e := p.end(i)
		want := ended{
			Status:    strings.Fields(tr.Want[tracetest.Status])[0],
			Receiver:  strings.Split(tr.Want[tracetest.Receiver], " ")[0],
			HeldUntil: tr.Want[tracetest.HeldUntil],
			Cases:     caseKinds(tr.Want[tracetest.Cases]),
			Messages:  tr.Want[tracetest.Messages],
		}
		got[tr.Name] = map[string]string{tracetest.Messages: e.Messages}
		if *updateTraces {
			want.Messages = e.Messages
		}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("%s, %s: want -, got +\n%s", tr.File, tr.Name, diff)
		}
	}
	if *updateTraces {
		if err := tracetest.Update(tracesDir, got); err != nil {
			t.Fatal(err)
		}
	}
}

// ended is where a trace has come to.
type ended struct {
	Status, Receiver, HeldUntil, Messages string
	Cases                                 []string
}

func caseKinds(text string) []string {
	kinds := []string{}
	for _, c := range strings.Split(text, "、") {
		if kind, _, _ := strings.Cut(c, ":"); kind != "" && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// A tracePlay plays traces side by side, each on a delivery of its own.
type tracePlay struct {
	t      *testing.T
	db     *sqlx.DB
	traces []tracetest.Trace
	ids    []uuid.UUID
	byNo   map[string]int
	now    time.Time
	rounds []func(context.Context) error
}

func newTracePlay(t *testing.T, traces []tracetest.Trace) *tracePlay {
	t.Helper()
	p := &tracePlay{t: t, db: dbtest.Open(t), traces: traces, byNo: map[string]int{}}
	v, log := vault.Fixed([]byte("traces")), slog.New(slog.DiscardHandler)
	clock := courier.Clock{Now: func() time.Time { return p.now }, Wall: time.Now}
	gateways, err := notify.NewGateways(notify.NewLogGateway(log))
	if err != nil {
		t.Fatal(err)
	}
	p.rounds = []func(context.Context) error{
		tracking.NewPoller(p.db, v, p, clock, tracking.Options{Lanes: 1}, log, nil).Round,
		courier.NewPublisher(p.db).Round,
		notify.NewPlanner(p.db, clock, log, nil).Round,
		notify.NewSender(p.db, v, gateways, clock, notify.Options{}, log, nil).Round,
	}
	p.exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', now(), now())`)
	for i, tr := range traces {
		id, no := uuid.Must(uuid.NewV7()), fmt.Sprintf("12%09d17", i)
		p.ids, p.byNo[no] = append(p.ids, id), i
		p.exec(`
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, id_checked,
				created_at, updated_at)
			VALUES ($1, 'A' || $2, 'SQ' || $2, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
				'prepaid', $4, $5, '', '', $6, '', '', '北京市', '北京市', '朝阳区', 'ordered', $3, 'RP' || $2, $2, $7, $3, $3)`,
			id, no, tr.OrderedAt, v.Seal(vault.ColumnName, id, "张某"), v.Seal(vault.ColumnPhone, id, "13800000000"),
			[]byte(no), tr.IDChecked)
		p.exec(`INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at)
			VALUES ($1, $2, 'ordered', $3, $3::timestamptz + interval '1 year', $3)`, id, no, tr.OrderedAt)
	}
	return p
}

func (p *tracePlay) exec(query string, args ...any) {
	p.t.Helper()
	if _, err := p.db.ExecContext(p.t.Context(), query, args...); err != nil {
		p.t.Fatal(err)
	}
}

// Trace answers with what can be seen of the trace by now. A scan that is told anew replaces what was told before.
func (p *tracePlay) Trace(_ context.Context, waybillNo string, known int64) (courier.Trace, error) {
	var scans []courier.Scan
	h := fnv.New64a()
	for _, s := range p.traces[p.byNo[waybillNo]].Scans {
		if s.SeenAt.After(p.now) {
			continue
		}
		same := func(o courier.Scan) bool { return o.At.Equal(s.At) && o.Code == s.Code && o.OrgCode == s.OrgCode }
		scans = append(slices.DeleteFunc(scans, same), s.Scan)
		io.WriteString(h, s.At.String()+s.Code+s.OrgCode+s.DeliverCode+s.Desc.Reveal())
	}
	print := int64(h.Sum64() | 1)
	if print == known {
		return courier.Trace{Fingerprint: print, Unchanged: true}, nil
	}
	return courier.Trace{Fingerprint: print, Scans: scans, Raw: []byte("{}")}, nil
}

// run goes from one moment at which something can be seen to the next. Every morning after the quiet hours messages are
// looked at as well.
func (p *tracePlay) run() {
	due := map[time.Time][]string{}
	last := time.Time{}
	for i, tr := range p.traces {
		for _, s := range tr.Scans {
			due[s.SeenAt] = append(due[s.SeenAt], p.ids[i].String())
			if s.SeenAt.After(last) {
				last = s.SeenAt
			}
		}
	}
	first := p.traces[0].OrderedAt
	for day := time.Date(first.Year(), first.Month(), first.Day(), 8, 0, 30, 0, first.Location()); day.Before(last.AddDate(0, 0, 2)); day = day.AddDate(0, 0, 1) {
		due[day] = append(due[day], "")
	}
	var moments []time.Time
	for at := range due {
		moments = append(moments, at)
	}
	slices.SortFunc(moments, time.Time.Compare)
	for _, at := range moments {
		p.now = at.Add(time.Second)
		ids := slices.DeleteFunc(due[at], func(id string) bool { return id == "" })
		p.exec(`UPDATE waybills SET next_poll_at = $2 WHERE delivery_id = ANY(string_to_array($1, ',')::uuid[])`, strings.Join(ids, ","), p.now)
		for _, round := range p.rounds {
			if err := round(p.t.Context()); err != nil {
				p.t.Fatalf("at %s: %v", p.now.Format(time.DateTime), err)
			}
		}
	}
}

func (p *tracePlay) end(i int) ended {
	p.t.Helper()
	e := ended{Cases: []string{}}
	ctx, id := p.t.Context(), p.ids[i]
	err := p.db.QueryRowxContext(ctx, `SELECT status, receiver, coalesce(held_until::text, '') FROM deliveries WHERE id = $1`, id).
		Scan(&e.Status, &e.Receiver, &e.HeldUntil)
	if err == nil {
		err = p.db.SelectContext(ctx, &e.Cases, `SELECT kind FROM cases WHERE delivery_id = $1 AND closed_at IS NULL ORDER BY kind`, id)
	}
	var messages []string
	if err == nil {
		err = p.db.SelectContext(ctx, &messages, `
			SELECT CASE state WHEN 'accepted' THEN milestone WHEN 'suppressed' THEN '（' || milestone || '：' || verdict || '）'
				ELSE '［' || milestone || '：' || state || '］' END
			FROM messages WHERE delivery_id = $1 ORDER BY position`, id)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	e.Messages = strings.Join(messages, "、")
	return e
}
