package console

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier"
	"emsd/courier/staff"

	"github.com/google/uuid"
)

func (c *Console) feePages() []page {
	return []page{
		at("GET /console/fees", staff.ReadBills, c.feeList),
		at("POST /console/fees", staff.Bills, c.billUpload).taking(intake.MaxUpload + maxForm),
		at("POST /console/fees/fetch", staff.Bills, c.billFetch),
		at("GET /console/fees/{id}", staff.ReadBills, c.bill),
		at("POST /console/fees/{id}/lines/{n}", staff.Bills, c.billSettle),
	}
}

// A feesPage lists the bills, and the differences that are open.
type feesPage struct {
	Bills  []courier.Bill
	Month  string // as filled in; last month
	Open   []courier.WorkItem
	More   bool
	Faults courier.Faults
}

const recentBills = 24

func (c *Console) feeList(v *visit) error { return c.feesWith(v, http.StatusOK, "", nil) }

func (c *Console) feesWith(v *visit, status int, month string, faults courier.Faults) error {
	p := feesPage{Month: month, Faults: faults}
	if month == "" {
		now := c.Clock.Now().In(beijing)
		p.Month = time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, beijing).Format("2006-01")
	}
	var err error
	if p.Bills, err = c.Service.Bills(v.Context(), recentBills); err != nil {
		return err
	}
	open, err := c.Service.Worklist(v.Context(), courier.WorkFilter{Kind: courier.CaseFeeDifference, Limit: mostUrgent})
	if err != nil {
		return err
	}
	p.Open, p.More = open.Items, open.Next != ""
	return v.renderAs(status, "fees", p)
}

// month reads a month as a browser's field gives it.
func (v *visit) month() (time.Time, bool) {
	at, err := time.ParseInLocation("2006-01", v.form("month"), beijing)
	return at, err == nil
}

var monthFault = courier.Faults{{Field: "month", Code: "format", Detail: "请填写账单月份，例如 2026-11"}}

// A badBillRow is a row that could not be read.
type badBillRow struct {
	Row    int
	Column string
	Detail string
}

// billUpload takes the table that EMS sends: the good rows are reconciled, the bad ones are told.
func (c *Console) billUpload(v *visit) error {
	file, head, err := v.sent("file") // reads the other fields, too
	if errors.Is(err, http.ErrMissingFile) {
		return c.feesWith(v, http.StatusUnprocessableEntity, v.form("month"), courier.Faults{{Field: "file", Code: "required", Detail: "请选择 EMS 的对账单文件"}})
	}
	if err != nil {
		return err
	}
	month, ok := v.month()
	if !ok {
		file.Close()
		return c.feesWith(v, http.StatusUnprocessableEntity, "", monthFault)
	}
	lines, bad, err := readBill(head.Filename, file, head.Size)
	if fault, ok := errors.AsType[*intake.FileFault](err); ok {
		err = courier.Faults{{Field: "file", Code: "format", Detail: fault.Chinese}}
	}
	var made courier.Bill
	var again bool
	if err == nil {
		made, again, err = c.Service.ImportBill(v.Context(), courier.NewBill{Month: month, Source: courier.BillFromFile, Lines: lines, BadRows: countRows(bad)}, v.User().Actor())
	}
	if faults, ok := asFaults(err); ok {
		if len(bad) > 0 {
			first := bad[0]
			faults = append(faults, courier.Fault{Field: "file", Code: "rows", Detail: "第 " + strconv.Itoa(first.Row) + " 行“" + first.Column + "”：" + first.Detail})
		}
		return c.feesWith(v, http.StatusUnprocessableEntity, v.form("month"), faults)
	}
	if err != nil {
		return err
	}
	return c.billWith(v, made.ID, billPage{Again: again, Uploaded: true, BadRows: bad[:min(len(bad), shownBadRows)], MoreBad: max(0, len(bad)-shownBadRows)})
}

// countRows counts the rows that have a fault, of which one row may have several.
func countRows(bad []badBillRow) int {
	rows := map[int]bool{}
	for _, b := range bad {
		rows[b.Row] = true
	}
	return len(rows)
}

// readBill reads a table of EMS's to its end.
func readBill(name string, f intake.File, size int64) (lines []courier.BillLine, bad []badBillRow, err error) {
	rows, err := intake.Open(name, f, size)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	defer rows.Close()
	table, err := courier.ReadBillHeadings(rows.Headings())
	if err != nil {
		return nil, nil, err
	}
	for {
		r, err := rows.Next()
		if err == io.EOF {
			return lines, bad, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if r.Err != nil {
			bad = append(bad, badBillRow{r.Number, "整行", r.Err.Error()})
			continue
		}
		line, ok, faults := table.Line(r.Number, r.Values)
		if ok {
			lines = append(lines, line)
		}
		for _, f := range faults {
			bad = append(bad, badBillRow{r.Number, f.Field, f.Detail})
		}
	}
}

// billFetch asks EMS for the bills of a month.
func (c *Console) billFetch(v *visit) error {
	month, ok := v.month()
	if !ok {
		return c.feesWith(v, http.StatusUnprocessableEntity, v.form("month"), monthFault)
	}
	fresh, stated, err := c.Service.FetchBills(v.Context(), c.Biller, month, v.User().Actor())
	if err != nil {
		return err
	}
	switch {
	case stated == 0:
		return v.redirect("/console/fees", "no_bill")
	case len(fresh) == 0:
		return v.redirect("/console/fees", "bill_known")
	}
	return v.redirect("/console/fees/"+fresh[0].ID.String(), "bill_fetched")
}

// A billPage is one bill by results, and its lines.
type billPage struct {
	courier.Bill
	Results []courier.BillResult
	Entries []courier.BillEntry
	Result  courier.BillResult // of the lines shown; empty: all that differ
	Next    string

	Uploaded, Again bool
	BadRows         []badBillRow
	MoreBad         int
}

func (c *Console) bill(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return c.billWith(v, id, billPage{})
}

const linesPerPage = 100

func (c *Console) billWith(v *visit, id uuid.UUID, p billPage) error {
	var err error
	if p.Bill, err = c.Service.Bill(v.Context(), id); err != nil {
		return err
	}
	q := v.r.URL.Query()
	p.Results = courier.BillResults
	var wanted []courier.BillResult
	if r := courier.BillResult(q.Get("result")); slices.Contains(courier.BillResults, r) {
		p.Result, wanted = r, []courier.BillResult{r}
	} else {
		for _, r := range courier.BillResults {
			if r.Differs() {
				wanted = append(wanted, r)
			}
		}
	}
	after, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		after = 0
	}
	if p.Entries, err = c.Service.BillEntries(v.Context(), id, wanted, after, linesPerPage+1); err != nil {
		return err
	}
	if len(p.Entries) > linesPerPage {
		p.Entries = p.Entries[:linesPerPage]
		next := url.Values{"after": {strconv.Itoa(p.Entries[linesPerPage-1].N)}}
		if p.Result != "" {
			next.Set("result", string(p.Result))
		}
		p.Next = "/console/fees/" + id.String() + "?" + next.Encode()
	}
	return v.render("bill", p)
}

// billSettle ends a difference that has no case.
func (c *Console) billSettle(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil {
		return courier.ErrNotFound
	}
	if err := c.Service.SettleBillLine(v.Context(), id, n, v.form("note"), v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/fees/"+id.String(), "saved")
}
