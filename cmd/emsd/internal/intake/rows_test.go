package intake

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll gives every row as "number key=value …" or "number !fault".
func readAll(t *testing.T, path string) ([]string, error) {
	t.Helper()
	rows, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var got []string
	for {
		r, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		text := strconv.Itoa(r.Number)
		switch {
		case r.Err != nil:
			text += " !" + r.Err.Error()
		case r.JSON != nil:
			text += " json"
		default:
			for _, k := range []string{"a", "b", "姓名"} {
				if v, ok := r.Values[k]; ok {
					text += " " + k + "=" + v
				}
			}
		}
		got = append(got, text)
	}
}

func TestRowsOfEveryFormat(t *testing.T) {
	gbk, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte("姓名,a\n张三,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", MaxLine+10)
	tests := []struct {
		name, file string
		content    []byte
		want       []string
	}{
		{"csv", "x.csv", []byte("a,b\n1,2\n\n3,\n"), []string{"2 a=1 b=2", "4 a=3"}},
		{"csv with BOM and CRLF", "x.csv", []byte("\xef\xbb\xbfa,b\r\n1,2\r\n"), []string{"2 a=1 b=2"}},
		{"csv of Chinese Excel", "x.csv", gbk, []string{"2 a=1 姓名=张三"}},
		{"csv with a quote in the middle", "x.csv", []byte("a,b\n1,x\"y\n3,4\n"), []string{"2 !引号不成对或格式错误，这一行无法读取", "3 a=3 b=4"}},
		{"csv with more fields than headings", "x.csv", []byte("a\n1,2\n3\n"), []string{"2 !第 2 列有内容但没有表头", "3 a=3"}},
		{"jsonl", "x.jsonl", []byte("{\"a\":\"1\",\"b\":2}\n\n{\"a\":true,\"b\":null}\n"), []string{"1 a=1 b=2", "3 a=true b="}},
		{"jsonl as the API takes it", "x.jsonl", []byte(`{"permit_no":"A","recipient":{}}`), []string{"1 json"}},
		{"jsonl half written", "x.jsonl", []byte("{\"a\":\"1\"}\n{\"a\":\"2\n{\"a\":\"3\"}"), []string{"1 a=1", "2 !不是完整的 JSON 对象", "3 a=3"}},
		{"jsonl with invalid UTF-8", "x.jsonl", []byte("{\"a\":\"\xff\"}\n{\"a\":\"2\"}"), []string{"1 !不是有效的 UTF-8 文本", "2 a=2"}},
		{"jsonl with an object inside", "x.jsonl", []byte("{\"a\":{\"x\":1}}\n"), []string{"1 !a: 应为文本、数字或 true/false"}},
		{"jsonl with a line too long", "x.jsonl", []byte("{\"a\":\"" + long + "\"}\n{\"a\":\"2\"}\n"), []string{"1 !这一行超过 65536 字节", "2 a=2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll(t, write(t, tt.file, tt.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowsOfAWorkbook(t *testing.T) {
	f := excelize.NewFile()
	for cell, v := range map[string]any{"A1": "a", "B1": "姓名", "A2": 110105199001011234, "B2": "张三", "A4": "文本", "B4": 1} {
		if err := f.SetCellValue("Sheet1", cell, v); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.xlsx")
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "2 a=1101051990010112") || got[1] != "4 a=文本 姓名=1" {
		t.Errorf("rows %q", got)
	}
}

// zipBomb is a small workbook whose sheet unpacks to more than may be: one compressed megabyte, many times over.
func zipBomb(t *testing.T) []byte {
	t.Helper()
	var megabyte, bomb bytes.Buffer
	f, err := flate.NewWriter(&megabyte, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(); err != nil { // the blocks stand for themselves
		t.Fatal(err)
	}
	const times = maxUnzip>>20 + 1
	packed := append(bytes.Repeat(megabyte.Bytes(), times), 3, 0) // and the last, empty one
	z := zip.NewWriter(&bomb)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "xl/worksheets/sheet1.xml", Method: zip.Deflate,
		CompressedSize64: uint64(len(packed)), UncompressedSize64: times << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return bomb.Bytes()
}

func TestFilesThatCannotBeRead(t *testing.T) {
	bomb := zipBomb(t)
	tests := []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"zip bomb", "x.xlsx", bomb, "unzip size exceeds"},
		{"not a workbook", "x.xlsx", []byte("a,b\n"), "not a workbook"},
		{"empty csv", "x.csv", nil, "the first row must hold the headings"},
		{"another format", "x.xls", []byte("x"), ".jsonl, .csv, .xlsx"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readAll(t, write(t, tt.file, tt.content)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHeadingsAreCheckedBeforeTheFirstRow(t *testing.T) {
	if _, err := kindOf([]string{"居住证编号", "手机号码"}); err == nil || !strings.Contains(err.Error(), `"手机号码" is not a column`) ||
		!strings.Contains(err.Error(), "the column id_no (身份证号) is missing") {
		t.Errorf("kind: %v; want the unknown heading and the missing columns", err)
	}
}

func TestANumberThatExcelSpoiledIsRecognised(t *testing.T) {
	for v, want := range map[string]bool{"1.10105199001011E+17": true, "110105199001011234": false, "1E2": true, "11010519900101123X": false, "EMS": false} {
		if numberCell(v) != want {
			t.Errorf("numberCell(%q) = %t", v, !want)
		}
	}
}
