package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"emsd/courier"
	"emsd/tracking"

	"github.com/jmoiron/sqlx"
)

// A span is a stretch of business time, in seconds after businessNow, whose due waybills one run asks about. No waybill
// comes round twice within all of them: the shortest wait of the plan is ten minutes.
type span struct{ from, to int }

var (
	spanChunks = span{0, 100}
	spanQuiet  = span{100, 150}
	spanNews   = span{150, 200}
	spanKept   = span{200, 250}
	spanDumps  = []span{{250, 300}, {300, 350}, {350, 400}, {400, 450}}
	spanPlan   = span{450, 600}
	withNews   = []span{spanChunks, spanNews, spanKept, spanPlan} // where one waybill in newsEvery has news
)

func (s span) end() time.Time { return businessNow.Add(time.Duration(s.to) * time.Second) }

// small is how many waybills the large table is compared with.
const small = 10_000

// measureScale follows as many envelopes as are live at once in a busy year, on one PostgreSQL.
func (b *bench) measureScale(ctx context.Context) error {
	n := b.Sizes.Active
	return b.within(ctx, func(few *sqlx.DB, fewDSN string) error {
		if err := seedActive(ctx, few, min(small, n), businessNow, b.prints, nil); err != nil {
			return fmt.Errorf("seed %d active deliveries: %w", small, err)
		}
		return b.within(ctx, func(db *sqlx.DB, dsn string) error {
			b.say("scale: making %d active deliveries", n)
			if err := seedActive(ctx, db, n, businessNow, b.prints, withNews); err != nil {
				return fmt.Errorf("seed %d active deliveries: %w", n, err)
			}
			s := &scale{bench: b, db: db, dsn: dsn, few: few, fewDSN: fewDSN, n: n}
			for _, part := range []func(context.Context) error{s.sizes, s.chunks, s.volume, s.dumps, s.plan} {
				if err := part(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// A scale is the large database and the small one beside it.
type scale struct {
	*bench
	db, few     *sqlx.DB
	dsn, fewDSN string
	n           int
}

func (s *scale) sizes(ctx context.Context) error {
	for _, table := range []string{"waybills", "deliveries"} {
		heap, indexes, err := tableSize(ctx, s.db, table)
		if err != nil {
			return err
		}
		s.report.add(row{id: "S1", what: fmt.Sprintf("%s of %s active envelopes; beside it: their indexes", table, count(s.n)), unit: "MiB",
			product: []float64{mib(heap)}, floor: []float64{mib(indexes)}})
	}
	return nil
}

// chunkTurns is how often the large and the small database take turns, and chunksEach how many chunks a turn is long. The
// first of each finds cold pages and is left out.
const (
	chunkTurns = 2
	chunksEach = 10
)

// chunks compares what a chunk costs the database.
func (s *scale) chunks(ctx context.Context) error {
	var large, little result
	due, err := countDue(ctx, s.db, spanChunks.end())
	if err != nil {
		return err
	}
	chunks := max(1, min(chunksEach, due/500/chunkTurns))
	for range chunkTurns {
		for _, of := range []struct {
			dsn string
			now time.Time
			to  *result
		}{{s.fewDSN, businessNow.Add(5 * time.Hour), &little}, {s.dsn, spanChunks.end(), &large}} {
			r, err := s.run(ctx, task{Kind: "chunks", DSN: of.dsn, URL: s.stub + pathAfter, Items: chunks, Workers: workers, Now: of.now})
			if err != nil {
				return err
			}
			of.to.Took, of.to.Writes = append(of.to.Took, r.Took...), append(of.to.Writes, r.Writes...)
		}
	}
	lc, sc, lw, sw := milliseconds(large.Took), milliseconds(little.Took), milliseconds(large.Writes), milliseconds(little.Writes)
	s.say("scale: claim %.1f ms beside %.1f, fold and write %.1f beside %.1f", median(lc), median(sc), median(lw), median(sw))
	what := fmt.Sprintf("a chunk of 500 among %s, 10 %% news, due as in life; beside it: among %s: ", count(s.n), count(small))
	s.report.add(against("S2", what+"claim", "ms", lc, sc).atMost(1.5, 1.2), against("S2", what+"fold and write", "ms", lw, sw).atMost(1.5, 1.2))
	_, err = s.pollAt(ctx, spanChunks.end(), false) // the rest of the span
	return err
}

// pollAt asks about everything that is due at a time.
func (s *scale) pollAt(ctx context.Context, now time.Time, keep bool) (result, error) {
	n, err := countDue(ctx, s.db, now)
	if err != nil || n == 0 {
		return result{}, err
	}
	return s.counted(ctx, task{Kind: "poll", DSN: s.dsn, URL: s.stub + pathAfter, Items: n, Workers: workers, Now: now, Frozen: true, Keep: keep}, n, 0)
}

// pollSome is pollAt where a run that asks about nothing would measure nothing.
func (s *scale) pollSome(ctx context.Context, now time.Time, keep bool) (result, error) {
	r, err := s.pollAt(ctx, now, keep)
	if err == nil && r.Items == 0 {
		err = fmt.Errorf("nothing is due at %s", now.Format(time.TimeOnly))
	}
	return r, err
}

// volume tells what polls write.
func (s *scale) volume(ctx context.Context) error {
	for _, v := range []struct {
		span span
		keep bool
		what string
	}{{spanQuiet, false, "nothing new"}, {spanNews, false, "10 % with news"}, {spanKept, true, "10 % with news, answers kept"}} {
		if err := checkpoint(ctx, s.db); err != nil {
			return err
		}
		r, err := s.pollSome(ctx, v.span.end(), v.keep)
		if err != nil {
			return err
		}
		s.say("scale: %s: %d polls at %.0f/s, %.0f WAL bytes", v.what, r.Items, r.perSecond(), r.walEach())
		s.report.add(row{id: "S3", what: fmt.Sprintf("WAL a poll, %s polls scattered over %s, right after a checkpoint, %s", count(r.Items), count(s.n), v.what), unit: "B",
			product: []float64{r.walEach()}})
	}
	rows, bytes, err := answersKept(ctx, s.db)
	if err == nil && rows == 0 {
		err = errors.New("no answer was kept")
	}
	if err != nil {
		return err
	}
	s.report.add(row{id: "S1", what: "an answer of EMS kept, with its index", unit: "B", product: []float64{float64(bytes) / float64(rows)}})
	return nil
}

// dumps compares polling as fast as can be with and without a dump beside it. It has no goal: the dump takes one of the
// machine's cores. What a dump must not change is the plan at the account's rate, which plan watches.
func (s *scale) dumps(ctx context.Context) error {
	var with, without []result
	for i, span := range spanDumps {
		dumped := i == 1 || i == 2 // without, with, with, without: what drifts falls on both
		stop := func() error { return nil }
		if dumped {
			stop = s.dump(ctx)
		}
		r, err := s.pollSome(ctx, span.end(), false)
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
		s.say("scale: dump %t: %d polls at %.0f/s", dumped, r.Items, r.perSecond())
		if dumped {
			with = append(with, r)
		} else {
			without = append(without, r)
		}
	}
	s.report.add(pair("S4", "polls a second as fast as can be, a dump of the database beside it; beside it: without", "/s", with, without, result.perSecond))
	return nil
}

// dump dumps the database, again and again, until it is stopped.
func (s *scale) dump(ctx context.Context) (stop func() error) {
	dsn, _, _ := strings.Cut(s.dsn, "?") // settings as lib/pq writes them are not those that libpq reads
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		for {
			cmd := exec.CommandContext(ctx, s.program("pg_dump"), "--dbname="+dsn, "--file=/dev/null")
			cmd.Stderr = s.progress
			if err := cmd.Run(); err != nil || ctx.Err() != nil {
				if ctx.Err() != nil {
					err = nil
				}
				done <- err
				return
			}
		}
	}()
	return func() error { cancel(); return <-done }
}

// program finds a client program beside the server's own.
func (b *bench) program(name string) string {
	server, err := os.Readlink("/proc/" + strconv.Itoa(b.server.PID()) + "/exe")
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(server), name)
}

// share is the part of the account's rate that becomes due in plan.
const share = 0.9

// plan lets time run: rounds as the daemon's schedule starts them, at a rate that just suffices.
func (s *scale) plan(ctx context.Context) error {
	from := businessNow.Add(time.Duration(spanPlan.from) * time.Second)
	seconds := s.Sizes.PlanSeconds
	if _, err := s.pollAt(ctx, from, false); err != nil { // what no run has asked about
		return err
	}
	if err := checkpoint(ctx, s.db); err != nil {
		return err
	}
	for i, dumped := range []bool{false, true} {
		now, last := from, from.Add(time.Duration(seconds*float64(time.Second)))
		if i == 1 {
			now, seconds = last, seconds/2
			last = now.Add(time.Duration(seconds * float64(time.Second)))
		}
		due, err := countDueBetween(ctx, s.db, now, last)
		if err != nil {
			return err
		}
		arrivals := float64(due) / seconds
		if arrivals == 0 {
			return errors.New("nothing becomes due while the plan is watched")
		}
		stop := func() error { return nil }
		if dumped {
			stop = s.dump(ctx)
		}
		r, err := s.run(ctx, task{Kind: "plan", DSN: s.dsn, URL: s.stub + pathAfter, Items: due, Workers: workers, Now: now, Rate: arrivals / share, Seconds: seconds, Tick: s.Sizes.PlanTick})
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
		s.addPlan(r, arrivals, seconds, dumped)
	}
	return nil
}

func (s *scale) addPlan(r result, arrivals, seconds float64, dumped bool) {
	beside := ""
	if dumped {
		beside = ", a dump beside it"
	}
	what := fmt.Sprintf("%s envelopes by plan for %.0f s at %.0f calls a second%s: ", count(s.n), seconds, arrivals/share, beside)
	asked := float64(r.Items) / (seconds - s.Sizes.PlanTick)
	s.report.add(row{id: "S5", what: what + "asked a second; beside it: became due", unit: "/s", product: []float64{asked}, floor: []float64{arrivals}, ratios: []float64{asked / arrivals}}.atLeast(0.97, 0))
	third := len(r.Backlog) / 3
	if third > 0 {
		first, last := slices.Max(r.Backlog[:third+1]), slices.Max(r.Backlog[len(r.Backlog)-third:])
		s.report.add(row{id: "S5", what: what + "most that waited in the last third; beside it: in the first", unit: "envelopes",
			product: []float64{last}, floor: []float64{first}, ratios: []float64{last / max(first, 1)}}.atMost(1.25, 0))
	}
	for _, stage := range []courier.Status{courier.OutForDelivery, courier.AttemptFailed, courier.Held, courier.Accepted, courier.InTransit, courier.Ordered, courier.Returning} {
		if lags := r.Lags[stage]; len(lags) > 0 {
			s.report.add(row{id: "S5", what: what + "from due to asked, " + string(stage) + ", 99th percentile; beside it: median", unit: "s",
				product: []float64{percentile(lags, 99)}, floor: []float64{median(lags)}})
		}
	}
}

// keepLittle is the least that DropMonths may be told to keep.
var keepLittle = tracking.Keep{AnswerDays: 90, TraceMonths: 3}

// measureDrop gives how long it takes to drop old months.
func (b *bench) measureDrop(ctx context.Context) error {
	return b.within(ctx, func(db *sqlx.DB, _ string) error {
		month := businessNow.AddDate(0, -6, 0)
		for _, table := range []string{"scans", "raw_answers"} {
			if err := seedMonth(ctx, db, table, b.Sizes.OldRows, month); err != nil {
				return fmt.Errorf("seed a month of %s: %w", table, err)
			}
			heap, indexes, err := tableSize(ctx, db, table+month.Format("_200601"))
			if err != nil {
				return err
			}
			b.report.add(row{id: "S1", what: "a row of " + table + "; beside it: its share of the indexes", unit: "B",
				product: []float64{float64(heap) / float64(b.Sizes.OldRows)}, floor: []float64{float64(indexes) / float64(b.Sizes.OldRows)}})
		}
		began := time.Now()
		dropped, err := tracking.DropMonths(ctx, db, keepLittle, businessNow)
		took := time.Since(began).Seconds() * 1000
		if err == nil && dropped != 2 {
			err = fmt.Errorf("%d partitions were dropped, want 2", dropped)
		}
		b.say("drop: %.0f ms", took)
		b.report.add(row{id: "S6", what: fmt.Sprintf("a month dropped: %s scans and as many answers", count(b.Sizes.OldRows)), unit: "ms", product: []float64{took}}.below(1000, 0))
		return err
	})
}
