// Package intake reads tables of permits, stations and tariffs and loads them, a chunk of rows at a time: from the command
// line, and from files that clerks upload. Bad rows are told by row and column and never stop the good ones. What may be
// loaded is package courier's to say.
package intake

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// MaxLine bounds a JSON line, as the API bounds one of a batch.
const MaxLine = 64 << 10

// Limits of a file. A workbook is a zip archive, and a small one can unpack to any size.
const (
	maxFile  = 256 << 20
	maxUnzip = 1 << 30
)

// A Row is one line of a table: values by heading, or the raw JSON of a line that is an object within objects.
type Row struct {
	Number int // as the user's program shows it: line of a text file, row of a sheet
	Values map[string]string
	JSON   []byte
	Err    error // the row cannot be read; the next one can
}

// Rows reads a file row by row. io.EOF ends it; any other error means that nothing more can be read.
type Rows interface {
	Next() (Row, error)
	Headings() []string // nil for JSON lines
	Read() int64        // bytes or rows so far, for progress
	Total() int64       // same unit; 0 when not known
	Close() error
}

// A FileFault is a file that cannot be read as a table at all, in the words of an operator and of a clerk.
type FileFault struct{ English, Chinese string }

func (f *FileFault) Error() string { return f.English }

// OpenFile opens a .jsonl, .csv or .xlsx file.
func OpenFile(path string) (Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	rows, err := Open(path, f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// A File is what a table is read from; a text is read twice, first to tell its encoding.
type File interface {
	io.ReadSeeker
	io.Closer
}

// Open reads a file by the ending of its name. The rows close it.
func Open(name string, f File, size int64) (Rows, error) {
	if size > maxFile {
		return nil, &FileFault{fmt.Sprintf("%d bytes, the limit is %d: split it", size, maxFile),
			fmt.Sprintf("文件超过 %d MB，请拆分后分别导入", maxFile>>20)}
	}
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".jsonl", ".ndjson":
		return openLines(f, size), nil
	case ".csv":
		return openCSV(f, size)
	case ".xlsx":
		return openSheet(f)
	default:
		return nil, &FileFault{fmt.Sprintf("%q is not a format that can be imported: .jsonl, .csv, .xlsx", ext),
			"不支持这种文件，请使用 .xlsx 或 .csv（旧的 .xls 文件请另存为 .xlsx）"}
	}
}

// counted counts the bytes that went through it.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// lineRows reads JSON lines: an object whose values are plain is a row of columns, one with a "recipient" is the
// object that the API takes.
type lineRows struct {
	f     File
	count *counted
	r     *bufio.Reader
	line  int
	size  int64
}

func openLines(f File, size int64) Rows {
	c := &counted{r: f}
	r := bufio.NewReaderSize(c, MaxLine)
	skipBOM(r)
	return &lineRows{f: f, count: c, r: r, size: size}
}

func (l *lineRows) Next() (Row, error) {
	for {
		l.line++
		line, err := readLine(l.r)
		if err == io.EOF && len(line) == 0 {
			return Row{}, io.EOF
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return Row{Number: l.line, Err: fmt.Errorf("这一行超过 %d 字节", MaxLine)}, nil
		}
		if err != nil && err != io.EOF {
			return Row{}, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		return lineRow(l.line, bytes.Clone(line)), nil
	}
}

// readLine reads one line; one that is too long is skipped whole and answered with bufio.ErrBufferFull.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	return nil, bufio.ErrBufferFull
}

func lineRow(number int, line []byte) Row {
	if !utf8.Valid(line) {
		return Row{Number: number, Err: errors.New("不是有效的 UTF-8 文本")}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return Row{Number: number, Err: errors.New("不是完整的 JSON 对象")}
	}
	if _, nested := fields["recipient"]; nested {
		return Row{Number: number, JSON: line}
	}
	values := make(map[string]string, len(fields))
	for name, raw := range fields {
		v, err := plainValue(raw)
		if err != nil {
			return Row{Number: number, Err: fmt.Errorf("%s: %w", name, err)}
		}
		values[name] = v
	}
	return Row{Number: number, Values: values}
}

func plainValue(raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '{', '[':
		return "", errors.New("应为文本、数字或 true/false")
	case 'n':
		return "", nil
	}
	return string(raw), nil // numbers as they stand, true, false
}

func (l *lineRows) Headings() []string { return nil }
func (l *lineRows) Read() int64        { return l.count.n }
func (l *lineRows) Total() int64       { return l.size }
func (l *lineRows) Close() error       { return l.f.Close() }

// csvRows reads comma separated text in UTF-8, or in GB 18030 as Chinese Excel saves it.
type csvRows struct {
	f     File
	count *counted
	r     *csv.Reader
	head  []string
	size  int64
}

