package notify

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var longFacts = Facts{WaybillNo: "1200000001417", DueFen: 123_45, LastDay: time.Date(2026, 12, 31, 0, 0, 0, 0, beijing), Password: "012345"}

func TestEveryTextIsOneSegmentAndHoldsItsDuties(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)https?:|www\.|1[3-9][0-9]{9}|【|】|\[|\]|回复|退订|R$|代办证件|贷款|移民|移动|联通|电信`)
	for _, m := range slices.Concat(Milestones, PasswordTemplates) {
		text, err := Render(m, Fields(m, "欧阳娜娜", longFacts))
		if err != nil {
			t.Errorf("%s: %v", m, err)
			continue
		}
		if n := Segments("北京市居住证办", text); n != 1 { // eight characters would fit, too
			t.Errorf("%s: %d segments: %s", m, n, text)
		}
		if n := Segments("某某市政务服务台", text); n != 1 {
			t.Errorf("%s: %d segments with a signature of eight: %s", m, n, text)
		}
		if !strings.Contains(text, "010-56421484") {
			t.Errorf("%s lacks the hotline (R-23): %s", m, text)
		}
		if bad := forbidden.FindString(text); bad != "" {
			t.Errorf("%s holds %q: %s", m, bad, text)
		}
		if !strings.HasPrefix(text, "欧**您好") || strings.Contains(text, "阳") || strings.Contains(text, "${") {
			t.Errorf("%s: %s", m, text)
		}
		if slices.Contains(PasswordTemplates, m) != strings.Contains(text, "012345") {
			t.Errorf("%s tells or lacks the password: %s", m, text)
		}
		if slices.Contains(PasswordTemplates, m) {
			continue
		}
		if Text(m) == "" || m.Title() == "" || callActions[m] == "" {
			t.Errorf("%s lacks text, title or action", m)
		}
	}
	if len(texts) != len(Milestones)+len(PasswordTemplates) || len(tellable) != len(Milestones) {
		t.Errorf("%d texts, %d milestones", len(texts), len(Milestones))
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
		"张三": "张**", "欧阳娜娜": "欧**", "阿卜杜拉·买买提": "阿**", "㐂一": "㐂**", "𠮷野": "申请人", "": "申请人", " 李四": "李**", "\xff": "申请人",
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
