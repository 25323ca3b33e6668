package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/migrations/dbtest"
	"emsd/notify/smssim"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// section gives a section of a document by its heading.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", file, heading)
	}
	found, _, _ := strings.Cut(rest, "\n## ")
	return found
}

var comment = regexp.MustCompile(`(^|\s+)#.*$`)

// blocks are the code blocks of a section, without comments and without answers that are shown.
func blocks(section string) []string {
	var all []string
	inside, answer := false, false
	for line := range strings.Lines(section) {
		code, isCode := strings.CutPrefix(line, "    ")
		code = comment.ReplaceAllString(strings.TrimRight(code, "\n"), "")
		switch {
		case !isCode:
			inside, answer = false, false
		case answer || strings.HasPrefix(code, "{"):
			answer = true
		case inside:
			all[len(all)-1] += "\n" + code
		default:
			all, inside = append(all, code), true
		}
	}
	return all
}

// A reader does what a README says, in a directory of its own.
type reader struct {
	t   *testing.T
	dir string
}

// shell is a shell of the reader's, as of somebody who has just signed in.
func (r reader) shell(script string) *exec.Cmd {
	cmd := exec.Command("bash", "-ec", script)
	cmd.Dir, cmd.Env = r.dir, []string{"HOME=" + r.dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runs gives what a command of the README prints.
func (r reader) runs(command string) string {
	r.t.Helper()
	cmd := r.shell("if [ -e .env ]; then . ./.env; fi\n" + command)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s\n%v: %s%s", command, err, out, complaints.String())
	}
	return strings.TrimSpace(string(out))
}

// replaced puts the test's addresses for those of the README, which must be there.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the README does not say %s any more:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// press clicks what bears a word that both READMEs send the reader to.
func (b *tab) press(word string) {
	b.t.Helper()
	for file, heading := range map[string]string{"README.md": "The first hour", "README.zh-CN.md": "第一个小时"} {
		if !strings.Contains(section(b.t.(*testing.T), file, heading), word) {
			b.t.Errorf("%s does not name %s", file, word)
		}
	}
	b.click(`//*[self::a or self::button][starts-with(normalize-space(.), "` + word + `")]`)
}

func TestBothREADMEsSayTheSameCommands(t *testing.T) {
	t.Parallel()
	for en, zh := range map[string]string{"Run it": "正式运行", "The first hour": "第一个小时"} {
		want, got := blocks(section(t, "README.md", en)), blocks(section(t, "README.zh-CN.md", zh))
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s: README.md (-), README.zh-CN.md (+)\n%s", en, diff)
		}
	}
}

