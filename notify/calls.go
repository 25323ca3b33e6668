package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// What came of a call.
const (
	CallReached     = "reached"      // told: the case is done
	CallNoAnswer    = "no_answer"    // called again later
	CallWrongNumber = "wrong_number" // the number is somebody else's: stopped, and a case for each delivery of it
	CallRefused     = "refused"      // the resident wants no messages: stopped
)

// CallOutcomes lists what may come of a call.
var CallOutcomes = []string{CallReached, CallNoAnswer, CallWrongNumber, CallRefused}

const (
	callAgainAfter = 2 * time.Hour // of working time, after a call that nobody took
	callsUnheard   = 3             // after so many of them calling does not help
	callLaterAfter = 8 * time.Hour // of working time, from then on
)

// unheardAction is what a clerk does about somebody who does not take calls.
const unheardAction = "多次致电无人接听：请受理派出所协助联系本人，或在申请人来电、来窗口时当面告知"

// Calls is the list of residents whom a message did not reach, and what came of calling them.
type Calls struct {
	on      courier.Handle
	vault   *vault.Vault
	cases   CaseLister
	clock   courier.Clock
	working func(from time.Time, d time.Duration) (time.Time, error)
}

// A CaseLister lists open cases: courier.Service does.
type CaseLister interface {
	Cases(ctx context.Context, f courier.CaseFilter) (courier.CasePage, error)
}

// NewCalls returns Calls; working tells when some working time will have passed.
func NewCalls(db *sqlx.DB, v *vault.Vault, cases CaseLister, clock courier.Clock, working func(time.Time, time.Duration) (time.Time, error)) *Calls {
	return &Calls{courier.HandleOf(db), v, cases, clock, working}
}

// On returns Calls for work on another handle: as a part of the transaction that is open there.
func (c *Calls) On(h courier.Handle) *Calls {
	bound := *c
	bound.on = h
	return &bound
}

// A Call is somebody to telephone: the case says why and what to say. Name and number are in clear; who shows them audits
// the look.
type Call struct {
	courier.Case
	PermitNo  string
	WaybillNo string
	Milestone Milestone // that did not arrive; empty when the case is about something else
	Language  string
	Name      vault.Secret
	Phone     vault.Secret
	Stopped   bool // the number wants no messages
	Tries     []CallTry
}

// A CallTry is one call that was made.
type CallTry struct {
	At      time.Time
	By      string
	Outcome string
	Note    string
}

// A CallPage is a part of the list; Next is the cursor of the page behind it.
type CallPage struct {
	Calls []Call
	Next  string
}

// List gives the open cases of messages that did not arrive, the most urgent first. Limit is 1 to 500, 100 when it is 0.
func (c *Calls) List(ctx context.Context, cursor string, limit int) (CallPage, error) {
	page, err := c.cases.Cases(ctx, courier.CaseFilter{Kind: courier.CaseSMSFailed, Cursor: cursor, Limit: limit})
	if err != nil {
		return CallPage{}, err
	}
	calls, err := c.fill(ctx, page.Cases)
	return CallPage{Calls: calls, Next: page.Next}, err
}

// Of tells whom to call about a case of the list, open or closed.
func (c *Calls) Of(ctx context.Context, one courier.Case) (Call, error) {
	if one.Kind != courier.CaseSMSFailed {
		return Call{}, courier.ErrNotFound
	}
	calls, err := c.fill(ctx, []courier.Case{one})
	if err != nil {
		return Call{}, err
	}
	return calls[0], nil
}

func (c *Calls) fill(ctx context.Context, cases []courier.Case) ([]Call, error) {
	ids := make([]uuid.UUID, len(cases))
	for i, one := range cases {
		ids[i] = one.ID
	}
	details, err := readCalls(ctx, c.on.Q(), ids)
	if err != nil {
		return nil, err
	}
	tries, err := callTries(ctx, c.on.Q(), ids)
	if err != nil {
		return nil, err
	}
	calls := make([]Call, len(cases))
	for i, one := range cases {
		d := details[one.ID]
		who, err := d.open(c.vault)
		if err != nil {
			return nil, err
		}
		calls[i] = Call{Case: one, PermitNo: d.PermitNo, WaybillNo: d.WaybillNo, Milestone: d.Milestone, Language: d.Language,
			Name: who.Recipient.Name, Phone: who.Recipient.Phone, Stopped: d.Stopped, Tries: tries[one.ID]}
	}
	return calls, nil
}

