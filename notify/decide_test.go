package notify

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"

	"pgregory.net/rapid"
)

// noon is a Monday in Beijing, far from quiet hours.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, beijing)

// clock gives a time of noon's day, or of days after it.
func at(days, hour, minute int) time.Time {
	return time.Date(2026, 11, 23+days, hour, minute, 0, 0, beijing)
}

func told(m Milestone, position int64) []Told { return []Told{{m, position}} }

func TestDecide(t *testing.T) {
	t.Parallel()
	off := DefaultPolicy()
	off.Quiet = Window{}
	noDoor := DefaultPolicy()
	noDoor.Door = Window{}
	self := Vars{Receiver: "self"}
	tests := []struct {
		name   string
		policy *Policy
		m      Milestone
		status courier.Status
		event  time.Time // noon unless set
		vars   Vars
		told   []Told
		out    bool
		now    time.Time
		want   Action
		until  time.Time
	}{
		// Each milestone in its own status.
		{name: "payment due", m: PaymentDue, status: courier.AwaitingPayment, now: at(0, 12, 15), want: Send},
		{name: "handed over", m: HandedOver, status: courier.Accepted, now: noon, want: Send},
		{name: "handed over, moving", m: HandedOver, status: courier.InTransit, now: noon, want: Send},
		{name: "out for delivery", m: OutForDelivery, status: courier.OutForDelivery, now: noon, want: Send},
		{name: "attempt failed", m: AttemptFailed, status: courier.AttemptFailed, now: noon, want: Send},
		{name: "held", m: Held, status: courier.Held, now: noon, want: Send},
		{name: "delivered", m: Delivered, status: courier.Delivered, vars: self, now: noon, want: Send},
		{name: "returned", m: Returned, status: courier.Returned, now: noon, want: Send},
		{name: "cancelled", m: Cancelled, status: courier.Cancelled, now: noon, want: Send},

		// The delivery has moved on: newer news will be told.
		{name: "paid meanwhile", m: PaymentDue, status: courier.Approved, now: at(0, 12, 20), want: Merge},
		{name: "ordered meanwhile", m: PaymentDue, status: courier.Ordered, now: at(0, 12, 20), want: Merge},
		{name: "cancelled instead of paid", m: PaymentDue, status: courier.Cancelled, now: at(0, 12, 20), want: Merge},
		{name: "handed over, already out", m: HandedOver, status: courier.OutForDelivery, now: noon, want: Merge},
		{name: "handed over, already failed", m: HandedOver, status: courier.AttemptFailed, now: noon, want: Merge},
		{name: "handed over, already held", m: HandedOver, status: courier.Held, now: noon, want: Merge},
		{name: "handed over, already delivered", m: HandedOver, status: courier.Delivered, now: noon, want: Merge},
		{name: "handed over, lost", m: HandedOver, status: courier.Lost, now: noon, want: Merge},
		{name: "out, already failed", m: OutForDelivery, status: courier.AttemptFailed, now: noon, want: Merge},
		{name: "out, already held", m: OutForDelivery, status: courier.Held, now: noon, want: Merge},
		{name: "out, already delivered", m: OutForDelivery, status: courier.Delivered, now: noon, want: Merge},
		{name: "out, already returning", m: OutForDelivery, status: courier.Returning, now: noon, want: Merge},
		{name: "failed, already held", m: AttemptFailed, status: courier.Held, now: noon, want: Merge},
		{name: "failed, already delivered", m: AttemptFailed, status: courier.Delivered, now: noon, want: Merge},
		{name: "failed, already returning", m: AttemptFailed, status: courier.Returning, now: noon, want: Merge},
		{name: "held, already fetched", m: Held, status: courier.Delivered, now: noon, want: Merge},
		{name: "held, already returning", m: Held, status: courier.Returning, now: noon, want: Merge},
		{name: "held, already returned", m: Held, status: courier.Returned, now: noon, want: Merge},
		{name: "delivered, then returned", m: Delivered, status: courier.Returned, vars: self, now: noon, want: Merge},
		{name: "returned, then declared lost", m: Returned, status: courier.Lost, now: noon, want: Merge},

		// The carrier took back what the message says.
		{name: "acceptance voided", m: HandedOver, status: courier.Ordered, now: noon, want: Withdrawn},
		{name: "out voided", m: OutForDelivery, status: courier.InTransit, now: noon, want: Withdrawn},
		{name: "failure voided", m: AttemptFailed, status: courier.OutForDelivery, now: noon, want: Withdrawn},
		{name: "held, then out again", m: Held, status: courier.OutForDelivery, now: noon, want: Withdrawn},
		{name: "delivery voided", m: Delivered, status: courier.OutForDelivery, vars: self, now: noon, want: Withdrawn},
		{name: "return voided", m: Returned, status: courier.Returning, now: noon, want: Withdrawn},

		// Something of the same delivery was told.
		{name: "told before", m: Held, status: courier.Held, told: told(Held, 1), now: noon, want: Duplicate},
		{name: "told before, and delivered", m: Delivered, status: courier.Delivered, vars: self, told: told(Delivered, 1), now: noon, want: Duplicate},
		{name: "told an earlier stage", m: OutForDelivery, status: courier.OutForDelivery, told: told(HandedOver, 1), now: noon, want: Send},
		{name: "told a later stage", m: HandedOver, status: courier.InTransit, told: told(OutForDelivery, 1), now: noon, want: Merge},
		{name: "a later stage told by an older event", m: HandedOver, status: courier.InTransit, told: told(Delivered, 50), now: noon, want: Merge},
		{name: "second day at the door", m: OutForDelivery, status: courier.OutForDelivery, told: told(AttemptFailed, 9), now: noon, want: Send},
		{name: "overtaken at the door", m: OutForDelivery, status: courier.OutForDelivery, told: told(AttemptFailed, 11), now: noon, want: Merge},
		{name: "held after a failure", m: Held, status: courier.Held, told: told(AttemptFailed, 9), now: noon, want: Send},
		{name: "delivered after all that", m: Delivered, status: courier.Delivered, vars: self, now: noon, want: Send,
			told: []Told{{HandedOver, 1}, {OutForDelivery, 2}, {AttemptFailed, 3}, {Held, 4}}},
		{name: "out again after a withdrawn delivery", m: OutForDelivery, status: courier.OutForDelivery, told: told(Delivered, 9), now: noon, want: Merge},
		{name: "held after a withdrawn delivery", m: Held, status: courier.Held, told: told(Delivered, 9), now: noon, want: Send},
		{name: "held before the delivery that was told", m: Held, status: courier.Held, told: told(Delivered, 11), now: noon, want: Merge},
		{name: "returned after a delivery", m: Returned, status: courier.Returned, told: told(Delivered, 9), now: noon, want: Send},
		{name: "payment due after anything", m: PaymentDue, status: courier.AwaitingPayment, told: told(HandedOver, 1), now: at(0, 12, 20), want: Merge},

		// I-7: who received it.
		{name: "collected", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "collected"}, now: noon, want: Send},
		{name: "unstated", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "unstated"}, now: noon, want: Send},
		{name: "door", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "door"}, now: noon, want: NotInHand},
		{name: "another person", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "other_person"}, now: noon, want: NotInHand},
		{name: "a class nobody knows", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "drone"}, now: noon, want: NotInHand},
		{name: "no class", m: Delivered, status: courier.Delivered, now: noon, want: NotInHand},
		{name: "family, ID seen", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "family", Receipt: "fine"}, now: noon, want: Send},
		{name: "family, no ID", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "family", Receipt: "case"}, now: noon, want: NotInHand},
		{name: "unstated, to be asked", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "unstated", Receipt: "ask"}, now: noon, want: Send},
		{name: "unstated, by policy a case", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "unstated", Receipt: "case"}, now: noon, want: NotInHand},
		{name: "a receipt nobody knows", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "self", Receipt: "perhaps"}, now: noon, want: NotInHand},
		{name: "door, at night", m: Delivered, status: courier.Delivered, vars: Vars{Receiver: "door"}, now: at(0, 23, 0), want: NotInHand},

		// Opting out.
		{name: "opted out", m: Held, status: courier.Held, out: true, now: noon, want: OptedOut},
		{name: "opted out at night", m: Held, status: courier.Held, out: true, now: at(0, 23, 0), want: OptedOut},
		{name: "opted out, courier at the door", m: OutForDelivery, status: courier.OutForDelivery, out: true, now: noon, want: OptedOut},

		// Refused at the door: nobody comes again.
		{name: "refused at the door", m: AttemptFailed, status: courier.AttemptFailed, vars: Vars{Attempt: "refused"}, now: noon, want: Declined},
		{name: "absent at the door", m: AttemptFailed, status: courier.AttemptFailed, vars: Vars{Attempt: "absent"}, now: noon, want: Send},

		// Quiet hours 21:00 to 08:00, both bounds.
		{name: "20:59", m: HandedOver, status: courier.InTransit, now: at(0, 20, 59), want: Send},
		{name: "21:00", m: HandedOver, status: courier.InTransit, now: at(0, 21, 0), want: Hold, until: at(1, 8, 0)},
		{name: "midnight", m: HandedOver, status: courier.InTransit, now: at(1, 0, 0), want: Hold, until: at(1, 8, 0)},
		{name: "07:59", m: HandedOver, status: courier.InTransit, now: at(1, 7, 59), want: Hold, until: at(1, 8, 0)},
		{name: "08:00", m: HandedOver, status: courier.InTransit, now: at(1, 8, 0), want: Send},
		{name: "no quiet hours", policy: &off, m: HandedOver, status: courier.InTransit, now: at(0, 23, 0), want: Send},
		{name: "no quiet hours at the door", policy: &off, m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 22, 30), now: at(0, 23, 0), want: Send},

		// A courier at the door is told at once between 07:00 and 22:00.
		{name: "door 06:59", m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 6, 50), now: at(0, 6, 59), want: Hold, until: at(0, 7, 0)},
		{name: "door 07:00", m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 6, 50), now: at(0, 7, 0), want: Send},
		{name: "door 21:59", m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 21, 50), now: at(0, 21, 59), want: Send},
		{name: "door 22:00", m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 21, 50), now: at(0, 22, 0), want: Hold, until: at(1, 7, 0)},
		{name: "door 21:30 is of the courier alone, not of a failure", m: AttemptFailed, status: courier.AttemptFailed, event: at(0, 21, 10), now: at(0, 21, 30), want: Hold, until: at(1, 8, 0)},
		{name: "door 21:30 is of the courier alone, not of a deadline", m: Held, status: courier.Held, event: at(0, 21, 10), now: at(0, 21, 30), want: Hold, until: at(1, 8, 0)},
		{name: "door without exception", policy: &noDoor, m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 21, 10), now: at(0, 21, 30), want: Hold, until: at(1, 8, 0)},

		// Too late to be of use, both sides of the bound.
		{name: "out, 8 hours less a minute", m: OutForDelivery, status: courier.OutForDelivery, now: at(0, 19, 59), want: Send},
		{name: "out, 8 hours", m: OutForDelivery, status: courier.OutForDelivery, now: at(0, 20, 0), want: TooLate},
		{name: "held overnight at the door", m: OutForDelivery, status: courier.OutForDelivery, event: at(0, 22, 10), now: at(1, 7, 0), want: TooLate},
		{name: "handed over, two days", m: HandedOver, status: courier.InTransit, now: at(2, 12, 0), want: TooLate},
		{name: "failed, a day", m: AttemptFailed, status: courier.AttemptFailed, now: at(1, 12, 0), want: TooLate},
		{name: "delivered, two days", m: Delivered, status: courier.Delivered, vars: self, now: at(2, 12, 0), want: TooLate},
		{name: "returned, six days", m: Returned, status: courier.Returned, now: at(6, 12, 0), want: Send},
		{name: "returned, seven days", m: Returned, status: courier.Returned, now: at(7, 12, 0), want: TooLate},
		{name: "held on its last day", m: Held, status: courier.Held, vars: Vars{HeldUntil: "2026-11-30"}, now: at(7, 20, 59), want: Send},
		{name: "held, last day over", m: Held, status: courier.Held, vars: Vars{HeldUntil: "2026-11-30"}, now: at(8, 0, 0), want: TooLate},
		{name: "held, last day unknown", m: Held, status: courier.Held, now: at(3, 12, 0), want: TooLate},
		{name: "released in the morning, still of use", m: AttemptFailed, status: courier.AttemptFailed, event: at(0, 20, 50), now: at(1, 8, 0), want: Send},
		{name: "released in the morning, last day over", m: Held, status: courier.Held, vars: Vars{HeldUntil: "2026-11-23"}, event: at(0, 21, 10), now: at(1, 8, 0), want: TooLate},
		{name: "released in the morning, out since", m: HandedOver, status: courier.OutForDelivery, event: at(0, 21, 10), now: at(1, 8, 0), want: Merge},
		{name: "released in the morning, paid at night", m: PaymentDue, status: courier.Approved, event: at(0, 21, 10), now: at(1, 8, 0), want: Merge},
		{name: "stale and late is stale", m: OutForDelivery, status: courier.Delivered, now: at(9, 0, 0), want: Merge},

		// An applicant who is about to pay needs no reminder.
		{name: "just quoted", m: PaymentDue, status: courier.AwaitingPayment, now: noon, want: Hold, until: at(0, 12, 15)},
		{name: "a minute short", m: PaymentDue, status: courier.AwaitingPayment, now: at(0, 12, 14), want: Hold, until: at(0, 12, 15)},
		{name: "quoted at night", m: PaymentDue, status: courier.AwaitingPayment, event: at(0, 23, 0), now: at(0, 23, 30), want: Hold, until: at(1, 8, 0)},
	}
	if len(tests) < 60 {
		t.Errorf("%d rows, want 60 at least", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			policy := DefaultPolicy()
			if tt.policy != nil {
				policy = *tt.policy
			}
			event := tt.event
			if event.IsZero() {
				event = noon
			}
			m := Message{Milestone: tt.m, Position: 10, EventAt: event, Vars: tt.vars}
			got := policy.Decide(m, Situation{Status: tt.status, Told: tt.told, OptedOut: tt.out}, tt.now)
			if got.Action != tt.want || !got.Until.Equal(tt.until) {
				t.Errorf("Decide = %s until %s (%s), want %s until %s", got.Action, got.Until, got.Reason, tt.want, tt.until)
			}
			if got.Reason == "" {
				t.Error("a verdict without a reason")
			}
		})
	}
}