// TestTheFirstHourOfTheREADME does what README.md says, from its own code blocks and words: settings, key, migration, start,
// users; sign in, load a permit, take the payment, print, pack, hand over, follow, answer the resident; and the walk through
// the API. Only addresses and the database are the test's.
func TestTheFirstHourOfTheREADME(t *testing.T) {
	t.Parallel()
	binary, err := emsd()
	if err != nil {
		t.Fatal(err)
	}
	r := reader{t, t.TempDir()}
	for from, to := range map[string]string{binary: "bin/emsd", must(filepath.Abs("../../courier"))(t): "courier"} {
		if err := os.MkdirAll(filepath.Join(r.dir, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(r.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	clock := newClock(600, time.Now())
	back, public, ops := freeAddr(t), freeAddr(t), freeAddr(t)
	s := startSims(t, emssim.Config{Now: clock.Now, PickUpDelay: 10000 * time.Hour, PushTo: "http://" + public + "/ems/push"}, smssim.Config{Now: clock.Now})
	token := ""
	for _, block := range blocks(section(t, "README.md", "Run it")) {
		switch {
		case strings.HasPrefix(block, "go build"): // the key is made in the same block
			_, block, _ = strings.Cut(block, "\n")
			r.runs(block)
		case strings.HasPrefix(block, "export "):
			env := replaced(t, block, "postgres://emsd:change-me@127.0.0.1/emsd?sslmode=disable", dbtest.DSN(t), "http://127.0.0.1:9090", s.url,
				"http://127.0.0.1:8081", "http://"+public)
			env += "\nexport EMSD_LISTEN=" + back + " EMSD_PUBLIC_LISTEN=" + public + " EMSD_OPS_LISTEN=" + ops + "\n"
			if err := os.WriteFile(filepath.Join(r.dir, ".env"), []byte(env), 0o600); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(block, "./bin/emsd migrate"):
			commands, ok := strings.CutSuffix(block, "\n./bin/emsd serve")
			if !ok {
				t.Fatalf("the last command does not start the daemon:\n%s", block)
			}
			out := r.runs(commands + "\necho \"$TOKEN\"")
			token = out[strings.LastIndexByte(out, '\n')+1:]
		}
	}
	daemon := r.shell(". ./.env; exec ./bin/emsd serve")
	var log logBook
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Signal(syscall.SIGTERM)
		if err := daemon.Wait(); err != nil || t.Failed() {
			t.Errorf("the daemon ended with %v:\n%s", err, log.String())
		}
	})
	until(t, 30*time.Second, "ready", func() bool {
		res, err := http.Get("http://" + ops + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})

	passwords := strings.Fields(r.runs(blocks(section(t, "README.md", "The first hour"))[0]))
	if len(passwords) != 3 {
		t.Fatalf("three users have the passwords %q", passwords)
	}
	signIn := func(name, password string) *tab {
		b := newTab(t, "http://"+back)
		b.confirm(true)
		b.open("/console/")
		b.fill("#name", name, "#password", password)
		b.click("main form button")
		b.fill("#old", password, "#password", "three quiet tigers", "#again", "three quiet tigers")
		b.click("main form button")
		b.sees("需要办理的事项")
		return b
	}
	office := signIn("houtai", passwords[1])
	permit := r.loadsAPermit(office)
	takesThePayment(t, office, permit, r.becomes(back, token, "ordered"))
	counter := signIn("chuangkou", passwords[2])
	waybill := packsAndHandsOver(t, counter, permit)
	if err := s.ems.SetJourney(waybill, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "203", After: time.Minute}, {OpCode: "702", After: 10 * time.Minute},
		{OpCode: "704", After: 20 * time.Minute, DeliverCode: "10", OpDesc: "已签收，本人签收"}}}); err != nil {
		t.Fatal(err)
	}
	office.press("今日")
	r.becomes(back, token, "delivered")(permit)
	answersTheResident(t, office, public)
	office.quietly()
	counter.quietly()
	if n := r.walks(blocks(section(t, "README.md", "A walk through the API")), back, token); n < 7 {
		t.Errorf("only %d calls in the README's walk", n)
	}
	for _, guide := range []string{"docs/integration.md", "docs/integration.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", guide))
		if err != nil {
			t.Fatal(err)
		}
		all := blocks(string(text))
		all = all[slices.IndexFunc(all, func(b string) bool { return strings.HasPrefix(b, "API=") }):]
		if n := r.walks(all, back, token); n < 6 {
			t.Errorf("only %d calls in %s", n, guide)
		}
	}
}

// must gives a value, or fails the test.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// loadsAPermit fills in the template and uploads it; it gives the permit's number.
func (r reader) loadsAPermit(b *tab) string {
	r.t.Helper()
	b.press("导入")
	b.sees("下载空白模板")
	const fetch = `fetch(document.querySelector('a[href$="template.xlsx"]').href).then(r => r.arrayBuffer()).then(a => btoa(String.fromCharCode(...new Uint8Array(a))))`
	book, err := base64.StdEncoding.DecodeString(ask(b, chromedp.Evaluate[string](fetch, chromedp.EvalAwaitPromise)))
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := excelize.OpenReader(bytes.NewReader(book))
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	sheet := f.GetSheetName(0)
	heads, err := f.GetRows(sheet)
	if err != nil || len(heads) != 1 {
		r.t.Fatalf("the template holds %q, %v", heads, err)
	}
	row := map[string]string{"居住证编号": "A110105202600001", "申请编号": "SQ2026-100001", "业务类型": "卡换证", "受理渠道": "网上申请", "申领条件": "住所", "身份变更": "否",
		"住址变更": "否", "受理点编码": "110105001", "同意来源": "平台", "同意时间": "2026-11-20 10:00", "批准时间": "2026-11-22 09:00", "付费方式": "预付",
		"姓名": "王小明", "手机": "13900010001", "身份证号": idNumber(1), "省": "北京市", "市": "北京市", "区县": "石景山区", "详细地址": "示例路1号院2号楼301"}
	for i, head := range heads[0] {
		if err := f.SetCellStr(sheet, must(excelize.CoordinatesToCellName(i+1, 2))(r.t), row[head]); err != nil {
			r.t.Fatal(err)
		}
		delete(row, head)
	}
	if len(row) > 0 {
		r.t.Errorf("the template has no columns %v", row)
	}
	path := filepath.Join(r.dir, "permits.xlsx")
	if err := f.SaveAs(path); err != nil {
		r.t.Fatal(err)
	}
	b.do(chromedp.SetUploadFiles("#file", []string{path}))
	b.press("上传并检查")
	b.sees("检查完毕")
	b.press("导入没有问题的行")
	b.sees("导入完毕")
	return "A110105202600001"
}

