// Package tracetest reads the worked traces of tracking/testdata/traces for tests: texts that a clerk can read, each with
// what must come of it. It knows no rule.
package tracetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// What a trace says must come of it, in the order in which the files have it.
const (
	Status    = "状态"
	Receiver  = "签收" // class, then what it means
	HeldUntil = "领取至"
	Cases     = "工单" // open at the end
	Reopened  = "重开" // the rule that left a final status
	Withdrawn = "撤回" // the status follows from a voiding scan
	Unknown   = "不认识"
	Ignored   = "早于下单"
	Messages  = "短信"
)

// Keys lists what a trace may say.
var Keys = []string{Status, Receiver, HeldUntil, Cases, Reopened, Withdrawn, Unknown, Ignored, Messages}

// A Trace is one worked trace.
type Trace struct {
	File      string
	Name      string
	OrderedAt time.Time
	IDChecked bool
	Scans     []Scan // as they come
	Want      map[string]string

	lines []string // as the file has them, without what must come of it
}

// A Scan is a scan, and when it is seen first.
type Scan struct {
	courier.Scan
	SeenAt time.Time
}

// Read reads all traces of a folder, in the order of files and lines.
func Read(dir string) ([]Trace, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var traces []Trace
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		_, list, err := parse(file, string(text))
		if err != nil {
			return nil, err
		}
		traces = append(traces, list...)
	}
	for i := range traces {
		if slices.ContainsFunc(traces[:i], func(t Trace) bool { return t.Name == traces[i].Name }) {
			return nil, fmt.Errorf("%s: the trace %s stands twice", traces[i].File, traces[i].Name)
		}
	}
	return traces, nil
}

const title = "【轨迹】"

// parse splits a file into what stands above the first trace, and the traces.
func parse(file, text string) (head []string, traces []Trace, err error) {
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if name, ok := strings.CutPrefix(line, title); ok {
			traces = append(traces, Trace{File: file, Name: name, Want: map[string]string{}})
		}
		if len(traces) == 0 {
			head = append(head, line)
			continue
		}
		if err := traces[len(traces)-1].read(line); err != nil {
			return nil, nil, fmt.Errorf("%s:%d: %w", filepath.Base(file), n+1, err)
		}
	}
	return head, traces, nil
}

func (t *Trace) read(line string) error {
	if line == "" {
		return nil
	}
	if want, ok := strings.CutPrefix(line, "→ "); ok {
		key, value, _ := strings.Cut(want, " ")
		if !slices.Contains(Keys, key) {
			return fmt.Errorf("unknown result %q", key)
		}
		t.Want[key] = value
		return nil
	}
	t.lines = append(t.lines, line)
	var err error
	switch {
	case strings.HasPrefix(line, title), strings.HasPrefix(line, "#"):
	case strings.HasPrefix(line, "下单 "):
		t.OrderedAt, err = readTime(strings.TrimPrefix(line, "下单 "))
	case line == "核验证件 是":
		t.IDChecked = true
	default:
		var s Scan
		if s, err = readScan(line); err == nil {
			t.Scans = append(t.Scans, s)
		}
	}
	return err
}

// readScan reads "time | code | name | text | extras".
func readScan(line string) (Scan, error) {
	p := strings.Split(line, " | ")
	if len(p) < 4 || len(p) > 5 {
		return Scan{}, fmt.Errorf("a scan has four or five parts: %q", line)
	}
	at, err := readTime(p[0])
	if err != nil {
		return Scan{}, err
	}
	s := Scan{Scan: courier.Scan{At: at, Code: p[1], Name: p[2], Desc: vault.Conceal(p[3]), OrgCode: "11000001", OrgName: "丙揽投部"}, SeenAt: at}
	if len(p) < 5 {
		return s, nil
	}
	for _, extra := range strings.Split(p[4], "，") {
		key, value, _ := strings.Cut(extra, " ")
		switch key {
		case "妥投代码":
			s.DeliverCode = value
		case "未妥投代码":
			s.AttemptCode = value
		case "机构":
			s.OrgCode = value
		case "见于":
			if s.SeenAt, err = readTime(value); err != nil {
				return s, err
			}
		default:
			return s, fmt.Errorf("unknown extra %q", extra)
		}
	}
	return s, nil
}

func readTime(text string) (time.Time, error) {
	return time.ParseInLocation(time.DateTime, text, beijing)
}

// Update writes what did come of the traces, by their names, into the files; keys that are not given stay.
func Update(dir string, got map[string]map[string]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		head, traces, err := parse(file, string(text))
		if err != nil {
			return err
		}
		out := strings.TrimRight(strings.Join(head, "\n"), "\n") + "\n"
		for _, t := range traces {
			for key, value := range got[t.Name] {
				t.Want[key] = value
			}
			out += "\n" + strings.Join(t.lines, "\n") + "\n"
			for _, key := range Keys {
				if t.Want[key] != "" {
					out += "→ " + key + " " + t.Want[key] + "\n"
				}
			}
		}
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			return err
		}
	}
	return nil
}