// TestHeldUntilOfTheDelivery: where the event named no last day, the delivery's counts.
func TestHeldUntilOfTheDelivery(t *testing.T) {
	t.Parallel()
	m := Message{Milestone: Held, EventAt: noon}
	s := Situation{Status: courier.Held, HeldUntil: at(10, 0, 0)}
	if got := DefaultPolicy().Decide(m, s, at(10, 20, 0)); got.Action != Send {
		t.Errorf("on the last day: %+v", got)
	}
	if got := DefaultPolicy().Decide(m, s, at(11, 0, 0)); got.Action != TooLate {
		t.Errorf("after the last day: %+v", got)
	}
}

// draw makes any message and situation.
func draw(t *rapid.T) (Message, Situation, time.Time) {
	m := Message{
		Milestone: rapid.SampledFrom(Milestones).Draw(t, "milestone"),
		Position:  rapid.Int64Range(1, 20).Draw(t, "position"),
		EventAt:   noon.Add(time.Duration(rapid.IntRange(-4000, 4000).Draw(t, "event")) * time.Minute),
		Vars:      Vars{Receiver: rapid.SampledFrom([]string{"", "self", "door", "unstated"}).Draw(t, "receiver")},
	}
	s := Situation{Status: rapid.SampledFrom(courier.Statuses).Draw(t, "status"), OptedOut: rapid.Bool().Draw(t, "out")}
	for range rapid.IntRange(0, 4).Draw(t, "told") {
		s.Told = append(s.Told, Told{rapid.SampledFrom(Milestones).Draw(t, "told milestone"), rapid.Int64Range(1, 20).Draw(t, "told position")})
	}
	return m, s, noon.Add(time.Duration(rapid.IntRange(-4000, 8000).Draw(t, "now")) * time.Minute)
}

