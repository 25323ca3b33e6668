package notify

import (
	"strings"
	"testing"
)

func TestAReplyIsReadAsWhatItMeans(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Meaning{
		"TD": MeansStop, "td。": MeansStop, " ＴＤ ": MeansStop, "T": MeansStop, "R": MeansStop, "N": MeansStop, "退订": MeansStop, "【退订】": MeansStop,
		"拒收": MeansStop, "不要再发了！": MeansStop, "请别再发短信给我": MeansStop, "STOP": MeansStop, "stop sending": MeansStop, "回T退订": MeansStop,
		"发错了": MeansWrongPerson, "你发错人了": MeansWrongPerson, "我不是本人": MeansWrongPerson, "号码错了": MeansWrongPerson, "wrong number": MeansWrongPerson,
		"发错了，不要再发": MeansWrongPerson, "Wrong person!": MeansWrongPerson,
		"我要拒收这个快递": MeansDoubt, "不要退订": MeansDoubt, "怎么退订？": MeansDoubt, "退订?": MeansDoubt, "不是本人签收可以吗": MeansDoubt, "地址发错了": MeansDoubt,
		"没有发错吧": MeansDoubt, "I do not want to stop": MeansOther, strings.Repeat("谢谢", 20) + "退订": MeansDoubt,
		"好的": MeansOther, "": MeansOther, "收到": MeansOther, "TODAY": MeansOther, "Thanks": MeansOther, "1": MeansOther, "\xff\xfe": MeansOther, "明天下午送": MeansOther,
	} {
		if got := MeaningOf(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzMeaning(f *testing.F) {
	for _, s := range []string{"TD", "退订？", "发错了", "\xff", "不是本人签收"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := MeaningOf(text)
		if loud := MeaningOf(" " + text + "！。 "); loud != got && strings.ToValidUTF8(text, "") == text {
			t.Errorf("%q: %s, with marks around it %s", text, got, loud)
		}
		if (got == MeansStop || got == MeansWrongPerson) && strings.ContainsAny(text, "?？") {
			t.Errorf("%q: a question stops a number", text)
		}
	})
}
