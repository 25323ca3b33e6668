package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// chineseRow is permit(n) as a clerk writes it down, by the English names of the columns. The name holds a letter that
// only the four bytes of GB 18030 can write.
func chineseRow(n int, edits ...string) map[string]string {
	to := permit(n)["recipient"].(map[string]any)
	row := map[string]string{"permit_no": fmt.Sprintf("A1101022026%06d", n), "application_no": fmt.Sprintf("SQ2026-%06d", n), "business": "卡换证",
		"route": "网上申请", "ground": "residence", "identity_changed": "否", "address_changed": "否", "station_code": "110102001",
		"consent_source": "platform", "consent_at": "2026-10-20 10:00", "approved_at": "2026-10-22 09:00", "payment_method": "预付",
		"transaction_no": fmt.Sprintf("WX-import-%d", n), "paid_fen": "1200", "name": "欧阳𠮷㐂", "phone": to["phone"].(string),
		"id_no": to["id_no"].(string), "province": "北京市", "city": "北京市", "county": "西城区", "address": fmt.Sprintf("试验胡同%d号", n)}
	for i := 0; i+1 < len(edits); i += 2 {
		row[edits[i]] = edits[i+1]
	}
	return row
}

// importHeads are all columns in Chinese.
func importHeads() (heads, names []string) {
	for _, c := range courier.Columns {
		heads, names = append(heads, c.Chinese), append(names, c.Name)
	}
	return heads, names
}

// workbook saves rows as Excel does: texts as texts, dates as days, money as numbers, and one long number spoiled.
func workbook(t *testing.T, rows []map[string]string) string {
	t.Helper()
	heads, names := importHeads()
	f := excelize.NewFile()
	defer f.Close()
	sheet := f.GetSheetName(0)
	put := func(col, row int, v any) {
		cell, err := excelize.CoordinatesToCellName(col, row)
		if err == nil {
			err = f.SetCellValue(sheet, cell, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, h := range heads {
		put(i+1, 1, h)
	}
	for r, row := range rows {
		for i, name := range names {
			var v any = row[name]
			switch name {
			case "paid_fen":
				v = 1200
			case "consent_at":
				v = time.Date(2026, 10, 20, 10, 0, 0, 0, time.UTC) // a day number, without a zone
			case "id_no":
				if row[name] == "spoiled" {
					v = 110105199001011234
				}
			}
			put(i+1, r+2, v)
		}
	}
	path := filepath.Join(t.TempDir(), "批准名单.xlsx")
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// chineseCSV saves rows as Chinese Excel saves comma separated text.
func chineseCSV(t *testing.T, rows []map[string]string) string {
	t.Helper()
	heads, names := importHeads()
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.UseCRLF = true
	if err := w.Write(heads); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		fields := make([]string, len(names))
		for i, n := range names {
			fields[i] = row[n]
		}
		if err := w.Write(fields); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	gb, err := simplifiedchinese.GB18030.NewEncoder().Bytes(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "批准名单.csv")
	if err := os.WriteFile(path, gb, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestImportOfTablesFromTheCommandLine loads a workbook and a table in GB 18030 with `emsd import`: bad rows are told by
// row and column and stop nothing, what is there already is known whatever file it comes from, and a second time
// changes nothing.
func TestImportOfTablesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	p := newProcess(t, emssim.Config{})
	db, err := openDatabase(t.Context(), p.dsn, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bad := map[int][]string{ // by the row of the sheet
		3: {"phone", "1390000"}, 5: {"id_no", "110105199001011239"}, 7: {"station_code", "999"}, 9: {"approved_at", "昨天"},
		11: {"identity_changed", "也许"}, 13: {"province", "北方"}, 15: {"name", ""}, 17: {"phone", "12", "county", ""},
	}
	want := []string{"row 3, phone 手机", "row 5, id_no 身份证号", "row 7, station_code 受理点编码", "row 9, approved_at 批准时间",
		"row 11, identity_changed", "row 13, province", "row 15, name 姓名", "row 17, county 区县", "row 17, phone 手机"}
	var rows []map[string]string
	for i := range 30 {
		rows = append(rows, chineseRow(i+1, bad[i+2]...))
	}
	table := slices.Clone(rows[10:])
	for i := range 10 {
		table = append(table, chineseRow(31+i))
	}
	spoiled := slices.Concat(rows, []map[string]string{chineseRow(99, "id_no", "spoiled")})
	book, gb := workbook(t, spoiled), chineseCSV(t, table)
	load := func(path string) (summary string, complaints []string) {
		t.Helper()
		out, code := p.run("import", path)
		if code != exitFailed {
			t.Errorf("%s: code %d, want %d for a file with bad rows", filepath.Base(path), code, exitFailed)
		}
		for line := range strings.Lines(out) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "imported:"):
				summary = line
			case strings.HasPrefix(line, "row "):
				complaints = append(complaints, line)
			}
		}
		for _, private := range []string{"欧阳", "试验胡同", "110105199001011239"} {
			if strings.Contains(out, private) {
				t.Errorf("%s: the output holds %q", filepath.Base(path), private)
			}
		}
		return summary, complaints
	}
	state := func() []string {
		var all []string
		if err := db.Select(&all, `SELECT permit_no || ' ' || status || ' ' || paid_fen || ' ' || seq ||
			' ' || (SELECT count(*) FROM payments p WHERE p.delivery_id = d.id) FROM deliveries d ORDER BY permit_no`); err != nil {
			t.Fatal(err)
		}
		return all
	}
	told := func(complaints, want []string) {
		t.Helper()
		for _, w := range want {
			if !slices.ContainsFunc(complaints, func(c string) bool { return strings.HasPrefix(c, w) }) {
				t.Errorf("nothing is said of %q: %q", w, complaints)
			}
		}
	}
	if sum, said := load(book); sum != "imported: 31 rows, 22 new, 0 known already, 0 refused by a rule (recorded), 22 payments, 9 with faults" {
		t.Errorf("the workbook: %s\n%s", sum, strings.Join(said, "\n"))
	} else {
		told(said, append(want, "row 32, id_no 身份证号"))
	}
	first := state()
	if len(first) != 22 || strings.Contains(strings.Join(first, ""), "awaiting_payment") {
		t.Errorf("%d deliveries, want 22 that are paid: %q", len(first), first)
	}
	// Rows 11 to 30 of the workbook again, in another encoding and with dates as texts: the same permits.
	if sum, said := load(gb); sum != "imported: 30 rows, 10 new, 17 known already, 0 refused by a rule (recorded), 27 payments, 3 with faults" {
		t.Errorf("the table: %s\n%s", sum, strings.Join(said, "\n"))
	} else {
		told(said, []string{"row 3, province", "row 5, name 姓名", "row 7, county 区县"})
	}
	both := state()
	for _, path := range []string{book, gb} {
		sum, _ := load(path)
		if !strings.Contains(sum, " 0 new, ") {
			t.Errorf("%s a second time: %s", filepath.Base(path), sum)
		}
	}
	if diff := cmp.Diff(both, state()); diff != "" || len(both) != 32 {
		t.Errorf("%d deliveries; importing again changed (-before +after):\n%s", len(both), diff)
	}
}
