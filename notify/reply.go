package notify

import (
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

// replyChunk bounds one transaction of the reply round, and what one push may append at a time.
const replyChunk = 500

// dropChunk bounds one statement that drops old replies.
const dropChunk = 5000

// replyLength is how many characters of a reply are kept.
const replyLength = 1000

// A Reply is what somebody answered to a message, as a gateway passed it on.
type Reply struct {
	Phone    vault.Secret
	Text     vault.Secret
	Sequence string    // the gateway's own number of the reply, if it has one
	SentAt   time.Time // zero when the gateway does not say
}

// Replies takes replies in, stops the numbers that refuse and tells clerks whose number is wrong.
type Replies struct {
	db       *sqlx.DB
	vault    *vault.Vault
	gateways *Gateways
	clock    courier.Clock
	opts     Options
	log      *slog.Logger
	metrics  *Metrics
}

// NewReplies returns Replies; opts are the Sender's, metrics may be nil.
func NewReplies(db *sqlx.DB, v *vault.Vault, g *Gateways, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Replies {
	return &Replies{db: db, vault: v, gateways: g, clock: clock, opts: opts.withDefaults(), log: log, metrics: m}
}

// Pull fetches the replies of gateways that do not bring them. Each part is stored before more is asked for, since it may be
// handed out once only.
func (r *Replies) Pull(ctx context.Context) error {
	var errs []error
	for _, g := range r.gateways.list {
		puller, ok := g.(ReplyPuller)
		for more := ok; more && ctx.Err() == nil; {
			list, further, err := puller.PullReplies(ctx)
			if err != nil {
				r.log.Warn("replies could not be fetched", "gateway", g.Name(), "class", classOf(err).String())
				break
			}
			if err := r.Append(context.WithoutCancel(ctx), g.Name(), list); err != nil {
				errs = append(errs, err)
				break
			}
			more = further
		}
	}
	return errors.Join(errs...)
}

// Append stores replies as a gateway posted them and wakes who reads them, at once: the next message may be due. A reply that was
// stored before is the same one.
func (r *Replies) Append(ctx context.Context, gateway string, replies []Reply) error {
	for len(replies) > 0 {
		n := min(len(replies), replyChunk)
		rows := make([]replyRow, n)
		for i, one := range replies[:n] {
			rows[i] = r.sealed(one)
		}
		if err := appendReplies(ctx, r.db, gateway, rows, r.clock.Now()); err != nil {
			return err
		}
		replies = replies[n:]
	}
	return nil
}

func (r *Replies) sealed(one Reply) replyRow {
	text := cut(one.Text.Reveal(), replyLength)
	same := "sequence\x00" + one.Sequence
	if one.Sequence == "" {
		same = fmt.Sprintf("words\x00%s\x00%d\x00%s", one.Phone.Reveal(), one.SentAt.Unix(), text)
	}
	id := uuid.Must(uuid.NewV7())
	return replyRow{ID: id, Same: r.vault.Lookup(vault.ColumnReply, same), Number: r.vault.Lookup(vault.ColumnPhone, one.Phone.Reveal()),
		Text: r.vault.Seal(vault.ColumnReply, id, text), SentAt: one.SentAt}
}

// Purge drops what was received before a time and worked through. What a refusal did stays: the do-not-send list, and cases.
func (r *Replies) Purge(ctx context.Context, before time.Time) error {
	for {
		n, err := dropReplies(ctx, r.db, before, dropChunk)
		if err != nil || n < dropChunk {
			return err
		}
	}
}

// Round reads every stored reply. What it stops is stopped, audited and told to clerks in one transaction.
func (r *Replies) Round(ctx context.Context) error {
	for {
		var open []replyRow
		err := courier.HandleOf(r.db).InTx(ctx, func(tx *sqlx.Tx) error {
			var err error
			if open, err = claimReplies(ctx, tx, replyChunk); err != nil || len(open) == 0 {
				return err
			}
			return r.read(ctx, tx, open)
		})
		if err != nil {
			return fmt.Errorf("work through replies: %w", err)
		}
		for _, o := range open {
			r.metrics.replied(o.Gateway, o.Meaning)
		}
		if len(open) < replyChunk {
			return nil
		}
	}
}

func (r *Replies) read(ctx context.Context, tx *sqlx.Tx, open []replyRow) error {
	now := r.clock.Now()
	var calls [][]byte
	for i, o := range open {
		text, err := r.vault.Unseal(vault.ColumnReply, o.ID, o.Text)
		if err != nil {
			return err
		}
		open[i].Meaning = MeaningOf(text.Reveal())
		if open[i].Meaning == MeansWrongPerson || open[i].Meaning == MeansDoubt {
			calls = append(calls, o.Number)
		}
	}
	entries, err := r.stop(ctx, tx, open, now)
	if err != nil {
		return err
	}
	live, err := liveDeliveries(ctx, tx, calls)
	if err != nil {
		return err
	}
	if err := courier.OpenCases(ctx, tx, r.cases(open, live, now)); err != nil {
		return err
	}
	if err := markReplies(ctx, tx, open, now); err != nil {
		return err
	}
	return audit.Append(ctx, tx, entries...) // last, for others wait for it
}

// stop keeps the refusals and gives what is to be audited of them.
func (r *Replies) stop(ctx context.Context, tx *sqlx.Tx, open []replyRow, now time.Time) ([]audit.Entry, error) {
	var entries []audit.Entry
	for _, o := range open {
		why := Refusal{ID: uuid.Must(uuid.NewV7()), Since: now, By: "emsd"}
		switch o.Meaning {
		case MeansStop:
			why.Source, why.Why = "reply", "收件人回复短信要求停发"
		case MeansWrongPerson:
			why.Source, why.Why = "wrong_person", "机主回复短信称不是收件人本人"
		default:
			continue
		}
		added, err := insertRefusal(ctx, tx, o.Number, why)
		if err != nil {
			return nil, err
		}
		if added {
			entries = append(entries, why.entry("reply", o.ID))
		}
	}
	return entries, nil
}

// cases asks clerks about every live delivery of a number that is somebody else's, or may be.
func (r *Replies) cases(open []replyRow, live map[string][]uuid.UUID, now time.Time) []courier.NewCase {
	var cases []courier.NewCase
	for _, o := range open {
		for _, id := range live[string(o.Number)] {
			c := courier.NewCase{DeliveryID: id, OpenedAt: now, DueAt: now.Add(r.opts.CaseWithin)}
			switch o.Meaning {
			case MeansWrongPerson:
				c = wrongPersonCase(id, "机主回复短信称不是收件人本人，已停止向该号码发送短信", now, r.opts.CaseWithin)
			case MeansDoubt:
				c.Kind, c.Detail = courier.CaseSMSFailed, "收件人回复了短信，是否要求停发或号码有误不能确定，短信照常发送"
				c.NextAction = "查看收件人的回复，电话核实；要求停发的，登记停发名单"
			default:
				continue
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// A ReadReply is a reply as clerks read it.
type ReadReply struct {
	At      time.Time
	Meaning Meaning // empty: not worked through yet
	Text    vault.Secret
}

// Of lists what was answered from a delivery's number, oldest first, for this delivery or another.
func (r *Replies) Of(ctx context.Context, delivery uuid.UUID) ([]ReadReply, error) {
	rows, err := repliesOf(ctx, r.db, delivery)
	if err != nil {
		return nil, fmt.Errorf("read replies: %w", err)
	}
	replies := make([]ReadReply, len(rows))
	for i, row := range rows {
		text, err := r.vault.Unseal(vault.ColumnReply, row.ID, row.Text)
		if err != nil {
			return nil, fmt.Errorf("read replies: %w", err)
		}
		replies[i] = ReadReply{row.ReceivedAt, row.Meaning, text}
	}
	return replies, nil
}
