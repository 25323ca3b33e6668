package emssim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Outcome is how a journey ends.
type Outcome string

// Outcomes. The test numbers of contract.md fix one; any other order draws its own from the seed.
const (
	OutcomeDelivered   Outcome = "delivered"             // 704, deliverCode 10
	OutcomeFailedFirst Outcome = "failed_then_delivered" // 705, then 704 the next day
	OutcomeLocker      Outcome = "locker"                // 747, then 748 hours later
	OutcomeDoor        Outcome = "door"                  // 704, deliverCode 161
	OutcomeReturned    Outcome = "returned"              // 705 code 7, 708, 711
	OutcomeLost        Outcome = "lost"                  // 651, 987
	OutcomeIntercepted Outcome = "intercepted"           // 993, 013, 708, 711
	OutcomeSilent      Outcome = "silent"                // 203 and nothing more
	OutcomeAgent       Outcome = "agent"                 // 704, deliverCode 20
	OutcomeFrontDesk   Outcome = "front_desk"            // 704, deliverCode 60
	OutcomeCounter     Outcome = "counter"               // 723, then 704 at the counter
)

// drawn are the outcomes of ordinary recipients, with weights out of 100.
var drawn = []struct {
	outcome Outcome
	weight  int
}{
	{OutcomeDelivered, 64}, {OutcomeAgent, 11}, {OutcomeFrontDesk, 5}, {OutcomeFailedFirst, 8},
	{OutcomeLocker, 6}, {OutcomeDoor, 2}, {OutcomeCounter, 2}, {OutcomeReturned, 2},
}

var outcomes = []Outcome{OutcomeDelivered, OutcomeFailedFirst, OutcomeLocker, OutcomeDoor, OutcomeReturned, OutcomeLost,
	OutcomeIntercepted, OutcomeSilent, OutcomeAgent, OutcomeFrontDesk, OutcomeCounter}

var testNumbers = map[string]Outcome{
	"0001": OutcomeDelivered, "0002": OutcomeFailedFirst, "0003": OutcomeLocker, "0004": OutcomeDoor, "0005": OutcomeReturned,
	"0006": OutcomeSilent, "0008": OutcomeDelivered, "0009": OutcomeLost,
}

// Scan is one event of a trace.
type Scan struct {
	At           time.Time // the time that it carries, to the second; zero in AddScan: now
	Visible      time.Time // from when on EMS shows it; zero: at once
	OpCode       string
	OpName       string // from the dictionary if empty
	OpDesc       string
	Prov, City   string
	OrgCode      string // with the name and the place, from the last scan if empty
	OrgName      string
	OperatorNo   string
	OperatorName string
	DeliverCode  string // with 704
	AttemptCode  string // with 705

	Rewrite bool // in AddScan: put this text into the latest scan with that code (and time, if given) instead of adding one

	pushed bool
}

// JourneyEvent is a scan some time after SetJourney is called.
type JourneyEvent struct {
	OpCode      string
	After       time.Duration
	OpDesc      string
	DeliverCode string
	AttemptCode string
}

// Journey replaces what has not been shown yet: by the events, or by a generated way to the outcome.
type Journey struct {
	Outcome Outcome
	Events  []JourneyEvent
}

// ErrNoOrder means that no order has that waybill number.
var ErrNoOrder = errors.New("no order with that waybill number")

// earliest is the least time between an order that may leave and its first scan.
const earliest = time.Hour

// visible are the scans that EMS shows by now, in the order of becoming visible. The caller holds mu and does not
// change them.
func (c *Carrier) visible(o *order, now time.Time) []Scan {
	if o.cancelled || !o.planned && now.Before(o.leaves.Add(earliest)) {
		return nil
	}
	c.plan(o)
	n := 0
	for n < len(o.scans) && !o.scans[n].Visible.After(now) {
		n++
	}
	return o.scans[:n]
}

// plan makes the generated journey when somebody first needs it. It depends on the seed, the waybill number and the
// order alone, not on who asks when. The caller holds mu.
func (c *Carrier) plan(o *order) {
	if o.planned {
		return
	}
	o.planned = true
	if o.spare {
		return
	}
	w := newWay(o)
	w.travel(o.outcome())
	o.scans = c.spoil(o, w.scans)
}

func (o *order) outcome() Outcome {
	if o.journey.Outcome != "" {
		return o.journey.Outcome
	}
	if n := len(o.to.mobile); n >= 4 {
		if fixed, ok := testNumbers[o.to.mobile[n-4:]]; ok {
			return fixed
		}
	}
	at := int(mix(o.number, 1) % 100)
	for _, d := range drawn {
		if at -= d.weight; at < 0 {
			return d.outcome
		}
	}
	return OutcomeDelivered
}

// spoil delays and repeats some scans, as the settings say, and sorts by visibility.
func (c *Carrier) spoil(o *order, scans []Scan) []Scan {
	rng := rand.New(rand.NewPCG(o.number, 2))
	out := slices.Clone(scans)
	for i, s := range scans {
		late, again := rng.Float64() < c.cfg.LateScans, rng.Float64() < c.cfg.RepeatScans
		if late {
			out[i].Visible = s.Visible.Add(time.Hour + time.Duration(rng.IntN(4*60))*time.Minute)
		}
		if again {
			s.OpDesc += "。"
			s.Visible = s.Visible.Add(time.Duration(rng.IntN(30)) * time.Minute)
			out = append(out, s)
		}
	}
	sortVisible(out)
	return out
}