// becomes waits, as somebody who does not load pages meanwhile, until a permit has a status.
func (r reader) becomes(back, token, status string) func(permit string) {
	return func(permit string) {
		r.t.Helper()
		until(r.t, 60*time.Second, status, func() bool {
			got, err := request("http://"+back+"/v1/deliveries?permit_no="+permit, "GET", nil, "Authorization", "Bearer "+token)
			return err == nil && strings.Contains(string(got.body), `"status":"`+status+`"`)
		})
	}
}

func takesThePayment(t *testing.T, b *tab, permit string, ordered func(permit string)) {
	t.Helper()
	b.press("寄递队列")
	b.sees("R-")
	b.click(`//a[normalize-space(.)="` + permit + `"]`)
	b.do(chromedp.Click(`//summary[normalize-space(.)="登记付款"]`))
	b.fill("#amount-pay", "12", "#transaction-pay", "SJ-1", "#reason-pay", "窗口收款")
	b.do(chromedp.Click("#sure-pay"))
	b.press("登记付款")
	ordered(permit)
	b.open(ask(b, chromedp.Evaluate[string](`location.pathname`)))
	b.sees("待交寄")
}

// packsAndHandsOver gives the number of the waybill.
func packsAndHandsOver(t *testing.T, b *tab, permit string) string {
	t.Helper()
	b.press("柜台")
	b.press("打印面单")
	waybill := ask(b, chromedp.Evaluate[string](`document.querySelector("td input[name=waybill_no]").value`))
	const print = `fetch("/console/counter/labels.pdf", {method: "POST", body: new URLSearchParams({kind: "own", waybill_no: document.querySelector("td input[name=waybill_no]").value})}).then(r => r.status + " " + r.headers.get("Content-Type"))`
	if got := ask(b, chromedp.Evaluate[string](print, chromedp.EvalAwaitPromise)); got != "200 application/pdf" {
		t.Fatalf("the label: %s", got)
	}
	b.press("装封核对")
	b.gun(permit)
	b.hears("step")
	b.gun(waybill)
	b.hears("good")
	b.press("交接清单")
	b.press("开一张新清单")
	b.gun(waybill)
	b.hears("good")
	b.fill("#count", "1", "#courier", "王师傅")
	b.press("封单")
	b.sees("已封单")
	return waybill
}

func answersTheResident(t *testing.T, b *tab, public string) {
	t.Helper()
	b.press("寄递队列")
	b.fill("#q", "13900010001")
	b.click(`form[role="search"] button`)
	b.sees("已妥投")
	b.sees("申请人看到的")
	address := regexp.MustCompile(`http://` + regexp.QuoteMeta(public) + `/t/\S+`).FindString(b.text())
	if address == "" {
		t.Fatalf("no address of the resident's page:\n%s", b.text())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	resident := &http.Client{Jar: jar, Timeout: time.Minute}
	res, err := resident.PostForm(address, url.Values{"digits": {"0001"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var page bytes.Buffer
	if _, err := page.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK || !strings.Contains(page.String(), "已由您本人签收") {
		t.Errorf("the resident's page: %d, %v\n%s", res.StatusCode, err, page.String())
	}
}

// walks makes every call of a document's code blocks, of which the first names the address. None may be a problem but the one
// that the README explains. Where a call is shown with its answer, the answer must have those members.
func (r reader) walks(all []string, back, token string) (calls int) {
	r.t.Helper()
	before := replaced(r.t, all[0], "http://127.0.0.1:8080", "http://"+back)
	if before = strings.ReplaceAll(before, "emsd_…", token); !strings.Contains(before, token) {
		before = "TOKEN=" + token + "\n" + before
	}
	before, first, _ := strings.Cut(before, "\ncurl ")
	if first != "" {
		all = slices.Concat([]string{"", "curl " + first}, all[1:])
	}
	for _, block := range all[1:] {
		for call := range strings.SplitSeq(strings.ReplaceAll(block, "\ncurl ", "\x00curl "), "\x00") {
			if strings.HasPrefix(call, "ADMIN=") {
				before += "\n" + call
			}
			if !strings.HasPrefix(call, "curl ") {
				continue
			}
			calls++
			var answer struct{ ID, Code string }
			until(r.t, 60*time.Second, "answered: "+call, func() bool {
				answer.Code = ""
				if err := json.Unmarshal([]byte(r.runs(before+"\n"+call)), &answer); err != nil {
					r.t.Fatalf("%s: %v", call, err)
				}
				return answer.Code != "refund_exceeds_due" // until EMS has agreed to the cancellation, as the guides say
			})
			if webhook := strings.Contains(call, "/v1/webhooks"); answer.Code != "" && !(webhook && answer.Code == "webhooks_off") {
				r.t.Errorf("%s: %s", call, answer.Code)
			}
			if strings.Contains(call, `/v1/deliveries" -H "$AUTH" -H 'Idempotency-Key`) {
				before += "\nID=" + answer.ID
			}
		}
	}
	return calls
}
