package intake

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// noon is the time of every test here.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// desk is a daemon's part that works on uploads, with two stations to load permits for.
func desk(t *testing.T) *Uploads {
	t.Helper()
	db := dbtest.Open(t)
	clock := courier.Clock{Now: func() time.Time { return noon }, Wall: func() time.Time { return noon }}
	v := vault.Fixed([]byte("uploads"))
	service := courier.New(db, v, clock, courier.Options{})
	for _, table := range []struct {
		rows []map[string]string
		save func(context.Context, []map[string]string, bool) ([]courier.Faults, error)
	}{
		{[]map[string]string{{"code": "110105001", "name": "示例派出所", "kind": "police_station"}, {"code": "110102001", "name": "试验派出所", "kind": "police_station"}},
			service.SaveStations},
		{[]map[string]string{{"zone": "北京", "provinces": "北京市", "valid_from": "2026-01-01", "first_weight_g": "500", "first_fen": "1200", "step_weight_g": "500", "step_fen": "200"}},
			service.SaveTariffs},
	} {
		if faults, err := table.save(t.Context(), table.rows, false); err != nil || len(faults[0]) > 0 {
			t.Fatal(err, faults)
		}
	}
	return NewUploads(db, v, service, clock, slog.New(slog.DiscardHandler))
}

// sheet is a table of permits as text; edits change cells of rows by number, from 2, as spreadsheets count.
func sheet(t *testing.T, rows int, edits map[int]map[string]string) []byte {
	t.Helper()
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	var heads []string
	for _, c := range courier.Columns {
		heads = append(heads, c.Chinese)
	}
	w.Write(heads)
	for n := 2; n < rows+2; n++ {
		var fields []string
		for _, c := range courier.Columns {
			v := map[string]string{"permit_no": fmt.Sprintf("A1101052026%06d", n), "application_no": fmt.Sprintf("SQ2026-%06d", n), "business": "卡换证",
				"route": "网上申请", "ground": "住所", "identity_changed": "否", "address_changed": "否", "station_code": "110105001", "consent_source": "平台",
				"consent_at": "2026-11-20 10:00", "approved_at": "2026-11-22 09:00", "payment_method": "预付", "name": "欧阳试验",
				"phone": fmt.Sprintf("138%08d", n), "id_no": "110105198310062311", "province": "北京市", "city": "北京市", "county": "朝阳区",
				"address": "示例路1号院2号楼301"}[c.Name]
			if e, ok := edits[n][c.Name]; ok {
				v = e
			}
			fields = append(fields, v)
		}
		w.Write(fields)
	}
	w.Flush()
	return text.Bytes()
}

var backOffice = Uploader{Name: "wang", Kinds: []Kind{Permits}}

