package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Kinds of trials: messages to numbers of our own.
const (
	selfTest = "self_test" // monthly, so that the signature's registration does not lapse (dossier F)
	testSend = "test_send" // an operator tries a gateway
)

// trialName is masked like a resident's: what arrives begins with 测**.
const trialName = "测试"

// A Trial is one message to a number of our own, without the number.
type Trial struct {
	ID       uuid.UUID `db:"id"`
	Gateway  string    `db:"gateway"`
	Template string    `db:"template"` // name and version of the text
	State    string    `db:"state"`
	Class    string    `db:"class"`
	Code     string    `db:"code"`
}

// Fine reports whether the gateway took it, and no receipt says that it did not arrive.
func (t Trial) Fine() bool { return t.State == accepted && t.Class == "" }

// Trials sends messages to numbers of our own. Their texts are the residents', for a gateway takes no others, with values
// that are nobody's.
type Trials struct {
	db       *sqlx.DB
	vault    *vault.Vault
	gateways *Gateways
	clock    courier.Clock
	opts     Options
	phones   []vault.Secret
	log      *slog.Logger
}

// NewTrials returns a Trials; phones are those of the monthly self-test, which may be none. opts are the Sender's.
func NewTrials(db *sqlx.DB, v *vault.Vault, g *Gateways, clock courier.Clock, opts Options, phones []vault.Secret, log *slog.Logger) *Trials {
	return &Trials{db, v, g, clock, opts.withDefaults(), phones, log}
}

// Send sends one text with sample values to a number through one gateway, and tells what came of it. It has an entry in the
// audit chain before anything is sent.
func (t *Trials) Send(ctx context.Context, gateway string, text Milestone, phone vault.Secret, by string) (Trial, error) {
	g := t.gateways.find(gateway)
	switch {
	case g == nil:
		return Trial{}, fmt.Errorf("test-send: EMSD_SMS names no gateway %q", gateway)
	case !text.HasText():
		return Trial{}, fmt.Errorf("test-send: there is no text %q", text)
	case !IsMobile(phone.Reveal()):
		return Trial{}, errors.New("test-send: a mainland mobile number of 11 digits is wanted")
	}
	j, err := t.begin(ctx, testSend, g, text, phone, by)
	if err != nil {
		return Trial{}, fmt.Errorf("test-send: %w", err)
	}
	if j, err = t.send(ctx, g, j, text, phone); err != nil {
		return j, fmt.Errorf("test-send: %w", err)
	}
	return j, nil
}

// begin commits the intent. uuid.Nil as id of the trial means that there is one this month already.
func (t *Trials) begin(ctx context.Context, kind string, g Gateway, text Milestone, phone vault.Secret, by string) (Trial, error) {
	j := Trial{ID: uuid.Must(uuid.NewV7()), Gateway: g.Name(), Template: fmt.Sprintf("%s/%d", text, TextVersion(text)), State: sending}
	err := courier.InTx(ctx, t.db, func(tx *sqlx.Tx) (err error) {
		now := t.clock.Now()
		if j.ID, err = insertTrial(ctx, tx, kind, j, t.vault.Lookup(vault.ColumnPhone, phone.Reveal()), now, t.clock.Wall(), by); err != nil || j.ID == uuid.Nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "message." + kind, Object: j.ID.String(),
			Detail: map[string]string{"gateway": j.Gateway, "text": j.Template}})
	})
	return j, err
}

// send makes the request of a trial whose intent is committed, and records what came of it.
func (t *Trials) send(ctx context.Context, g Gateway, j Trial, text Milestone, phone vault.Secret) (Trial, error) {
	sent, failure := t.post(ctx, g, j.ID, text, phone)
	j.State = accepted
	if failure != nil {
		switch j.State, j.Class, j.Code = rejected, failure.Class.String(), failure.Code; failure.Class {
		case Unsent:
			j.State = unsent
		case Unknown:
			j.State = unknown
		}
		t.log.Warn("a message to a number of our own was not accepted", "gateway", j.Gateway, "trial", j.ID.String(), "text", j.Template,
			"class", j.Class, "code", j.Code, "message", failure.Message)
	}
	return j, endTrial(context.WithoutCancel(ctx), t.db, j, sent.ProviderID, t.clock.Wall())
}

