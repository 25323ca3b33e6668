package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/console"
	"emsd/cmd/emsd/internal/resident"
	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// pageLooks is how often each page is asked for; the first look, which fills what is kept in memory, is one of them.
const pageLooks = 300

// measureConsole gives C1 and C2: how long the console's and the residents' pages take with few deliveries and with very many.
func (b *bench) measureConsole(ctx context.Context) error {
	for _, n := range []int{10, b.Sizes.Known} {
		err := b.within(ctx, func(db *sqlx.DB, _ string) error { return b.console(ctx, db, n) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) console(ctx context.Context, db *sqlx.DB, n int) error {
	if err := seedConsole(ctx, db, n, businessNow); err != nil {
		return fmt.Errorf("seed %d deliveries: %w", n, err)
	}
	v := benchVault()
	some, err := sealNewest(ctx, db, 500, func(id uuid.UUID) [][]byte {
		return [][]byte{v.Seal(vault.ColumnName, id, "张三丰"), v.Seal(vault.ColumnPhone, id, "13800000001"), v.Seal(vault.ColumnIDNo, id, "110105198310062311"),
			v.Seal(vault.ColumnAddress, id, "示例路1号院2号楼3单元301室")}
	})
	if err != nil {
		return err
	}
	clock := clockFrom(businessNow)
	people := staff.New(db, v, clock, staff.Options{SecondFactor: staff.NobodyMust})
	service, timeline, history := courier.New(db, v, clock, courier.Options{}), tracking.NewReader(db), tracking.NewHistory(db, clock, tracking.HistoryOptions{})
	residents := resident.NewPages(resident.PageConfig{Days: 365}, v, resident.NewTries(db), service, timeline, history, notify.NewRefusals(db, v), clock, quiet)
	srv := httptest.NewServer(console.New(console.Parts{Staff: people, Service: service, Timeline: timeline, Hints: tracking.NewHints(db), History: history,
		Residents: residents, Messages: notify.NewReader(db), Clock: clock, Log: quiet}))
	defer srv.Close()
	clerk, err := signIn(ctx, people, srv.URL)
	if err != nil {
		return err
	}
	if err := b.residents(n, residents, v, clock, some); err != nil {
		return err
	}
	return b.timePages("C1", "console", n, []timed{
		{"Today", func(int) error { return lookAt(clerk, srv.URL+"/console/", nil) }},
		{"queue", func(int) error { return lookAt(clerk, srv.URL+"/console/queue", nil) }},
		{"queue of a status", func(int) error { return lookAt(clerk, srv.URL+"/console/queue?status=held", nil) }},
		{"search by number", func(i int) error {
			return lookAt(clerk, srv.URL+"/console/queue/search", url.Values{"q": {some[i%len(some)].PermitNo}})
		}},
		{"search by phone", func(int) error {
			return lookAt(clerk, srv.URL+"/console/queue/search", url.Values{"q": {"13911112222"}})
		}},
		{"delivery", func(i int) error {
			return lookAt(clerk, srv.URL+"/console/deliveries/"+some[i%len(some)].ID.String(), nil)
		}},
	})
}

// A timed page is asked for again and again.
type timed struct {
	name string
	ask  func(i int) error
}

// timePages adds two rows for each page, as seen by face.
func (b *bench) timePages(id, face string, n int, pages []timed) error {
	for _, p := range pages {
		took := make([]float64, pageLooks)
		for i := range took {
			began := time.Now()
			if err := p.ask(i); err != nil {
				return fmt.Errorf("page %s: %w", p.name, err)
			}
			took[i] = float64(time.Since(began).Microseconds()) / 1000
		}
		b.say("%s: %s with %s deliveries: median %.1f ms, 99th %.1f ms", face, p.name, count(n), median(took), percentile(took, 99))
		what := fmt.Sprintf("page %s, %s deliveries, ", p.name, count(n))
		middle := against(id, what+"median", "ms", []float64{median(took)}, nil)
		if n > 10 {
			middle = middle.below(50, 20)
		}
		b.report.add(middle, against(id, what+"99th percentile", "ms", []float64{percentile(took, 99)}, nil))
	}
	return nil
}

// residents gives C2: the form for the digits, and the page of who has given them.
func (b *bench) residents(n int, pages *resident.Pages, v *vault.Vault, clock courier.Clock, some []pageRow) error {
	srv := httptest.NewServer(resident.New(resident.Config{}, pages, nil, nil, nil, nil, clock, quiet))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	stranger, holder := &http.Client{}, &http.Client{Jar: jar}
	var paths []string
	for _, d := range some[:min(len(some), opened)] {
		path := srv.URL + "/t/" + resident.NewTokens(v).Of(d.ID)
		if err := lookAt(holder, path, url.Values{"digits": {"0001"}}); err != nil {
			return fmt.Errorf("open a resident's page: %w", err)
		}
		paths = append(paths, path)
	}
	look := func(who *http.Client, form bool) func(i int) error {
		return func(i int) error {
			text, err := load(who, paths[i%len(paths)], nil)
			if err == nil && strings.Contains(text, `id="digits"`) != form {
				err = fmt.Errorf("the form for the digits: %t, want %t", !form, form)
			}
			return err
		}
	}
	return b.timePages("C2", "residents", n, []timed{{"digits of a resident", look(stranger, true)}, {"resident's page", look(holder, false)}})
}

// opened is how many residents' pages are opened, with all of which the looks are spread.
const opened = 50

// signIn gives the browser of a supervisor.
func signIn(ctx context.Context, people *staff.Staff, address string) (*http.Client, error) {
	u, password, err := people.Create(ctx, staff.User{Name: "bench", FullName: "bench", Role: staff.Supervisor}, "", "bench")
	if err != nil {
		return nil, err
	}
	if err := people.KeepPassword(ctx, u.ID, "bench"); err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	clerk := &http.Client{Jar: jar}
	return clerk, lookAt(clerk, address+"/console/sign-in", url.Values{"name": {u.Name}, "password": {password}})
}

// lookAt asks for a page, by POST with a form, and follows where it leads.
func lookAt(clerk *http.Client, address string, form url.Values) error {
	_, err := load(clerk, address, form)
	return err
}

// load gives the page, too.
func load(clerk *http.Client, address string, form url.Values) (string, error) {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := clerk.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || strings.Contains(string(text), `id="password"`)) {
		err = fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return string(text), err
}
