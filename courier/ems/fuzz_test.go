package ems

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"emsd/courier"
)

// seeds are whole answers, good and spoilt.
var seeds = []string{
	"", "{}", "[]", "null", `{"retCode":"00000"}`, `{"retCode":00000,"retBody":[]}`, `{"retCode":"B0001","retMsg":"查询预告失败","success":false}`,
	envelope("00000", "成功！", orderAnswer), envelope("00000", "", traceBody), `{"retCode":"00000","retBody":` + traceBody + `}`,
	envelope("00000", "", `{"mailList":"1287525537797,1297636305804"}`), envelope("S00001", "系统级错误", ""),
	envelope("00000", "", `[{"provName":"北京市","cityCode":110000}]`), envelope("00000", "", "JVBERi0xLjQK"), envelope("00000", "", pdf(200)),
	envelope("00000", "", `{"totalFee":"22","standardFee":21,"postageTotal":"14.0","waybillNo":"1200000001417"}`),
	envelope("00000", "", `{"emsBisBillquery":[{"custBillNo":"DZ202611","orgNo":"10000001","billTotalFee":"28.00"}]}`),
	envelope("00000", "", `{"emsBisBillingdetails":[{"waybillNo":"1200000001417","splitDate":1764230400000,"feeWeight":80,"postageTotal":14.0}]}`),
	envelope("00000", "", `"\"{}\""`), strings.Repeat("[", 100), `{"retCode":"00000","retBody":"\ud83d\ude00\u0000\`, `{"a":{"b":[1,{"c":"}"}]},"retCode":"0"}`,
	"\xef\xbb\xbf{\"retCode\":\"00000\"}", "<html>", `{"retCode":"00000","retBody":{"responseItems":[{},{"opTime":"2026-01-02 03:04","opCode":7}]}}`,
}

// FuzzAnswer gives every reader any body. None may panic, or take a body that encoding/json would not for a whole one.
func FuzzAnswer(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a answer
		if a.parse(body) != nil {
			return
		}
		_, _, _ = a.class(), a.meaning(apiLabel), scrub(text(a.msg), secrets)
		if s := a.serialNo(); len(s) > 64 || !utf8.ValidString(s) {
			t.Errorf("serial number %q", s)
		}
		var tr courier.Trace
		if readTrace(&tr, a.body, "1200000001417") == nil {
			for _, s := range tr.Scans {
				checkScan(t, s)
			}
		}
		if c, err := readConfirmation(&a, "TEST-0001"); err == nil && (!isCode(c.WaybillNo, 1, 20) || c.OrderNo != "TEST-0001") {
			t.Errorf("confirmation %+v", c)
		}
		if numbers, err := readNumbers(&a); err == nil {
			for _, n := range numbers {
				if !isCode(n, 5, 20) {
					t.Errorf("number %q", n)
				}
			}
		}
		if b, err := readLabel(&a); err == nil && !strings.HasPrefix(string(b), "%PDF-") {
			t.Errorf("label %q", b)
		}
		_, _ = readAddress(&a)
		_, _ = readQuote(&a)
		_, _ = readPostage(&a, "1200000001417")
		_, _ = readBills(&a)
		if lines, err := readBillLines(&a); err == nil {
			for _, l := range lines {
				if !isCode(l.WaybillNo, 1, 20) || l.Fen < 0 || l.WeightG < 0 {
					t.Errorf("line of a bill %+v", l)
				}
			}
		}
	})
}

func checkScan(t *testing.T, s courier.Scan) {
	t.Helper()
	if s.WaybillNo != "1200000001417" || s.Code == "" || len(s.Code) > longestCode || s.At.Year() < 1999 || s.At.Year() > 2100 {
		t.Errorf("scan %+v", s)
	}
	for _, v := range []string{s.Code, s.Name, s.OrgCode, s.OrgName, s.Province, s.City, s.DeliverCode, s.AttemptCode, s.Desc.Reveal()} {
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) || len(v) > longestDesc {
			t.Errorf("scan holds %q, which PostgreSQL cannot", v)
		}
	}
}

// FuzzJSON holds our reader to encoding/json: what that takes for an object, ours reads alike.
func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			_ = eachField(trim(b), func([]byte, []byte) {})
			_ = eachItem(trim(b), func([]byte) {})
			return
		}
		got := map[string]string{}
		err := eachField(trim(b), func(key, raw []byte) { got[strings.ToValidUTF8(string(key), "\uFFFD")] = string(raw) })
		if err != nil {
			if depth(b) < maxDepth { // deeper than any answer is refused
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		for key, raw := range want {
			mine, ok := got[key]
			if !ok && utf8.Valid(b) {
				t.Errorf("%q: no key %q", b, key)
			}
			var s string
			if !utf8.Valid(b) || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
				continue
			}
			if want := strings.ReplaceAll(s, "\x00", ""); text([]byte(mine)) != want {
				t.Errorf("%q: %q reads as %q, want %q", b, mine, text([]byte(mine)), want)
			}
		}
	})
}

func depth(b []byte) int {
	return strings.Count(string(b), "[") + strings.Count(string(b), "{")
}

// FuzzDecodePush gives the push decoder any body, and any event under our own secret.
func FuzzDecodePush(f *testing.F) {
	s, _ := newSealer(testSecret)
	f.Add([]byte(pushEvent), true)
	f.Add([]byte("["+pushEvent+"]"), true)
	f.Add([]byte(`{"logitcsInterface":"`+pushSealed+`","method":"040002","serialNo":"1"}`), false)
	f.Add([]byte("logitcsInterface="+url.QueryEscape(pushSealed)), false)
	f.Add([]byte("%%"), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b, _ = json.Marshal(map[string]string{"logitcsInterface": sm4Mark + string(s.seal(nil, b)), "serialNo": "1"})
		}
		p, err := DecodePush(testSecret, b)
		if err != nil {
			return
		}
		if !isCode(p.WaybillNo, 1, 20) || p.Scan.WaybillNo != p.WaybillNo {
			t.Errorf("push %+v", p)
		}
		p.Scan.WaybillNo = "1200000001417"
		checkScan(t, p.Scan)
	})
}

// FuzzScrub takes any sentence around a person's data: none of it may remain.
func FuzzScrub(f *testing.F) {
	f.Add("收件人", "不存在", uint8(2))
	f.Add("\x00", "\u200d", uint8(0))
	f.Fuzz(func(t *testing.T, before, after string, which uint8) {
		private := []string{"欧阳𠮷·买买提", "13900001234", "丁戊己弄2号楼301"}
		p := private[int(which)%len(private)]
		got := scrub(before+p+after, private)
		if strings.Contains(got, p) || utf8.RuneCountInString(got) > 200 || !utf8.ValidString(got) {
			t.Errorf("scrub(%q) = %q", before+p+after, got)
		}
	})
}
