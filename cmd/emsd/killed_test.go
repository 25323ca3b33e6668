package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A mortal daemon is the real process, started and killed again and again on one database, with simulators that stay. Time
// passes between two lives of it, for the process and for the simulators.
type mortal struct {
	*sims
	t     *testing.T
	dsn   string
	db    *sqlx.DB
	vault *vault.Vault
	env   []string
	ahead atomic.Int64
	made  int
	phone map[uuid.UUID]string
}

func newMortal(t *testing.T, env ...string) *mortal {
	t.Helper()
	m := &mortal{t: t, dsn: emptyDatabase(t), phone: map[uuid.UUID]string{}}
	key := keyFile(t)
	m.sims = startSims(t, emssim.Config{Now: m.now}, smssim.Config{Now: m.now, Wall: m.now, Tencent: smssim.Tencent{VariableLimit: demoVariableLimit}})
	m.env = append(environ(m.dsn, key, m.sims, append([]string{"EMSD_QUIET_HOURS=off", "EMSD_LOG_LEVEL=warn"}, env...)...), "PATH="+os.Getenv("PATH"))
	var err error
	if m.db, err = openDatabase(t.Context(), m.dsn, 4); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.db.Close() })
	master, err := vault.ReadMasterKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if m.vault, err = vault.Open(t.Context(), m.db, master, m.now()); err != nil {
		t.Fatal(err)
	}
	_, err = m.db.Exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', now(), now())`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mortal) now() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

// envelopes makes n deliveries that EMS has, with numbers of their own, and gives the news that they are on their way, or wait
// at a counter.
func (m *mortal) envelopes(n int) {
	m.t.Helper()
	now := m.now()
	var moves []courier.Move
	for range n {
		m.made++
		id := uuid.Must(uuid.NewV7())
		no, phone := fmt.Sprintf("12%011d", m.made), fmt.Sprintf("1391111%04d", 1000+m.made)
		m.phone[id] = phone
		_, err := m.db.Exec(`
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
			VALUES ($1, 'A' || $2, 'SQ' || $2, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
				'prepaid', $4, $5, '', '', $6, '', '', '北京市', '北京市', '朝阳区', 'ordered', $3, 'RP' || $2, $2, $3, $3)`, id, no, now,
			m.vault.Seal(vault.ColumnName, id, "张三"), m.vault.Seal(vault.ColumnPhone, id, phone), m.vault.Lookup(vault.ColumnPhone, phone))
		if err != nil {
			m.t.Fatal(err)
		}
		move := courier.Move{ID: id, From: courier.Ordered, To: courier.InTransit, At: now, Data: courier.EventData{WaybillNo: no}}
		if m.made%2 == 0 {
			move.To, move.Data.HeldUntil = courier.Held, now.AddDate(0, 0, 60).In(beijing).Format(time.DateOnly)
		}
		moves = append(moves, move)
	}
	err := courier.InTx(m.t.Context(), m.db, func(tx *sqlx.Tx) error {
		_, err := courier.ApplyMoves(m.t.Context(), tx, moves)
		return err
	})
	if err == nil {
		err = courier.NewPublisher(m.db).Round(m.t.Context())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// live starts the process.
func (m *mortal) live(more ...string) (*exec.Cmd, chan error) {
	m.t.Helper()
	return serve(m.t, append(slices.Clone(m.env), append(more, clockAheadEnv+"="+time.Duration(m.ahead.Load()).String())...))
}

// die starts the process and waits until it has killed itself at a point.
func (m *mortal) die(point string) {
	m.t.Helper()
	cmd, ended := m.live(crashPointEnv + "=" + point)
	select {
	case err := <-ended:
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			m.t.Fatalf("%s: the process ended by itself: %v", point, err)
		}
	case <-time.After(time.Minute):
		cmd.Process.Kill()
		<-ended
		m.t.Fatalf("%s: not passed within a minute", point)
	}
}

// settle lets process after process work, a day apart, until nothing is open.
func (m *mortal) settle() {
	m.t.Helper()
	count := func(query string, args ...any) (n int) {
		m.t.Helper()
		if err := m.db.Get(&n, query, args...); err != nil {
			m.t.Fatal(err)
		}
		return n
	}
	open := func() int {
		return count(`SELECT count(*) FROM messages WHERE state IN ('queued', 'sending', 'unknown')`)
	}
	for range 8 {
		m.ahead.Add(int64(25 * time.Hour))
		cmd, ended := m.live()
		until(m.t, time.Minute, "done with what is due", func() bool {
			return count(`SELECT (SELECT count(*) FROM messages WHERE state = 'queued' AND not_before <= $1 AND (next_attempt_at IS NULL OR next_attempt_at <= $1))
				+ (SELECT count(*) FROM message_attempts WHERE state = 'sending' OR state = 'unknown' AND resolve_at <= $1)`, m.now()) == 0
		})
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			m.t.Fatal(err)
		}
		<-ended
		if open() == 0 {
			return
		}
	}
	m.t.Errorf("%d messages are not settled", open())
}

