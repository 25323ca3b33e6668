package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// learnPrints asks the product what it stores for each of the stub's traces.
func (b *bench) learnPrints(ctx context.Context) error {
	return b.within(ctx, func(db *sqlx.DB, _ string) error {
		if err := seedPolls(ctx, db, newsEvery, businessNow, fingerprints{}, true); err != nil {
			return err
		}
		for path, print := range map[string]*int64{pathBefore: &b.prints.before, pathAfter: &b.prints.after} {
			if err := forget(ctx, db); err != nil {
				return err
			}
			client, err := newEMS(b.stub+path, 4, prometheus.NewRegistry())
			if err != nil {
				return err
			}
			p := tracking.NewPoller(db, benchVault(), client, clockFrom(businessNow), tracking.Options{}, quiet, nil)
			if err := p.Round(ctx); err != nil {
				return fmt.Errorf("learn fingerprints: %w", err)
			}
			client.Close()
			if *print, err = storedFingerprint(ctx, db); err != nil {
				return fmt.Errorf("learn fingerprints: %w", err)
			}
		}
		return nil
	})
}

// A pollRun is one run of polling.
type pollRun struct {
	n       int
	workers int
	floor   bool
	news    bool
	young   bool // statistics were never gathered
	held    bool // a snapshot from before the run stays open
	profile string
}

const workers = 64

func (b *bench) poll(ctx context.Context, p pollRun) (r result, err error) {
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		if p.floor {
			err = seedFloorPolls(ctx, db, p.n, businessNow)
		} else {
			err = seedPolls(ctx, db, p.n, businessNow, b.prints, p.news)
		}
		if err != nil {
			return err
		}
		prepare := settle
		if p.young {
			prepare = checkpoint
		}
		if err := prepare(ctx, db); err != nil {
			return err
		}
		if p.held {
			release, err := hold(ctx, db)
			if err != nil {
				return err
			}
			defer release()
		}
		t := task{Kind: "poll", DSN: dsn, URL: b.stub + pathAfter, Items: p.n, Workers: p.workers, Now: businessNow, Profile: b.profileName(p.profile)}
		if p.floor {
			t.Kind = "poll-floor"
		}
		if r, err = b.counted(ctx, t, p.n, 0); err != nil {
			return err
		}
		return checkPolls(ctx, db, p)
	})
	return r, err
}

// counted runs a task and insists on so many questions and orders, none repeated.
func (b *bench) counted(ctx context.Context, t task, traces, creates int) (result, error) {
	if _, err := b.asked(ctx); err != nil {
		return result{}, err
	}
	r, err := b.run(ctx, t)
	if err != nil {
		return r, err
	}
	c, err := b.asked(ctx)
	if err != nil {
		return r, err
	}
	if want := (counts{Traces: traces, Creates: creates}); c != want {
		return r, fmt.Errorf("check %s: the courier was asked %+v, want %+v", t.Kind, c, want)
	}
	return r, nil
}

// checkPolls makes sure that every item was stored exactly once. The courier was asked as often as there are items; when
// each item has moved on, each was asked about once.
func checkPolls(ctx context.Context, db *sqlx.DB, p pollRun) error {
	if p.floor {
		n, err := countFloorPolls(ctx, db, len(journey))
		if err == nil && n != p.n {
			err = fmt.Errorf("check poll-floor: %d of %d items were stored exactly once", n, p.n)
		}
		return err
	}
	want := polled{Later: p.n}
	if p.news {
		want.Scans, want.Moved, want.Events = p.n/newsEvery, p.n/newsEvery, p.n/newsEvery
	}
	got, err := readPolled(ctx, db, businessNow, journey[len(journey)-1].code)
	if err == nil && got != want {
		err = fmt.Errorf("check poll: stored %+v, want %+v", got, want)
	}
	return err
}

func (b *bench) profileName(run string) string {
	if b.Profile == "" || run == "" {
		return ""
	}
	return b.Profile + "." + run + ".pprof"
}

