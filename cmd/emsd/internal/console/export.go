package console

import (
	"fmt"
	"strconv"
	"strings"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"
)

// maxExport bounds one file: more than a clerk reads, and less than takes a minute.
const maxExport = 20_000

// exportColumns are the headings; every cell is text, so that no number loses digits and nothing is taken for a formula.
var exportColumns = []any{"居住证编号", "申请编号", "状态", "能否寄递", "说明", "规定", "规定原文", "受理点编码", "受理点", "收件人", "手机", "省", "市", "区县", "详细地址",
	"运单号", "订单号", "应付（元）", "已付（元）", "建立时间", "状态时间"}

// export writes the filtered queue as a workbook: recipients masked, unless a person who may have them in clear says why.
func (c *Console) export(v *visit) error {
	form := v.queueForm()
	f, err := form.filter()
	if err != nil {
		return err
	}
	detail := map[string]string{"status": form.Status, "station": form.Station, "rule": form.Rule, "from": form.From, "to": form.To, "recipients": "masked"}
	clear := v.form("clear") != ""
	if clear {
		if !v.User().May(staff.ExportClear) {
			return errNotAllowed
		}
		reason, err := v.reason()
		if err != nil {
			return err
		}
		detail["recipients"], detail["reason"] = "clear", reason
	}
	book, shown, err := c.workbook(v, f, clear)
	if err != nil {
		return err
	}
	detail["rows"] = strconv.Itoa(len(shown))
	if clear && len(shown) > 0 { // each of them says on its own page who saw it
		err = c.Staff.RecordMany(v.Context(), v.User(), "queue.export", detail, shown)
	} else {
		err = c.Staff.Record(v.Context(), v.User(), "queue.export", detail)
	}
	if err != nil {
		return err
	}
	name := "queue-" + beijingTime(c.Clock.Now(), "20060102-1504") + ".xlsx"
	return v.file(name, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", book)
}

// workbook gives the file, and which deliveries stand in it.
func (c *Console) workbook(v *visit, f courier.QueueFilter, clear bool) ([]byte, []uuid.UUID, error) {
	book := excelize.NewFile()
	defer book.Close()
	const sheet = "寄递队列"
	if err := book.SetSheetName("Sheet1", sheet); err != nil {
		return nil, nil, fmt.Errorf("make a workbook: %w", err)
	}
	out, err := book.NewStreamWriter(sheet)
	if err != nil {
		return nil, nil, fmt.Errorf("make a workbook: %w", err)
	}
	n := 0
	row := func(cells []any) error {
		n++
		return out.SetRow("A"+strconv.Itoa(n), cells)
	}
	var shown []uuid.UUID
	if err := row(exportColumns); err != nil {
		return nil, nil, err
	}
	f.Limit = 500
	for {
		list, err := c.Service.Queue(v.Context(), f)
		if err != nil {
			return nil, nil, err
		}
		for _, q := range list.Permits {
			if err := row(exportRow(q, clear)); err != nil {
				return nil, nil, err
			}
			shown = append(shown, q.ID)
		}
		if len(shown) > maxExport {
			return nil, nil, courier.Faults{{Field: "from", Code: "too_many", Detail: fmt.Sprintf("符合条件的超过%d条，请用日期、受理点或状态缩小范围后再导出", maxExport)}}
		}
		if f.Cursor = list.Next; f.Cursor == "" {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return nil, nil, fmt.Errorf("write a workbook: %w", err)
	}
	body, err := book.WriteToBuffer()
	if err != nil {
		return nil, nil, fmt.Errorf("write a workbook: %w", err)
	}
	return body.Bytes(), shown, nil
}

func exportRow(q courier.Queued, clear bool) []any {
	r := q.Recipient
	name, phone, address := vault.MaskName(r.Name), vault.MaskPhone(r.Phone), vault.MaskAddress(r.Address)
	if clear {
		name, phone, address = r.Name.Reveal(), r.Phone.Reveal(), r.Address.Reveal()
	}
	cells := []string{q.PermitNo, q.ApplicationNo, known(statusWords, q.Status), known(verdictWords, q.Standing.Verdict), q.Standing.Why, q.Standing.Rule,
		courier.Sentences[q.Standing.Rule], q.StationCode, q.StationName, name, phone, r.Province, r.City, r.County, address, q.WaybillNo, q.OrderNo,
		strings.TrimSuffix(yuan(q.FeeFen), " 元"), strings.TrimSuffix(yuan(q.PaidFen), " 元"), beijingTime(q.CreatedAt, "2006-01-02 15:04"),
		beijingTime(q.StatusSince, "2006-01-02 15:04")}
	row := make([]any, len(cells))
	for i, s := range cells {
		row[i] = s
	}
	return row
}
