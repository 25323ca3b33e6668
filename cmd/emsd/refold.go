package main

import (
	"fmt"
	"time"

	"emsd/tracking"

	"github.com/google/uuid"
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
		watchRefold(e, f)
		report, err := f.Refold(e.ctx, scope, "refold:"+version(), c.DryRun)
		tellRefold(e, report, c.DryRun)
		return err
	})
}

func (a *app) refolder() *tracking.Refolder {
	return tracking.NewRefolder(a.db, a.vault, a.clock, a.log)
}

// watchRefold tells every few seconds how far it has come.
func watchRefold(e *world, f *tracking.Refolder) {
	last := time.Now()
	f.Progress = func(looked int) {
		if time.Since(last) > 2*time.Second {
			last = time.Now()
			fmt.Fprintf(e.err, "%d deliveries looked at\n", looked)
		}
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
	if r.Skipped > 0 {
		fmt.Fprintf(e.out, "%d were in other hands throughout: run it again for them\n", r.Skipped)
	}
}