func sortVisible(scans []Scan) {
	slices.SortStableFunc(scans, func(a, b Scan) int { return a.Visible.Compare(b.Visible) })
}

// SetJourney replaces the part of a journey that EMS has not shown yet. Events count from now. An outcome keeps the
// way already travelled; once the envelope has reached its delivering branch, the last mile starts anew from now.
func (c *Carrier) SetJourney(waybillNo string, j Journey) error {
	if (j.Outcome == "") == (len(j.Events) == 0) {
		return errors.New("a journey is either an outcome or events")
	}
	if j.Outcome != "" && !slices.Contains(outcomes, j.Outcome) {
		return fmt.Errorf("unknown outcome %q", j.Outcome)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[waybillNo]
	if o == nil {
		return ErrNoOrder
	}
	now := c.cfg.Now()
	shown := slices.Clone(c.visible(o, now))
	o.journey, o.planned = j, true
	switch {
	case len(j.Events) > 0:
		o.scans = append(shown, listed(o, j.Events, now)...)
	case len(shown) == 0:
		w := newWay(o)
		w.travel(j.Outcome)
		o.scans = c.spoil(o, w.scans)
	default:
		o.scans = append(shown, c.spoil(o, rest(o, j.Outcome, shown, now))...)
	}
	sortVisible(o.scans)
	c.expectPush(o)
	return nil
}

// listed are the scans of a journey given event by event.
func listed(o *order, events []JourneyEvent, now time.Time) []Scan {
	scans := make([]Scan, 0, len(events))
	for _, e := range events {
		s := Scan{At: now.Add(e.After), OpCode: e.OpCode, OpDesc: e.OpDesc, DeliverCode: e.DeliverCode, AttemptCode: e.AttemptCode}
		scans = append(scans, complete(o, s, now.Add(e.After)))
	}
	return scans
}

// rest is what follows the shown scans on the way to another outcome.
func rest(o *order, outcome Outcome, shown []Scan, now time.Time) []Scan {
	w := newWay(o)
	w.travel(outcome)
	arrived := slices.ContainsFunc(shown, func(s Scan) bool {
		return s.OpCode == opBranch || s.OpCode[0] == '7' || s.OpCode == opOdd
	})
	if arrived {
		w = newWay(o)
		w.t = now.Truncate(time.Second).Add(time.Second)
		w.finish(outcome)
		return w.scans
	}
	return slices.DeleteFunc(w.scans, func(s Scan) bool { return !s.Visible.After(now) })
}

// AddScan adds a scan to what EMS shows now, or rewrites one. The generated journey goes on beside it.
func (c *Carrier) AddScan(waybillNo string, s Scan) error {
	if s.OpCode == "" {
		return errors.New("a scan needs an op_code")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.orders[waybillNo]
	if o == nil {
		return ErrNoOrder
	}
	now := c.cfg.Now()
	c.plan(o)
	if s.Rewrite {
		return c.rewrite(o, s, now)
	}
	s.pushed = false
	o.scans = append(o.scans, complete(o, s, now))
	sortVisible(o.scans)
	c.expectPush(o)
	return nil
}

func (c *Carrier) rewrite(o *order, s Scan, now time.Time) error {
	shown := c.visible(o, now)
	for i := len(shown) - 1; i >= 0; i-- {
		old := &o.scans[i]
		if old.OpCode != s.OpCode || !s.At.IsZero() && !old.At.Equal(s.At.Truncate(time.Second)) {
			continue
		}
		old.OpDesc, old.pushed = s.OpDesc, false
		for _, field := range [][2]*string{{&old.DeliverCode, &s.DeliverCode}, {&old.AttemptCode, &s.AttemptCode}, {&old.OpName, &s.OpName}} {
			if *field[1] != "" {
				*field[0] = *field[1]
			}
		}
		c.expectPush(o)
		return nil
	}
	return fmt.Errorf("no scan %s to rewrite", s.OpCode)
}

// complete fills what a hand-made scan leaves out: names, place, text.
func complete(o *order, s Scan, now time.Time) Scan {
	if s.At.IsZero() {
		s.At = now
	}
	s.At = s.At.Truncate(time.Second)
	if s.Visible.Before(now) {
		s.Visible = now
	}
	if s.OpName == "" {
		s.OpName = opNames[s.OpCode]
	}
	if s.OpName == "" {
		s.OpName = "其他"
	}
	at := branch(o.to)
	if strings.HasPrefix(s.OpCode, "2") || s.OpCode == opReturned {
		at = branch(o.from)
	}
	if s.OrgCode == "" {
		s.OrgCode, s.OrgName, s.Prov, s.City = at.code, at.name, at.prov, at.city
	}
	if s.OpDesc == "" {
		s.OpDesc = "【" + s.OrgName + "】" + s.OpName
	}
	return s
}