// measurePolls gives P1, P2 and P4, and the memory at 64 workers.
func (b *bench) measurePolls(ctx context.Context) error {
	var floor, still, news []result
	for i := range b.Sizes.Rounds {
		for _, s := range []struct {
			name string
			run  pollRun
			to   *[]result
		}{
			{"product, nothing new", pollRun{profile: "poll"}, &still},
			{"floor", pollRun{floor: true, profile: "poll-floor"}, &floor},
			{"product, 10 % news", pollRun{news: true, profile: "news"}, &news},
		} {
			s.run.n, s.run.workers = b.Sizes.Polls, workers
			r, err := b.poll(ctx, s.run)
			if err != nil {
				return err
			}
			*s.to = append(*s.to, r)
			b.say("poll %d/%d, %s: %.0f/s, %.0f + %.0f µs, %.0f WAL bytes, %.0f MiB", i+1, b.Sizes.Rounds, s.name, r.perSecond(),
				r.WorkerCPU/float64(r.Items)*1e6, r.PostgresCPU/float64(r.Items)*1e6, r.walEach(), mib(r.PeakRSS))
		}
	}
	add := b.report.add
	add(pair("P1", "polls a second, nothing new", "/s", still, floor, result.perSecond).atLeast(0.90, 1.00))
	add(pair("P1", "polls a second, 10 % with news", "/s", news, floor, result.perSecond).atLeast(0.90, 1.00))
	add(pair("P2", "CPU a poll, worker + PostgreSQL, nothing new", "µs", still, floor, result.micros).atMost(0.95, 0.70))
	add(pair("P2", "CPU a poll, worker + PostgreSQL, 10 % with news", "µs", news, floor, result.micros).atMost(1.10, 0))
	add(pair("P2", "– of it worker, nothing new", "µs", still, floor, workerMicros))
	add(pair("P2", "– of it worker, 10 % with news", "µs", news, floor, workerMicros))
	add(pair("P4", "WAL a poll, nothing new", "B", still, floor, result.walEach).atMost(1.15, 0))
	add(pair("P4", "WAL a poll, 10 % with news", "B", news, floor, result.walEach))
	add(pair("P8", "peak memory, 64 workers, nothing new", "MiB", still, floor, peakMiB).below(45, 32))
	add(pair("P8", "peak memory, 64 workers, 10 % with news", "MiB", news, floor, peakMiB).below(45, 32))
	return nil
}

func workerMicros(r result) float64 { return r.WorkerCPU / float64(r.Items) * 1e6 }
func peakMiB(r result) float64      { return mib(r.PeakRSS) }
func mib(bytes int64) float64       { return float64(bytes) / (1 << 20) }

// measureSnapshot gives the first half of P6.
func (b *bench) measureSnapshot(ctx context.Context) error {
	var with, without []result
	for i := range b.Sizes.Pairs {
		for _, held := range []bool{true, false} {
			r, err := b.poll(ctx, pollRun{n: b.Sizes.Snapshot, workers: workers, held: held})
			if err != nil {
				return err
			}
			b.say("snapshot %d/%d, held %t: %.0f/s", i+1, b.Sizes.Pairs, held, r.perSecond())
			if held {
				with = append(with, r)
			} else {
				without = append(without, r)
			}
		}
	}
	b.report.add(pair("P6", "polls a second while an old snapshot is held; beside it: without", "/s", with, without, result.perSecond).atLeast(0.95, 1.00))
	return nil
}

// measureYoung gives the second half of P6.
func (b *bench) measureYoung(ctx context.Context) error {
	var young, analyzed []result
	for range b.Sizes.Starts {
		for _, fresh := range []bool{true, false} {
			r, err := b.poll(ctx, pollRun{n: b.Sizes.Young, workers: workers, young: fresh})
			if err != nil {
				return err
			}
			if fresh {
				young = append(young, r)
			} else {
				analyzed = append(analyzed, r)
			}
		}
	}
	b.say("young: %d starts", b.Sizes.Starts)
	b.report.add(pair("P6", "polls a second, tables never analyzed; beside it: analyzed", "/s", young, analyzed, result.perSecond).atLeast(0.95, 1.00))
	return nil
}

// measureOrders gives P3.
func (b *bench) measureOrders(ctx context.Context) error {
	var product, floor []result
	for i := range b.Sizes.Rounds {
		for _, byHand := range []bool{false, true} {
			r, err := b.order(ctx, byHand)
			if err != nil {
				return err
			}
			name := "product"
			if byHand {
				name = "floor"
				floor = append(floor, r)
			} else {
				product = append(product, r)
			}
			b.say("order %d/%d, %s: %.0f/s, %.0f + %.0f µs, %.0f WAL bytes", i+1, b.Sizes.Rounds, name, r.perSecond(),
				r.WorkerCPU/float64(r.Items)*1e6, r.PostgresCPU/float64(r.Items)*1e6, r.walEach())
		}
	}
	b.report.add(pair("P3", "orders a second", "/s", product, floor, result.perSecond).atLeast(0.90, 1.00))
	b.report.add(pair("P3", "CPU an order, worker + PostgreSQL", "µs", product, floor, result.micros))
	b.report.add(pair("P3", "– of it worker", "µs", product, floor, workerMicros))
	b.report.add(pair("P3", "WAL an order", "B", product, floor, result.walEach))
	return nil
}

