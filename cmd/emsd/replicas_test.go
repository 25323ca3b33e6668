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
	"testing/synctest"
	"time"

	"emsd/courier/emssim"
	"emsd/migrations"
	"emsd/notify/smssim"

	"github.com/jmoiron/sqlx"
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

// The parts of daemons that come, go and are cut off are never more than the whole, but for those of the uncounted.
func TestThePartsOfTheRateAreNeverMoreThanTheWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type member struct {
			share rateShare
			part  float64
		}
		members := map[int]*member{}
		turn := func(extra int) { // one of each counts
			for _, m := range members {
				m.part = m.share.part(len(members)+extra, time.Now())
			}
		}
		sum := func() (all float64) {
			for _, m := range members {
				all += m.part
			}
			return all
		}
		check := func(what string) {
			t.Helper()
			if all := sum(); all > 1+uncounted*float64(len(members))+1e-9 {
				t.Errorf("%s: the parts are %.2f", what, all)
			}
		}
		join := func(n int) { members[n] = &member{share: rateShare{since: time.Now()}} }
		join(1)
		turn(0)
		if members[1].part != 1 {
			t.Fatalf("the only daemon has %v", members[1].part)
		}
		join(2)
		members[2].part = members[2].share.part(2, time.Now()) // the first has not counted it yet
		check("a second joins")
		for range 5 {
			time.Sleep(countEvery)
			turn(0)
			check("two")
		}
		if members[2].part != 0.5 || members[1].part != 0.5 {
			t.Errorf("parts of two are %v and %v", members[1].part, members[2].part)
		}
		// The second is cut off and has not found out yet; the first does not count it any more.
		members[1].part = members[1].share.part(1, time.Now())
		check("one is cut off")
		time.Sleep(countEvery)
		members[2].part = uncounted
		members[1].part = members[1].share.part(1, time.Now())
		check("it has found out")
		time.Sleep(settleFor)
		members[1].part = members[1].share.part(1, time.Now())
		if members[1].part != 1 {
			t.Errorf("the one that is left has %v", members[1].part)
		}
	})
}
