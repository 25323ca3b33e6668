package intake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"
)

// WriteTemplate writes an empty table of permits to start from: every column with its Chinese heading, cells as text so
// that Excel spoils no number, and a second sheet that says what to write.
func WriteTemplate(w io.Writer) error {
	f := excelize.NewFile()
	defer f.Close()
	text, err := f.NewStyle(&excelize.Style{NumFmt: 49}) // 49: text
	if err != nil {
		return err
	}
	sheet, heads := "批准名单", []any{}
	if err := f.SetSheetName(f.GetSheetName(0), sheet); err != nil {
		return err
	}
	for _, c := range courier.Columns {
		heads = append(heads, c.Chinese)
	}
	last, err := excelize.ColumnNumberToName(len(heads))
	if err != nil {
		return err
	}
	if err := f.SetColStyle(sheet, "A:"+last, text); err != nil {
		return err
	}
	if err := f.SetColWidth(sheet, "A", last, 18); err != nil {
		return err
	}
	if err := f.SetSheetRow(sheet, "A1", &heads); err != nil {
		return err
	}
	if _, err := f.NewSheet("填写说明"); err != nil {
		return err
	}
	for i, line := range []string{
		"每行一个已批准的居住证；表头不要改动，列的顺序可以改变。",
		"业务类型填“卡换证”；受理渠道填“派出所”或“网上申请”；申领条件填“住所”“就业”或“就读”；身份变更、住址变更填“是”或“否”。",
		"同意来源填“平台”或“现场”；时间写作 2026-11-22 09:00；付费方式填“预付”或“到付”。",
		"交易号与已付金额（分）只在已经缴费时填写，例如 2000 表示 20 元。",
		"身份证号、手机、编号各列已设为文本，请勿改为数字。",
	} {
		if err := f.SetCellStr("填写说明", fmt.Sprintf("A%d", i+1), line); err != nil {
			return err
		}
	}
	return f.Write(w)
}

// WriteBadRows writes the rows that were not loaded as a table like the one that was uploaded, with a first column for
// the row's number there and a last one for the reasons. Mended, it can be uploaded again as it is.
func (u *Uploads) WriteBadRows(ctx context.Context, id uuid.UUID, w io.Writer) error {
	row, err := readUpload(ctx, u.db, id)
	if err != nil {
		return err
	}
	f := excelize.NewFile()
	defer f.Close()
	s, err := f.NewStreamWriter(f.GetSheetName(0))
	if err != nil {
		return err
	}
	headings := slices.DeleteFunc(row.Headings, func(h string) bool { return slices.Contains(remarks, h) })
	heads := slices.Concat(remarks[:1], headings, remarks[1:])
	if err := s.SetRow("A1", cells(heads)); err != nil {
		return err
	}
	for line, after := 2, 0; ; {
		rows, err := u.BadRows(ctx, id, after, chunkRows)
		if err != nil {
			return err
		}
		for _, r := range rows {
			fields := []string{fmt.Sprint(r.Number)}
			for _, h := range headings {
				fields = append(fields, r.Cells[strings.TrimSpace(h)])
			}
			if err := s.SetRow(fmt.Sprintf("A%d", line), cells(append(fields, Reasons(r.Faults)))); err != nil {
				return err
			}
			line, after = line+1, r.Number
		}
		if len(rows) < chunkRows {
			break
		}
	}
	if err := s.Flush(); err != nil {
		return err
	}
	return f.Write(w)
}

// Reasons joins the faults of a row for one cell.
func Reasons(faults []Fault) string {
	var parts []string
	for _, f := range faults {
		if _, chinese, ok := strings.Cut(f.Column, " "); ok {
			parts = append(parts, chinese+"："+f.Cause)
		} else if f.Column != "" {
			parts = append(parts, f.Column+"："+f.Cause)
		} else {
			parts = append(parts, f.Cause)
		}
	}
	return strings.Join(parts, "；")
}

// cells are texts: a number that is written as one loses its last digits, and a text that begins with = is no formula.
func cells(fields []string) []any {
	out := make([]any, len(fields))
	for i, f := range fields {
		out[i] = excelize.Cell{Value: f}
	}
	return out
}