func openCSV(f File, size int64) (Rows, error) {
	utf, err := isUTF8(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	c := &counted{r: f}
	var text io.Reader = c
	if !utf {
		text = simplifiedchinese.GB18030.NewDecoder().Reader(c)
	}
	buf := bufio.NewReader(text)
	skipBOM(buf)
	rows := &csvRows{f: f, count: c, r: csv.NewReader(buf), size: size}
	rows.r.FieldsPerRecord = -1
	rows.head, err = rows.r.Read()
	if err == io.EOF {
		return nil, &FileFault{"the file is empty: the first row must hold the headings", "文件是空的：第一行应为表头"}
	}
	if _, broken := errors.AsType[*csv.ParseError](err); broken {
		return nil, &FileFault{"headings: " + err.Error(), "表头无法读取：引号不成对或格式错误"}
	}
	return rows, err
}

func isUTF8(r io.Reader) (bool, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	for {
		c, size, err := br.ReadRune()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if c == utf8.RuneError && size == 1 {
			return false, nil
		}
	}
}

func (c *csvRows) Next() (Row, error) {
	for {
		fields, err := c.r.Read()
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			return Row{Number: parse.Line, Err: errors.New("引号不成对或格式错误，这一行无法读取")}, nil
		}
		if err != nil {
			return Row{}, err
		}
		number, _ := c.r.FieldPos(0)
		if r, ok := tableRow(number, c.head, fields); ok {
			return r, nil
		}
	}
}

func (c *csvRows) Headings() []string { return c.head }
func (c *csvRows) Read() int64        { return c.count.n }
func (c *csvRows) Total() int64       { return c.size }
func (c *csvRows) Close() error       { return c.f.Close() }

// sheetRows reads the first sheet of a workbook, streaming.
type sheetRows struct {
	file File
	f    *excelize.File
	rows *excelize.Rows
	head []string
	row  int
	all  int64
}

func openSheet(file File) (_ Rows, err error) {
	f, err := excelize.OpenReader(file, excelize.Options{RawCellValue: true, UnzipSizeLimit: maxUnzip, UnzipXMLSizeLimit: 16 << 20})
	if err != nil {
		return nil, &FileFault{"not a workbook that can be read: " + err.Error(), "不是可以读取的 Excel 工作簿，或内容过大；请另存为 .xlsx 后重试"}
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	s := &sheetRows{file: file, f: f}
	if s.rows, err = f.Rows(f.GetSheetName(0)); err != nil {
		return nil, err
	}
	if dim, derr := f.GetSheetDimension(f.GetSheetName(0)); derr == nil {
		if _, last, ok := strings.Cut(dim, ":"); ok {
			if _, n, cerr := excelize.CellNameToCoordinates(last); cerr == nil {
				s.all = int64(n)
			}
		}
	}
	if !s.rows.Next() {
		return nil, &FileFault{"the first sheet is empty: its first row must hold the headings", "第一张工作表是空的：第一行应为表头"}
	}
	s.row = 1
	if s.head, err = s.rows.Columns(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sheetRows) Next() (Row, error) {
	for s.rows.Next() {
		s.row++
		fields, err := s.rows.Columns()
		if err != nil {
			return Row{}, err
		}
		if r, ok := tableRow(s.row, s.head, fields); ok {
			return r, nil
		}
	}
	if err := s.rows.Error(); err != nil {
		return Row{}, err
	}
	return Row{}, io.EOF
}

func (s *sheetRows) Headings() []string { return s.head }
func (s *sheetRows) Read() int64        { return int64(s.row) }
func (s *sheetRows) Total() int64       { return s.all }
func (s *sheetRows) Close() error       { return errors.Join(s.rows.Close(), s.f.Close(), s.file.Close()) }

// tableRow joins headings and fields; ok is false for an empty row, which people leave at the end of a sheet.
func tableRow(number int, head, fields []string) (Row, bool) {
	empty := true
	values := make(map[string]string, len(head))
	for i, f := range fields {
		f = strings.TrimSpace(f)
		if f == "" {
			continue
		}
		empty = false
		if i >= len(head) || strings.TrimSpace(head[i]) == "" {
			return Row{Number: number, Err: fmt.Errorf("第 %d 列有内容但没有表头", i+1)}, true
		}
		if !utf8.ValidString(f) {
			return Row{Number: number, Err: fmt.Errorf("第 %d 列不是有效文本", i+1)}, true
		}
		values[strings.TrimSpace(head[i])] = f
	}
	return Row{Number: number, Values: values}, !empty
}

func skipBOM(r *bufio.Reader) {
	if b, err := r.Peek(3); err == nil && bytes.Equal(b, []byte{0xEF, 0xBB, 0xBF}) {
		r.Discard(3)
	}
}

// numberCell says whether Excel kept a long number as a number, which loses its last digits.
func numberCell(v string) bool {
	if !strings.ContainsAny(v, "Ee") {
		return false
	}
	_, err := strconv.ParseFloat(v, 64)
	return err == nil
}