// What may be sent is told once, true now, by day, and never after what came later.
func TestDecideProperties(t *testing.T) {
	t.Parallel()
	policy := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		m, s, now := draw(t)
		v := policy.Decide(m, s, now)
		if !slices.Contains(Actions, v.Action) || v.Reason == "" {
			t.Fatalf("verdict %+v", v)
		}
		if v.Action == Hold && !v.Until.After(now) {
			t.Fatalf("held until %s at %s", v.Until, now)
		}
		if v.Action != Send {
			return
		}
		if !slices.Contains(tellable[m.Milestone], s.Status) {
			t.Fatalf("%s told while the delivery is %s", m.Milestone, s.Status)
		}
		if policy.Quiet.Holds(now) && (m.Milestone != OutForDelivery || !policy.Door.Holds(now)) {
			t.Fatalf("%s told at %s", m.Milestone, now.In(beijing))
		}
		if m.Milestone == Delivered && m.Vars.Receiver != "self" && m.Vars.Receiver != "unstated" || s.OptedOut {
			t.Fatalf("told %+v %+v", m, s)
		}
		for _, told := range s.Told {
			action := m.Milestone == Held || m.Milestone == AttemptFailed
			switch {
			case told.Milestone == m.Milestone:
				t.Fatalf("%s told twice", m.Milestone)
			case told.Milestone.stage() >= m.Milestone.stage() && told.Position > m.Position:
				t.Fatalf("%s of %d told after %s of %d", m.Milestone, m.Position, told.Milestone, told.Position)
			case told.Milestone.stage() > m.Milestone.stage() && !action:
				t.Fatalf("%s told after %s", m.Milestone, told.Milestone)
			}
		}
	})
}

