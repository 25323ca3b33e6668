package tracking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"emsd/courier"
	"emsd/tracking/calendar"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// A stallClock is a row of the table stall_clocks: how long deliveries in some statuses may stand still, in working hours.
type stallClock struct {
	name     string
	statuses []courier.Status
	starts   string // what it runs from; see began
	limit    time.Duration
	next     string // what a clerk is to do
}

// byStation reports whether the clock waits for a station, whose own hours count then.
func (c stallClock) byStation() bool { return c.starts == "handed_over" }

// deadline is the last moment at which a clock that has run out by now may have begun. For a year that the calendar
// lacks it goes by the week, and names the year.
func (c stallClock) deadline(h calendar.Hours, now time.Time) (last time.Time, missing int) {
	last, err := h.Before(now, c.limit)
	if year, ok := errors.AsType[*calendar.MissingYear](err); ok {
		missing = year.Year
		last, _ = h.ByWeek().Before(now, c.limit)
	}
	return last, missing
}

// A standstill is a delivery whose clock has run out.
type standstill struct {
	delivery uuid.UUID
	status   courier.Status
	began    time.Time
}

// stallCaseHours is how long a clerk has for a standstill, in working hours.
const stallCaseHours = 8

// caseOf is the case of a standstill; missing is a year whose working days the clock had to guess, 0 for none.
func (c stallClock) caseOf(s standstill, missing int, now time.Time) courier.NewCase {
	due, next := dueAfter(now, stallCaseHours)
	detail := fmt.Sprintf("%s：%s（%s）", stages[s.status], c.story(s.began.In(beijing).Format("1月2日15:04")), c.name)
	if missing = max(missing, next); missing != 0 {
		detail += fmt.Sprintf("。本系统没有%d年的工作日安排，按周一至周五计算，请留意节假日", missing)
	}
	return courier.NewCase{DeliveryID: s.delivery, Kind: courier.CaseStalled, OpenedAt: now, DueAt: due, NextAction: c.next, Detail: detail}
}

// story tells a clerk since when nothing has happened.
func (c stallClock) story(began string) string {
	hours := int(c.limit / time.Hour)
	switch {
	case c.starts == "handed_over":
		return fmt.Sprintf("%s已交寄，超过%d个工作小时没有收寄记录", began, hours)
	case c.starts == "scan":
		return fmt.Sprintf("自%s起没有新的物流记录，已超过%d个工作小时", began, hours)
	case c.starts == "status":
		return fmt.Sprintf("自%s起没有进展，已超过%d个工作小时", began, hours)
	case hours == 0:
		return fmt.Sprintf("期限已于%s届满", began)
	}
	return fmt.Sprintf("期限已于%s届满，又过了%d个工作小时", began, hours)
}

// StallMetrics counts what stall rounds find. A nil *StallMetrics counts nothing.
type StallMetrics struct {
	stalls  *prometheus.CounterVec
	missing prometheus.Gauge
}

// NewStallMetrics registers the metrics of stall rounds.
func NewStallMetrics(reg prometheus.Registerer) *StallMetrics {
	m := &StallMetrics{
		stalls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_stalls_total",
			Help: "Deliveries that stood still for too long, by the clock that ran out."}, []string{"clock"}),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "emsd_calendar_missing_year",
			Help: "A year that clocks needed and whose working days this build lacks; 0 when there is none."}),
	}
	reg.MustRegister(m.stalls, m.missing)
	return m
}

// A Staller tells clerks of deliveries that stand still. Nothing is armed: each round computes from the calendar since
// when nothing may have happened, so that a changed row of stall_clocks or a new holiday counts at once. It only opens
// cases; news of the envelope closes them.
type Staller struct {
	db      *sqlx.DB
	clock   courier.Clock
	log     *slog.Logger
	metrics *StallMetrics
}

// NewStaller returns a Staller; any number may run on one database. m may be nil.
func NewStaller(db *sqlx.DB, clock courier.Clock, log *slog.Logger, m *StallMetrics) *Staller {
	return &Staller{db, clock, log, m}
}

// stallChunk bounds one transaction of the round.
const stallChunk = 1000

// Round opens a case for every standstill that has none since its clock began.
func (s *Staller) Round(ctx context.Context) error {
	now := s.clock.Now()
	clocks, err := readStallClocks(ctx, s.db)
	if err != nil {
		return fmt.Errorf("stalls: %w", err)
	}
	hours, err := readStationHours(ctx, s.db)
	if err != nil {
		return fmt.Errorf("stalls: %w", err)
	}
	missing := 0
	var errs []error
	for _, c := range clocks {
		year, err := s.run(ctx, c, hours, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("stalls: clock %s: %w", c.name, err))
		}
		missing = max(missing, year)
	}
	if s.metrics != nil {
		s.metrics.missing.Set(float64(missing))
	}
	if missing > 0 {
		s.log.ErrorContext(ctx, "clocks go by the week: the working days of a year are not in this build, see scripts/calendar.sh", "year", missing)
	}
	return errors.Join(errs...)
}

// run takes one clock through all deliveries, by the hours of each station where it waits for one.
func (s *Staller) run(ctx context.Context, c stallClock, stations []string, now time.Time) (missing int, err error) {
	if !c.byStation() {
		last, missing := c.deadline(calendar.Office, now)
		return missing, s.open(ctx, c, "", last, missing, now)
	}
	for _, text := range stations {
		h, err := calendar.ParseHours(text)
		if err != nil {
			s.log.ErrorContext(ctx, "a station's hours cannot be read, office hours count for it", "err", err)
			h = calendar.Office
		}
		last, year := c.deadline(h, now)
		missing = max(missing, year)
		if err := s.open(ctx, c, text, last, year, now); err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// open opens the cases of a clock that began at last or before, chunk by chunk; hours limits it to the stations that keep
// them, unless it is empty.
func (s *Staller) open(ctx context.Context, c stallClock, hours string, last time.Time, missing int, now time.Time) error {
	for {
		n := 0
		err := courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
			found, err := lockStandstills(ctx, tx, c, hours, last, stallChunk)
			if err != nil {
				return err
			}
			n = len(found)
			cases := make([]courier.NewCase, n)
			for i, f := range found {
				cases[i] = c.caseOf(f, missing, now)
			}
			return courier.OpenCases(ctx, tx, cases)
		})
		if err != nil {
			return err
		}
		if s.metrics != nil {
			s.metrics.stalls.WithLabelValues(c.name).Add(float64(n))
		}
		if n < stallChunk {
			return nil
		}
	}
}
