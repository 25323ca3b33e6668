package notify

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// receiptChunk bounds one transaction of the receipt round, and what one push may append.
const receiptChunk = 1000

// A Receipt is a carrier's later word about one attempt, as a gateway passed it on.
type Receipt struct {
	AttemptID  uuid.UUID // uuid.Nil when the id that came is not of our form
	ProviderID string
	// Where our id is left out: the number, never stored, by which the attempt is found, and when the gateway took the message, if it
	// says.
	Phone       vault.Secret
	SubmittedAt time.Time
	Success     bool
	Code        string
}

// What a receipt changed.
const (
	receiptStranger  = "stranger"  // names no attempt of ours
	receiptDuplicate = "duplicate" // says what was known
	receiptTrial     = "trial"     // is about a message to a number of our own
	receiptContrary  = "contrary"  // contradicts what was settled; the first word stands
)

var receiptResults = []string{accepted, delivered, failed, receiptStranger, receiptTrial, receiptDuplicate, receiptContrary}

// Receipts takes receipts in and joins them to attempts.
type Receipts struct {
	db       *sqlx.DB
	vault    *vault.Vault
	gateways *Gateways
	clock    courier.Clock
	opts     Options
	log      *slog.Logger
	metrics  *Metrics

	mu       sync.Mutex
	unstored map[string][]Receipt // by gateway: fetched, and not stored yet
}

