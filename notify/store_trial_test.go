package notify

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/prometheus/client_golang/prometheus"
)

// account is a gateway with a template for every Chinese text.
func account(name string) *templated {
	g := &templated{fakeGateway: fakeGateway{name: name}, has: map[Milestone]bool{}}
	for _, m := range Milestones {
		g.has[m] = true
	}
	return g
}

func (w *world) trials(g *Gateways, opts Options, phones ...string) *Trials {
	secrets := make([]vault.Secret, len(phones))
	for i, p := range phones {
		secrets[i] = vault.Conceal(p)
	}
	return NewTrials(w.db, w.vault, g, w.clock(), opts, secrets, w.log)
}

// Every number gets one message a month from every gateway with an account, under any number of daemons.
func TestSelfTestsComeOnceAMonth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := account("a"), account("b")
	gateways := w.gateways(a, NewLogGateway(w.log), b)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.trials(gateways, Options{}, phoneOf(1), phoneOf(2)).Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(a.ledger) != 2 || len(b.ledger) != 2 {
		t.Errorf("a sent %d, b %d; want 2 each", len(a.ledger), len(b.ledger))
	}
	if s := a.ledger[0]; s.Milestone != Cancelled || s.Vars["name"] != "测**" {
		t.Errorf("sent %+v", s)
	}
	tests, err := w.trials(gateways, Options{}, phoneOf(1), phoneOf(2), phoneOf(3)).SelfTests(t.Context())
	if err != nil || len(tests) != 2 || tests[0].Fine != 2 || tests[0].String() != "2 of 3 numbers this month" {
		t.Errorf("SelfTests = %v, %v", tests, err)
	}
	w.set(time.Date(2026, 12, 1, 0, 0, 0, 0, beijing)) // the month is Beijing's
	w.run(w.trials(gateways, Options{}, phoneOf(1)))
	w.run(w.trials(gateways, Options{}, phoneOf(1)))
	if len(a.ledger) != 3 {
		t.Errorf("in December a has sent %d, want 3", len(a.ledger))
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action = 'message.self_test'`); n != 6 {
		t.Errorf("%d entries in the audit chain, want 6", n)
	}
}

// What surely was not taken is tried again; what may have been is not, nor what a crash has left.
func TestSelfTestsAreRepeatedOnlyWhenNothingWasTaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		class Class
		calls int
		state string
	}{{Unknown, 1, "unknown"}, {Unsent, 3, "unsent"}, {Configuration, 3, "rejected"}} {
		w := newWorld(t)
		calls := 0
		g := account("a")
		g.script = func(SMS) (bool, error) { calls++; return false, &SendError{Class: tt.class, Code: "test"} }
		trials := w.trials(w.gateways(g), Options{}, phoneOf(1))
		for range 3 {
			w.run(trials)
			w.run(trials) // at once: not yet
			w.pass(2 * time.Hour)
		}
		tests, err := trials.SelfTests(t.Context())
		if err != nil || calls != tt.calls || len(tests) != 1 || len(tests[0].Failed) != 1 || tests[0].Failed[0].State != tt.state {
			t.Errorf("%s: %d calls, %+v, %v; want %d and %s", tt.class, calls, tests, err, tt.calls, tt.state)
		}
		if !strings.Contains(w.logs.String(), `"class":"`+tt.class.String()) {
			t.Errorf("%s is not logged", tt.class)
		}
	}
}

func TestI4_ASelfTestThatACrashInterruptedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := account("a")
	gateways := w.gateways(g)
	func() {
		defer func() { recover() }()
		w.trials(gateways, Options{Hook: func(string) { panic("crash") }}, phoneOf(1)).Round(t.Context())
	}()
	w.run(w.trials(gateways, Options{}, phoneOf(1)))
	if n := w.count(`SELECT count(*) FROM sms_trials WHERE state = 'sending'`); len(g.ledger) != 0 || n != 1 {
		t.Errorf("%d sent, %d left sending; want 0 and 1", len(g.ledger), n)
	}
}

