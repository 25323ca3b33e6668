package main

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

// Limits of a file to import. A workbook is a zip archive, and a small one can unpack to any size.
const (
	maxImportFile  = 256 << 20
	maxImportUnzip = 1 << 30
	maxImportLine  = 64 << 10
)

// A row is one line of a table: values by heading, or the raw JSON of a line that is an object within objects.
type row struct {
	number int // as the user's program shows it: line of a text file, row of a sheet
	values map[string]string
	json   []byte
	err    error // the row cannot be read; the next one can
}

// A rowReader reads a file row by row. io.EOF ends it; any other error means that nothing more can be read.
type rowReader interface {
	next() (row, error)
	headings() []string // nil for JSON lines
	read() int64        // bytes or rows so far, for progress
	total() int64       // same unit; 0 when not known
	Close() error
}

// openRows opens a .jsonl, .csv or .xlsx file.
func openRows(path string) (rowReader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxImportFile {
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d: split it", path, info.Size(), maxImportFile)
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".jsonl", ".ndjson":
		return openLines(path, info.Size())
	case ".csv":
		return openCSV(path, info.Size())
	case ".xlsx":
		return openSheet(path)
	default:
		return nil, fmt.Errorf("%s: %q is not a format that can be imported: .jsonl, .csv, .xlsx", path, ext)
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
	f     *os.File
	count *counted
	r     *bufio.Reader
	line  int
	size  int64
}

func openLines(path string, size int64) (rowReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	c := &counted{r: f}
	r := bufio.NewReaderSize(c, maxImportLine)
	skipBOM(r)
	return &lineRows{f: f, count: c, r: r, size: size}, nil
}

func (l *lineRows) next() (row, error) {
	for {
		l.line++
		line, err := readLine(l.r)
		if err == io.EOF && len(line) == 0 {
			return row{}, io.EOF
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return row{number: l.line, err: fmt.Errorf("这一行超过 %d 字节", maxImportLine)}, nil
		}
		if err != nil && err != io.EOF {
			return row{}, err
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

func lineRow(number int, line []byte) row {
	if !utf8.Valid(line) {
		return row{number: number, err: errors.New("不是有效的 UTF-8 文本")}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return row{number: number, err: errors.New("不是完整的 JSON 对象")}
	}
	if _, nested := fields["recipient"]; nested {
		return row{number: number, json: line}
	}
	values := make(map[string]string, len(fields))
	for name, raw := range fields {
		v, err := plainValue(raw)
		if err != nil {
			return row{number: number, err: fmt.Errorf("%s: %w", name, err)}
		}
		values[name] = v
	}
	return row{number: number, values: values}
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

func (l *lineRows) headings() []string { return nil }
func (l *lineRows) read() int64        { return l.count.n }
func (l *lineRows) total() int64       { return l.size }
func (l *lineRows) Close() error       { return l.f.Close() }

// csvRows reads comma separated text in UTF-8, or in GB 18030 as Chinese Excel saves it.
type csvRows struct {
	f     *os.File
	count *counted
	r     *csv.Reader
	head  []string
	size  int64
}

func openCSV(path string, size int64) (rowReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	utf, err := isUTF8(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
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
		err = errors.New("the file is empty: the first row must hold the headings")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
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

func (c *csvRows) next() (row, error) {
	for {
		fields, err := c.r.Read()
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			return row{number: parse.Line, err: errors.New("引号不成对或格式错误，这一行无法读取")}, nil
		}
		if err != nil {
			return row{}, err
		}
		number, _ := c.r.FieldPos(0)
		if r, ok := tableRow(number, c.head, fields); ok {
			return r, nil
		}
	}
}

func (c *csvRows) headings() []string { return c.head }
func (c *csvRows) read() int64        { return c.count.n }
func (c *csvRows) total() int64       { return c.size }
func (c *csvRows) Close() error       { return c.f.Close() }

// sheetRows reads the first sheet of a workbook, streaming.
type sheetRows struct {
	f    *excelize.File
	rows *excelize.Rows
	head []string
	row  int
	all  int64
}

func openSheet(path string) (_ rowReader, err error) {
	f, err := excelize.OpenFile(path, excelize.Options{RawCellValue: true, UnzipSizeLimit: maxImportUnzip, UnzipXMLSizeLimit: 16 << 20})
	if err != nil {
		return nil, fmt.Errorf("%s: not a workbook that can be read: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	s := &sheetRows{f: f}
	if s.rows, err = f.Rows(f.GetSheetName(0)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if dim, derr := f.GetSheetDimension(f.GetSheetName(0)); derr == nil {
		if _, last, ok := strings.Cut(dim, ":"); ok {
			if _, n, cerr := excelize.CellNameToCoordinates(last); cerr == nil {
				s.all = int64(n)
			}
		}
	}
	if !s.rows.Next() {
		return nil, fmt.Errorf("%s: the first sheet is empty: its first row must hold the headings", path)
	}
	s.row = 1
	if s.head, err = s.rows.Columns(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *sheetRows) next() (row, error) {
	for s.rows.Next() {
		s.row++
		fields, err := s.rows.Columns()
		if err != nil {
			return row{}, err
		}
		if r, ok := tableRow(s.row, s.head, fields); ok {
			return r, nil
		}
	}
	if err := s.rows.Error(); err != nil {
		return row{}, err
	}
	return row{}, io.EOF
}

func (s *sheetRows) headings() []string { return s.head }
func (s *sheetRows) read() int64        { return int64(s.row) }
func (s *sheetRows) total() int64       { return s.all }
func (s *sheetRows) Close() error       { return errors.Join(s.rows.Close(), s.f.Close()) }

// tableRow joins headings and fields; ok is false for an empty row, which people leave at the end of a sheet.
func tableRow(number int, head, fields []string) (row, bool) {
	empty := true
	values := make(map[string]string, len(head))
	for i, f := range fields {
		f = strings.TrimSpace(f)
		if f == "" {
			continue
		}
		empty = false
		if i >= len(head) || strings.TrimSpace(head[i]) == "" {
			return row{number: number, err: fmt.Errorf("第 %d 列有内容但没有表头", i+1)}, true
		}
		if !utf8.ValidString(f) {
			return row{number: number, err: fmt.Errorf("第 %d 列不是有效文本", i+1)}, true
		}
		values[strings.TrimSpace(head[i])] = f
	}
	return row{number: number, values: values}, !empty
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
