package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"emsd/courier"
)

// chunkRows is how many rows share a transaction.
const chunkRows = 500

// A Kind is what a table holds; its headings tell.
type Kind string

// The kinds of a table.
const (
	Permits  Kind = "permits"
	Stations Kind = "stations"
	Tariffs  Kind = "tariffs"
)

// Taker is what a loader asks of package courier.
type Taker interface {
	AcceptPaid(ctx context.Context, intakes []courier.Intake, by string) ([]courier.Result, error)
	Preview(ctx context.Context, intakes []courier.Intake, by string) ([]courier.Result, error)
	SaveStations(ctx context.Context, rows []map[string]string, dryRun bool) ([]courier.Faults, error)
	SaveTariffs(ctx context.Context, rows []map[string]string, dryRun bool) ([]courier.Faults, error)
}

// A Loader loads one table after another.
type Loader struct {
	Service Taker
	By      string // whom payments are recorded by
	DryRun  bool   // check every row and change nothing
	// May says whether a table of this kind may be loaded; nil: every kind.
	May func(Kind) error
	// Station is the only one whose permits may be loaded; empty: all.
	Station string
	// Bad gets every row with faults; Progress is called after every chunk. Either may be nil; an error ends the load.
	Bad      func(Row, []Fault) error
	Progress func(read, total int64, sum Summary) error
}

// A Fault is one thing wrong with a row. Cause is for clerks and quotes nothing of a person.
type Fault struct {
	Column string `json:"column"` // "phone 手机"; empty: the row as a whole
	Cause  string `json:"cause"`
}

// A Summary counts rows by what became of them.
type Summary struct {
	Kind                                            Kind
	Rows, Created, Existing, Refused, Payments, Bad int
	DryRun                                          bool
}

func (s Summary) String() string {
	verb := "imported"
	if s.DryRun {
		verb = "dry run, nothing changed"
	}
	return fmt.Sprintf("%s: %d rows, %d new, %d known already, %d refused by a rule (recorded), %d payments, %d with faults",
		verb, s.Rows, s.Created, s.Existing, s.Refused, s.Payments, s.Bad)
}

// Load reads a table to its end. Good rows are loaded, chunk by chunk; the error says why the rest could not be read.
func (l *Loader) Load(ctx context.Context, rows Rows) (Summary, error) {
	sum := Summary{DryRun: l.DryRun, Kind: Permits}
	if head := rows.Headings(); head != nil {
		kind, err := kindOf(head)
		if err != nil {
			return sum, err
		}
		sum.Kind = kind
	}
	if l.May != nil {
		if err := l.May(sum.Kind); err != nil {
			return sum, err
		}
	}
	take := map[Kind]takeFunc{Permits: l.permits, Stations: l.stations, Tariffs: l.tariffs}[sum.Kind]
	var chunk []Row
	for {
		r, err := rows.Next()
		if err != nil && err != io.EOF {
			return sum, &FileFault{fmt.Sprintf("after row %d: %v", sum.Rows, err), fmt.Sprintf("读到第 %d 行数据之后文件无法继续读取，可能已损坏", sum.Rows)}
		}
		if err == nil {
			chunk = append(chunk, r)
			sum.Rows++
		}
		if len(chunk) == chunkRows || (err == io.EOF && len(chunk) > 0) {
			if terr := take(ctx, chunk, &sum); terr != nil {
				return sum, terr
			}
			chunk = chunk[:0]
			if l.Progress != nil {
				if perr := l.Progress(rows.Read(), rows.Total(), sum); perr != nil {
					return sum, perr
				}
			}
		}
		if err == io.EOF {
			if sum.Rows == 0 {
				return sum, &FileFault{"it holds no rows", "文件里只有表头，没有数据行"}
			}
			return sum, nil
		}
	}
}

// takeFunc takes a chunk of rows and counts them.
type takeFunc func(ctx context.Context, chunk []Row, sum *Summary) error

// kindOf tells from the headings what a table holds, and refuses headings that it does not know, for a column that is
// silently left out is noticed too late.
func kindOf(head []string) (Kind, error) {
	has := func(name string) bool { return slices.Contains(head, name) }
	known := func(h string) bool { _, ok := courier.ColumnFor(h); return ok }
	kind := Permits
	switch {
	case has("zone") && has("provinces"):
		known, kind = func(h string) bool { return slices.Contains(courier.TariffColumns, h) }, Tariffs
	case has("code") && has("kind"):
		known, kind = func(h string) bool { return slices.Contains(courier.StationColumns, h) }, Stations
	}
	var f FileFault
	add := func(english, chinese string) {
		if f.English != "" {
			english, chinese = "\n"+english, "；"+chinese
		}
		f.English, f.Chinese = f.English+english, f.Chinese+chinese
	}
	for i, h := range head {
		if h = strings.TrimSpace(h); h != "" && !slices.Contains(remarks, h) && !known(h) {
			add(fmt.Sprintf("column %d: %q is not a column of %s", i+1, h, kind), fmt.Sprintf("第 %d 列的表头“%s”不认识", i+1, h))
		}
	}
	if kind == Permits {
		for _, c := range missingColumns(head) {
			add(fmt.Sprintf("the column %s (%s) is missing", c.Name, c.Chinese), fmt.Sprintf("缺少“%s”列", c.Chinese))
		}
	}
	if f.English != "" {
		return kind, &f
	}
	return kind, nil
}

// remarks are the columns that WriteBadRows adds; a table that comes back mended may have them still.
var remarks = []string{"原行号", "原因"}

// optionalColumns may be left out of a file of permits.
var optionalColumns = []string{"transaction_no", "paid_fen", "identity_changed", "address_changed", "language"}

