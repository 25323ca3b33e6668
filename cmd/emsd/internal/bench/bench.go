// Package bench measures what the daemon's own rounds cost, beside a floor: a hand-written loop that does only the work,
// with the same HTTP library, database driver, workers and lanes. Both run in turns, each run in a process of its own, on
// fresh databases of a private server with its durability defaults, against a stub that answers over loopback. What
// counts is the ratio within one run of the bench; machines differ and are noisy.
//
// It is no load generator for a daemon elsewhere, and no test of speed: a missed goal is reported, not failed. Only
// items that were lost or stored twice make it fail.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"emsd/migrations/privatepg"

	"github.com/jmoiron/sqlx"
)

// Options of a run. Self and Session are required.
type Options struct {
	Self    []string // command that ends in Child: this program
	Serve   []string // command that serves: this program; empty leaves out what needs a daemon
	Session string   // options of the daemon's database sessions
	Sizes   Sizes
	Only    []string // names of measurements, or ids such as P1; empty for all
	Profile string   // prefix of files for CPU profiles of the product's runs
	// Progress gets lines while it works, and what children complain about.
	Progress io.Writer
}

// Sizes says how much is measured.
type Sizes struct {
	Rounds      int     // pairs of product and floor
	Polls       int     // of one run
	Orders      int     // of one run
	Snapshot    int     // polls while a snapshot is held
	Pairs       int     // of runs with and without one
	Young       int     // polls on a table that was never analyzed
	Starts      int     // such tables
	Rows        []int   // tables to claim from
	Claims      int     // from each
	Due         int     // rows of the largest that are due, together and scattered
	Crowd       int     // workers of the large run for memory
	Crowds      []int   // workers that a slow courier is asked by
	SlowSeconds float64 // that each of these runs lasts
	DueSeconds  float64 // over which waybills become due
	IdleSeconds float64 // that an idle daemon is watched
	Active      int     // envelopes on their way
	Known       int     // deliveries behind the calls and pages that are timed
	PlanSeconds float64 // that their plan is watched
	PlanTick    float64 // seconds between rounds then
	OldRows     int     // of a month that is dropped
	Million     int     // polls of one process for memory; 0 leaves it out
	Permits     int     // taken in
	Payments    int     // timed from paid to ordered
	Messages    int     // sent in one run
	NewsSeconds float64 // that events come in to be told
	Feed        int     // events that a reader reads
	HookSeconds float64 // that events come for webhooks

	ReceiptSeconds float64 // that receipts are pushed
}

// Full is what docs/benchmarks.md is made of; it takes some minutes.
func Full() Sizes {
	return Sizes{Rounds: 3, Polls: 60_000, Orders: 20_000, Snapshot: 200_000, Pairs: 2, Young: 10_000, Starts: 10,
		Rows: []int{10_000, 1_000_000, 5_000_000}, Claims: 50, Due: 100_000, Crowd: 1024,
		Crowds: []int{64, 256, 1024}, SlowSeconds: 6, DueSeconds: 15, IdleSeconds: 20,
		Active: 1_000_000, Known: 1_000_000, PlanSeconds: 60, PlanTick: 10, OldRows: 1_000_000, Million: 1_000_000, Permits: 20_000, Payments: 400,
		Messages: 30_000, NewsSeconds: 15, Feed: 100_000, HookSeconds: 15, ReceiptSeconds: 10}
}

// Quick shows within a minute whether something is badly wrong.
func Quick() Sizes {
	return Sizes{Rounds: 3, Polls: 8_000, Orders: 3_000, Snapshot: 12_000, Pairs: 1, Young: 4_000, Starts: 2,
		Rows: []int{10_000, 100_000}, Claims: 30, Due: 10_000, Crowd: 1024,
		Crowds: []int{64, 1024}, SlowSeconds: 2, DueSeconds: 3, IdleSeconds: 4,
		Active: 100_000, Known: 100_000, PlanSeconds: 6, PlanTick: 1, OldRows: 50_000, Permits: 2_000, Payments: 50,
		Messages: 4_000, NewsSeconds: 3, Feed: 20_000, HookSeconds: 2, ReceiptSeconds: 2}
}

// runTimeout bounds one measured run, so that a hanging one fails and says which.
const runTimeout = 5 * time.Minute

// businessNow is when all that is seeded happens: noon in Beijing, so that intervals are those of the day.
var businessNow = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

// A bench is one run of everything.
type bench struct {
	Options
	self     []string
	progress io.Writer
	server   *privatepg.Server
	admin    *sqlx.DB
	stub     string
	prints   fingerprints
	made     int // databases
	report   *Report
}

// A measurement fills some rows of the report.
type measurement struct {
	name  string
	ids   []string
	about string
	run   func(*bench, context.Context) error
}

