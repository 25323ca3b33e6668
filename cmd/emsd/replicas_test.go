package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/migrations"
	"emsd/notify/smssim"

	"github.com/jmoiron/sqlx"
	"pgregory.net/rapid"
)

// A crowd is daemons, as processes, on one database, and the times at which they called EMS.
type crowd struct {
	*sims
	t     *testing.T
	db    *sqlx.DB
	env   []string
	mu    sync.Mutex
	calls []time.Time
}

func newCrowd(t *testing.T, due int, perSecond float64) *crowd {
	t.Helper()
	dsn := emptyDatabase(t)
	c := &crowd{sims: startSims(t, emssim.Config{Now: time.Now}, smssim.Config{}), t: t}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls = append(c.calls, time.Now())
		c.mu.Unlock()
		c.ems.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	var err error
	if c.db, err = openDatabase(t.Context(), dsn, 4); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.db.Close() })
	if err := migrations.Check(t.Context(), c.db.DB); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{
		`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', now(), now())`,
		`INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
		SELECT gen_random_uuid(), 'A' || no, 'SQ' || no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform',
			now(), now(), 'prepaid', '', '', '', '', '', '', '', '北京市', '北京市', '朝阳区', 'ordered', now(), 'RP' || no, no, now(), now()
		FROM (SELECT '12' || lpad(i::text, 9, '0') || '17' AS no FROM generate_series(1, ` + fmt.Sprint(due) + `) AS i) AS n`,
		`INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at)
		SELECT id, waybill_no, 'ordered', now(), now() - random() * interval '1 hour', now() FROM deliveries`,
	} {
		if _, err := c.db.Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	c.env = append(environ(dsn, keyFile(t), c.sims, "EMSD_EMS_URL="+srv.URL+emssim.PathOpen, fmt.Sprintf("EMSD_EMS_RATE=%g", perSecond), "EMSD_LOG_LEVEL=warn"),
		"PATH="+os.Getenv("PATH"))
	return c
}

// start starts one more daemon.
func (c *crowd) start() *exec.Cmd {
	c.t.Helper()
	cmd, ended := serve(c.t, c.env)
	c.t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	return cmd
}