func (b *bench) order(ctx context.Context, floor bool) (r result, err error) {
	n := b.Sizes.Orders
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		seed, t := b.seedOrders, task{Kind: "order", Profile: b.profileName("order")}
		if floor {
			seed, t = b.seedFloorOrders, task{Kind: "order-floor"}
		}
		if err := seed(ctx, db, n); err != nil {
			return fmt.Errorf("seed orders: %w", err)
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		t.DSN, t.URL, t.Items, t.Workers, t.Now = dsn, b.stub+pathAfter, n, workers, businessNow
		if r, err = b.counted(ctx, t, 0, n); err != nil {
			return err
		}
		if floor {
			stored, err := countFloorOrders(ctx, db)
			if err == nil && stored != n {
				err = fmt.Errorf("check order-floor: %d of %d orders were stored exactly once", stored, n)
			}
			return err
		}
		got, err := readOrdered(ctx, db)
		if want := (ordered{n, n, n, n, n}); err == nil && got != want {
			err = fmt.Errorf("check order: stored %+v, want %+v", got, want)
		}
		return err
	})
	return r, err
}

// seedSender and seedRecipient are who sends and who receives in all orders.
var (
	seedSender    = floorParty{"示例派出所户籍窗口", "01085000000", "北京市", "北京市", "朝阳区", "示例路9号"}
	seedRecipient = floorParty{"张三丰", "13800000000", "北京市", "北京市", "朝阳区", "示例路88号院2号楼3单元301室"}
)

// seedChunk bounds one statement of seeding.
const seedChunk = 5000

// wallBefore is a wall time that has passed.
var wallBefore = businessNow.AddDate(-1, 0, 0)

