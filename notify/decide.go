package notify

import (
	"fmt"
	"slices"
	"time"

	"emsd/courier"
)

// An Action is what becomes of a message.
type Action string

const (
	Send      Action = "send"
	Hold      Action = "hold"        // later, see Until
	Merge     Action = "merge"       // newer news has made it stale
	Withdrawn Action = "withdrawn"   // the carrier took back what it says
	Late      Action = "late"        // the scan came long after the fact
	TooLate   Action = "too_late"    // it waited until it was of no use
	OptedOut  Action = "opted_out"   // the number does not want messages
	Duplicate Action = "duplicate"   // this milestone has been told
	NotInHand Action = "not_in_hand" // "delivered" to a door, a locker or a stranger (I-7)
	Declined  Action = "declined"    // it was refused at the door: nobody comes again, so no text fits
	Capped    Action = "capped"      // the number has had enough for today; tomorrow, see Until
)

// Actions lists every action, for counters that start at zero.
var Actions = []Action{Send, Hold, Merge, Withdrawn, Late, TooLate, OptedOut, Duplicate, NotInHand, Declined, Capped}

// A Verdict says what becomes of a message, and why in words for a clerk; it is stored and counted.
type Verdict struct {
	Action Action
	Reason string
	Until  time.Time // of Hold, business time
}

// A Situation is what a verdict depends on beside the message: where the delivery stands now, and what its resident
// has been told.
type Situation struct {
	Status    courier.Status
	HeldUntil time.Time // Beijing midnight that begins the last day; zero when unknown
	Told      []Told
	OptedOut  bool
}

// Told is a message of the same delivery that has left, or may have left, for the gateway.
type Told struct {
	Milestone Milestone
	Position  int64
}

// A Policy holds what an operator may set about verdicts.
type Policy struct {
	Quiet Window // nothing but a courier at the door is sent in it
	// Door is when a courier at the door is told at once, quiet hours or not: after it nobody rings any more.
	Door Window
	// Grace is how long a milestone waits first. An applicant who pays at once needs no reminder.
	Grace map[Milestone]time.Duration
	// Useful is how long after the event a message is still worth sending. Held is useful through its last day when
	// that is known.
	Useful map[Milestone]time.Duration
	// DailyCap is the most messages a number gets in a day of Beijing, over all its deliveries; 0 is no limit. Those with a
	// deadline go all the same.
	DailyCap int
	// InHand lists the recipient classes after which "delivered" may be said (I-7) when the event does not tell what the
	// class means; after any other a clerk looks first. It holds "unstated" because the carrier may leave the code out; the
	// text then says whose word it is and whom to call.
	InHand []string
}

// DefaultPolicy is the policy of contract.md with the windows of this package's choice.
func DefaultPolicy() Policy {
	return Policy{
		Quiet: Window{21 * 60, 8 * 60},
		Door:  Window{7 * 60, 22 * 60},
		Grace: map[Milestone]time.Duration{PaymentDue: 15 * time.Minute},
		Useful: map[Milestone]time.Duration{
			PaymentDue:     72 * time.Hour,
			HandedOver:     48 * time.Hour,
			OutForDelivery: 8 * time.Hour, // a round of a courier lasts half a day
			AttemptFailed:  24 * time.Hour,
			Held:           72 * time.Hour,
			Delivered:      48 * time.Hour,
			Returned:       7 * 24 * time.Hour,
			Cancelled:      72 * time.Hour,
		},
		DailyCap: 8, // below the gateways' own limits: three permits of one family on one day are nine
		InHand:   []string{"self", "collected", "unstated"},
	}
}

// hasDeadline reports whether the resident has to do something by a day: a message that no cap holds back.
func (m Milestone) hasDeadline() bool { return m == PaymentDue || m == Held }

// Cap holds a message back that may be sent now, when its number has had sent messages today.
func (p Policy) Cap(m Milestone, sent int, now time.Time) (Verdict, bool) {
	if p.DailyCap == 0 || sent < p.DailyCap || m.hasDeadline() {
		return Verdict{}, false
	}
	return Verdict{Action: Capped, Reason: fmt.Sprintf("该号码今天已发送 %d 条，达到每日上限，次日再决定", sent), Until: nextMinute(now, 0)}, true
}