// NewReceipts returns Receipts; opts are the Sender's, metrics may be nil.
func NewReceipts(db *sqlx.DB, v *vault.Vault, g *Gateways, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Receipts {
	return &Receipts{db: db, vault: v, gateways: g, clock: clock, opts: opts.withDefaults(), log: log, metrics: m, unstored: map[string][]Receipt{}}
}

// Append stores receipts as a gateway posted them and does nothing else: it waits for its answer 700 ms at most (A.8).
// When it returns nil they are kept for good.
func (r *Receipts) Append(ctx context.Context, gateway string, receipts []Receipt) error {
	for len(receipts) > 0 {
		n := min(len(receipts), receiptChunk)
		if err := appendReceipts(ctx, r.db, gateway, receipts[:n], r.lookups(receipts[:n]), r.clock.Now()); err != nil {
			return err
		}
		receipts = receipts[n:]
	}
	return nil
}

// lookups gives the keyed hashes of the receipts' numbers.
func (r *Receipts) lookups(receipts []Receipt) [][]byte {
	hashes := make([][]byte, len(receipts))
	for i, one := range receipts {
		if phone := one.Phone.Reveal(); phone != "" {
			hashes[i] = r.vault.Lookup(vault.ColumnPhone, phone)
		}
	}
	return hashes
}

// Round joins every stored receipt to its attempt. A receipt settles an attempt of unknown outcome, too, and one whose
// own answer is still on its way.
func (r *Receipts) Round(ctx context.Context) error {
	if err := r.pull(ctx); err != nil {
		return err
	}
	for {
		n, err := r.chunk(ctx)
		if err != nil {
			return fmt.Errorf("work through receipts: %w", err)
		}
		if n < receiptChunk {
			return r.missing(ctx)
		}
	}
}

// receiptsWithin is how long a final receipt may take; carriers give up on a phone that is off after two days at most,
// and say so within one as a rule.
const receiptsWithin = 24 * time.Hour

// missing notes and counts the messages of which no receipt came: gateways that give none are left out. A receipt that
// comes later still settles its attempt.
func (r *Receipts) missing(ctx context.Context) error {
	var of []string
	for _, g := range r.gateways.list {
		if _, ok := g.(ReceiptReader); ok {
			of = append(of, g.Name())
		}
	}
	now := r.clock.Now()
	for {
		counts, more, err := markNoReceipt(ctx, r.db, of, now)
		if err != nil {
			return fmt.Errorf("note missing receipts: %w", err)
		}
		for gateway, missing := range counts {
			r.metrics.notReceived(gateway, missing)
			r.log.Warn("messages that a gateway took have no receipt after a day", "gateway", gateway, "count", missing)
		}
		if !more {
			return nil
		}
	}
}

// pull fetches the receipts of gateways that do not bring them, and stores them before anything else: they may be handed
// out once only. Those that cannot be stored are kept, and nothing more is fetched from their gateway until they are.
func (r *Receipts) pull(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.gateways.list {
		puller, ok := g.(Puller)
		if !ok {
			continue
		}
		if len(r.unstored[g.Name()]) == 0 {
			list, err := puller.Pull(ctx)
			if err != nil {
				r.log.Warn("receipts could not be fetched", "gateway", g.Name(), "class", classOf(err).String())
				continue
			}
			if len(list) == 0 {
				continue
			}
			r.unstored[g.Name()] = list
			r.opts.at(PointReceiptsPulled)
		}
		if err := r.store(ctx, g.Name(), r.unstored[g.Name()]); err != nil {
			return err
		}
		delete(r.unstored, g.Name())
		r.opts.at(PointReceiptsStored)
	}
	return nil
}

// store is Append for what nobody brings again: a stop does not cut it short.
func (r *Receipts) store(ctx context.Context, gateway string, receipts []Receipt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return r.Append(ctx, gateway, receipts)
}

// openStates lists what a receipt may settle. Absent and abandoned are among them: a gateway that did not know an attempt
// may yet deliver it.
var openStates = []string{sending, unknown, accepted, absent, abandoned}

func (r *Receipts) chunk(ctx context.Context) (int, error) {
	var open []openReceipt
	results := make(map[string]int)
	err := courier.InTx(ctx, r.db, func(tx *sqlx.Tx) error {
		var err error
		if open, err = claimReceipts(ctx, tx, receiptChunk); err != nil || len(open) == 0 {
			return err
		}
		return r.join(ctx, tx, open, results)
	})
	if err != nil {
		return 0, err
	}
	for result, n := range results {
		r.metrics.received(result, n)
	}
	if n := results[receiptStranger]; n > 0 {
		r.log.Warn("receipts for messages that are not ours", "count", n)
	}
	return len(open), nil
}

// join settles attempts by a chunk of receipts.
func (r *Receipts) join(ctx context.Context, tx *sqlx.Tx, open []openReceipt, results map[string]int) error {
	now, wall := r.clock.Now(), r.clock.Wall()
	trials, open := r.ofTrials(open, results)
	if err := reportTrials(ctx, tx, trials); err != nil {
		return err
	}
	all := append(slices.Clone(open), trials...)
	settlings, of := r.read(open, results)
	lost, err := settle(ctx, tx, openStates, settlings, now, wall)
	if err != nil {
		return err
	}
	var cases []courier.NewCase
	var closings []courier.CaseClosing
	for i, s := range settlings {
		o := of[i]
		switch {
		case lost[s.attempt]:
			results[receiptDuplicate]++
			continue
		case s.state == failed:
			cases = append(cases, smsFailed(*o.DeliveryID, o.Milestone, s.reason, now, r.opts.CaseWithin))
		case s.state == delivered && (o.State == absent || o.State == abandoned) && mustKnow[o.Milestone]:
			closings = append(closings, courier.CaseClosing{DeliveryID: *o.DeliveryID, Kind: courier.CaseSMSFailed, At: now,
				Outcome: "arrived", By: "emsd", Why: "回执确认短信已送达"})
		}
		results[s.state]++
	}
	if err := courier.OpenCases(ctx, tx, cases); err != nil {
		return err
	}
	if err := courier.CloseCases(ctx, tx, closings); err != nil {
		return err
	}
	if err := markReceipts(ctx, tx, all, now); err != nil {
		return err
	}
	r.opts.at(PointReceiptsJoined)
	return nil
}

// ofTrials parts the receipts about messages to numbers of our own from those about residents'.
func (r *Receipts) ofTrials(open []openReceipt, results map[string]int) (trials, others []openReceipt) {
	for _, o := range open {
		if o.TrialID == nil {
			others = append(others, o)
			continue
		}
		results[receiptTrial]++
		s := r.settling(o)
		o.TrialClass, o.Code = s.class, cut(o.Code, 100)
		if s.state != failed {
			o.Code = ""
		}
		trials = append(trials, o)
	}
	return trials, others
}

// read turns receipts into settlings, one an attempt at most: of several in a chunk the first that ends it counts.
func (r *Receipts) read(open []openReceipt, results map[string]int) (settlings []settling, of []openReceipt) {
	at := make(map[uuid.UUID]int)
	for _, o := range open {
		if o.State == "" {
			results[receiptStranger]++
			continue
		}
		s := r.settling(o)
		if i, seen := at[o.AttemptID]; seen {
			switch {
			case settlings[i].state == accepted && s.state != accepted:
				settlings[i] = s
			case s.state == settlings[i].state || s.state == accepted:
				results[receiptDuplicate]++
			default:
				results[receiptContrary]++
			}
			continue
		}
		switch o.State {
		case delivered, failed, accepted:
			if s.state == o.State || s.state == accepted {
				results[receiptDuplicate]++
				continue
			}
			if o.State != accepted {
				results[receiptContrary]++
				continue
			}
		case rejected, unsent:
			results[receiptContrary]++
			r.log.Error("a receipt names an attempt that its gateway had refused", "gateway", o.Gateway, "attempt", o.AttemptID.String(), "code", o.Code)
			continue
		}
		at[o.AttemptID] = len(settlings)
		settlings, of = append(settlings, s), append(of, o)
	}
	return settlings, of
}

// settling says what one receipt makes of its attempt.
func (r *Receipts) settling(o openReceipt) settling {
	outcome, class := NotArrived, Unknown
	if o.Success {
		outcome = Arrived
	}
	if reader, ok := r.gateways.find(o.Gateway).(ReceiptReader); ok {
		outcome, class = reader.ReadReceipt(o.Success, o.Code)
	}
	s := settling{attempt: o.AttemptID, milestone: o.Milestone, code: o.Code, providerID: o.ProviderID}
	if o.DeliveryID != nil {
		s.delivery = *o.DeliveryID
	}
	switch outcome {
	case Arrived:
		s.state, s.messageState, s.reason = delivered, delivered, "回执：短信已送达"
	case Pending:
		s.state, s.messageState, s.reason = accepted, accepted, "回执：短信网关已接收，等待运营商回执"
	default:
		s.state, s.messageState, s.class = failed, failed, class.String()
		s.reason = explain(class, o.Code)
		if class == Configuration || class == Unregistered {
			r.log.Error("a carrier refuses our signature or route: a person is needed", "gateway", o.Gateway, "code", o.Code)
		}
	}
	return s
}
