package courier

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"emsd/courier/vault"
)

// A Column is one column of an import file or of the exchange table.
type Column struct {
	Name    string // English heading
	Chinese string // Chinese heading
	Field   string // the field in faults, for example recipient.phone
}

// Columns lists every column of an approved permit in the order of contract.md.
var Columns = func() []Column {
	var columns []Column
	for _, f := range fields {
		if f.column != "" {
			columns = append(columns, Column{f.column, f.chinese, f.path})
		}
		if f.column == "payment_method" {
			columns = append(columns, Column{"transaction_no", "交易号", "transaction_no"}, Column{"paid_fen", "已付金额", "paid_fen"})
		}
	}
	return columns
}()

// ColumnFor finds the column that a heading names, in either language; blanks and the case of letters do not matter.
func ColumnFor(heading string) (Column, bool) {
	heading = normaliseHeading(heading)
	for _, c := range Columns {
		if heading == c.Name || heading == c.Chinese {
			return c, true
		}
	}
	return Column{}, false
}

// ColumnOf finds the column of a field as faults name it.
func ColumnOf(field string) (Column, bool) {
	for _, c := range Columns {
		if c.Field == field {
			return c, true
		}
	}
	return Column{}, false
}

func normaliseHeading(s string) string {
	s = strings.Trim(halfWidth(strings.TrimPrefix(s, "\ufeff")), " \t\r\n*:")
	return strings.ToLower(s)
}

// RowExtras is what a row may tell beyond the application: money that came in with it.
type RowExtras struct {
	TransactionNo string
	PaidFen       int64
}

// ApplicationFromRow reads a row whose keys are headings in either language. It takes what tables make of values:
// 是 and 1 for true, Beijing times without a zone, Excel's day numbers, Chinese words for the fixed vocabulary. Like
// ParseApplication it tells the faults of the form alone.
func ApplicationFromRow(row map[string]string) (Application, RowExtras, Faults) {
	values, faults := byColumn(row)
	var a Application
	for i := range fields {
		if f := &fields[i]; f.column != "" {
			if fault, ok := f.setCell(&a, values[f.column]); !ok {
				faults = append(faults, fault)
			}
		}
	}
	extras, more := extrasFrom(values)
	return a, extras, inOrder(append(faults, more...))
}

// byColumn turns headings into column names.
func byColumn(row map[string]string) (map[string]string, Faults) {
	values, faults := map[string]string{}, Faults(nil)
	for _, heading := range slices.Sorted(maps.Keys(row)) {
		c, ok := ColumnFor(heading)
		if _, twice := values[c.Name]; !ok {
			faults = append(faults, Fault{ShownName(heading), "unknown_field", "没有这一列，请核对表头"})
		} else if twice {
			faults = append(faults, Fault{c.Field, "duplicate", "该列出现了两次（中文与英文表头）"})
		} else {
			values[c.Name] = cell(row[heading])
		}
	}
	return values, faults
}

// cell takes off what spreadsheets put around a text: blanks, and the apostrophe that marks a number as text.
func cell(s string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd")), "'"))
}

func (f *field) setCell(a *Application, s string) (Fault, bool) {
	switch {
	case f.flag != nil:
		v, ok := yesNo(s)
		if !ok && s == "" {
			return Fault{f.path, "required", "请填写“是”或“否”"}, false
		}
		*f.flag(a) = v
		return Fault{f.path, "format", "应为“是”或“否”"}, ok
	case f.moment != nil:
		at, ok := momentFrom(s)
		*f.moment(a) = at
		return Fault{f.path, "format", "时间应写作 2026-11-22 09:00 或 2026-11-22T09:00:00+08:00"}, ok
	}
	if excelNumber.MatchString(s) {
		return Fault{f.path, "excel_number", "Excel 把该号码变成了数字而丢失了末位，请将该列设为文本后重新填写"}, false
	}
	s = integral(s)
	if f.secret != nil {
		*f.secret(a) = vault.Conceal(s)
		return Fault{}, true
	}
	if code, ok := vocabulary[f.column][s]; ok {
		s = code
	}
	*f.text(a) = s
	return Fault{}, true
}

