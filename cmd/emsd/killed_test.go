package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"
)

// A mortal daemon is the real process, started and killed again and again on one database, with simulators that stay. Time
// passes between two lives of it, for the process and for the simulators.
type mortal struct {
	*sims
	*posts
	dsn   string
	env   []string
	ahead atomic.Int64
}

func newMortal(t *testing.T, env ...string) *mortal {
	t.Helper()
	m := &mortal{dsn: emptyDatabase(t)}
	key := keyFile(t)
	m.sims = startSims(t, emssim.Config{Now: m.now}, smssim.Config{Now: m.now, Wall: m.now, Tencent: smssim.Tencent{VariableLimit: demoVariableLimit}})
	m.env = append(environ(m.dsn, key, m.sims, append([]string{"EMSD_QUIET_HOURS=off", "EMSD_LOG_LEVEL=warn"}, env...)...), "PATH="+os.Getenv("PATH"))
	db, err := openDatabase(t.Context(), m.dsn, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	master, err := vault.ReadMasterKey(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), db, master, m.now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', now(), now())`); err != nil {
		t.Fatal(err)
	}
	m.posts = &posts{t: t, db: db, vault: v, now: m.now}
	return m
}

func (m *mortal) now() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

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
	case <-time.After(2 * time.Minute):
		cmd.Process.Kill()
		<-ended
		m.t.Fatalf("%s: not passed within two minutes", point)
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
			return count(`SELECT (SELECT position FROM feed_head) - coalesce((SELECT position FROM feed_readers WHERE name = 'notify'), 0)
				+ (SELECT count(*) FROM messages WHERE state = 'queued' AND not_before <= $1 AND (next_attempt_at IS NULL OR next_attempt_at <= $1))
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
			m.judge(m.sms, tt.gateway)
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