// Whatever statuses a delivery goes through, and whenever its messages are looked at, a later milestone is never
// followed by an earlier one, except by what the resident has to do after a delivery that was taken back.
func TestMilestonesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	policy := DefaultPolicy()
	policy.Quiet, policy.Grace = Window{}, nil
	rapid.Check(t, func(t *rapid.T) {
		status := courier.AwaitingPayment
		queue := map[Milestone]Message{PaymentDue: {Milestone: PaymentDue, Position: 1, EventAt: noon}}
		var sent []Told
		voided := false
		for position := int64(2); position < 30; position++ {
			if next := nextStatuses(status); len(next) > 0 && rapid.Bool().Draw(t, "move") {
				to := rapid.SampledFrom(next).Draw(t, "to")
				voided = voided || status == courier.Delivered || status == courier.Returned
				status = to
				e := courier.Event{Type: courier.StatusEvent(status)}
				if m, ok := milestoneOf(e); ok && !slices.ContainsFunc(sent, func(t Told) bool { return t.Milestone == m }) {
					queue[m] = Message{Milestone: m, Position: position, EventAt: noon, Vars: Vars{Receiver: "self"}}
				}
			}
			if !rapid.Bool().Draw(t, "round") {
				continue
			}
			for _, m := range Milestones {
				message, waits := queue[m]
				if !waits {
					continue
				}
				v := policy.Decide(message, Situation{Status: status, Told: sent}, noon.Add(time.Minute))
				if v.Action != Send {
					continue
				}
				for _, s := range sent {
					if s.Milestone.stage() > m.stage() && !voided {
						t.Fatalf("%s after %v", m, sent)
					}
					if s.Position > message.Position {
						t.Fatalf("%s of event %d after %v", m, message.Position, sent)
					}
				}
				sent = append(sent, Told{m, message.Position})
				delete(queue, m)
			}
		}
	})
}

