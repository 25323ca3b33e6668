package courier

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A BillLine is one item that EMS charged to the account.
type BillLine struct {
	Row       int // of the table; 0 when EMS was asked
	WaybillNo string
	PostedOn  time.Time // midnight in UTC, as PostgreSQL gives back a date; zero when it is not said
	WeightG   int       // 0 when it is not said
	Fen       int64
}

// The columns of a bill, by the headings that EMS's tables have, units left off. Of several that name an amount, the one
// that comes first here counts: what is to be paid in all before what it is made of.
var billHeadings = map[string][]string{
	"waybill_no": {"邮件号", "邮件号码", "邮件编号", "运单号", "运单号码", "快递单号", "详情单号", "waybill_no", "waybillno"},
	"amount":     {"总邮资", "总资费", "总费用", "合计金额", "应收金额", "应付金额", "实收资费", "实收邮资", "实收金额", "资费", "邮资", "邮费", "运费", "金额", "posttotal", "postagetotal"},
	"weight":     {"计费重量", "收费重量", "重量", "实际重量", "feeweight"},
	"posted_on":  {"收寄日期", "收寄时间", "寄件日期", "寄递日期", "日期", "splitdate"},
}

// A BillTable says which heading of a table holds what.
type BillTable struct {
	headings  map[string]string // column → heading as it stands
	kilograms bool
	fen       bool
}

// ReadBillHeadings finds the columns of a bill. Waybill and amount must be there.
func ReadBillHeadings(headings []string) (BillTable, error) {
	t := BillTable{headings: map[string]string{}}
	for column, names := range billHeadings {
		for _, name := range names {
			if h, ok := findHeading(headings, name); ok {
				t.headings[column] = h
				break
			}
		}
	}
	unit := normaliseHeading(t.headings["weight"])
	t.kilograms = strings.Contains(unit, "千克") || strings.Contains(unit, "公斤") || strings.Contains(unit, "kg")
	t.fen = strings.Contains(normaliseHeading(t.headings["amount"]), "(分)")
	var faults Faults
	if t.headings["waybill_no"] == "" {
		faults = append(faults, Fault{"waybill_no", "missing_column", "表中没有“邮件号”一列：第一行须为表头，请删去表头以上的标题行"})
	}
	if t.headings["amount"] == "" {
		faults = append(faults, Fault{"amount", "missing_column", "表中没有“资费”一列：第一行须为表头，例如 邮件号、收寄日期、计费重量(克)、实收资费(元)"})
	}
	if len(faults) > 0 {
		return t, faults
	}
	return t, nil
}

func findHeading(headings []string, name string) (string, bool) {
	for _, h := range headings {
		bare, _, _ := strings.Cut(normaliseHeading(h), "(")
		if strings.ReplaceAll(bare, " ", "") == name {
			return h, true
		}
	}
	return "", false
}

// Line reads one row. A row of totals is no line: ok is false and there are no faults. Faults name the column as the
// table does.
func (t BillTable) Line(number int, values map[string]string) (line BillLine, ok bool, faults Faults) {
	get := func(column string) string { return cell(values[strings.TrimSpace(t.headings[column])]) }
	bad := func(column, code, detail string) { faults = append(faults, Fault{t.headings[column], code, detail}) }
	no := normaliseNo(get("waybill_no"))
	if isTotal(values) && !plainNumber(no) || no == "" && isTotal(values) {
		return line, false, nil
	}
	line = BillLine{Row: number, WaybillNo: integral(no)}
	switch {
	case no == "":
		bad("waybill_no", "required", "没有邮件号")
	case excelNumber.MatchString(no):
		bad("waybill_no", "excel_number", "Excel 把邮件号变成了数字而丢失了末位，请将该列设为文本后重新填写")
	case !plainNumber(line.WaybillNo) || len(line.WaybillNo) > maxNumber:
		bad("waybill_no", "format", "邮件号只能由字母和数字组成")
	}
	var fault string
	if line.Fen, fault = billMoney(get("amount"), t.fen); fault != "" {
		bad("amount", "format", fault)
	}
	if line.WeightG, fault = billWeight(get("weight"), t.kilograms); fault != "" {
		bad("weight", "format", fault)
	}
	if s := get("posted_on"); s != "" {
		at, ok := momentFrom(s)
		if !ok {
			bad("posted_on", "format", "日期应写作 2026-11-22")
		}
		y, m, d := at.In(beijing).Date()
		line.PostedOn = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	return line, len(faults) == 0, faults
}

// isTotal tells a row of sums, which stands at the end of a table.
func isTotal(values map[string]string) bool {
	for _, v := range values {
		v = strings.ReplaceAll(v, " ", "")
		if strings.HasPrefix(v, "合计") || strings.HasPrefix(v, "总计") || strings.HasPrefix(v, "小计") {
			return true
		}
	}
	return false
}

// billMoney reads yuan as a spreadsheet keeps them, where 13.8 may stand as 13.800000000000001.
func billMoney(s string, fen bool) (int64, string) {
	s = strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(halfWidth(s), ",", ""), "¥"), "元")
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) {
		return 0, "资费应为数字，例如 14.00"
	}
	if !fen {
		v *= 100
	}
	whole := math.Round(v)
	switch {
	case v < 0:
		return 0, "资费为负数：冲正和退款请与 EMS 人工核对，不参与逐笔对账"
	case whole > maxMoney:
		return 0, fmt.Sprintf("资费超过%d元，请核对单位", maxMoney/100)
	case math.Abs(whole-v) > 0.001:
		return 0, "资费最多两位小数"
	}
	return int64(whole), ""
}

func billWeight(s string, kilograms bool) (int, string) {
	if s == "" {
		return 0, ""
	}
	v, err := strconv.ParseFloat(halfWidth(s), 64)
	if err == nil && kilograms {
		v *= 1000
	}
	if err != nil || !(v >= 0 && v <= 50_000) {
		return 0, "重量应为数字，单位为克（表头注明千克的除外）"
	}
	return int(math.Round(v)), ""
}