// Called records what came of a call, in one transaction with what follows from it.
func (c *Calls) Called(ctx context.Context, id uuid.UUID, outcome, note, by string) error {
	if !slices.Contains(CallOutcomes, outcome) {
		return courier.Faults{{Field: "outcome", Code: "unknown_value", Detail: "通话结果应为其中之一：" + strings.Join(CallOutcomes, "、")}}
	}
	now := c.clock.Now()
	return c.on.InTx(ctx, func(tx *sqlx.Tx) error {
		// The refusal comes before the locks of deliveries, as everywhere, so that nobody waits for another in a ring. Where
		// a caller has locked the delivery first and makes one, InTx does it again.
		delivery, err := deliveryOfCall(ctx, tx, id)
		if err != nil {
			return err
		}
		who, err := readAddressee(ctx, tx, c.vault, delivery)
		if err != nil {
			return err
		}
		note := note
		if note != "" {
			if note, err = courier.Scrub(who.Recipient, "note", note); err != nil {
				return err
			}
		}
		entries, err := c.stop(ctx, tx, who, outcome, by, now)
		if err != nil {
			return err
		}
		if err := lockCall(ctx, tx, delivery, id); err != nil {
			return err
		}
		if err := saveCallTry(ctx, tx, id, CallTry{now, by, outcome, note}); err != nil {
			return err
		}
		if err := c.settle(ctx, tx, who.ID, id, outcome, note, by, now); err != nil {
			return err
		}
		detail := map[string]string{"delivery": delivery.String(), "outcome": outcome}
		if note != "" {
			detail["note"] = note
		}
		return audit.Append(ctx, tx, append(entries, audit.Entry{At: now, Actor: by, Action: "case.called", Object: id.String(), Detail: detail})...)
	})
}

// stop stops the number where the outcome asks for it, and gives what is to be audited of that.
func (c *Calls) stop(ctx context.Context, tx *sqlx.Tx, who addressee, outcome, by string, now time.Time) ([]audit.Entry, error) {
	switch outcome {
	case CallWrongNumber:
		return stopWrongPerson(ctx, tx, who, "电话中机主称不是收件人本人", by, now)
	case CallRefused:
		return stopNumber(ctx, tx, who, Refusal{Source: "clerk", Since: now, By: by, Why: "收件人在电话中要求不再发送短信"})
	}
	return nil, nil
}

// settle closes the case, or says when to call again.
func (c *Calls) settle(ctx context.Context, tx *sqlx.Tx, delivery, id uuid.UUID, outcome, note, by string, now time.Time) error {
	if outcome != CallNoAnswer {
		why := callWords[outcome]
		if note != "" {
			why += "：" + note
		}
		return courier.CloseCases(ctx, tx, []courier.CaseClosing{{DeliveryID: delivery, Kind: courier.CaseSMSFailed, At: now, Outcome: outcome, By: by, Why: why}})
	}
	unheard, err := unheardCalls(ctx, tx, id)
	if err != nil {
		return err
	}
	after, action := callAgainAfter, ""
	if unheard >= callsUnheard {
		after, action = callLaterAfter, unheardAction
	}
	due, err := c.working(now, after)
	if err != nil {
		return fmt.Errorf("when to call again: %w", err)
	}
	return putOffCall(ctx, tx, id, due, action)
}

var callWords = map[string]string{
	CallReached: "已电话告知", CallWrongNumber: "号码不是收件人本人的，已停发短信并转核对联系方式", CallRefused: "收件人要求不再发送短信，已停发",
}
