package tracking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

const (
	// foldLease is how long a decision is its applier's; every chunk renews it. Finding the deliveries of a code may take a
	// pass over all scans.
	foldLease = 5 * time.Minute
	// foldAgain is when those are tried again that others held throughout.
	foldAgain = time.Minute
)

// errTakenUp says that somebody else goes on with a decision: its lease had run out.
var errTakenUp = errors.New("the decision is applied by another process by now")

// Progress tells how far a decision has been applied to what was stored before it.
type Progress struct {
	RefoldReport
	DoneAt time.Time // zero: under way
}

// An applying is a decision that is being applied.
type applying struct {
	decision int64
	holder   uuid.UUID
	code     string
	after    uuid.UUID // the last delivery of the chunks so far
	report   RefoldReport
}

// Decide records what a code means: a dated row, never overwritten, which counts from its commit on. Round applies it to
// what is stored. The faults of a decision that cannot be read are courier.Faults.
func (f *Refolder) Decide(ctx context.Context, d Decision, by, reason string) (RecordedDecision, error) {
	made, _, err := f.record(ctx, d, by, reason, 0)
	return made, err
}

// DecideNow is Decide for a caller who waits until it is applied. What it leaves undone Round does.
func (f *Refolder) DecideNow(ctx context.Context, d Decision, by, reason string) (RefoldReport, error) {
	_, work, err := f.record(ctx, d, by, reason, foldLease)
	if err != nil {
		return RefoldReport{}, err
	}
	return f.apply(ctx, work)
}

// Forecast tells what a decision would change.
func (f *Refolder) Forecast(ctx context.Context, d Decision, reason string) (RefoldReport, error) {
	if err := checkDecision(d, reason); err != nil {
		return RefoldReport{}, err
	}
	book, err := f.book(ctx, d)
	if err != nil {
		return RefoldReport{}, err
	}
	job := &refoldJob{Refolder: f, why: cause{rule: "refold:decision"}, dryRun: true}
	return job.run(ctx, book, RefoldScope{Code: d.Code})
}

func checkDecision(d Decision, reason string) error {
	if err := d.Check(); err != nil {
		return err
	}
	if strings.TrimSpace(reason) == "" {
		return courier.Faults{{Field: "reason", Code: "required", Detail: "请填写依据，例如邮政的答复和日期"}}
	}
	return nil
}

// record writes a decision, its entry of the audit and the work that follows, which is the caller's for a time.
func (f *Refolder) record(ctx context.Context, d Decision, by, reason string, mine time.Duration) (made RecordedDecision, work applying, err error) {
	if err := checkDecision(d, reason); err != nil {
		return made, work, err
	}
	made = RecordedDecision{Decision: d, At: f.clock.Now(), By: by, Reason: reason, Applied: &Progress{}}
	work = applying{code: d.Code, holder: uuid.New()}
	err = f.on.InTx(ctx, func(tx *sqlx.Tx) (err error) {
		if made.ID, err = insertDecision(ctx, tx, made); err != nil {
			return fmt.Errorf("record the decision about %s: %w", d.Code, err)
		}
		work.decision = made.ID
		if err := insertFold(ctx, tx, work, f.clock.Wall().Add(mine)); err != nil {
			return err
		}
		if err := courier.Wake(ctx, tx, courier.WakeCodes); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: made.At, Actor: by, Action: "code.decide", Object: d.Code,
			Detail: map[string]string{"meaning": d.Meaning, "sentence": d.Sentence, "valid_from": d.ValidFrom.Format(time.RFC3339), "reason": reason}})
	})
	return made, work, err
}

// Round applies every decision that waits for it. What a dead process has left is gone on with after its lease, behind its
// last chunk.
func (f *Refolder) Round(ctx context.Context) error {
	for {
		wall := f.clock.Wall()
		work, found, err := claimFold(ctx, f.on, uuid.New(), wall, wall.Add(foldLease))
		if err != nil || !found {
			return err
		}
		if _, err := f.apply(ctx, work); err != nil && !errors.Is(err, errTakenUp) {
			return err
		}
	}
}

// apply folds the deliveries of a decision's code anew, from where the work stopped.
func (f *Refolder) apply(ctx context.Context, work applying) (RefoldReport, error) {
	report, err := f.fold(ctx, work)
	if err == nil {
		err = endFold(ctx, f.on, work, report, f.clock.Wall())
	}
	if err != nil {
		// Who comes next need not wait for the lease; that it cannot be given back costs no more than that.
		giveBack, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return report, errors.Join(fmt.Errorf("apply decision %d: %w", work.decision, err), releaseFold(giveBack, f.on, work, f.clock.Wall()))
	}
	f.log.InfoContext(ctx, "a decision about a code is applied", "code", work.code, "decision", work.decision,
		"looked", report.Looked, "changed", report.Changed, "skipped", report.Skipped)
	return report, nil
}

func (f *Refolder) fold(ctx context.Context, work applying) (RefoldReport, error) {
	book, err := f.book(ctx)
	if err != nil {
		return work.report, err
	}
	job := &refoldJob{Refolder: f, why: cause{rule: fmt.Sprintf("refold:decision-%d", work.decision)}, after: work.after, report: work.report}
	job.save = func(ctx context.Context, tx *sqlx.Tx, after uuid.UUID, report RefoldReport) error {
		return saveFold(ctx, tx, work, after, report, f.clock.Wall().Add(foldLease))
	}
	return job.run(ctx, book, RefoldScope{Code: work.code})
}
