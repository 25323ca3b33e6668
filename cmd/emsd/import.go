package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"emsd/courier"
)

// importChunk is how many rows share a transaction.
const importChunk = 500

type importCmd struct {
	File   string `arg:"" help:"A .jsonl, .csv or .xlsx file of permits, stations or tariffs; its headings tell which."`
	DryRun bool   `help:"Check every row and change nothing."`
}

// Run loads the good rows and reports the bad ones. Bad rows make it fail, after everything else is loaded.
func (c importCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		im := &importer{service: a.service, out: e.out, dryRun: c.DryRun, now: a.clock.Now}
		im.progress = newProgress(e.err, c.File)
		defer im.progress.stop()
		sum, err := im.file(e.ctx, c.File)
		im.progress.stop()
		if err != nil {
			return err
		}
		fmt.Fprintln(e.out, sum)
		if sum.bad > 0 {
			return fmt.Errorf("%d rows were not loaded: mend them as reported and import the file again, what is loaded stays as it is", sum.bad)
		}
		return nil
	})
}

// An importer loads one file after another. Bad rows are told to out, one line each.
type importer struct {
	service  *courier.Service
	out      io.Writer
	dryRun   bool
	now      func() time.Time
	progress progress
}

// summary counts rows by what became of them.
type summary struct {
	rows, created, existing, refused, payments, bad int
	dryRun                                          bool
}

func (s summary) String() string {
	verb := "imported"
	if s.dryRun {
		verb = "dry run, nothing changed"
	}
	return fmt.Sprintf("%s: %d rows, %d new, %d known already, %d refused by a rule (recorded), %d payments, %d with faults",
		verb, s.rows, s.created, s.existing, s.refused, s.payments, s.bad)
}

