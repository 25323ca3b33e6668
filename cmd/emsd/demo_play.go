package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/vault"
)

// play loads the permits, cancels some, waits until everything has come to rest and checks what came of it.
func (d *demo) play(ctx context.Context) error {
	permits, err := readDemoPermits(d.cmd.Permits)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "sending %d permits, %g simulated seconds per second%s\n", len(permits), d.cmd.Speed, map[bool]string{true: ", with faults"}[d.cmd.Faults])
	loader := &intake.Loader{Service: d.app.service, By: "import", Bad: complainTo(d.out)}
	for _, path := range []string{d.cmd.Stations, d.cmd.Tariffs} {
		if sum, err := loadFile(ctx, path, loader); err != nil || sum.Bad > 0 {
			return errors.Join(err, fmt.Errorf("%s: %s", path, sum))
		}
	}
	sum, err := loadFile(ctx, d.cmd.Permits, loader)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.out, sum)
	if err := d.cancelSome(ctx); err != nil {
		return err
	}
	if err := d.watch(ctx); err != nil {
		return err
	}
	return d.report(ctx, permits, sum)
}

// cancelPrefix marks the application numbers of permits whose applicants change their mind.
const cancelPrefix = "QX"

func (d *demo) cancelSome(ctx context.Context) error {
	rows, err := demoDeliveries(ctx, d.app.db)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !strings.HasPrefix(r.ApplicationNo, cancelPrefix) || r.Status == courier.Refused {
			continue
		}
		// An envelope that EMS has already cannot be cancelled any more, which is as good an outcome.
		_, err := d.app.service.Cancel(ctx, r.ID, "申请人改为自取", "demo")
		if conflict, ok := errors.AsType[*courier.Conflict](err); err != nil && (!ok || conflict.Code == "") {
			return err
		}
	}
	return nil
}

// watch shows how the permits move until nothing moves any more.
func (d *demo) watch(ctx context.Context) error {
	live := newLiveTable(d.out)
	defer live.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		counts, open, err := demoCounts(ctx, d.app.db)
		if err != nil && ctx.Err() == nil {
			return err
		}
		live.show(counts, open, d.clock.Now(), time.Since(d.started))
		if err == nil && open.none() {
			return nil
		}
		select {
		case <-d.env.ctx.Done():
			return errors.New("stopped before everything had come to rest")
		case <-ctx.Done():
			return fmt.Errorf("after %s not everything has come to rest: %s", d.cmd.Limit, open)
		case err := <-d.failed:
			return err
		case <-tick.C:
		}
	}
}

// A demoPermit is one row of the file as it stands there, apart from everything the service made of it.
type demoPermit struct {
	number int
	v      map[string]string // English headings
}

