package notify

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A Meaning is what a resident's reply asks of us.
type Meaning string

const (
	MeansStop        Meaning = "stop"         // no more messages
	MeansWrongPerson Meaning = "wrong_person" // the number is somebody else's
	MeansDoubt       Meaning = "in_doubt"     // it may be one of these: a clerk calls
	MeansOther       Meaning = "other"        // something else, for a clerk to read
)

// Meanings are all of them.
var Meanings = []Meaning{MeansStop, MeansWrongPerson, MeansDoubt, MeansOther}

// stopWords stop a number when they are all that was said: carriers' commands and what people write instead.
var stopWords = []string{"TD", "T", "R", "N", "QX", "STOP", "UNSUBSCRIBE", "NO", "退", "拒", "不要", "不要发", "别发", "勿发", "取消", "取消短信", "取消订阅"}

// stopPhrases stop a number wherever they stand in a short reply that asks nothing and says nothing about the envelope.
var stopPhrases = []string{"退订", "拒收", "不要再发", "不要给我发", "别再发", "别发了", "不要发了", "请勿再发", "请勿发", "不再接收", "停止发送", "STOPSENDING", "NOMOREMESSAGES"}

var wrongPhrases = []string{"发错", "打错了", "错号", "号码错", "错人", "不是本人", "不是他本人", "不是她本人", "不认识这个人", "不认识此人", "我不是张", "WRONGNUMBER", "WRONGPERSON"}

// doubtful turns a refusal into doubt: it may be the envelope that is refused, its receiver or address that is meant, a question, or a denial.
var doubtful = regexp.MustCompile(`件|快递|包裹|证|签收|领取|代收|收到|投递|地址|密码|退回|吗|怎|如何|什么|为何|谁|[?？]|HOW|WHY|WHAT|DONOT|DONT`)

var denied = regexp.MustCompile(`[不没未别勿非](要|是|想|能|会|有)?(退订|拒收|发错|打错)|没有(发|打|弄)错`)

// longest is how many characters a refusal has at most: what is longer says more than that.
const longest = 24

// MeaningOf reads a reply. A number is stopped only by what cannot mean anything else; when in doubt a clerk asks.
func MeaningOf(text string) Meaning {
	marks := norm.NFKC.String(strings.ToValidUTF8(text, ""))
	said := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return -1
	}, marks)
	within := func(phrase string) bool { return strings.Contains(said, phrase) }
	stop, wrong := slices.Contains(stopWords, said) || slices.ContainsFunc(stopPhrases, within), slices.ContainsFunc(wrongPhrases, within)
	switch {
	case !stop && !wrong:
		return MeansOther
	case len([]rune(said)) > longest || doubtful.MatchString(said) || strings.ContainsRune(marks, '?') || denied.MatchString(said):
		return MeansDoubt
	case wrong:
		return MeansWrongPerson
	}
	return MeansStop
}
