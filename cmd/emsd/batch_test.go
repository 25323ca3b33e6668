package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

// A process is the real program on a database of its own, with stations and tariffs loaded through its own commands.
type process struct {
	*sims
	t     *testing.T
	dsn   string
	env   []string
	api   string
	ops   string
	token string

	cmd   *exec.Cmd
	ended chan error
}

// newProcess prepares everything and starts nothing.
func newProcess(t *testing.T, e emssim.Config, env ...string) *process {
	t.Helper()
	p := &process{sims: startSims(t, e, smssim.Config{}), t: t, dsn: emptyDatabase(t)}
	listen, ops := freeAddr(t), freeAddr(t)
	p.api, p.ops = "http://"+listen, "http://"+ops
	p.env = append(environ(p.dsn, keyFile(t), p.sims, append([]string{"EMSD_LISTEN=" + listen, "EMSD_OPS_LISTEN=" + ops}, env...)...), "PATH="+os.Getenv("PATH"))
	for _, name := range []string{"stations.csv", "tariffs.csv"} {
		if out, code := p.run("import", testdata(name)); code != exitDone {
			t.Fatalf("import %s: %s", name, out)
		}
	}
	out, code := p.run("token", "create", "--name", "test", "--scopes", "permits,payments,read")
	for word := range strings.FieldsSeq(out) {
		if strings.HasPrefix(word, "emsd_") {
			p.token = word
		}
	}
	if code != exitDone || p.token == "" {
		t.Fatalf("token create: %d %s", code, out)
	}
	return p
}

// run is one command of the program, in this process.
func (p *process) run(args ...string) (string, int) {
	var out bytes.Buffer
	code := run(p.t.Context(), args, p.env, &out, &out)
	return out.String(), code
}

// start runs the daemon and waits until it is ready.
func (p *process) start() {
	p.t.Helper()
	p.cmd, p.ended = serve(p.t, p.env)
	until(p.t, 20*time.Second, "ready", func() bool {
		r, err := request(p.ops+"/readyz", "GET", nil)
		return err == nil && r.status == http.StatusOK
	})
}

// terminate sends SIGTERM and gives how long the process took to end, and how.
func (p *process) terminate() (time.Duration, error) {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.ended:
		return time.Since(began), err
	case <-time.After(time.Minute):
		p.t.Fatal("the process is still there a minute after SIGTERM")
		return 0, nil
	}
}

// peak is the most memory that the process has had, in MiB.
func (p *process) peak() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				p.t.Fatal(err)
			}
			return kib >> 10
		}
	}
	p.t.Fatal("no VmHWM")
	return 0
}

// batchForm is permit(n) as text with places for what differs, for a hundred thousand of them.
func batchForm(edits ...any) (string, error) {
	text, err := json.Marshal(permit(1, append(edits, "permit_no", "A1101022026%06[1]d", "application_no", "SQ2026-%06[1]d", "recipient.phone", "139%04[2]d0001",
		"recipient.id_no", "%[3]s", "recipient.name", "欧阳测试%[4]c", "recipient.address", "试验胡同%[1]d号院4单元1402")...))
	return string(text), err
}

