package console

import (
	"strings"
	"testing"
)

func TestAChartWritesNoStyleAndNoMarkupOfItsLabels(t *testing.T) {
	t.Parallel()
	evil := `<script>alert(1)</script>`
	for _, horizontal := range []bool{false, true} {
		c := chart{ID: "x", Title: evil, Desc: evil, Labels: []string{"石景山区", evil, "", "12-01", "石景山区"}, Names: []string{"妥投", evil},
			Values: [][]int{{3, 0, 900, 7, 1}, {1, 2, 3, 4, 5}}, Unit: "件", Horizontal: horizontal}
		svg, err := c.SVG()
		if err != nil {
			t.Fatal(err)
		}
		text := string(svg)
		if strings.Contains(text, "style=") || strings.Contains(text, "<script") || strings.Contains(text, "http") {
			t.Errorf("the drawing holds what the policy of the pages refuses: %s", text)
		}
		for _, want := range []string{">石景山区</text>", ">12-01</text>", ">妥投</text>", "&lt;script&gt;", `role="img"`, "<title id=", "<desc id="} {
			if !strings.Contains(text, want) {
				t.Errorf("the drawing lacks %s", want)
			}
		}
	}
}

func TestAClerkReadsWordsAndNoCodes(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		columnName("phone 手机"): "手机", columnName("新开的受理点"): "新开的受理点", columnName(""): "",
		auditValue("from", "ordered"): "待交寄", auditValue("from", "2026-11-01"): "2026-11-01", auditValue("source", "interface"): "EMS 接口", auditValue("source", "reply"): "回复短信",
		auditValue("ordered", "true"): "是", known(endedWords, "billed_later"): "已列入后来的账单", known(endedWords, "联系到本人"): "联系到本人",
	} {
		if got != want {
			t.Errorf("a page says %q, want %q", got, want)
		}
	}
}

func TestTheAxisEndsAtAMultipleOfFour(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]float64{0: 4, 1: 4, 4: 4, 5: 8, 8: 8, 9: 20, 21: 40, 41: 80, 81: 200, 900: 2000, 100000: 200000} {
		got := chart{Values: [][]int{{most}}}.top()
		if got < float64(most) || got > max(4, float64(most)*2.6) || int(got)%4 != 0 {
			t.Errorf("%d: the axis ends at %v, about %v was wanted", most, got, want)
		}
	}
}