// A trial goes to one gateway, stands in the audit chain without its number, is counted, and is no resident's message.
func TestTestSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := account("a"), account("b")
	trials := w.trials(w.gateways(a, b), Options{})
	got, err := trials.Send(t.Context(), "b", HandedOver, vault.Conceal(phoneOf(9)), "operator")
	if err != nil || !got.Fine() || got.Template != "handed_over/1" || len(a.ledger) != 0 || len(b.ledger) != 1 {
		t.Fatalf("Send = %+v, %v; a %d, b %d", got, err, len(a.ledger), len(b.ledger))
	}
	if _, err := trials.Send(t.Context(), "b", HandedOver, vault.Conceal(phoneOf(9)), "operator"); err != nil || len(b.ledger) != 2 {
		t.Errorf("a second one: %v", err)
	}
	b.script = always(Configuration, false)
	if got, err := trials.Send(t.Context(), "b", Held, vault.Conceal(phoneOf(9)), "operator"); err != nil || got.State != "rejected" || got.Class != "configuration" {
		t.Errorf("refused: %+v, %v", got, err)
	}
	for name, bad := range map[string]struct {
		gateway string
		text    Milestone
		phone   string
	}{"gateway": {"c", Held, phoneOf(9)}, "text": {"a", "party", phoneOf(9)}, "number": {"a", Held, "01012345678"}} {
		if _, err := trials.Send(t.Context(), bad.gateway, bad.text, vault.Conceal(bad.phone), "operator"); err == nil || strings.Contains(err.Error(), bad.phone) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action = 'message.test_send' AND actor = 'operator' AND detail::text NOT LIKE '%139%'`); n != 3 {
		t.Errorf("%d entries in the audit chain, want 3", n)
	}
	if n := w.count(`SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM message_attempts)`); n != 0 {
		t.Errorf("%d messages of residents", n)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewTrialCollector(w.db))
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || len(families[0].Metric) != 2 {
		t.Errorf("metrics %v, %v", families, err)
	}
}

func TestEveryTextCanBeTried(t *testing.T) {
	t.Parallel()
	for _, m := range allTexts() {
		if bad := checkForms(m, trialFields(m)); bad != nil {
			t.Errorf("%s: %v", m, bad)
		}
	}
}

// Receipts about messages to numbers of our own tell whether carriers deliver, and settle nothing else.
func TestReceiptsOfTrials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := account("a")
	g.script = func(s SMS) (bool, error) {
		if s.Milestone == HandedOver {
			return true, &SendError{Class: Unknown, Code: "test"}
		}
		return true, nil
	}
	gateways := w.gateways(g)
	id := w.news(courier.InTransit, courier.EventData{}) // to the number of the self-test, in doubt
	w.run(w.sender(gateways, Options{}))
	trials := w.trials(gateways, Options{}, phoneOf(0), phoneOf(1))
	w.run(trials)
	receipts := w.receipts(gateways)
	report := func(success bool, code string, s SMS, ours bool) {
		t.Helper()
		one := Receipt{ProviderID: "p-" + s.AttemptID.String(), Phone: s.Phone, Success: success, Code: code}
		if ours {
			one.AttemptID = s.AttemptID
		}
		if err := receipts.Append(t.Context(), "a", []Receipt{one}); err != nil {
			t.Fatal(err)
		}
		w.run(receipts)
	}
	report(true, "", g.ledger[1], false)
	report(false, "PORT_NOT_REGISTERED", g.ledger[2], true)
	w.wantAttempts(id, "a unknown")
	tests, err := trials.SelfTests(t.Context())
	if err != nil || len(tests) != 1 || tests[0].Fine != 1 || len(tests[0].Failed) != 1 || tests[0].Failed[0].Code != "PORT_NOT_REGISTERED" {
		t.Errorf("SelfTests = %+v, %v", tests, err)
	}
	if strings.Contains(w.logs.String(), "not ours") {
		t.Error("a trial's receipt is taken for a stranger's")
	}
	w.run(trials) // a message that did not arrive was sent all the same: not again this month
	if len(g.ledger) != 3 {
		t.Errorf("%d sent, want 3", len(g.ledger))
	}
	open, err := claimUnknown(t.Context(), w.db, w.clock().Wall().Add(48*time.Hour), w.clock().Wall(), 10)
	if err != nil || len(open) != 1 || !slices.Contains(open[0].Known, "p-"+g.ledger[1].AttemptID.String()) || !open[0].Alone {
		t.Errorf("the question knows %+v, %v", open, err)
	}
}
