package main

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
)

// upload posts a file as a browser without script does, and gives the page that it leads to.
func (c *clerk) upload(name string, content []byte) reply {
	c.t.Helper()
	return c.uploadTo("/console/imports", name, content)
}

// uploadTo posts a file with other fields, given as names and values in turn.
func (c *clerk) uploadTo(path, name string, content []byte, fields ...string) reply {
	c.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := form.WriteField(fields[i], fields[i+1]); err != nil {
			c.t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", c.base+path, &body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		c.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, text.Bytes()}
}

// TestFiveThousandRowsAreImportedInTheBrowser: chosen, checked with progress, looked at, loaded, the bad ones taken out.
func TestFiveThousandRowsAreImportedInTheBrowser(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	c := d.clerk(staff.BackOffice, "")
	rows := make([]map[string]string, 5000)
	for i := range rows {
		rows[i] = chineseRow(i + 1)
		if i%1000 == 500 {
			rows[i] = chineseRow(i+1, "phone", "1390000", "county", "")
		}
	}
	path := chineseCSV(t, rows)
	b := newTab(t, d.api).cookies(c)
	b.open("/console/imports")
	b.accessible("imports")
	b.do(chromedp.SetUploadFiles("#file", []string{path}))
	b.click("main form button")
	until(t, 60*time.Second, "the check", func() bool { return strings.Contains(b.text(), "检查完毕") })
	b.sees("4995 行")
	b.sees("手机")
	if strings.Contains(b.text(), "phone 手机") {
		t.Error("the page names a column as the interface does")
	}
	b.accessible("a checked import")
	b.look(shots(t), "import")
	var n int
	count := func() int {
		if err := d.app.db.Get(&n, `SELECT count(*) FROM deliveries`); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count() != 0 {
		t.Errorf("the check made %d deliveries", n)
	}
	b.click("main form button")
	seen := false // of the work, a page that loads itself anew
	until(t, 90*time.Second, "the load", func() bool {
		text := b.text()
		seen = seen || strings.Contains(text, "正在导入")
		return strings.Contains(text, "导入完毕")
	})
	if !seen {
		t.Error("nobody saw how far the load had come")
	}
	if count() != 4995 {
		t.Errorf("%d deliveries, want 4995", n)
	}
	b.quietly()

	page := c.page("/console/imports", "批准名单.csv", "已导入")
	id := between(page, `href="/console/imports/`, `"`)
	if id == "template.xlsx" { // the link in the hint comes first
		id = between(page[strings.Index(page, "<tbody>"):], `href="/console/imports/`, `"`)
	}
	book := c.post("/console/imports/" + id + "/bad-rows.xlsx")
	if book.status != http.StatusOK || !strings.HasPrefix(string(book.body), "PK") {
		t.Errorf("the bad rows: %s", book)
	}
	if err := d.app.db.Get(&n, `SELECT count(*) FROM audit WHERE action IN ('upload.add', 'upload.load', 'upload.bad_rows') AND actor = $1 AND object = $2`, c.user.Actor(), id); err != nil || n != 3 {
		t.Errorf("%d entries in the audit chain (%v), want 3", n, err)
	}

	other := d.clerk(staff.BackOffice, "")
	for _, path := range []string{"/console/imports/" + id, "/console/imports/" + id + "/bad-rows.xlsx"} {
		r := other.get(path)
		if strings.HasSuffix(path, "xlsx") {
			r = other.post(path)
		}
		if r.status != http.StatusNotFound {
			t.Errorf("another clerk at %s: %s", path, r)
		}
	}
}

func between(s, from, to string) string {
	_, rest, ok := strings.Cut(s, from)
	if !ok {
		return ""
	}
	found, _, _ := strings.Cut(rest, to)
	return found
}

func TestWhoMayImportWhat(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	stations, err := os.ReadFile(testdata("stations.csv"))
	if err != nil {
		t.Fatal(err)
	}
	permits, err := os.ReadFile(chineseCSV(t, []map[string]string{chineseRow(1), chineseRow(2, "station_code", "110105001")}))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		who     *clerk
		name    string
		content []byte
		shows   string
	}{
		{d.clerk(staff.Administrator, ""), "stations.csv", stations, "检查完毕"},
		{d.clerk(staff.Administrator, ""), "permits.csv", permits, "没有导入这类表格的权限"},
		{d.clerk(staff.BackOffice, ""), "stations.csv", stations, "没有导入这类表格的权限"},
		{d.clerk(staff.Counter, "110102001"), "permits.csv", permits, "不是您所在受理点"},
	}
	for _, tt := range tests {
		r := tt.who.upload(tt.name, tt.content)
		if r.status != http.StatusSeeOther {
			t.Fatalf("%s uploads %s: %s", tt.who.user.Role, tt.name, r)
		}
		until(t, 60*time.Second, fmt.Sprintf("%s and %s: %s", tt.who.user.Role, tt.name, tt.shows), func() bool {
			return strings.Contains(tt.who.page(r.header.Get("Location")), tt.shows)
		})
	}
	if r := d.clerk(staff.Auditor, "").upload("x.csv", permits); r.status != http.StatusForbidden {
		t.Errorf("an auditor uploads: %s", r)
	}
	big := d.clerk(staff.BackOffice, "").upload("x.csv", make([]byte, 22<<20))
	if big.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a file that is too large: %s", big)
	}
}