// Decide says what becomes of a message now. It is asked when the message is due and again after every wait.
func (p Policy) Decide(m Message, s Situation, now time.Time) Verdict {
	if v, stale := p.stale(m, s); stale {
		return v
	}
	if m.Milestone == Delivered && !p.inHand(m.Vars) {
		return Verdict{Action: NotInHand, Reason: "邮政登记的签收方式不能证明本人收到，不发“已送达”，由经办人核实（见事项“非本人签收”）"}
	}
	if m.Milestone == AttemptFailed && m.Vars.Attempt == refusedAtDoor {
		return Verdict{Action: Declined, Reason: "邮政登记为收件人拒收，不会再次投递，不发“约定再投”；邮件退回派出所后另行通知"}
	}
	if s.OptedOut {
		return Verdict{Action: OptedOut, Reason: "该号码已要求不再接收短信"}
	}
	if end := p.usefulUntil(m, s); !now.Before(end) {
		return Verdict{Action: TooLate, Reason: fmt.Sprintf("等待过久，%s 之后发送已无意义", clerkTime(end))}
	}
	if from := m.EventAt.Add(p.Grace[m.Milestone]); now.Before(from) {
		return Verdict{Action: Hold, Reason: "稍候再发，以免对已在办理的事重复提醒", Until: from}
	}
	if until, quiet := p.quietUntil(m.Milestone, now); quiet {
		return Verdict{Action: Hold, Reason: fmt.Sprintf("免打扰时段，%s 后再决定", clerkTime(until)), Until: until}
	}
	return Verdict{Action: Send, Reason: "可以发送"}
}

// refusedAtDoor is the word for 705/7 in an event: the envelope goes back.
const refusedAtDoor = "refused"

// inHand reports whether "delivered" may be said. "ask" is told too: the text names EMS as the one who says so, and whom
// to call if the envelope did not arrive.
func (p Policy) inHand(v Vars) bool {
	if v.Receipt != "" {
		return v.handed()
	}
	return slices.Contains(p.InHand, v.Receiver)
}

// handed reports whether a receipt is no case.
func (v Vars) handed() bool { return v.Receipt == "fine" || v.Receipt == "ask" }

// stale finds what has overtaken the message: it was told, later news was told, or the delivery stands elsewhere.
func (p Policy) stale(m Message, s Situation) (Verdict, bool) {
	for _, t := range s.Told {
		if t.Milestone == m.Milestone {
			return Verdict{Action: Duplicate, Reason: "这一进展已经通知过"}, true
		}
	}
	for _, t := range s.Told {
		if t.overtakes(m) {
			return Verdict{Action: Merge, Reason: fmt.Sprintf("已通知更新的进展（%s），不再发送", titles[t.Milestone])}, true
		}
	}
	here := tellable[m.Milestone]
	if slices.Contains(here, s.Status) {
		return Verdict{}, false
	}
	if slices.Index(courier.Statuses, s.Status) < slices.Index(courier.Statuses, here[0]) {
		return Verdict{Action: Withdrawn, Reason: "邮件已退出这一状态（邮政撤销或转送），不再发送"}, true
	}
	return Verdict{Action: Merge, Reason: "投递已有更新的进展，不再发送"}, true
}

// overtakes reports whether m is old news once t was told. News of an earlier stage is, even when its event came
// later; but when a "delivered" that was told is taken back, what the resident has to do still counts.
func (t Told) overtakes(m Message) bool {
	before, after := m.Milestone.stage(), t.Milestone.stage()
	if before == after {
		return t.Position > m.Position
	}
	if before < after && t.Position < m.Position {
		return m.Milestone != Held && m.Milestone != AttemptFailed
	}
	return before < after
}

// usefulUntil is when the message stops being worth sending.
func (p Policy) usefulUntil(m Message, s Situation) time.Time {
	if m.Milestone == Held {
		if day, ok := lastDay(m, s); ok {
			return day.AddDate(0, 0, 1)
		}
	}
	return m.EventAt.Add(p.Useful[m.Milestone])
}

// lastDay is the Beijing midnight that begins the last day of collection.
func lastDay(m Message, s Situation) (time.Time, bool) {
	if day := dayOf(m.Vars.HeldUntil); !day.IsZero() {
		return day, true
	}
	return s.HeldUntil, !s.HeldUntil.IsZero()
}

// dayOf is the start of a day in Beijing, written yyyy-mm-dd; zero when there is none.
func dayOf(text string) time.Time {
	if text == "" { // most have none, and an error costs
		return time.Time{}
	}
	day, err := time.ParseInLocation(time.DateOnly, text, beijing)
	if err != nil {
		return time.Time{}
	}
	return day
}

// quietUntil reports whether the hour forbids the message, and until when.
func (p Policy) quietUntil(m Milestone, now time.Time) (time.Time, bool) {
	if !p.Quiet.Holds(now) {
		return time.Time{}, false
	}
	until := p.Quiet.End(now)
	if m != OutForDelivery || p.Door == (Window{}) {
		return until, true
	}
	if p.Door.Holds(now) {
		return time.Time{}, false
	}
	if start := p.Door.Start(now); start.Before(until) {
		until = start
	}
	return until, true
}

// clerkTime writes a time as clerks read it.
func clerkTime(t time.Time) string { return t.In(beijing).Format("1月2日15:04") }
