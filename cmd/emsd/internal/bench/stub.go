package bench

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	smcipher "github.com/emmansun/gmsm/cipher"
	"github.com/emmansun/gmsm/sm4"
)

// The account that the stub knows. The secret is sixteen bytes in base64, as EMS issues it (dossier 1.4).
const (
	account       = "1100000000000"
	authorization = "BenchBenchBench1"
	secret        = "MDEyMzQ1Njc4OWFiY2RlZg=="
)

// What a path of the stub answers to a question for a trace.
const (
	pathBefore = "/before" // a trace of some scans
	pathAfter  = "/after"  // the same and one more, out for delivery
	pathSlow   = "/slow"   // as pathAfter, 100 ms later
	pathSMS    = "/sms/"   // takes an SMS as Aliyun does
	pathCount  = "/count"  // what it was asked since it was last asked this
	slowness   = 100 * time.Millisecond
)

// counts is what the stub was asked.
type counts struct {
	Traces   int `json:"traces"`
	Creates  int `json:"creates"`
	Repeated int `json:"repeated"` // orders whose number had come before
	Messages int `json:"messages"`
}

// A stub is an EMS that costs next to nothing: it reads HTTP by hand, answers 040001 with bytes made once, and decrypts
// only what an order must echo. It runs in a process of its own, so that its work is nobody's CPU time.
type stub struct {
	before, after []byte
	decrypt       interface{ CryptBlocks(dst, src []byte) }
	traces        atomic.Int64
	messages      atomic.Int64
	hooks         hookBook

	mu       sync.Mutex
	orders   map[string]bool
	creates  int
	repeated int
}

func newStub() (*stub, error) {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		return nil, err
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &stub{before: reply(envelope(traceBody(false))), after: reply(envelope(traceBody(true))),
		decrypt: smcipher.NewECBDecrypter(block), orders: map[string]bool{}}, nil
}

// serveStub answers on a free port, which it tells on out, until in ends.
func serveStub(in io.Reader, out io.Writer) error {
	s, err := newStub()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := fmt.Fprintf(out, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	go s.accept(l) // ends with the process
	_, err = io.Copy(io.Discard, in)
	return err
}

func (s *stub) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if err := s.converse(c); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				fmt.Fprintln(os.Stderr, "bench stub:", err)
			}
		}()
	}
}

// converse answers one request after the other.
func (s *stub) converse(c io.ReadWriter) error {
	r := bufio.NewReaderSize(c, 8<<10)
	body := make([]byte, 0, 4<<10)
	for {
		path, n, err := readHead(r)
		if err != nil {
			return err
		}
		body = append(body[:0], make([]byte, n)...)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if strings.HasPrefix(path, pathHang) {
			io.Copy(io.Discard, r) // until the caller has had enough
			return io.EOF
		}
		answer, err := s.answer(path, body)
		if err != nil {
			return err
		}
		if _, err := c.Write(answer); err != nil {
			return err
		}
	}
}

// readHead reads a request's first line and its length.
func readHead(r *bufio.Reader) (path string, length int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", 0, err
	}
	parts := bytes.SplitN(line, []byte(" "), 3)
	if len(parts) != 3 {
		return "", 0, errors.New("not an HTTP request")
	}
	path = string(parts[1])
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		if len(line) <= 2 {
			return path, length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 || length > 1<<20 {
				return "", 0, fmt.Errorf("a request of %q bytes", bytes.TrimSpace(value))
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return "", 0, errors.New("a request without a length")
		}
	}
}

func (s *stub) answer(path string, body []byte) ([]byte, error) {
	if path == pathCount {
		return reply(s.taken()), nil
	}
	if path == pathSMS {
		n := s.messages.Add(1)
		return reply(fmt.Appendf(nil, `{"Code":"OK","Message":"OK","RequestId":"F655A8D5-B967-440B-8683-DAD6FF8DE990","BizId":"9006197469364984%d^0"}`, n)), nil
	}
	if path == pathHooked {
		return reply(s.hooks.taken()), nil
	}
	if strings.HasPrefix(path, pathHook) {
		return s.hooks.take(path, body)
	}
	switch api := formValue(body, "apiCode="); string(api) {
	case "040001":
		s.traces.Add(1)
		switch path {
		case pathBefore:
			return s.before, nil
		case pathSlow:
			<-time.After(slowness)
		}
		return s.after, nil
	case "020003":
		return s.create(formValue(body, "logitcsInterface="))
	default:
		return nil, fmt.Errorf("asked for %q", api)
	}
}

