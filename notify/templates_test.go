package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var longFacts = Facts{WaybillNo: "1200000001417", DueFen: 123_45, LastDay: time.Date(2026, 12, 31, 0, 0, 0, 0, beijing), Password: "012345"}

// allTexts lists the names of all texts.
func allTexts() []Milestone {
	return slices.Concat(TextNames(courier.InChinese, true), TextNames(courier.InEnglish, true))
}

// Every text, in both languages and as long as it can be, holds what it must and nothing that it may not.
func TestEveryTextHoldsItsDuties(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)://|www\.|\.(cn|com)|1[3-9][0-9]{9}|【|】|\[|\]|回复|退订|R$|代办证件|党政|贷款|移民|移动|联通|电信|[①②③★※→•²『』「」〖〗]`)
	if len(texts) != len(allTexts()) || len(tellable) != len(Milestones) {
		t.Errorf("%d texts, %d milestones", len(texts), len(Milestones))
	}
	for _, m := range allTexts() {
		isEnglish := m.Language() == courier.InEnglish
		for _, f := range []Facts{longFacts, {WaybillNo: "1200000001417", DueFen: 1, Password: "012345"}} {
			vars := Fields(m, "欧阳娜娜", f)
			text, err := Render(m, vars)
			if err != nil {
				t.Errorf("%s: %v", m, err)
				continue
			}
			if bad := checkForms(m, vars); bad != nil {
				t.Errorf("%s: %v", m, bad)
			}
			most := 1
			if isEnglish {
				most = 2
			}
			if n := Segments("某某市政务服务台", text); n > most {
				t.Errorf("%s: %d segments with a signature of eight, %d are allowed: %s", m, n, most, text)
			}
			if !strings.Contains(text, "010-56421484") {
				t.Errorf("%s lacks the hotline (R-23): %s", m, text)
			}
			if strings.Contains(text, "89735900") != strings.Contains(text, "9:00-18:00") {
				t.Errorf("%s names the hotline R-21 without its hours: %s", m, text)
			}
			if bad := forbidden.FindString(text); bad != "" {
				t.Errorf("%s holds %q: %s", m, bad, text)
			}
			if strings.ContainsAny(text, "阳娜") || strings.Contains(text, "${") || isEnglish == strings.HasPrefix(text, "欧**您好") {
				t.Errorf("%s shows a name, or greets in the wrong language: %s", m, text)
			}
			if isEnglish != (strings.IndexFunc(text, func(r rune) bool { return r > 0x7F }) < 0) {
				t.Errorf("%s is not in its language: %s", m, text)
			}
			if slices.Contains(PasswordTemplates, m.base()) != strings.Contains(text, "012345") {
				t.Errorf("%s tells or lacks the password: %s", m, text)
			}
		}
		if m.Title() == "" || callActions[m.base()] == "" || TextVersion(m) < 1 {
			t.Errorf("%s lacks title, action or version", m)
		}
		if why, _ := (Rules{}).BadText(m, "某某市政务服务台"); why != "" {
			t.Errorf("%s: %s", m, why)
		}
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

// An attempt keeps the version of its text, so that what a resident has read can be told later. The file holds every
// version of every text there ever was: a text that was changed needs a new version, and -update then adds it.
func TestATextThatChangesHasANewVersion(t *testing.T) {
	t.Parallel()
	const path = "testdata/texts.tsv"
	known := map[string]string{}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		version, hash, _ := strings.Cut(strings.TrimSpace(line), "\t")
		known[version] = hash
	}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	for _, m := range allTexts() {
		version, sum := fmt.Sprintf("%s/%d", m, TextVersion(m)), sha256.Sum256([]byte(Text(m)))
		hash := hex.EncodeToString(sum[:8])
		switch {
		case known[version] == "" && *update:
			lines = append(lines, version+"\t"+hash)
		case known[version] == "":
			t.Errorf("%s is a new version: run go test ./notify -run %s -update", version, t.Name())
		case known[version] != hash:
			t.Errorf("%s has other words than this version had: give it a new version", version)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.TrimSpace(strings.Join(lines, "\n"))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumbered(t *testing.T) {
	t.Parallel()
	if got, want := Numbered(HandedOver), "{1}您好，您的居住证已交EMS寄出，邮件号{2}。咨询010-56421484"; got != want {
		t.Errorf("Numbered = %s, want %s", got, want)
	}
	for _, m := range allTexts() {
		if n := len(Variables(m)); strings.Contains(Numbered(m), "$") || n > 0 && !strings.Contains(Numbered(m), fmt.Sprintf("{%d}", n)) {
			t.Errorf("%s: %s", m, Numbered(m))
		}
	}
}

// What does not look like its variable is not sent, and the reason quotes nothing.
func TestBadValues(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  Milestone
		vars  map[string]string
		clerk string
	}{
		{HandedOver, map[string]string{"name": "张**", "no": "1200000001417"}, ""},
		{HandedOver, map[string]string{"name": "申请人", "no": "EA123456789CN"}, ""},
		{HandedOver, map[string]string{"name": "张三丰", "no": "1200000001417"}, "姓名只能是姓和两个星号"},
		{HandedOver, map[string]string{"name": "张**", "no": ""}, "邮件号为空"},
		{HandedOver, map[string]string{"name": "张**", "no": "1200-0000-0141"}, "邮件号有14个字符，最多13个"},
		{HandedOver, map[string]string{"name": "张**", "no": "1200-000-0141"}, "邮件号只能是8到13位数字或大写字母"},
		{HandedOver, map[string]string{"name": "😀**", "no": "1200000001417"}, "姓名只能是姓和两个星号"},
		{PaymentDue, map[string]string{"name": "张**", "fee": "0"}, "金额只能是大于零的元和分"},
		{PaymentDue, map[string]string{"name": "张**", "fee": "1000.05"}, "金额有7个字符，最多6个"},
		{Held, map[string]string{"name": "张**", "no": "1200000001417", "day": "明天"}, "日期只能是月和日"},
		{Held.In("en"), map[string]string{"no": "1200000001417", "day": "Dec 31"}, ""},
		{HandedOverPassword, map[string]string{"name": "张**", "no": "1200000001417", "code": "12345"}, "签收密码只能是6位数字"},
	}
	for _, tt := range tests {
		clerk := ""
		if bad := checkForms(tt.text, tt.vars); bad != nil {
			clerk = bad.Clerk
			for _, value := range tt.vars {
				if len(value) > 1 && strings.Contains(bad.Error()+bad.Clerk, value) {
					t.Errorf("%s is quoted: %v, %s", value, bad, bad.Clerk)
				}
			}
		}
		if clerk != tt.clerk {
			t.Errorf("%s %v: %q, want %q", tt.text, tt.vars, clerk, tt.clerk)
		}
	}
	for value, want := range map[string]string{"https://a.cn": "holds an address", "a【b": "holds a character that is not allowed", "好😀": "holds a character that is not allowed",
		"\xff": "is not UTF-8", "①": "holds a character that is not allowed", strings.Repeat("字", 36): "has 36 characters, 1 to 35 are allowed", "张三丰": ""} {
		why := ""
		if bad := (Rules{LongestVariable: 35, Characters: "①"}).BadVariable(map[string]string{"name": value}); bad != nil {
			why = bad.Why
		}
		if why != want {
			t.Errorf("%q: %q, want %q", value, why, want)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	tests := []struct {
		m    Milestone
		f    Facts
		want map[string]string
	}{
		{PaymentDue, Facts{DueFen: 2000}, map[string]string{"name": "张**", "fee": "20"}},
		{PaymentDue, Facts{DueFen: 2005}, map[string]string{"name": "张**", "fee": "20.05"}},
		{HandedOver, Facts{WaybillNo: "1200-0000-01417"}, map[string]string{"name": "张**", "no": "1200000001417"}},
		{Held, longFacts, map[string]string{"name": "张**", "no": "1200000001417", "day": "12月31日"}},
		{Held, Facts{WaybillNo: "12"}, map[string]string{"name": "张**", "no": "12", "day": withoutDay}},
		{Cancelled, longFacts, map[string]string{"name": "张**"}},
		{Held.In("en"), longFacts, map[string]string{"no": "1200000001417", "day": "Dec 31"}},
		{Held.In("en"), Facts{WaybillNo: "12"}, map[string]string{"no": "12", "day": withoutDayEnglish}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Fields(tt.m, "张三丰", tt.f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.m, diff)
		}
	}
}

func TestMaskName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"张三": "张**", "欧阳娜娜": "欧**", "阿卜杜拉·买买提": "阿**", "㐂一": "㐂**", "𠮷野": "申请人", "": "申请人", " 李四": "李**", "\xff": "申请人", "·买买提": "申请人", "〇一": "〇**", "\ue000三": "申请人",
	} {
		if got := maskName(name); got != want {
			t.Errorf("maskName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestRenderNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := Render(HandedOver, map[string]string{"name": "张**"})
	if err == nil || !strings.Contains(err.Error(), "no value for no") || strings.Contains(err.Error(), "张") {
		t.Errorf("Render = %v", err)
	}
	if _, err := Render("party", nil); err == nil {
		t.Error("Render of an unknown milestone = nil")
	}
	if got := Variables(Held); !slices.Equal(got, []string{"name", "no", "day"}) {
		t.Errorf("Variables(held) = %v", got)
	}
}

// The boundaries of dossier F; the signature's brackets count.
func TestSegments(t *testing.T) {
	t.Parallel()
	for units, want := range map[int]int{1: 1, 70: 1, 71: 2, 134: 2, 135: 3, 160: 3, 201: 3, 202: 4} {
		if got := Segments("", strings.Repeat("字", max(units-2, 0))); got != want {
			t.Errorf("%d units = %d segments, want %d", units, got, want)
		}
	}
	if got := Segments("签名签名", strings.Repeat("a", 64)); got != 1 {
		t.Errorf("4 + 2 + 64 = %d segments, want 1", got)
	}
	if got := Segments("签名签名", strings.Repeat("a", 63)+"𠮷"); got != 2 {
		t.Errorf("a character of two units counts once")
	}
}

// Segments counted without the text are those of the text.
func TestSegmentsOfAreThoseOfTheText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var names []Milestone
		for m := range texts {
			names = append(names, m)
		}
		slices.Sort(names)
		m, vars := rapid.SampledFrom(names).Draw(t, "text"), map[string]string{}
		for _, name := range Variables(m) {
			vars[name] = rapid.StringN(1, 60, -1).Draw(t, name)
		}
		signature := rapid.String().Draw(t, "signature")
		text, err := Render(m, vars)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := segmentsOf(signature, m, vars), Segments(signature, text); got != want {
			t.Fatalf("%d segments, the text has %d: %q", got, want, text)
		}
	})
}