// batchLines writes the lines from 1 to n of a large batch: of a thousand, four cannot be taken and one is refused by a
// rule.
func batchLines(w io.Writer, n int) error {
	good, err := batchForm()
	if err != nil {
		return err
	}
	refused, err := batchForm("route", "registration_station")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	for i := 1; i <= n; i++ {
		switch i % 1000 {
		case 7:
			out.WriteString(`{"permit_no":"A1"`)
		case 8:
			out.WriteString("{\"permit_no\":\"\xff\"}")
		case 9:
			out.WriteString(strings.Repeat("x", intake.MaxLine+100))
		case 10:
			out.WriteString(`{"permit_no":"A11010220260000","recipient":{}}`)
		default:
			form := good
			if i%1000 == 11 {
				form = refused
			}
			fmt.Fprintf(out, form, i, i%10000, idNumber(i), '一'+rune(i%2000))
		}
		if _, err := out.WriteString("\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// batchWant is the answer to a line that is new.
func batchWant(line int) int {
	switch line % 1000 {
	case 7, 8, 10, 11:
		return 422
	case 9:
		return 413
	}
	return 201
}

type batchAnswer struct {
	Line, Status int
	Delivery     *struct {
		PermitNo string `json:"permit_no"`
	}
	Problem map[string]any
}

// broken posts a batch over a connection that breaks off in the middle of a line once so many answers have come, and
// gives the permits that were acknowledged until then.
func (p *process) broken(lines, answers int) map[string]bool {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.api, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/deliveries:batch HTTP/1.1\r\nHost: emsd\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n", p.token)
	written := make(chan error, 1)
	go func() { written <- batchLines(chunked{conn}, lines) }()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	acknowledged := map[string]bool{}
	dec := json.NewDecoder(res.Body)
	for range answers {
		var a batchAnswer
		if err := dec.Decode(&a); err != nil {
			p.t.Fatal(err)
		}
		if a.Status == 201 {
			acknowledged[a.Delivery.PermitNo] = true
		}
	}
	conn.(*net.TCPConn).SetLinger(0) // a reset: the daemon gets nothing of what was still on its way
	conn.Close()
	<-written // with an error, unless the rest fitted into the buffers of the connection
	return acknowledged
}

// chunked writes the body of a request piece by piece.
type chunked struct{ w io.Writer }

func (c chunked) Write(b []byte) (int, error) {
	if _, err := fmt.Fprintf(c.w, "%x\r\n", len(b)); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	if err == nil {
		_, err = io.WriteString(c.w, "\r\n")
	}
	return n, err
}

// whole posts all lines and counts the answers, which must come in order, one for each line.
func (p *process) whole(lines int) map[int]int {
	p.t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(batchLines(w, lines)) }()
	req, err := http.NewRequest("POST", p.api+"/v1/deliveries:batch", r)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	counts := map[int]int{}
	dec := json.NewDecoder(res.Body)
	for line := 1; ; line++ {
		var a batchAnswer
		if err := dec.Decode(&a); errors.Is(err, io.EOF) && line == lines+1 {
			return counts
		} else if err != nil {
			p.t.Fatalf("after %d answers: %v", line-1, err)
		}
		want := batchWant(line)
		if a.Line != line || a.Status != want && (want != 201 || a.Status != 200) {
			p.t.Fatalf("answer %d: %+v, want status %d", line, a, want)
		}
		counts[a.Status]++
	}
}

// TestI10_AHundredThousandLinesOverABrokenConnection posts a batch to the daemon's process, breaks the connection half-way
// and posts everything again: each permit is there once, nothing that was acknowledged is lost, and the memory is bounded.
func TestI10_AHundredThousandLinesOverABrokenConnection(t *testing.T) {
	lines := 100_000
	if testing.Short() {
		lines = 10_000
	}
	// Nobody tells the applicants what to pay: that is not what is tested here.
	p := newProcess(t, emssim.Config{}, "EMSD_LOG_LEVEL=error", "EMSD_SMS=log", "EMSD_QUIET_HOURS=off")
	p.start()
	began := time.Now()
	acknowledged := p.broken(lines, lines/2)
	half := time.Since(began)
	db, err := openDatabase(t.Context(), p.dsn, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	permits := func() map[string]int {
		var rows []string
		if err := db.Select(&rows, `SELECT permit_no FROM deliveries`); err != nil {
			t.Fatal(err)
		}
		times := map[string]int{}
		for _, r := range rows {
			times[r]++
		}
		return times
	}
	stored := permits()
	for no := range acknowledged {
		if stored[no] != 1 {
			t.Errorf("permit %s was acknowledged and is there %d times", no, stored[no])
		}
	}
	began = time.Now()
	counts := p.whole(lines)
	took := time.Since(began)
	stored = permits()
	good := lines - 5*(lines/1000)
	if len(stored) != good+lines/1000 { // those refused by a rule are on record
		t.Errorf("%d permits are stored, want %d and %d refused", len(stored), good, lines/1000)
	}
	for no, n := range stored {
		if n != 1 {
			t.Errorf("permit %s is stored %d times", no, n)
		}
	}
	if counts[200]+counts[201] != good || counts[200] < len(acknowledged) || counts[422] != 4*lines/1000 || counts[413] != lines/1000 {
		t.Errorf("answers %v after %d acknowledged, want %d good ones", counts, len(acknowledged), good)
	}
	if peak := p.peak(); peak >= 300 {
		t.Errorf("the daemon took %d MiB", peak)
	} else {
		t.Logf("%d of the first %d lines acknowledged in %s; all %d lines in %s, %.0f a second; answers %v; at most %d MiB",
			len(acknowledged), lines/2, half.Round(time.Millisecond), lines, took.Round(time.Millisecond), float64(lines)/took.Seconds(), counts, peak)
	}
	if _, err := p.terminate(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}
