package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"emsd/courier/staff"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A paper is a printed document as poppler reads it back.
type paper struct {
	pages int
	size  string // of its first page, in millimetres
	text  string // without blanks
}

// read reads a document back, and keeps pictures of its pages where screenshots are kept.
func readPaper(t *testing.T, name string, pdf []byte) paper {
	t.Helper()
	file := filepath.Join(t.TempDir(), "printed.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(tool string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), tool, args...).Output()
		if err != nil {
			t.Fatalf("%s of %s (scripts/setup.sh test installs poppler): %v", tool, name, err)
		}
		return string(out)
	}
	p := paper{text: strings.Join(strings.Fields(run("pdftotext", "-layout", file, "-")), "")}
	for line := range strings.Lines(run("pdfinfo", file)) {
		what, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); what {
		case "Pages":
			if _, err := fmt.Sscan(value, &p.pages); err != nil {
				t.Fatalf("pages of %s: %v", name, err)
			}
		case "Page size":
			var w, h float64 // points
			if _, err := fmt.Sscanf(value, "%f x %f", &w, &h); err != nil {
				t.Fatalf("page size of %s: %q", name, value)
			}
			p.size = fmt.Sprintf("%.0f x %.0f", w*25.4/72, h*25.4/72)
		}
	}
	if dir := shots(t); dir != "" {
		run("pdftoppm", "-r", "70", "-png", file, filepath.Join(dir, "print-"+name))
	}
	return p
}

const a4 = "210 x 297"

// printed gives the page that is open as it comes out of a printer.
func (b *tab) printed() []byte {
	b.t.Helper()
	const width, height = 210 / 25.4, 297 / 25.4
	made, err := chromedp.Call(b.ctx, page.PrintToPDF, page.PrintToPDFParams{PaperWidth: width, PaperHeight: height})
	if err != nil {
		b.t.Fatal(err)
	}
	return made.Data
}

// TestWhatIsPrintedIsPaper prints every page that clerks print, in Chromium, and reads the paper back: A4, what the page is about in
// letters rather than boxes, and nothing that is there to be clicked. Then the sheets of the counter.
func TestWhatIsPrintedIsPaper(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	e := d.envelopes(2)
	c := d.clerk(staff.Counter, stationOf(t, d, e[0].id))
	for _, x := range e {
		c.post("/console/counter/pack", "permit", x.permit, "scan", x.waybill)
	}
	list := c.done("/console/counter/manifests")
	c.post(list, "scan", e[0].waybill)
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+e[1].id+"/handover", map[string]any{"reason": "交寄"})
	c.post("/console/counter/returns", "shelf", "A-1", "scan", e[1].waybill)
	b := newTab(t, d.api).cookies(c)
	for name, x := range map[string]struct {
		path  string
		shows []string
	}{
		"today":    {"/console/", []string{"今日", "需要办理的事项", "退件待处理", "每日新收、妥投与退回"}},
		"queue":    {"/console/queue", []string{"全部居住证", e[0].permit, e[0].waybill, "欧**"}},
		"delivery": {"/console/deliveries/" + e[0].id, []string{e[0].permit, "基本情况", "全部经过", "微信"}},
		"cases":    {"/console/cases", []string{"退件待处理", e[1].permit}},
		"case":     {"/console/cases/" + d.cases()[0], []string{"退件待处理", "下一步", e[1].permit}},
		"manifest": {list, []string{"交接清单", e[0].waybill}},
		"returns":  {"/console/counter/returns", []string{"退件", "A-1", e[1].waybill}},
	} {
		b.open(x.path)
		p := readPaper(t, name, b.printed())
		if p.size != a4 {
			t.Errorf("%s is printed on %s, want A4", name, p.size)
		}
		if p.pages < 1 || p.pages > 3 {
			t.Errorf("%s has %d pages", name, p.pages)
		}
		for _, want := range x.shows {
			if !strings.Contains(p.text, want) {
				t.Errorf("%s lacks %q on paper: %s", name, want, p.text)
			}
		}
		for _, never := range []string{"退出", "柜台", "打印本页", "筛选", "查找", "移除", "领取办理", "自动退出", "封单并登记交寄", "跳到正文", "办理登记"} {
			if strings.Contains(p.text, never) {
				t.Errorf("%s has %q on paper, which is there to be clicked: %s", name, never, p.text)
			}
		}
	}
	b.quietly()
	for name, x := range map[string]struct {
		got   reply
		size  string
		shows []string
	}{
		"own-label":     {c.post("/console/counter/labels.pdf", "kind", "own", "waybill_no", e[0].waybill), "100 x 150", []string{e[0].waybill, "欧阳测试", "试验胡同2号院"}},
		"address-sheet": {c.post("/console/counter/labels.pdf", "kind", "address", "waybill_no", e[0].waybill), "210 x 148", []string{"欧阳测试", "试验胡同2号院"}},
		"manifest-pdf":  {c.get(list + "/manifest.pdf"), a4, []string{"交接清单", e[0].waybill, "揽投员"}},
	} {
		if x.got.status != http.StatusOK {
			t.Errorf("%s: %s", name, x.got)
			continue
		}
		p := readPaper(t, name, x.got.body)
		if p.size != x.size || p.pages != 1 {
			t.Errorf("%s is %d pages of %s, want one of %s", name, p.pages, p.size, x.size)
		}
		for _, want := range x.shows {
			if !strings.Contains(p.text, want) {
				t.Errorf("%s lacks %q: %s", name, want, p.text)
			}
		}
	}
}