// excelNumber is how a long number looks that Excel has rounded: 1.10105E+17.
var excelNumber = regexp.MustCompile(`^[0-9](\.[0-9]+)?[eE]\+?[0-9]{1,3}$`)

// wholeNumber is a number that a spreadsheet reader printed as a decimal: 13800000000.0.
var wholeNumber = regexp.MustCompile(`^([0-9]{6,})\.0+$`)

func integral(s string) string {
	if m := wholeNumber.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return s
}

// vocabulary gives the Chinese words that clerks write for the fixed values.
var vocabulary = map[string]map[string]string{
	"business": {"换领": Exchange, "卡换证": Exchange, "延期签注": Extension, "延期": Extension, "信息变更": Change, "变更": Change},
	"route": {"派出所": RoutePoliceStation, "网上": RouteOnline, "网上申请": RouteOnline, "网申": RouteOnline,
		"流管站": RouteRegistrationStation},
	"ground": {"合法稳定住所": "residence", "住所": "residence", "合法稳定就业": "employment", "就业": "employment",
		"连续就读": "study", "就读": "study"},
	"consent_source": {"平台": "platform", "现场": "counter", "派出所现场": "counter"},
	"payment_method": {"预付": Prepaid, "到付": Collect},
	"language":       {"中文": InChinese, "汉语": InChinese, "英文": InEnglish, "英语": InEnglish},
}

func yesNo(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "是", "true", "1", "yes", "y":
		return true, true
	case "否", "false", "0", "no", "n":
		return false, true
	}
	return false, false
}

// layouts are the ways of writing a Beijing time without a zone that occur in tables; the single digits take two as well.
var layouts = []string{"2006-1-2 15:04:05", "2006-1-2 15:04", "2006-1-2T15:04:05", "2006-1-2", "2006/1/2 15:04:05", "2006/1/2 15:04", "2006/1/2",
	"2006年1月2日 15:04:05", "2006年1月2日 15:04", "2006年1月2日"}

// momentFrom reads a time; an empty cell is no time and no fault.
func momentFrom(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, beijing); err == nil {
			return t, true
		}
	}
	return excelDay(s)
}

// excelDay reads Excel's count of days since 30 December 1899, as a cell shows when its date format was lost. Only
// 2000 to 2099 are taken, so that no other number passes for a time.
func excelDay(s string) (time.Time, bool) {
	days, err := strconv.ParseFloat(s, 64)
	if err != nil || !(days >= 36526 && days < 73051) {
		return time.Time{}, false
	}
	seconds := math.Round(days * 24 * 60 * 60)
	return time.Date(1899, 12, 30, 0, 0, int(seconds), 0, beijing), true
}

// maxMoney bounds an amount in fen: a thousand yuan is far beyond any postage, and catches yuan taken for fen.
const maxMoney = 100_000

func extrasFrom(values map[string]string) (RowExtras, Faults) {
	no, paid := strings.TrimSpace(halfWidth(values["transaction_no"])), halfWidth(values["paid_fen"])
	if paid == "" || paid == "0" {
		if no == "" {
			return RowExtras{}, nil
		}
		return RowExtras{}, Faults{{"paid_fen", "required", "填写了交易号，请同时填写已付金额（分）"}}
	}
	fen, err := strconv.ParseInt(paid, 10, 64)
	switch {
	case err != nil || fen < 0 || fen > maxMoney:
		return RowExtras{}, Faults{{"paid_fen", "format", "已付金额应为以分为单位的整数，最多100000，例如 2000 表示20元"}}
	case no == "":
		return RowExtras{}, Faults{{"transaction_no", "required", "填写了已付金额，请同时填写交易号"}}
	case excelNumber.MatchString(no):
		return RowExtras{}, Faults{{"transaction_no", "excel_number", "Excel 把交易号变成了数字而丢失了末位，请将该列设为文本后重新填写"}}
	case len(no) > maxTransaction || !plainTransaction(no):
		return RowExtras{}, Faults{{"transaction_no", "format", "交易号只能由字母、数字、连字符、下划线和点组成，最多64位"}}
	}
	return RowExtras{integral(no), fen}, nil
}

func plainTransaction(s string) bool {
	return plainNumber(strings.NewReplacer("_", "", ".", "", ":", "").Replace(s))
}