// live counts the daemons that hold the replica lock.
func (c *crowd) live() (n int) {
	c.t.Helper()
	conn, err := c.db.Connx(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	if n, err = liveReplicas(c.t.Context(), conn); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// due counts what waits.
func (c *crowd) due() (n int) {
	c.t.Helper()
	if err := c.db.Get(&n, `SELECT count(*) FROM waybills WHERE next_poll_at <= now()`); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// most gives the largest number of calls in any window.
func (c *crowd) most(window time.Duration) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range c.calls {
		end, _ := slices.BinarySearchFunc(c.calls, at.Add(window), time.Time.Compare)
		n = max(n, end-i)
	}
	return n
}

func (c *crowd) between(from, to time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.calls {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// Two daemons, then three, then two again because one is killed: nothing is asked twice for one due time, the account's
// rate is kept whoever comes or goes, and what the dead one had in its hands is asked about by the others.
func TestDaemonsThatComeAndGoKeepTheAccountsRate(t *testing.T) {
	t.Parallel()
	const perSecond, due = 40, 1400
	c := newCrowd(t, due, perSecond)
	victim := c.start()
	c.start()
	until(t, 20*time.Second, "two live", func() bool { return c.live() == 2 })
	until(t, 30*time.Second, "both at work", func() bool { return c.due() < due-200 })
	c.start()
	until(t, 20*time.Second, "three live", func() bool { return c.live() == 3 })
	until(t, 30*time.Second, "all three at work", func() bool { return c.due() < due-500 })
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	until(t, 10*time.Second, "two live", func() bool { return c.live() == 2 })
	whole := killed.Add(settleFor + 2*countEvery)
	until(t, 60*time.Second, "all asked about", func() bool { return c.due() == 0 })
	end := time.Now()

	window := 10 * time.Second
	if n, limit := c.most(window), int(perSecond*window.Seconds()*1.05); n > limit {
		t.Errorf("%d calls within %s, the account has %d", n, window, limit)
	}
	if s := end.Sub(whole).Seconds(); s < 3 {
		t.Errorf("all was asked about %.1f s after the rate was to be whole again: too early to say", s)
	} else if n := c.between(whole, end.Add(-time.Second)); float64(n) < 0.9*perSecond*(s-1) {
		t.Errorf("%d calls in the %.1f s after the others had taken over, want about %.0f", n, s-1, perSecond*(s-1))
	}
	// What the killed one had asked and not written may be asked once more: its four lanes' chunks.
	asked := c.ems.Ledger().Calls["040001"]
	again := 4 * (perSecond * 2 / 4)
	if asked < due || asked > due+again {
		t.Errorf("%d questions about %d waybills, want no more than %d above", asked, due, again)
	}
	t.Logf("%d questions about %d waybills; at most %d calls in %s at %d a second", asked, due, c.most(window), window, perSecond)
}

// Four daemons that start at the same moment.
func TestFourDaemonsAskAboutEverythingOnce(t *testing.T) {
	t.Parallel()
	const perSecond, due = 40, 900
	c := newCrowd(t, due, perSecond)
	for range 4 {
		c.start()
	}
	until(t, 20*time.Second, "four live", func() bool { return c.live() == 4 })
	until(t, 60*time.Second, "all asked about", func() bool { return c.due() == 0 })
	if asked := c.ems.Ledger().Calls["040001"]; asked != due {
		t.Errorf("%d questions about %d waybills", asked, due)
	}
	if n, limit := c.most(10*time.Second), perSecond*10*105/100; n > limit {
		t.Errorf("%d calls within ten seconds, the account has %d", n, limit)
	}
}

// Two daemons share the rate evenly, and the one that is left takes all of it.
func TestThePartsOfTheRateComeToTheWhole(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	first, second := rateShare{since: now}, rateShare{since: now}
	want := func(what string, got, want float64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: a part of %v, want %v", what, got, want)
		}
	}
	want("alone", first.part(1, now), 1)
	want("joining", second.part(2, now), uncounted)
	now = now.Add(settleFor)
	want("two", first.part(2, now), 0.5)
	want("joined", second.part(2, now), 0.5)
	now = now.Add(countEvery)
	want("not sure yet", first.part(1, now), 0.5)
	want("left", first.part(1, now.Add(settleFor)), 1)

	back := rateShare{since: now, again: true} // the database restarted: another may not have found it out
	want("back, nobody seen", back.part(1, now), uncounted)
	want("back, nobody came", back.part(1, now.Add(settleFor)), 1)
}

// Daemons that come, go, and are cut off from the database at any moment, and count when they get to it: the parts are
// never more than the whole, but for those of the uncounted. No daemon starts for the first time while another has lost its
// lock and does not know: that one cannot be seen.
func TestThePartsOfTheRateAreNeverMoreThanTheWhole(t *testing.T) {
	t.Parallel()
	type member struct {
		share rateShare
		part  float64
		next  time.Time // when it counts
		held  bool      // it has the lock
	}
	rapid.Check(t, func(t *rapid.T) {
		// A count is due countEvery after the one before, and may take as long again before it counts as failed.
		const latest = 2 * countEvery
		now := time.Unix(0, 0)
		var members []*member
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.SampledFrom([]string{"join", "leave", "cut off", "restart", "wait", "wait", "wait", "wait", "wait"}).Draw(t, "what") {
			case "join":
				if slices.ContainsFunc(members, func(m *member) bool { return !m.held }) {
					continue
				}
				members = append(members, &member{share: rateShare{since: now}, part: uncounted, next: now, held: true})
			case "leave":
				if len(members) > 0 {
					i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
					members = slices.Delete(members, i, i+1)
				}
			case "cut off":
				if len(members) > 0 {
					members[rapid.IntRange(0, len(members)-1).Draw(t, "who")].held = false
				}
			case "restart": // of the database
				for _, m := range members {
					m.held = false
				}
			}
			live := 0
			for _, m := range members {
				if m.held {
					live++
				}
			}
			for _, m := range members {
				if now.Before(m.next) {
					continue
				}
				first := len(m.share.counts) == 0 // which comes right after the lock
				if !first && now.Sub(m.next) < latest-countEvery-time.Second && rapid.Bool().Draw(t, "late") {
					continue
				}
				if m.held {
					m.part = m.share.part(live, now)
				} else { // its count fails, and it takes the lock anew
					m.share, m.part, m.held = rateShare{since: now, again: true}, uncounted, true
				}
				m.next = now.Add(countEvery)
			}
			all := 0.0
			for _, m := range members {
				if m.part != uncounted {
					all += m.part
				}
			}
			if all > 1+1e-9 {
				t.Fatalf("%d daemons: the parts of those that are counted are %.2f", len(members), all)
			}
		}
	})
}