func missingColumns(head []string) (missing []courier.Column) {
	have := map[string]bool{}
	for _, h := range head {
		if c, ok := courier.ColumnFor(h); ok {
			have[c.Name] = true
		}
	}
	for _, c := range courier.Columns {
		if !have[c.Name] && !slices.Contains(optionalColumns, c.Name) {
			missing = append(missing, c)
		}
	}
	return missing
}

// bad counts a row with faults and hands it on.
func (l *Loader) bad(sum *Summary, r Row, faults ...Fault) error {
	sum.Bad++
	if l.Bad == nil {
		return nil
	}
	return l.Bad(r, faults)
}

// inColumns says in which column each fault stands.
func inColumns(faults courier.Faults) []Fault {
	out := make([]Fault, len(faults))
	for i, f := range faults {
		out[i] = Fault{f.Field, f.Detail}
		if c, ok := courier.ColumnOf(f.Field); ok {
			out[i].Column = columnTitle(c)
		}
	}
	return out
}

func columnTitle(c courier.Column) string { return c.Name + " " + c.Chinese }

// titleOf is the title of the column of a field.
func titleOf(field string) string {
	c, _ := courier.ColumnOf(field)
	return columnTitle(c)
}

// permits takes rows of approved permits with the payment that may stand in the same row.
func (l *Loader) permits(ctx context.Context, chunk []Row, sum *Summary) error {
	var intakes []courier.Intake
	var rows []Row
	for _, r := range chunk {
		in, faults := l.intake(r)
		if len(faults) > 0 {
			if err := l.bad(sum, r, faults...); err != nil {
				return err
			}
			continue
		}
		intakes, rows = append(intakes, in), append(rows, r)
	}
	take := l.Service.AcceptPaid
	if l.DryRun {
		take = l.Service.Preview
	}
	results, err := take(ctx, intakes, l.By)
	if err != nil {
		return err
	}
	for i, res := range results {
		if err := l.count(rows[i], res, sum); err != nil {
			return err
		}
	}
	return nil
}

// intake reads one row. What is wrong with its form goes along in the intake, so that every fault of the row is told at
// once; a row that cannot be taken for one has faults.
func (l *Loader) intake(r Row) (in courier.Intake, faults []Fault) {
	switch {
	case r.Err != nil:
		return in, []Fault{{Cause: r.Err.Error()}}
	case r.JSON != nil:
		in.Application, in.Faults = courier.ParseApplication(r.JSON)
	default:
		for _, h := range remarks {
			delete(r.Values, h)
		}
		for _, h := range slices.Sorted(maps.Keys(r.Values)) {
			if c, ok := courier.ColumnFor(h); ok && c.Name == "id_no" && numberCell(r.Values[h]) {
				return in, []Fault{{columnTitle(c), "Excel 把身份证号存成了数字，末几位已丢失：请把该列设为文本后重新填写"}}
			}
		}
		in.Application, in.Extras, in.Faults = courier.ApplicationFromRow(r.Values)
	}
	if l.Station != "" && courier.Normalise(in.Application).StationCode != l.Station {
		return in, []Fault{{titleOf("station_code"), "不是您所在受理点（" + l.Station + "）的业务，请由该受理点或后台导入"}}
	}
	return in, nil
}

func (l *Loader) count(r Row, res courier.Result, sum *Summary) error {
	switch res.Outcome {
	case courier.Created:
		sum.Created++
	case courier.Existing:
		sum.Existing++
	case courier.RefusedByRule:
		sum.Refused++
	case courier.LivePermit:
		return l.bad(sum, r, Fault{titleOf("permit_no"), "该居住证已有一件内容不同的在途或已妥投寄递 " + res.Delivery.ID.String()})
	case courier.PickedUp:
		return l.bad(sum, r, Fault{titleOf("permit_no"), "该居住证退件后已在柜台领取 " + res.Delivery.ID.String()})
	default:
		return l.bad(sum, r, inColumns(res.Faults)...)
	}
	if res.PaymentErr == nil {
		if res.Paid {
			sum.Payments++
		}
		return nil
	}
	fault := Fault{Column: titleOf("transaction_no"), Cause: res.PaymentErr.Error()}
	if c, ok := errors.AsType[*courier.Conflict](res.PaymentErr); ok {
		fault.Cause = c.Detail
	}
	if faults, ok := errors.AsType[courier.Faults](res.PaymentErr); ok {
		return l.bad(sum, r, inColumns(faults)...)
	}
	return l.bad(sum, r, fault)
}

func (l *Loader) stations(ctx context.Context, chunk []Row, sum *Summary) error {
	return l.table(ctx, chunk, sum, l.Service.SaveStations)
}

func (l *Loader) tariffs(ctx context.Context, chunk []Row, sum *Summary) error {
	return l.table(ctx, chunk, sum, l.Service.SaveTariffs)
}

func (l *Loader) table(ctx context.Context, chunk []Row, sum *Summary, save func(context.Context, []map[string]string, bool) ([]courier.Faults, error)) error {
	var values []map[string]string
	var rows []Row
	for _, r := range chunk {
		if r.Err != nil {
			if err := l.bad(sum, r, Fault{Cause: r.Err.Error()}); err != nil {
				return err
			}
			continue
		}
		values, rows = append(values, r.Values), append(rows, r)
	}
	faults, err := save(ctx, values, l.DryRun)
	if err != nil {
		return err
	}
	for i, f := range faults {
		if len(f) == 0 {
			sum.Created++
			continue
		}
		if err := l.bad(sum, rows[i], inColumns(f)...); err != nil {
			return err
		}
	}
	return nil
}