// taken gives the counts and begins new ones.
func (s *stub) taken() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(counts{Traces: int(s.traces.Swap(0)), Messages: int(s.messages.Swap(0)), Creates: s.creates, Repeated: s.repeated})
	if err != nil {
		panic(err) // numbers only
	}
	s.creates, s.repeated, s.orders = 0, 0, map[string]bool{}
	return b
}

// formValue is what stands behind a name in a form, as it stands there.
func formValue(form []byte, name string) []byte {
	for part := range bytes.SplitSeq(form, []byte("&")) {
		if value, ok := bytes.CutPrefix(part, []byte(name)); ok {
			return value
		}
	}
	return nil
}

type wireOrder struct {
	OrderNo   string `json:"logisticsOrderNo"`
	WaybillNo string `json:"waybillNo"`
}

// create confirms an order under its own numbers.
func (s *stub) create(escaped []byte) ([]byte, error) {
	o, err := s.open(string(escaped))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.creates++
	if s.orders[o.OrderNo] {
		s.repeated++
	}
	s.orders[o.OrderNo] = true
	s.mu.Unlock()
	return reply(envelope(`{"routeCode":"16Z-16Z-Y13-020","markDestinationCode":"Y13","packageCode":"","logisticsOrderNo":"` +
		o.OrderNo + `","waybillNo":"` + o.WaybillNo + `"}`)), nil
}

func (s *stub) open(escaped string) (wireOrder, error) {
	var none wireOrder
	value, err := url.QueryUnescape(escaped)
	if err != nil {
		return none, err
	}
	coded, marked := strings.CutPrefix(value, "|$4|")
	plain, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || !marked || len(plain) == 0 || len(plain)%sm4.BlockSize != 0 {
		return none, errors.New("an order that is not encrypted as the wire demands")
	}
	s.decrypt.CryptBlocks(plain, plain)
	plain = plain[:len(plain)-int(min(plain[len(plain)-1], sm4.BlockSize))]
	message, signed := bytes.CutSuffix(plain, []byte(secret))
	if !signed {
		return none, errors.New("an order without the secret behind it")
	}
	var orders []wireOrder
	if err := json.Unmarshal(message, &orders); err != nil || len(orders) != 1 {
		return none, errors.New("an order that is no list of one")
	}
	return orders[0], nil
}

func reply(body []byte) []byte {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// envelope wraps a retBody as EMS does: JSON in a string (dossier 1.5).
func envelope(body string) []byte {
	quoted, err := json.Marshal(body)
	if err != nil {
		panic(err) // a string
	}
	return []byte(`{"serialNo":"1a394b38-0000-4000-8000-000000000000","retCode":"00000","retMsg":"查询结果正常返回！","retBody":` +
		string(quoted) + `,"retDate":"2026-11-24 12:00:00","success":true}`)
}

// A step is one scan of the trace that the stub tells.
type step struct{ at, code, name, desc, org, orgCode, province, city string }

// journey is a parcel on its way inside Beijing; the last scan is the news. Codes and names are of the dictionary.
var journey = []step{
	{"2026-11-23 09:12:31", "203", "收寄计费信息", "【示例营业部】已收寄，揽投员：示例甲，电话：01080000000", "示例营业部", "10000101", "北京市", "北京市"},
	{"2026-11-23 15:22:10", "306", "处理中心接收", "到达【示例处理中心】（经转）", "示例处理中心", "10000201", "北京市", "北京市"},
	{"2026-11-24 06:31:08", "307", "投递局接收", "到达【示例投递部】", "示例投递部", "10000301", "北京市", "北京市"},
	{"2026-11-24 09:03:19", "702", "投递邮件揽投员派送", "【示例投递部】正在派件，投递员：示例乙，电话：01080000001", "示例投递部", "10000301", "北京市", "北京市"},
}

// traceBody names no waybill in its scans, which the wire allows, so that one answer serves all.
func traceBody(news bool) string {
	steps := journey
	if !news {
		steps = journey[:len(journey)-1]
	}
	var b strings.Builder
	b.WriteString(`{"responseItems":[`)
	for i, s := range steps {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"opTime":%q,"opCode":%q,"opName":%q,"opDesc":%q,"opOrgProvName":%q,"opOrgCity":%q,"opOrgCode":%q,"opOrgName":%q,"operatorNo":"XTZD","operatorName":"系统自动"}`,
			s.at, s.code, s.name, s.desc, s.province, s.city, s.orgCode, s.org)
	}
	b.WriteString(`]}`)
	return b.String()
}