func round(t *testing.T, u *Uploads) {
	t.Helper()
	if err := u.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, u *Uploads, id uuid.UUID) Upload {
	t.Helper()
	up, err := u.Get(t.Context(), id, "wang", false)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func TestAnUploadIsCheckedThenLoadedThenItsBadRowsCanBeHad(t *testing.T) {
	t.Parallel()
	u := desk(t)
	content := sheet(t, 700, map[int]map[string]string{3: {"phone": "138", "county": ""}, 650: {"station_code": "999"}, 5: {"business": "延期"}})
	id, err := u.Add(t.Context(), backOffice, `C:\桌面\张三等.csv`, content)
	if err != nil {
		t.Fatal(err)
	}
	round(t, u)
	checked := get(t, u, id)
	want := Summary{Kind: Permits, Rows: 700, Created: 697, Refused: 1, Bad: 2, DryRun: true}
	if diff := cmp.Diff(want, checked.Summary); diff != "" || checked.State != Checked || checked.Name.Reveal() != "张三等.csv" {
		t.Errorf("%s %s after the check (-want +got):\n%s", checked.State, checked.Fault, diff)
	}
	if n := deliveries(t, u); n != 0 {
		t.Errorf("the check made %d deliveries", n)
	}
	rows, err := u.BadRows(t.Context(), id, 0, 10)
	if err != nil || len(rows) != 2 || rows[0].Number != 3 || rows[1].Number != 650 || len(rows[0].Faults) != 2 {
		t.Fatalf("bad rows %+v, %v", rows, err)
	}
	if err := u.Load(t.Context(), id, "wang"); err != nil {
		t.Fatal(err)
	}
	round(t, u)
	loaded := get(t, u, id)
	want.DryRun = false
	if diff := cmp.Diff(want, loaded.Summary); diff != "" || loaded.State != Loaded || loaded.Percent() != 100 {
		t.Errorf("%s at %d%% after the load (-want +got):\n%s", loaded.State, loaded.Percent(), diff)
	}
	if n := deliveries(t, u); n != 698 {
		t.Errorf("%d deliveries, want 698", n)
	}
	var kept int
	if err := u.db.Get(&kept, `SELECT count(*) FROM uploads WHERE file_sealed IS NOT NULL`); err != nil || kept != 0 {
		t.Errorf("%d files are kept after they were loaded (%v)", kept, err)
	}

	// The bad rows, mended in the table that was downloaded, can be uploaded as they are.
	var book bytes.Buffer
	if err := u.WriteBadRows(t.Context(), id, &book); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(bytes.NewReader(book.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := f.GetRows(f.GetSheetName(0))
	if err != nil || len(table) != 3 || table[1][0] != "3" || !strings.Contains(table[1][len(table[1])-1], "手机：") {
		t.Fatalf("the table of bad rows: %q, %v", table, err)
	}
	for i, h := range table[0] {
		name, _ := excelize.CoordinatesToCellName(i+1, 2)
		switch h {
		case "手机":
			f.SetCellStr(f.GetSheetName(0), name, "13800000003")
		case "区县":
			f.SetCellStr(f.GetSheetName(0), name, "朝阳区")
		}
	}
	book.Reset()
	if err := f.Write(&book); err != nil {
		t.Fatal(err)
	}
	again, err := u.Add(t.Context(), backOffice, "bad.xlsx", book.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	round(t, u)
	if got := get(t, u, again); got.State != Checked || got.Summary.Created != 1 || got.Summary.Bad != 1 {
		t.Errorf("the mended table: %s %s %+v", got.State, got.Fault, got.Summary)
	}
}

func deliveries(t *testing.T, u *Uploads) (n int) {
	t.Helper()
	if err := u.db.Get(&n, `SELECT count(*) FROM deliveries`); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnUploadThatIsNoTableSaysWhyInChinese(t *testing.T) {
	t.Parallel()
	u := desk(t)
	tests := []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"no workbook", "x.xlsx", []byte("PK nonsense"), "不是可以读取的 Excel"},
		{"headings that are missing", "x.csv", []byte("居住证编号,手机号\n1,2\n"), "缺少“身份证号”列"},
		{"headings that nobody knows", "x.csv", []byte("居住证编号,手机号\n1,2\n"), "第 2 列的表头“手机号”不认识"},
		{"headings only", "x.csv", sheet(t, 0, nil), "没有数据行"},
		{"stations, by a clerk who may not", "x.csv", []byte("code,name,kind\n1,2,3\n"), "没有导入这类表格的权限"},
	}
	for _, tt := range tests {
		id, err := u.Add(t.Context(), backOffice, tt.file, tt.content)
		if err != nil {
			t.Fatal(err)
		}
		round(t, u)
		if got := get(t, u, id); got.State != Broken || !strings.Contains(got.Fault, tt.want) {
			t.Errorf("%s: %s %q, want %q", tt.name, got.State, got.Fault, tt.want)
		}
	}
	for name, content := range map[string][]byte{"x.xls": []byte("x"), "x.csv": nil, "big.csv": make([]byte, MaxUpload+1)} {
		if _, err := u.Add(t.Context(), backOffice, name, content); !isFaults(err) {
			t.Errorf("%s of %d bytes: %v, want faults", name, len(content), err)
		}
	}
}

func isFaults(err error) bool { _, ok := errors.AsType[courier.Faults](err); return ok }

func TestAClerkOfAStationLoadsItsPermitsOnly(t *testing.T) {
	t.Parallel()
	u := desk(t)
	counter := Uploader{Name: "wang", Station: "110105001", Kinds: []Kind{Permits}}
	id, err := u.Add(t.Context(), counter, "x.csv", sheet(t, 4, map[int]map[string]string{4: {"station_code": "110102001"}}))
	if err != nil {
		t.Fatal(err)
	}
	round(t, u)
	if err := u.Load(t.Context(), id, "wang"); err != nil {
		t.Fatal(err)
	}
	round(t, u)
	if got := get(t, u, id); got.Summary.Created != 3 || got.Summary.Bad != 1 {
		t.Errorf("%+v", got.Summary)
	}
	if _, err := u.Get(t.Context(), id, "li", false); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("another clerk sees the upload: %v", err)
	}
	if err := u.Load(t.Context(), id, "li"); err == nil {
		t.Error("another clerk may load it")
	}
}

// TestAnUploadLeftHalfDoneIsBegunAnew: its process ends in the middle, the next one takes it over when the lease is over.
func TestAnUploadLeftHalfDoneIsBegunAnew(t *testing.T) {
	t.Parallel()
	u := desk(t)
	id, err := u.Add(t.Context(), backOffice, "x.csv", sheet(t, 1200, nil))
	if err != nil {
		t.Fatal(err)
	}
	round(t, u)
	if err := u.Load(t.Context(), id, "wang"); err != nil {
		t.Fatal(err)
	}
	dying, kill := context.WithCancel(t.Context())
	half := &halfway{Taker: u.service, kill: kill}
	u.service = half
	if err := u.Round(dying); err == nil {
		t.Fatal("the round ended well")
	}
	u.service = half.Taker
	n := deliveries(t, u)
	round(t, u) // the lease still holds
	if got := get(t, u, id); got.State != Loading || n == 0 || n == 1200 {
		t.Errorf("%s with %d deliveries while the lease holds", got.State, n)
	}
	u.clock.Wall = func() time.Time { return noon.Add(uploadLease + time.Second) }
	round(t, u)
	if got := get(t, u, id); got.State != Loaded || got.Summary.Created+got.Summary.Existing != 1200 || deliveries(t, u) != 1200 {
		t.Errorf("%s, %+v, %d deliveries", got.State, got.Summary, deliveries(t, u))
	}
}

// halfway ends its process after the first chunk.
type halfway struct {
	Taker
	kill context.CancelFunc
}

func (h *halfway) AcceptPaid(ctx context.Context, intakes []courier.Intake, by string) ([]courier.Result, error) {
	defer h.kill()
	return h.Taker.AcceptPaid(ctx, intakes, by)
}

func TestTheTemplateHasEveryColumnAsText(t *testing.T) {
	t.Parallel()
	var book bytes.Buffer
	if err := WriteTemplate(&book); err != nil {
		t.Fatal(err)
	}
	rows, err := Open("x.xlsx", memoryFile{bytes.NewReader(book.Bytes())}, int64(book.Len()))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if kind, err := kindOf(rows.Headings()); kind != Permits || err != nil || len(rows.Headings()) != len(courier.Columns) {
		t.Errorf("headings %q: %s, %v", rows.Headings(), kind, err)
	}
}

func FuzzRows(f *testing.F) {
	f.Add("x.csv", []byte("a,b\n1,\"2\n"))
	f.Add("x.jsonl", []byte("{\"a\":1}\n{"))
	f.Add("x.xlsx", []byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		rows, err := Open(name, memoryFile{bytes.NewReader(content)}, int64(len(content)))
		if err != nil {
			return
		}
		defer rows.Close()
		for range 1000 {
			if _, err := rows.Next(); err != nil {
				return
			}
		}
	})
}
