package main

import (
	"fmt"
	"io"
	"time"

	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

type refoldCmd struct {
	Since    string    `help:"Only deliveries whose trace has grown since this day, yyyy-mm-dd."`
	Delivery uuid.UUID `help:"Only this delivery."`
	DryRun   bool      `help:"Tell what would change and change nothing."`
}

// Run computes anew what stored scans mean: after a release with a mended table, or a policy that was changed. It may run
// beside daemons and be run again.
func (c refoldCmd) Run(e *world) error {
	scope := tracking.RefoldScope{Delivery: c.Delivery}
	if c.Since != "" {
		day, err := time.ParseInLocation(time.DateOnly, c.Since, beijing)
		if err != nil {
			return usageError{fmt.Errorf("--since: %q is not a day such as 2026-11-24", c.Since)}
		}
		scope.Since = day
	}
	return withApp(e, func(a *app) error {
		f := a.refolder()
		stop := watchRefold(e, f)
		report, err := f.Refold(e.ctx, scope, "refold:"+version(), c.DryRun)
		stop()
		tellRefold(e, report, c.DryRun)
		return err
	})
}

func (a *app) refolder() *tracking.Refolder {
	return tracking.NewRefolder(a.db, a.vault, a.clock, a.log)
}

// watchRefold shows how far it has come: a bar on a terminal, a line every few seconds elsewhere. What it returns ends it.
func watchRefold(e *world, f *tracking.Refolder) (stop func()) {
	if terminal(e.err) {
		return drawRefold(e.err, f)
	}
	last := time.Now()
	f.Progress = func(looked, total int) {
		if time.Since(last) > 2*time.Second {
			last = time.Now()
			fmt.Fprintf(e.err, "%d of %d deliveries looked at\n", looked, total)
		}
	}
	return func() {}
}

func drawRefold(w io.Writer, f *tracking.Refolder) (stop func()) {
	pool := mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))
	var bar *mpb.Bar
	f.Progress = func(looked, total int) {
		if bar == nil {
			bar = pool.AddBar(int64(total), mpb.PrependDecorators(decor.Name("refold  ")),
				mpb.AppendDecorators(decor.Percentage(), decor.CountersNoUnit("  %d of %d deliveries")))
		}
		bar.SetCurrent(int64(min(looked, max(total-1, 0)))) // the last step is stop's: a full bar is final
	}
	return func() {
		if bar != nil && !bar.Completed() {
			bar.SetTotal(-1, true)
		}
		pool.Wait()
	}
}

func tellRefold(e *world, r tracking.RefoldReport, dryRun bool) {
	for _, line := range r.Lines() {
		fmt.Fprintln(e.out, line)
	}
	what := "changed"
	if dryRun {
		what = "would change"
	}
	fmt.Fprintf(e.out, "%d deliveries looked at, %d %s\n", r.Looked, r.Changed, what)
	if r.Bygone > 0 {
		fmt.Fprintf(e.out, "%d are left as they are: the scans that brought their status are dropped\n", r.Bygone)
	}
	if r.Skipped > 0 {
		fmt.Fprintf(e.out, "%d were in other hands throughout: run it again for them\n", r.Skipped)
	}
}