func nextStatuses(from courier.Status) []courier.Status {
	var next []courier.Status
	for _, to := range courier.Statuses {
		if from.MayBecome(to, "") || from != courier.Cancelled && from.MayBecome(to, "voided") {
			next = append(next, to)
		}
	}
	return next
}

func TestParseWindow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Window{
		"21:00-08:00": {21 * 60, 8 * 60}, "00:00-06:30": {0, 390}, "off": {}, "12:00-13:00": {720, 780},
	} {
		got, err := ParseWindow(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseWindow(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "21-8", "21:00", "21:00-24:00", "21:00-21:00", "9:00-10:00", "21:00–08:00", "21:00-08:00-", "aa:00-08:00", "-", "none"} {
		if got, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), "hours") {
			t.Errorf("ParseWindow(%q) = %v, %v; want an error", text, got, err)
		}
	}
}

func TestWindowProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := Window{rapid.IntRange(0, 1439).Draw(t, "start"), rapid.IntRange(0, 1439).Draw(t, "end")}
		if w.start == w.end {
			return
		}
		now := noon.Add(time.Duration(rapid.IntRange(0, 10_000_000).Draw(t, "second")) * time.Second)
		end := w.End(now)
		if !end.After(now) || end.Sub(now) > 24*time.Hour || w.Holds(end) {
			t.Fatalf("%s: end %s after %s", w, end, now)
		}
		if w.Holds(now) && !w.Holds(end.Add(-time.Minute)) {
			t.Fatalf("%s: %s lies in it, the minute before %s does not", w, now, end)
		}
		if start := w.Start(now); !w.Holds(start) || !start.After(now) {
			t.Fatalf("%s: start %s", w, start)
		}
	})
}