// file reads a file to its end; its headings say what it holds.
func (im *importer) file(ctx context.Context, path string) (summary, error) {
	rows, err := openRows(path)
	if err != nil {
		return summary{}, err
	}
	defer rows.Close()
	take := im.permits
	if head := rows.headings(); head != nil {
		if take, err = im.kind(head); err != nil {
			return summary{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	sum := summary{dryRun: im.dryRun}
	var chunk []row
	for {
		r, err := rows.next()
		if err != nil && err != io.EOF {
			return sum, fmt.Errorf("%s: row %d: %w", path, sum.rows+1, err)
		}
		if err == nil {
			chunk = append(chunk, r)
			sum.rows++
		}
		if len(chunk) == importChunk || (err == io.EOF && len(chunk) > 0) {
			if terr := take(ctx, chunk, &sum); terr != nil {
				return sum, terr
			}
			chunk = chunk[:0]
			im.progress.update(rows.read(), rows.total(), sum)
		}
		if err == io.EOF {
			if sum.rows == 0 {
				return sum, fmt.Errorf("%s holds no rows", path)
			}
			return sum, nil
		}
	}
}

// takeFunc takes a chunk of rows and counts them.
type takeFunc func(ctx context.Context, chunk []row, sum *summary) error

// kind tells from the headings what a table holds, and refuses headings that it does not know, for a column that is
// silently left out is noticed too late.
func (im *importer) kind(head []string) (takeFunc, error) {
	has := func(name string) bool { return slices.Contains(head, name) }
	known := func(h string) bool { _, ok := courier.ColumnFor(h); return ok }
	take, what := takeFunc(im.permits), "permits"
	switch {
	case has("zone") && has("provinces"):
		known, take, what = func(h string) bool { return slices.Contains(courier.TariffColumns, h) }, im.tariffs, "tariffs"
	case has("code") && has("kind"):
		known, take, what = func(h string) bool { return slices.Contains(courier.StationColumns, h) }, im.stations, "stations"
	}
	var errs []error
	for i, h := range head {
		if h = strings.TrimSpace(h); h != "" && !known(h) {
			errs = append(errs, fmt.Errorf("column %d: %q is not a column of %s", i+1, h, what))
		}
	}
	if what == "permits" {
		errs = append(errs, missingColumns(head)...)
	}
	return take, errors.Join(errs...)
}

// optionalColumns may be left out of a file of permits.
var optionalColumns = []string{"transaction_no", "paid_fen", "identity_changed", "address_changed"}

func missingColumns(head []string) []error {
	have := map[string]bool{}
	for _, h := range head {
		if c, ok := courier.ColumnFor(h); ok {
			have[c.Name] = true
		}
	}
	var errs []error
	for _, c := range courier.Columns {
		if !have[c.Name] && !slices.Contains(optionalColumns, c.Name) {
			errs = append(errs, fmt.Errorf("the column %s (%s) is missing", c.Name, c.Chinese))
		}
	}
	return errs
}

// complain tells of one fault: row, column, cause.
func (im *importer) complain(number int, column, cause string) {
	if column == "" {
		fmt.Fprintf(im.out, "row %d: %s\n", number, cause)
		return
	}
	fmt.Fprintf(im.out, "row %d, %s: %s\n", number, column, cause)
}

func (im *importer) faults(number int, faults courier.Faults) {
	for _, f := range faults {
		column := f.Field
		if c, ok := courier.ColumnOf(f.Field); ok {
			column = c.Name + " " + c.Chinese
		}
		im.complain(number, column, f.Detail)
	}
}

// permits takes rows of approved permits with the payment that may stand in the same row.
func (im *importer) permits(ctx context.Context, chunk []row, sum *summary) error {
	var intakes []courier.Intake
	var numbers []int
	for _, r := range chunk {
		in, ok := im.intake(r)
		if !ok {
			sum.bad++
			continue
		}
		intakes, numbers = append(intakes, in), append(numbers, r.number)
	}
	take := im.service.AcceptPaid
	if im.dryRun {
		take = im.service.Preview
	}
	results, err := take(ctx, intakes, "import")
	if err != nil {
		return err
	}
	for i, res := range results {
		im.count(numbers[i], res, sum)
	}
	return nil
}

// intake reads one row; what is wrong with its form goes along, so that every fault of the row is told at once.
func (im *importer) intake(r row) (courier.Intake, bool) {
	var in courier.Intake
	switch {
	case r.err != nil:
		im.complain(r.number, "", r.err.Error())
		return in, false
	case r.json != nil:
		in.Application, in.Faults = courier.ParseApplication(r.json)
	default:
		for _, h := range slices.Sorted(maps.Keys(r.values)) {
			if c, ok := courier.ColumnFor(h); ok && c.Name == "id_no" && numberCell(r.values[h]) {
				im.complain(r.number, c.Name+" "+c.Chinese, "Excel 把身份证号存成了数字，末几位已丢失：请把该列设为文本后重新填写")
				return in, false
			}
		}
		in.Application, in.Extras, in.Faults = courier.ApplicationFromRow(r.values)
	}
	return in, true
}

func (im *importer) count(number int, res courier.Result, sum *summary) {
	switch res.Outcome {
	case courier.Created:
		sum.created++
	case courier.Existing:
		sum.existing++
	case courier.RefusedByRule:
		sum.refused++
	case courier.LivePermit:
		sum.bad++
		im.complain(number, "permit_no 居住证编号", "该居住证已有一件内容不同的在途或已妥投寄递 "+res.Delivery.ID.String())
		return
	case courier.PickedUp:
		sum.bad++
		im.complain(number, "permit_no 居住证编号", "该居住证退件后已在柜台领取 "+res.Delivery.ID.String())
		return
	default:
		sum.bad++
		im.faults(number, res.Faults)
		return
	}
	if res.PaymentErr != nil {
		sum.bad++
		im.complain(number, "transaction_no 交易号", res.PaymentErr.Error())
	} else if res.Paid {
		sum.payments++
	}
}

func (im *importer) stations(ctx context.Context, chunk []row, sum *summary) error {
	return im.table(chunk, sum, func(values []map[string]string) ([]courier.Faults, error) {
		return im.service.SaveStations(ctx, values, im.dryRun)
	})
}

func (im *importer) tariffs(ctx context.Context, chunk []row, sum *summary) error {
	return im.table(chunk, sum, func(values []map[string]string) ([]courier.Faults, error) {
		return im.service.SaveTariffs(ctx, values, im.dryRun)
	})
}

func (im *importer) table(chunk []row, sum *summary, save func([]map[string]string) ([]courier.Faults, error)) error {
	var values []map[string]string
	var numbers []int
	for _, r := range chunk {
		if r.err != nil {
			im.complain(r.number, "", r.err.Error())
			sum.bad++
			continue
		}
		values, numbers = append(values, r.values), append(numbers, r.number)
	}
	faults, err := save(values)
	if err != nil {
		return err
	}
	for i, f := range faults {
		if len(f) > 0 {
			sum.bad++
			im.faults(numbers[i], f)
		} else {
			sum.created++
		}
	}
	return nil
}