func (t *Trials) post(ctx context.Context, g Gateway, id uuid.UUID, text Milestone, phone vault.Secret) (Sent, *SendError) {
	vars := trialFields(text)
	if unfit := check(g, text, vars); unfit != nil {
		return Sent{}, unfit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.PostTimeout)
	defer cancel()
	sent, err := g.Send(ctx, SMS{AttemptID: id, Phone: phone, Milestone: text, Vars: vars, Segments: segmentsOf(t.opts.Signatures[g.Name()], text, vars)})
	if err == nil {
		return sent, nil
	}
	if e, ok := errors.AsType[*SendError](err); ok {
		return Sent{}, e
	}
	return Sent{}, &SendError{Class: Unknown, Code: "unclassified"}
}

func trialFields(text Milestone) map[string]string {
	return Fields(text, trialName, Facts{WaybillNo: "0000000000000", DueFen: 1, Password: "000000"})
}

// Round gives every number of the self-test its message of this month from every gateway with an account: once, whatever
// crashes. What surely was not taken is tried again by the next round.
func (t *Trials) Round(ctx context.Context) error {
	var errs []error
	for _, g := range t.gateways.list {
		text := trialText(g)
		if text == "" {
			continue
		}
		for _, phone := range t.phones {
			if err := ctx.Err(); err != nil {
				return errors.Join(append(errs, err)...)
			}
			if err := t.once(ctx, g, text, phone); err != nil {
				errs = append(errs, fmt.Errorf("self-test of %s: %w", g.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}

func (t *Trials) once(ctx context.Context, g Gateway, text Milestone, phone vault.Secret) error {
	j, err := t.begin(ctx, selfTest, g, text, phone, "emsd")
	if err != nil || j.ID == uuid.Nil {
		return err
	}
	t.opts.at(PointTrialIntentCommitted)
	_, err = t.send(ctx, g, j, text, phone)
	return err
}

// trialText is the text of the self-test: one with few variables, which every account may send. A gateway without an account
// has none.
func trialText(g Gateway) Milestone {
	templated, ok := g.(Templated)
	if !ok {
		return ""
	}
	for _, m := range append([]Milestone{Cancelled, Returned}, Milestones...) {
		if templated.HasTemplate(m) {
			return m
		}
	}
	return ""
}

// A SelfTest is how the self-test of this month stands at a gateway.
type SelfTest struct {
	Gateway string
	Numbers int     // that are to get a message
	Fine    int     // that the gateway took
	Failed  []Trial // the others that were tried
}

// SelfTests tells how the self-tests of this month stand.
func (t *Trials) SelfTests(ctx context.Context) ([]SelfTest, error) {
	trials, err := readTrials(ctx, t.db, selfTest, monthOf(t.clock.Now()), t.lookups())
	if err != nil {
		return nil, err
	}
	var all []SelfTest
	for _, g := range t.gateways.list {
		if trialText(g) == "" {
			continue
		}
		s := SelfTest{Gateway: g.Name(), Numbers: len(t.phones)}
		for _, j := range trials {
			switch {
			case j.Gateway != g.Name():
			case j.Fine():
				s.Fine++
			default:
				s.Failed = append(s.Failed, j)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

func (t *Trials) lookups() [][]byte {
	numbers := make([][]byte, len(t.phones))
	for i, phone := range t.phones {
		numbers[i] = t.vault.Lookup(vault.ColumnPhone, phone.Reveal())
	}
	return numbers
}

// String tells how it stands, without a number.
func (s SelfTest) String() string {
	text := fmt.Sprintf("%d of %d numbers this month", s.Fine, s.Numbers)
	for _, j := range s.Failed {
		text += fmt.Sprintf("; %s %s %s", j.State, j.Class, cmp.Or(j.Code, "-"))
	}
	return text
}

// monthOf is the first day of the month of Beijing.
func monthOf(t time.Time) string { return t.In(beijing).Format("2006-01-02")[:8] + "01" }