// judge holds the simulators' books against what is stored: no number was told a milestone twice, what counts as sent was
// taken, and what does not says why in words for a clerk.
func (m *mortal) judge(gateway string) {
	m.t.Helper()
	milestones, told := templateMilestones(m.t), map[string]bool{}
	for _, s := range m.sms.Messages() {
		key := s.Phone + " " + milestones[s.Template]
		if told[key] {
			m.t.Errorf("I-5: %s was told twice", key)
		}
		if told[key] = true; s.Gateway != gateway {
			m.t.Errorf("I-4: %s took a message that may be at %s", s.Gateway, gateway)
		}
	}
	var stored []struct {
		Delivery  uuid.UUID        `db:"delivery_id"`
		Milestone notify.Milestone `db:"milestone"`
		State     string           `db:"state"`
		Reason    string           `db:"reason"`
		Case      bool             `db:"has_case"`
	}
	err := m.db.Select(&stored, `
		SELECT delivery_id, milestone, state, reason,
			EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = m.delivery_id AND c.kind = 'sms_failed') AS has_case
		FROM messages m`)
	if err != nil {
		m.t.Fatal(err)
	}
	if len(stored) != m.made {
		m.t.Errorf("%d messages for %d pieces of news", len(stored), m.made)
	}
	states := map[string]int{}
	for _, s := range stored {
		states[s.State]++
		sent := s.State == "accepted" || s.State == "delivered"
		switch {
		case sent && !told[m.phone[s.Delivery]+" "+string(s.Milestone)]:
			m.t.Errorf("%s of %s is %s, and no gateway has it", s.Milestone, s.Delivery, s.State)
		case !sent && !slices.ContainsFunc([]rune(s.Reason), func(r rune) bool { return unicode.Is(unicode.Han, r) }):
			m.t.Errorf("%s of %s is %s without a reason for a clerk: %q", s.Milestone, s.Delivery, s.State, s.Reason)
		case s.State == "failed" && s.Milestone == notify.Held && !s.Case:
			m.t.Errorf("nobody is to call the resident of %s, who waits for %s", s.Delivery, s.Milestone)
		}
	}
	m.t.Logf("%d told by the books; messages: %v", len(told), states)
}

// TestI4_I5_KilledAtEveryPointOfSendingAndResolving: the real process is killed between every two steps, over every gateway,
// the answers to two of four messages are lost after the gateway took them, and each life finds what the one before has left.
// A second gateway stands by, which may have nothing of what is in doubt.
func TestI4_I5_KilledAtEveryPointOfSendingAndResolving(t *testing.T) {
	t.Parallel()
	points := []string{notify.PointSendClaimed, notify.PointSendIntentCommitted, notify.PointResolveSwept, notify.PointResolveClaimed,
		notify.PointResolveAsked, notify.PointResolveRecording, notify.PointResolveOutcomeWritten, notify.PointSendAnswered + "/2",
		notify.PointSendPosted, notify.PointSendRecording, notify.PointSendOutcomeWritten}
	for _, p := range notify.SendPoints {
		if !slices.Contains(points, p) {
			t.Errorf("no process is killed at %s", p)
		}
	}
	for _, tt := range []struct {
		gateway, other, send string
		asleep               time.Duration // between two lives: until the gateway, or the end of the wait for a report, can tell
		more                 []string
	}{
		{"aliyun", "mas", "SendSms", 10 * time.Minute, nil},
		{"tencent", "aliyun", "SendSms", 10 * time.Minute, nil},
		{"mas", "tencent", "tmpsubmit", 25 * time.Hour, notify.ReceiptPoints},
	} {
		t.Run(tt.gateway, func(t *testing.T) {
			t.Parallel()
			m := newMortal(t, "EMSD_SMS="+tt.gateway+","+tt.other, "EMSD_SMS_MAS_PULL=true")
			for _, point := range slices.Concat(points, tt.more) {
				m.sms.SetFault(smssim.Fault{Gateway: tt.gateway, API: tt.send, Kind: smssim.LoseReply, Count: 2})
				m.envelopes(4)
				m.die(point)
				m.ahead.Add(int64(tt.asleep))
			}
			m.sms.ClearFaults()
			m.settle()
			m.judge(tt.gateway)
		})
	}
}

// TestTestVariablesAreRefusedInProduction: with an EMS that is not on this machine nothing kills the process or moves its clock.
func TestTestVariablesAreRefusedInProduction(t *testing.T) {
	t.Parallel()
	path, err := emsd()
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{crashPointEnv + "=send.claimed", clockAheadEnv + "=1h"} {
		cmd := exec.CommandContext(t.Context(), path, "serve")
		cmd.Env = append(environ("postgres://127.0.0.1:1/none", keyFile(t), &sims{url: "http://127.0.0.1:1"}, "EMSD_EMS_URL=https://ems.example/amp/open"), variable)
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("are for tests: refused")) {
			t.Errorf("%s: %v, %s", variable, err, out)
		}
	}
}
