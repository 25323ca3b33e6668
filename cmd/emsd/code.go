package main

import (
	"fmt"
	"os/user"
	"time"

	"emsd/tracking"
)

type codeCmd struct {
	List   codeListCmd   `cmd:"" help:"List the codes that nobody has decided about, and the decisions."`
	Decide codeDecideCmd `cmd:"" help:"Record what a code of EMS's means and apply it: a dated row, no release."`
}

type codeListCmd struct{}

// Run lists unknown codes, then decisions.
func (codeListCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		unknown, err := tracking.UnknownCodes(e.ctx, a.db)
		if err != nil {
			return err
		}
		for _, u := range unknown {
			fmt.Fprintf(e.out, "unknown  %-12s %-20s %7d scans  %s to %s  delivery %s\n", u.Code, u.Name, u.Seen, shortTime(u.FirstAt), shortTime(u.LastAt), u.Example)
		}
		decisions, err := tracking.Decisions(e.ctx, a.db)
		if err != nil {
			return err
		}
		for _, d := range decisions {
			applied := ""
			if d.Applied != nil && d.Applied.DoneAt.IsZero() {
				applied = fmt.Sprintf("  (being applied: %d looked at, %d changed)", d.Applied.Looked, d.Applied.Changed)
			}
			fmt.Fprintf(e.out, "decided  %-12s %-20s from %s  by %s, %s: %s%s\n", d.Code, d.Meaning, shortTime(d.ValidFrom), d.By, shortTime(d.At), d.Reason, applied)
		}
		if len(unknown)+len(decisions) == 0 {
			fmt.Fprintln(e.out, "no unknown code, no decision")
		}
		return nil
	})
}

type codeDecideCmd struct {
	Code     string `arg:"" help:"For example 999, or 704/99 for who received, 705/99 for why not."`
	Meaning  string `arg:"" help:"Of a code a group (in_transit, held, …) or void:203; of 704/… a recipient class; of 705/… attempt_failed, held, returning, lost or in_transit."`
	Sentence string `help:"What residents read, in plain Chinese."`
	Reason   string `required:"" help:"What the decision rests on, for example EMS's answer and its day."`
	From     string `help:"Counts for scans from this day on, yyyy-mm-dd; without it for all."`
	DryRun   bool   `help:"Tell what would change and change nothing."`
}

// always is the beginning of a decision that counts for all scans.
var always = time.Date(2000, 1, 1, 0, 0, 0, 0, beijing)

// Run records the decision and folds the deliveries that have the code anew.
func (c codeDecideCmd) Run(e *world) error {
	d := tracking.Decision{Code: c.Code, Meaning: c.Meaning, Sentence: c.Sentence, ValidFrom: always}
	if c.From != "" {
		day, err := time.ParseInLocation(time.DateOnly, c.From, beijing)
		if err != nil {
			return usageError{fmt.Errorf("--from: %q is not a day such as 2026-11-24", c.From)}
		}
		d.ValidFrom = day
	}
	return withApp(e, func(a *app) error {
		f := a.refolder()
		stop := watchRefold(e, f)
		decide := func() (tracking.RefoldReport, error) { return f.DecideNow(e.ctx, d, operator(), c.Reason) }
		if c.DryRun {
			decide = func() (tracking.RefoldReport, error) { return f.Forecast(e.ctx, d, c.Reason) }
		}
		report, err := decide()
		stop()
		if err != nil {
			return err
		}
		tellRefold(e, report, c.DryRun)
		return nil
	})
}

// operator is who runs a command, as this machine knows them.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "operator:" + u.Username
	}
	return "operator"
}
