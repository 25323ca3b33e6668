package courier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A PrintKind says what is printed for an envelope.
type PrintKind string

// What can be printed.
const (
	PrintEMS     PrintKind = "ems"     // EMS's own label
	PrintOwn     PrintKind = "own"     // ours, where EMS's cannot be had
	PrintAddress PrintKind = "address" // address sheet
)

// maxPrints bounds one document: more than is packed at one go.
const maxPrints = 100

// A Press draws sheets, a page for each order, and puts documents together.
type Press interface {
	Labels(orders []Order) ([]byte, error)
	Addresses(orders []Order) ([]byte, error)
	Join(documents [][]byte) ([]byte, error)
}

// A PrintRequest says what to print for which waybills. A sheet that was printed before is printed again with a reason.
type PrintRequest struct {
	Kind       PrintKind
	WaybillNos []string
	Reason     string
}

// A printJob is an envelope whose sheet is printed.
type printJob struct {
	orderJob
	Status       Status `db:"status"`
	HandedOver   bool   `db:"handed_over"`
	Withdrawn    bool   `db:"withdrawn"` // being cancelled or readdressed
	PrintsBefore int    `db:"prints"`    // of this sheet for this waybill
}

// PrintLabels gives one document with a sheet for every waybill, in their order, and counts each sheet. Nothing is
// printed when one of them may not be: a clerk with a stack of sheets would not notice the one that is missing.
func (o *Orderer) PrintLabels(ctx context.Context, r PrintRequest, press Press, by string) ([]byte, error) {
	numbers, err := r.check()
	if err != nil {
		return nil, err
	}
	jobs, err := o.printJobs(ctx, numbers, r.Kind)
	if err != nil {
		return nil, err
	}
	if err := mayPrint(numbers, jobs, r.Reason); err != nil {
		return nil, err
	}
	pdf, err := o.drawSheets(ctx, r.Kind, numbers, jobs, press)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(numbers))
	for i, no := range numbers {
		ids[i] = jobs[no].ID
	}
	now := o.clock.Now()
	return pdf, InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		counts, err := savePrints(ctx, tx, r.Kind, ids, numbers, now, by, r.Reason)
		if err != nil {
			return err
		}
		if len(counts) != len(ids) { // another waybill came while the sheets were drawn: they would be old ones
			return ErrStale
		}
		entries := make([]audit.Entry, len(ids))
		for i, id := range ids {
			entries[i] = audit.Entry{At: now, Actor: by, Action: "label.print", Object: id.String(),
				Detail: map[string]string{"kind": string(r.Kind), "waybill_no": numbers[i], "nth": fmt.Sprint(counts[id]), "reason": r.Reason}}
		}
		return audit.Append(ctx, tx, entries...)
	})
}

func (r *PrintRequest) check() ([]string, error) {
	var c checker
	c.oneOf("kind", string(r.Kind), []string{string(PrintEMS), string(PrintOwn), string(PrintAddress)})
	if r.Reason = oneLine(r.Reason); strings.ContainsFunc(r.Reason, unwritable) || len([]rune(r.Reason)) > 100 {
		c.add("reason", "format", "重打原因最多100个字，不含特殊符号")
	}
	var numbers []string
	for _, no := range r.WaybillNos {
		if no = normaliseNo(no); no != "" && plainNumber(no) && !slices.Contains(numbers, no) {
			numbers = append(numbers, no)
		}
	}
	switch {
	case len(numbers) == 0:
		c.add("waybill_no", "required", "请扫描或选择至少一个运单号")
	case len(numbers) > maxPrints:
		c.add("waybill_no", "too_many", fmt.Sprintf("一次最多打印%d张，请分批打印", maxPrints))
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return numbers, nil
}

// mayPrint names the waybills that no sheet may be printed for.
func mayPrint(numbers []string, jobs map[string]*printJob, reason string) error {
	var unknown, left, withdrawn, again []string
	for _, no := range numbers {
		switch j := jobs[no]; {
		case j == nil:
			unknown = append(unknown, no)
		case j.Status != Ordered || j.HandedOver:
			left = append(left, no)
		case j.Withdrawn:
			withdrawn = append(withdrawn, no)
		case j.PrintsBefore > 0 && reason == "":
			again = append(again, no)
		}
	}
	list := func(nos []string) string { return strings.Join(nos, "、") }
	switch {
	case len(unknown) > 0:
		return Faults{{"waybill_no", "unknown", "没有这些运单号：" + list(unknown)}}
	case len(left) > 0:
		return &Conflict{"not_printable", "以下邮件尚未由 EMS 确认下单或已经交寄，不打印面单：" + list(left)}
	case len(withdrawn) > 0:
		return &Conflict{"being_stopped", "以下邮件正在取消或改址，请待处理完成后打印新面单：" + list(withdrawn)}
	case len(again) > 0:
		return Faults{{"reason", "required", "以下面单已经打印过，重打请填写原因（如卡纸、污损），原面单须销毁：" + list(again)}}
	}
	return nil
}

func (o *Orderer) drawSheets(ctx context.Context, kind PrintKind, numbers []string, jobs map[string]*printJob, press Press) ([]byte, error) {
	if kind == PrintEMS {
		documents := make([][]byte, len(numbers))
		for i, no := range numbers {
			pdf, err := o.LabelOf(ctx, jobs[no].ID)
			if err != nil {
				o.log.Warn("a label cannot be had from EMS", "delivery", jobs[no].ID, "err", err)
				return nil, &Conflict{"no_ems_label", "暂时取不到 EMS 面单：" + no + "。请稍后再试；急需时可打印自制面单"}
			}
			documents[i] = pdf
		}
		return press.Join(documents)
	}
	orders := make([]Order, len(numbers))
	for i, no := range numbers {
		order, err := o.compose(jobs[no].orderJob)
		if err != nil {
			return nil, err
		}
		orders[i] = order
	}
	if kind == PrintAddress {
		return press.Addresses(orders)
	}
	return press.Labels(orders)
}

// A ToPack is an envelope at the counter: ordered, and not handed over yet.
type ToPack struct {
	DeliveryID uuid.UUID `db:"id"`
	PermitNo   string    `db:"permit_no"`
	WaybillNo  string    `db:"waybill_no"`
	Province   string    `db:"province"`
	City       string    `db:"city"`
	County     string    `db:"county"`
	Station    string    `db:"station_code"`
	Since      time.Time `db:"status_since"`
	EMSLabel   bool      `db:"ems_label"` // EMS's own PDF is stored
	Printed    int       `db:"printed"`   // labels of either kind for this waybill
	Packed     bool      `db:"packed"`
	Stopped    bool      `db:"stopped"`
	Withdrawn  bool      `db:"withdrawn"`
	Manifest   string    `db:"manifest"` // number of the one that it stands on
}

// ToPack lists the envelopes that wait at the counter, the longest first.
func (s *Service) ToPack(ctx context.Context, limit int) ([]ToPack, error) {
	return listToPack(ctx, s.q(), pageLimit(limit))
}
