package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// planChunk bounds how long one transaction holds the reader's place in the feed.
const planChunk = 1000

// A Planner reads the feed and writes a message for each milestone.
type Planner struct {
	db      *sqlx.DB
	clock   courier.Clock
	log     *slog.Logger
	metrics *Metrics
}

// NewPlanner returns a planner; any number may run, they take turns. metrics may be nil.
func NewPlanner(db *sqlx.DB, clock courier.Clock, log *slog.Logger, metrics *Metrics) *Planner {
	return &Planner{db, clock, log, metrics}
}

// Round reads the feed to its end.
func (p *Planner) Round(ctx context.Context) error {
	for {
		read, written, err := planOnce(ctx, p.db, p.clock.Now(), planChunk)
		if err != nil {
			return err
		}
		for _, w := range written {
			p.metrics.planned(w.message.Milestone)
		}
		if len(written) > 0 {
			p.log.Debug("messages planned", "count", len(written), "events", read)
		}
		if read < planChunk {
			return nil
		}
	}
}

// A planned message is what an event asks to be told, with the verdict that its event alone allows: Send leaves the
// rest to Decide.
type planned struct {
	delivery uuid.UUID
	message  Message
	verdict  Verdict
}

func (p planned) state() string {
	if p.verdict.Action == Send {
		return queued
	}
	return suppressed
}

// about is one message of one delivery.
type about struct {
	delivery  uuid.UUID
	milestone Milestone
}

// planAll plans the events of a chunk. Of several for one delivery and milestone the last that may be sent counts,
// else the first.
func planAll(events []courier.Event) ([]planned, []retelling, error) {
	at := make(map[about]int)
	var plans []planned
	var retold retellings
	for _, e := range events {
		data, ok, err := readData(e)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		retold.read(e, data)
		p, ok := plan(e, data)
		if !ok {
			continue
		}
		k := about{p.delivery, p.message.Milestone}
		i, seen := at[k]
		switch {
		case !seen:
			at[k] = len(plans)
			plans = append(plans, p)
		case p.verdict.Action == Send:
			plans[i] = p
		}
	}
	return plans, retold.list, nil
}

// readData reads what an event says, if it can concern a message.
func readData(e courier.Event) (data courier.EventData, ok bool, err error) {
	if _, ok := milestoneOf(e); !ok && e.Type != courier.EventScan {
		return data, false, nil
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return data, false, fmt.Errorf("read the data of event %d: %w", e.Position, err)
	}
	return data, true, nil
}

// varsOf is what a message keeps of its event.
func varsOf(data courier.EventData) Vars {
	return Vars{WaybillNo: data.WaybillNo, FeeFen: data.FeeFen, HeldUntil: data.HeldUntil, Receiver: data.Receiver, Receipt: data.Receipt, Attempt: data.Attempt}
}

// plan reads what an event asks to be told; most ask nothing.
func plan(e courier.Event, data courier.EventData) (planned, bool) {
	milestone, ok := milestoneOf(e)
	if !ok {
		return planned{}, false
	}
	p := planned{delivery: e.DeliveryID, verdict: Verdict{Action: Send, Reason: "等待发送"}}
	p.message = Message{
		Milestone: milestone,
		Position:  e.Position,
		EventAt:   happened(e.At, data.ScanAt),
		Vars:      varsOf(data),
	}
	switch {
	case data.Late:
		p.verdict = Verdict{Action: Late, Reason: "轨迹迟到，消息已无意义，不发送"}
	case data.Withdrawn:
		p.verdict = Verdict{Action: Withdrawn, Reason: "状态因邮政撤销轨迹而退回，不发送"}
	}
	return p, true
}

// happened is the time of the scan where the event names one. One in the future is a clock of EMS's gone wrong.
func happened(eventAt time.Time, scanAt string) time.Time {
	if at, err := time.Parse(time.RFC3339, scanAt); err == nil && at.Before(eventAt) {
		return at
	}
	return eventAt
}