// measurements in the order in which they run.
var measurements = []measurement{
	{"poll", []string{"P1", "P2", "P4"}, "polling beside the floor", (*bench).measurePolls},
	{"order", []string{"P3"}, "ordering beside the floor", (*bench).measureOrders},
	{"accept", []string{"A1"}, "taking in permits by batch", (*bench).measureAccept},
	{"import", []string{"A4"}, "loading a clerk's file", (*bench).measureImport},
	{"latency", []string{"A2"}, "from paid to ordered", (*bench).measureLatency},
	{"pages", []string{"A3"}, "asking the API, of few and of many", (*bench).measurePages},
	{"send", []string{"M1"}, "sending messages beside the floor", (*bench).measureSends},
	{"news", []string{"M2"}, "from an event to the gateway", (*bench).measureNews},
	{"feed", []string{"F1"}, "reading the feed", (*bench).measureFeed},
	{"receipts", []string{"R1"}, "answering receipts that are pushed", (*bench).measureReceipts},
	{"webhooks", []string{"W1"}, "webhooks while some subscribers hang", (*bench).measureWebhooks},
	{"console", []string{"C1", "C2"}, "the console's and the residents' pages", (*bench).measureConsole},
	{"snapshot", []string{"P6"}, "polling while an old snapshot is held", (*bench).measureSnapshot},
	{"young", []string{"P6"}, "polling tables that were never analyzed", (*bench).measureYoung},
	{"claim", []string{"P5"}, "claiming from tables that grow", (*bench).measureClaims},
	{"slow", []string{"P7"}, "polling a courier that takes its time", (*bench).measureSlow},
	{"punctual", []string{"P9"}, "what becomes due is asked about in time", (*bench).measurePunctual},
	{"scale", []string{"S1", "S2", "S3", "S4", "S5"}, "very many envelopes on one PostgreSQL", (*bench).measureScale},
	{"drop", []string{"S6"}, "dropping old months", (*bench).measureDrop},
	{"memory", []string{"P8"}, "memory", (*bench).measureMemory},
}

// Names lists the measurements that Options.Only may name.
func Names() []string {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	return names
}

// CheckOnly says which of the names are none.
func CheckOnly(only []string) error {
	for _, o := range only {
		if !slices.ContainsFunc(measurements, func(m measurement) bool { return m.is(o) }) {
			return fmt.Errorf("no measurement %q: there are %s", o, strings.Join(Names(), ", "))
		}
	}
	return nil
}

func (m measurement) is(name string) bool {
	return m.name == name || slices.Contains(m.ids, strings.ToUpper(name))
}

// Run measures and gives the report. An error means that a run did not go through, or that an item was lost or stored
// twice; what was measured before it is in the report all the same.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	b := &bench{Options: o, self: o.Self, progress: o.Progress, report: &Report{Sizes: o.Sizes}}
	if err := CheckOnly(o.Only); err != nil {
		return nil, err
	}
	b.say("starting a private PostgreSQL")
	b.server, err = privatepg.Start(ctx, privatepg.Options{Dir: onDisk()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.server.Stop()) }()
	stop, err := b.startStub(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if b.admin, err = open(ctx, b.dsn("postgres")); err != nil {
		return nil, err
	}
	defer b.admin.Close()
	if err := makeTemplate(ctx, b.admin, b.dsn(template), businessNow); err != nil {
		return nil, fmt.Errorf("make the template database: %w", err)
	}
	if err := b.learnPrints(ctx); err != nil {
		return nil, err
	}
	if err := b.report.describe(ctx, b.admin, b.server.Dir()); err != nil {
		return nil, err
	}
	began := time.Now()
	for _, m := range measurements {
		if len(o.Only) > 0 && !slices.ContainsFunc(o.Only, m.is) {
			continue
		}
		b.say("%s: %s", m.name, m.about)
		if err := m.run(b, ctx); err != nil {
			return b.report, fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	b.report.Took = time.Since(began)
	return b.report, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// onDisk gives a new directory for the server that is not in memory, or the empty name when any will do.
func onDisk() string {
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &fs); err != nil || fs.Type != tmpfs {
		return ""
	}
	return "/var/tmp/emsd-bench-" + strconv.Itoa(os.Getpid())
}

// dsn is the address of a database with the daemon's session options.
func (b *bench) dsn(name string) string {
	u, err := url.Parse(b.server.DSN(name))
	if err != nil {
		panic(err) // privatepg wrote it
	}
	q := u.Query()
	q.Set("options", b.Session)
	u.RawQuery = q.Encode()
	return u.String()
}

// within runs f on a fresh copy of the template.
func (b *bench) within(ctx context.Context, f func(db *sqlx.DB, dsn string) error) (err error) {
	b.made++
	name := "bench_" + strconv.Itoa(b.made)
	if err := createDatabase(ctx, b.admin, name); err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	defer func() { err = errors.Join(err, dropDatabase(context.WithoutCancel(ctx), b.admin, name)) }()
	db, err := open(ctx, b.dsn(name))
	if err != nil {
		return err
	}
	defer db.Close()
	return f(db, b.dsn(name))
}