func (b *bench) seedOrders(ctx context.Context, db *sqlx.DB, n int) error {
	if err := seedStation(ctx, db, businessNow); err != nil {
		return err
	}
	if err := seedNumbers(ctx, db, n+seedChunk, businessNow); err != nil {
		return err
	}
	v := benchVault()
	for from := 0; from < n; from += seedChunk {
		var rows approvedRows
		for i := from; i < min(n, from+seedChunk); i++ {
			id := uuid.Must(uuid.NewV7())
			rows.add(id, "A"+strconv.Itoa(i), v.Seal("deliveries.name", id, seedRecipient.Name), v.Seal("deliveries.phone", id, seedRecipient.Mobile),
				v.Seal("deliveries.address", id, seedRecipient.Address))
		}
		if err := insertApproved(ctx, db, rows, businessNow, wallBefore); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) seedFloorOrders(ctx context.Context, db *sqlx.DB, n int) error {
	v := benchVault()
	recipient := fmt.Appendf(nil, `{"name":%q,"mobile":%q,"prov":%q,"city":%q,"county":%q,"address":%q}`, seedRecipient.Name, seedRecipient.Mobile,
		seedRecipient.Province, seedRecipient.City, seedRecipient.County, seedRecipient.Address)
	for from := 0; from < n; from += seedChunk {
		var ids, orderNos, waybillNos []string
		var recipients [][]byte
		var due []int64
		for i := from; i < min(n, from+seedChunk); i++ {
			id := uuid.Must(uuid.NewV7())
			ids, due = append(ids, id.String()), append(due, int64(i))
			orderNos, waybillNos = append(orderNos, fmt.Sprintf("RP%032d", i)), append(waybillNos, fmt.Sprintf("12%011d", i))
			recipients = append(recipients, v.SealBytes(floorRecipientColumn, id, recipient))
		}
		if err := insertFloorOrders(ctx, db, ids, orderNos, waybillNos, recipients, due); err != nil {
			return err
		}
	}
	return nil
}

// measureClaims gives P5, what scattered rows cost, and the memory of a process that polls a million times.
func (b *bench) measureClaims(ctx context.Context) error {
	sizes := slices.Sorted(slices.Values(b.Sizes.Rows))
	var first []float64
	for i, n := range sizes {
		due, last := min(n, b.Sizes.Due), i == len(sizes)-1
		scattered := 0
		if last && n >= 4*due {
			scattered = n / due
		}
		b.say("claim: making %d waybills", n)
		err := b.within(ctx, func(db *sqlx.DB, dsn string) error {
			if err := seedClaims(ctx, db, n, due, scattered, businessNow, b.prints.after); err != nil {
				return fmt.Errorf("seed %d waybills: %w", n, err)
			}
			if scattered > 0 {
				return b.comparePlaces(ctx, db, dsn, due, n, first)
			}
			took, err := b.claims(ctx, dsn, businessNow)
			if err != nil {
				return err
			}
			if first == nil {
				first = took
			}
			b.report.add(claimedTogether(n, took, first))
			if b.Sizes.Million > 0 && n == b.Sizes.Million {
				return b.measureMillion(ctx, db, dsn, n)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// claims times claims in milliseconds; the first few, which find a cold table, are left out.
func (b *bench) claims(ctx context.Context, dsn string, now time.Time) ([]float64, error) {
	const cold = 3
	r, err := b.run(ctx, task{Kind: "claim", DSN: dsn, Items: b.Sizes.Claims + cold, Now: now})
	if err != nil {
		return nil, err
	}
	took := make([]float64, 0, b.Sizes.Claims)
	for _, s := range r.Took[cold:] {
		took = append(took, s*1000)
	}
	return took, nil
}

// timeOfScattered is a business time at which the scattered rows are due and those together are not.
var timeOfScattered = businessNow.Add(-scatteredBefore)

func claimedTogether(n int, took, first []float64) row {
	return against("P5", fmt.Sprintf("claim of 500 among %s waybills, due rows together", count(n)), "ms", took, first).atMost(1.5, 1.2)
}

// comparePlaces claims and polls the rows that are due scattered over a large table, then those that lie together. A claim
// begins with what has been due longest, which is the scattered rows: they must be out of the way first.
func (b *bench) comparePlaces(ctx context.Context, db *sqlx.DB, dsn string, due, of int, first []float64) error {
	var results [2]result
	took, err := b.claims(ctx, dsn, timeOfScattered)
	if err != nil {
		return err
	}
	b.report.add(against("P5", fmt.Sprintf("claim of 500 among %s waybills, due rows scattered", count(of)), "ms", took, first))
	for i, now := range []time.Time{timeOfScattered, businessNow} {
		n, err := countDue(ctx, db, now)
		if err != nil {
			return err
		}
		if i == 1 { // what the first run has polled is due again by now
			if err := retire(ctx, db, businessNow.Add(-2*time.Hour)); err != nil {
				return err
			}
			n = due
			if took, err = b.claims(ctx, dsn, now); err != nil {
				return err
			}
			b.report.add(claimedTogether(of, took, first))
		}
		if err := checkpoint(ctx, db); err != nil {
			return err
		}
		t := task{Kind: "poll", DSN: dsn, URL: b.stub + pathAfter, Items: n, Workers: workers, Now: now}
		if results[i], err = b.counted(ctx, t, n, 0); err != nil {
			return err
		}
		b.say("claim: polled %d due rows: %.0f/s, %.0f WAL bytes", n, results[i].perSecond(), results[i].walEach())
	}
	scattered, together := results[:1], results[1:]
	b.report.add(pair("P5", "polls a second, due rows scattered over the largest table; beside it: together", "/s", scattered, together, result.perSecond).atLeast(0.80, 0.95))
	b.report.add(pair("P4", "WAL a poll, due rows scattered over the largest table; beside it: together", "B", scattered, together, result.walEach).below(0, 2550))
	return nil
}

// measureMillion polls everything in one process.
func (b *bench) measureMillion(ctx context.Context, db *sqlx.DB, dsn string, n int) error {
	if err := checkpoint(ctx, db); err != nil {
		return err
	}
	r, err := b.counted(ctx, task{Kind: "poll", DSN: dsn, URL: b.stub + pathAfter, Items: n, Workers: workers, Now: businessNow.Add(2 * restAfter), Mark: n / 10}, n, 0)
	if err != nil {
		return err
	}
	b.say("memory: %d polls at %.0f/s", n, r.perSecond())
	b.report.add(against("P8", fmt.Sprintf("peak memory after %s polls; beside it: after %s", count(n), count(n/10)), "MiB",
		[]float64{mib(r.PeakRSS)}, []float64{mib(r.MarkRSS)}).atMost(1.1, 0))
	return nil
}

// measureMemory gives the rest of P8.
func (b *bench) measureMemory(ctx context.Context) error {
	var product, floor []result
	for _, byHand := range []bool{false, true} {
		r, err := b.poll(ctx, pollRun{n: b.Sizes.Polls, workers: b.Sizes.Crowd, floor: byHand})
		if err != nil {
			return err
		}
		if byHand {
			floor = append(floor, r)
		} else {
			product = append(product, r)
		}
	}
	b.report.add(pair("P8", fmt.Sprintf("peak memory, %s workers", count(b.Sizes.Crowd)), "MiB", product, floor, peakMiB).below(100, 80))
	return nil
}

// Write gives the report as Markdown.
func (r *Report) Write(w io.Writer) error {
	_, err := io.WriteString(w, r.markdown())
	return err
}
