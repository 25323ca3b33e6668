package main

import (
	"context"
	"fmt"
	"io"

	"emsd/cmd/emsd/internal/intake"
)

type importCmd struct {
	File   string `arg:"" help:"A .jsonl, .csv or .xlsx file of permits, stations or tariffs; its headings tell which."`
	DryRun bool   `help:"Check every row and change nothing."`
}

// Run loads the good rows and reports the bad ones. Bad rows make it fail, after everything else is loaded.
func (c importCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		bar := newProgress(e.err, c.File)
		defer bar.stop()
		sum, err := loadFile(e.ctx, c.File, &intake.Loader{Service: a.service, By: "import", DryRun: c.DryRun, Bad: complainTo(e.out), Progress: bar.update})
		bar.stop()
		if err != nil {
			return err
		}
		fmt.Fprintln(e.out, sum)
		if sum.Bad > 0 {
			return fmt.Errorf("%d rows were not loaded: mend them as reported and import the file again, what is loaded stays as it is", sum.Bad)
		}
		return nil
	})
}

// loadFile loads a file from its path.
func loadFile(ctx context.Context, path string, l *intake.Loader) (intake.Summary, error) {
	rows, err := intake.OpenFile(path)
	if err != nil {
		return intake.Summary{}, err
	}
	defer rows.Close()
	sum, err := l.Load(ctx, rows)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return sum, err
}

// complainTo tells of bad rows, a line per fault: row, column, cause.
func complainTo(w io.Writer) func(intake.Row, []intake.Fault) error {
	return func(r intake.Row, faults []intake.Fault) error {
		for _, f := range faults {
			column := ""
			if f.Column != "" {
				column = ", " + f.Column
			}
			fmt.Fprintf(w, "row %d%s: %s\n", r.Number, column, f.Cause)
		}
		return nil
	}
}