// A clerk calls once for a password that waits for its gateway, however often the message was tried before.
func TestAPasswordThatWaitsIsACaseOnce(t *testing.T) {
	t.Parallel()
	sealed := []byte{1}
	tests := []struct {
		name string
		job  sendJob
		want bool
	}{
		{"at first", sendJob{Milestone: HandedOver, Password: sealed}, true},
		{"after other failures", sendJob{Milestone: OutForDelivery, Password: sealed, Tries: 4, Reason: explain(Transient, "busy")}, true},
		{"waits already", sendJob{Milestone: HandedOver, Password: sealed, Reason: noGateway}, false},
		{"refused already", sendJob{Milestone: HandedOver, Password: sealed, Tries: 1, Reason: explain(Configuration, "no_template")}, false},
		{"told before", sendJob{Milestone: OutForDelivery, Password: sealed, told: []Told{{Milestone: HandedOver}}}, false},
		{"told of something else", sendJob{Milestone: OutForDelivery, Password: sealed, told: []Told{{Milestone: PaymentDue}}}, true},
		{"no password", sendJob{Milestone: HandedOver}, false},
		{"a text without it", sendJob{Milestone: Delivered, Password: sealed}, false},
	}
	for _, tt := range tests {
		if got := tt.job.passwordWaits(); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestCapHoldsUntilTheNextDayOfBeijing(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	p.DailyCap = 3
	late := time.Date(2026, 11, 23, 23, 59, 59, 0, beijing)
	tests := []struct {
		name string
		m    Milestone
		cap  int
		sent int
		now  time.Time
		want time.Time // zero: may go
	}{
		{"below", Delivered, 3, 2, noon, time.Time{}},
		{"reached", Delivered, 3, 3, noon, time.Date(2026, 11, 24, 0, 0, 0, 0, beijing)},
		{"beyond", OutForDelivery, 3, 9, noon, time.Date(2026, 11, 24, 0, 0, 0, 0, beijing)},
		{"a second before midnight in Beijing", Delivered, 3, 3, late.UTC(), time.Date(2026, 11, 24, 0, 0, 0, 0, beijing)},
		{"a last day to collect", Held, 3, 9, noon, time.Time{}},
		{"a bill to pay", PaymentDue, 3, 9, noon, time.Time{}},
		{"no cap", Delivered, 0, 99, noon, time.Time{}},
	}
	for _, tt := range tests {
		p.DailyCap = tt.cap
		v, over := p.Cap(tt.m, tt.sent, tt.now)
		if over == tt.want.IsZero() || over && (v.Action != Capped || !v.Until.Equal(tt.want) || v.Reason == "") {
			t.Errorf("%s: %+v, %t; want until %v", tt.name, v, over, tt.want)
		}
	}
}

// A clerk reads the reason of every verdict on the page of a delivery: no word of the program stands in it.
func TestReasonsHoldNoWordOfTheProgram(t *testing.T) {
	t.Parallel()
	p, word := DefaultPolicy(), regexp.MustCompile(`[A-Za-z_]{3,}`)
	seen := map[Action]bool{}
	note := func(v Verdict) {
		if seen[v.Action] = true; word.MatchString(v.Reason) || v.Reason == "" {
			t.Errorf("%s: %q", v.Action, v.Reason)
		}
	}
	for _, m := range Milestones {
		for _, status := range courier.Statuses {
			for _, vars := range []Vars{{}, {Receiver: "self", Attempt: refusedAtDoor}, {Receiver: "agent"}} {
				for _, s := range []Situation{{}, {OptedOut: true}, {Told: []Told{{Milestone: m}}}, {Told: []Told{{Milestone: Delivered, Position: 9}}}} {
					s.Status = status
					for _, later := range []time.Duration{0, time.Hour, 12 * time.Hour, 1000 * time.Hour} {
						note(p.Decide(Message{Milestone: m, EventAt: noon, Vars: vars}, s, noon.Add(later)))
					}
				}
			}
		}
	}
	capped, _ := p.Cap(Delivered, p.DailyCap, noon)
	note(capped)
	for _, a := range Actions {
		if a != Late && !seen[a] { // Late is the planner's
			t.Errorf("no reason of %s was read", a)
		}
	}
}