func readDemoPermits(path string) ([]demoPermit, error) {
	rows, err := intake.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var permits []demoPermit
	for {
		r, err := rows.Next()
		if err != nil {
			if len(permits) > 0 && errors.Is(err, io.EOF) {
				return permits, nil
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		p := demoPermit{r.Number, map[string]string{}}
		for h, v := range r.Values {
			if c, ok := courier.ColumnFor(h); ok {
				p.v[c.Name] = v
			}
		}
		permits = append(permits, p)
	}
}

// expectedRule says by which rule a permit of the demo's own file is to be refused, read from the facts alone and with
// no code of the service; empty when it may be sent.
func (p demoPermit) expectedRule(stations map[string]string) string {
	class := stations[p.v["station_code"]]
	switch {
	case p.v["business"] != "exchange":
		return "R-20"
	case p.v["route"] == "registration_station" || class == "registration_station":
		return "R-09"
	case class == "unclassified":
		return "R-17"
	case p.v["route"] != "police_station" && p.v["route"] != "online":
		return "R-08"
	case p.v["consent_source"] == "" || p.v["consent_at"] == "":
		return "R-13"
	case p.v["route"] == "online" && (p.v["ground"] != "residence" || p.v["identity_changed"] == "true" || p.v["address_changed"] == "true"):
		return "R-15"
	}
	return ""
}

// demoStations reads who runs each station.
func demoStations(path string) (map[string]string, error) {
	rows, err := intake.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	class := map[string]string{}
	for {
		r, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return class, nil
		}
		if err != nil {
			return nil, err
		}
		k := r.Values["kind"]
		if k == "booked_window" {
			if k = r.Values["operated_by"]; k == "" {
				k = "unclassified"
			}
		}
		class[r.Values["code"]] = k
	}
}

// restsAt is where a delivery comes to rest when its journey ends as the simulator planned.
func restsAt(o emssim.Outcome) courier.Status {
	switch o {
	case emssim.OutcomeReturned, emssim.OutcomeIntercepted:
		return courier.Returned
	case emssim.OutcomeLost:
		return courier.Lost
	case emssim.OutcomeSilent:
		return courier.Accepted
	}
	return courier.Delivered
}

// report prints the table and the checks, and fails when one of them does.
func (d *demo) report(ctx context.Context, permits []demoPermit, sum intake.Summary) error {
	rows, err := demoDeliveries(ctx, d.app.db)
	if err != nil {
		return err
	}
	stations, err := demoStations(d.cmd.Stations)
	if err != nil {
		return err
	}
	messages, err := demoMessages(ctx, d.app.db)
	if err != nil {
		return err
	}
	feed, err := d.readWholeFeed(ctx)
	if err != nil {
		return err
	}
	v := verdict{subscriber: d.subscriber, feed: feed, permits: permits, stations: stations, rows: rows, messages: messages, ledger: d.ems.Ledger(), sms: d.sms.Messages(), log: d.logs.String(), faults: d.cmd.Faults,
		lookup: func(phone string) string { return string(d.app.vault.Lookup(vault.ColumnPhone, phone)) }}
	d.table(rows)
	v.outcomeTable(d.out)
	failed := 0
	for _, c := range v.checks() {
		mark := "ok  "
		if len(c.wrong) > 0 {
			mark, failed = "FAIL", failed+1
		}
		fmt.Fprintf(d.out, "%s  %-42s %s\n", mark, c.name, c.fine)
		for _, w := range c.wrong[:min(len(c.wrong), 5)] {
			fmt.Fprintf(d.out, "      %s\n", w)
		}
	}
	if failed > 0 {
		d.keepLog()
	}
	fmt.Fprintf(d.out, "demo: %d permits, %d delivered, %d refused, %d with faults in the file, %d messages in %s\n", len(permits),
		count(rows, courier.Delivered), count(rows, courier.Refused), sum.Bad, len(v.sms), time.Since(d.started).Round(100*time.Millisecond))
	if failed > 0 {
		return fmt.Errorf("%d checks do not hold", failed)
	}
	return nil
}

// keepLog writes the log where it can be read after the demo has cleaned up.
func (d *demo) keepLog() {
	f, err := os.CreateTemp("", "emsd-demo-*.log")
	if err == nil {
		_, err = f.WriteString(d.logs.String())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintf(d.out, "      the log could not be kept: %v\n", err)
		return
	}
	fmt.Fprintf(d.out, "      the log is in %s\n", f.Name())
}

func count(rows []demoDelivery, s courier.Status) int {
	n := 0
	for _, r := range rows {
		if r.Status == s {
			n++
		}
	}
	return n
}

// table prints how many permits ended where.
func (d *demo) table(rows []demoDelivery) {
	fmt.Fprintln(d.out)
	for _, s := range courier.Statuses {
		if n := count(rows, s); n > 0 {
			fmt.Fprintf(d.out, "%6d  %s\n", n, s)
		}
	}
	rules := map[string]int{}
	for _, r := range rows {
		if r.Rule != "" {
			rules[r.Rule]++
		}
	}
	for _, rule := range slices.Sorted(keys(rules)) {
		fmt.Fprintf(d.out, "%6d  refused by %s\n", rules[rule], rule)
	}
	fmt.Fprintln(d.out)
}
