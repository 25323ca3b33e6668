package tracking

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"emsd/courier"
)

// EMS's sentences are sealed when they are stored, so that what the rules need of them is read when they come: who or
// what received a 704 that has no deliverCode, and until when an envelope waits. No wording is promised (dossier 4.3:
// the texts that others rely on differ from those in the traces), so everything that is not recognised says nothing.

// longestText is how much of a sentence is read; the wire allows 1,000 characters.
const longestText = 4000

// readText fills in what the text of a scan says.
func readText(s courier.Scan) courier.Scan {
	readInto(&s)
	return s
}

func readInto(s *courier.Scan) {
	switch {
	case s.Code == "704":
		s.SaidClass = SaidClass(s.Desc.Reveal())
		s.SaidUntil = SaidUntil(s.Desc.Reveal(), s.At)
	case codes[s.Code].Group == Held:
		s.SaidClass = saidPlace(s.Desc.Reveal())
		s.SaidUntil = SaidUntil(s.Desc.Reveal(), s.At)
	case s.Code == "705":
		s.SaidUntil = SaidUntil(s.Desc.Reveal(), s.At)
	}
}

// An anchor introduces who or what received an envelope. alone is what it says when nothing follows.
type anchor struct{ word, alone string }

const byHands = "已由"

var anchors = []anchor{
	{"已代签收", ReceiverAgent}, {"已代收", ReceiverAgent}, {"已代签", ReceiverAgent}, {"代收人", ReceiverAgent},
	{"已签收", ""}, {"已妥收", ReceiverSelf}, {"已妥投", ""}, {"并签收", ""}, {"签收人", ""}, {byHands, ""},
	{"已放在", ""}, {"已放置", ""}, {"已存放", ""}, {"已投放", ""}, {"已放入", ""}, {"已投递至", ""}, {"已投递到", ""}, {"已投入", ""}, {"已送至", ""},
}

// SaidClass reads the recipient class that the text of a 704 names; empty for none. Only the phrase behind the first
// word of signing counts: names, addresses and advice elsewhere in the text do not.
func SaidClass(text string) string {
	text = cut(text)
	for {
		i, a := firstAnchor(text)
		if i < 0 {
			return ""
		}
		text = text[i+len(a.word):]
		if a.word == byHands {
			if class, ok := byWhom(text); ok {
				return class
			}
			continue // "已由【甲】发往…", "已由快递员…派送"
		}
		class, said := phraseClass(text)
		switch {
		case class == ReceiverSelf && a.alone == ReceiverAgent: // signed for by another, and by the holder: one is wrong
			return ReceiverAgent
		case class != "":
			return class
		case said && a.alone == ReceiverSelf: // somebody is named whom we cannot place
			return ""
		}
		return a.alone
	}
}

// cut bounds what is read of a text.
func cut(text string) string {
	if len(text) > longestText {
		return text[:longestText]
	}
	return text
}

// firstAnchor finds the anchor that stands first; of several at one place the longest.
func firstAnchor(text string) (at int, found anchor) {
	at = -1
	for _, a := range anchors {
		i := strings.Index(text, a.word)
		if i >= 0 && (at < 0 || i < at || i == at && len(a.word) > len(found.word)) {
			at, found = i, a
		}
	}
	return at, found
}

// byWhom reads "…由X签收"; ok is false when nobody signs there.
func byWhom(rest string) (class string, ok bool) {
	const longest = 3 * 15
	at, verb := -1, ""
	for _, v := range []string{"代为签收", "代签收", "签收", "代收", "代领", "妥收", "领取"} {
		if i := strings.Index(rest, v); i >= 0 && (at < 0 || i < at) {
			at, verb = i, v
		}
	}
	if at < 0 || at > longest {
		return "", false
	}
	who := rest[:at]
	if strings.ContainsAny(who, separators) || stops(who) {
		return "", false
	}
	if class = wordClass(who); class == "" && strings.HasPrefix(verb, "代") || class == ReceiverSelf && strings.HasPrefix(verb, "代") {
		class = ReceiverAgent
	}
	return class, true
}

const (
	openers    = "【[（(「『〔"
	closers    = "】]）)」』〕"
	separators = "，,、：:；;　 。.！!\t\r\n-—" + openers + closers
)

// phraseClass reads the words behind an anchor: those of the bracket that follows at once, else those up to the end of
// the sentence or to what is not about the recipient any more. said reports that there were words at all.
func phraseClass(rest string) (class string, said bool) {
	rest = strings.TrimLeft(rest, " 　：:，,")
	if i := strings.IndexAny(rest, openers); i == 0 {
		rest = strings.TrimLeft(rest, openers)
		if j := strings.IndexAny(rest, closers); j >= 0 {
			rest = rest[:j]
		}
	} else if j := strings.IndexAny(rest, "。！!\r\n"); j >= 0 {
		rest = rest[:j]
	}
	best := -1
	for _, word := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if stops(word) {
			break
		}
		said = true
		if c := wordClass(word); c != "" && wordCare[c] > best {
			class, best = c, wordCare[c]
		}
	}
	return class, said
}

// stopWords begin what the text says about others, or advises.
var stopWords = []string{"如有", "如需", "如未", "若", "请", "投递员", "快递员", "揽投员", "投递人", "邮递员", "派送员", "派件", "揽收", "投递部", "联系", "电话", "手机", "电联",
	"投诉", "客服", "感谢", "欢迎", "期待", "地址", "详询", "疑问", "凭"}

func stops(word string) bool {
	for _, s := range stopWords {
		if strings.HasPrefix(word, s) {
			return true
		}
	}
	return false
}

// placeWords name a place wherever they stand in a word; of several in one word the first listed counts.
var placeWords = []struct{ word, class string }{
	{"快递柜", ReceiverLocker}, {"包裹柜", ReceiverLocker}, {"丰巢", ReceiverLocker}, {"蜂巢", ReceiverLocker}, {"智能柜", ReceiverLocker},
	{"自提柜", ReceiverLocker}, {"寄存柜", ReceiverLocker}, {"智能信包箱", ReceiverLocker}, {"信包箱", ReceiverLocker}, {"速递易", ReceiverLocker},
	{"自提点", ReceiverPickupPoint}, {"自提", ReceiverPickupPoint}, {"驿站", ReceiverPickupPoint}, {"菜鸟", ReceiverPickupPoint}, {"代收点", ReceiverPickupPoint},
	{"代投点", ReceiverPickupPoint}, {"妈妈店", ReceiverPickupPoint}, {"便利店", ReceiverPickupPoint}, {"超市", ReceiverPickupPoint},
	{"水表", ReceiverMeterBox}, {"电表", ReceiverMeterBox}, {"表箱", ReceiverMeterBox}, {"消防", ReceiverMeterBox}, {"消火栓", ReceiverMeterBox}, {"鞋架", ReceiverMeterBox},
	{"鞋柜", ReceiverMeterBox}, {"信箱", ReceiverLetterbox}, {"信报箱", ReceiverLetterbox}, {"报箱", ReceiverLetterbox}, {"奶箱", ReceiverLetterbox},
	{"门把手", ReceiverDoor}, {"家门", ReceiverDoor}, {"门卫", ReceiverProperty}, {"保安", ReceiverProperty}, {"门岗", ReceiverProperty}, {"物业", ReceiverProperty},
	{"传达室", ReceiverReception}, {"收发室", ReceiverReception}, {"前台", ReceiverReception}, {"收发", ReceiverReception},
	{"门口", ReceiverDoor}, {"门前", ReceiverDoor}, {"门外", ReceiverDoor},
	{"村委", ReceiverVillage}, {"居委", ReceiverVillage}, {"牧委", ReceiverVillage}, {"办公室", ReceiverOffice}, {"单位", ReceiverOffice}, {"公司", ReceiverOffice},
}

// personWords name a person only as a whole word: part of one they may be of a name.
var personWords = map[string]string{
	"本人": ReceiverSelf, "本人签收": ReceiverSelf, "本人收": ReceiverSelf, "本人领取": ReceiverSelf, "收件人本人": ReceiverSelf, "收件人本人签收": ReceiverSelf, "本人已签收": ReceiverSelf,
	"家人": ReceiverFamily, "家属": ReceiverFamily, "亲属": ReceiverFamily, "亲戚": ReceiverFamily, "父母": ReceiverFamily, "父亲": ReceiverFamily, "母亲": ReceiverFamily,
	"配偶": ReceiverFamily, "丈夫": ReceiverFamily, "妻子": ReceiverFamily, "爱人": ReceiverFamily, "子女": ReceiverFamily, "儿子": ReceiverFamily, "女儿": ReceiverFamily,
	"家里人": ReceiverFamily, "兄弟": ReceiverFamily, "姐妹": ReceiverFamily,
	"同事": ReceiverColleague, "同学": ReceiverAgent, "朋友": ReceiverAgent, "邻居": ReceiverAgent, "他人": ReceiverAgent, "代收": ReceiverAgent, "代收人": ReceiverAgent,
	"室友": ReceiverAgent, "房东": ReceiverAgent, "其他人": ReceiverAgent, "他人收": ReceiverAgent, "其他": ReceiverOther, "其它": ReceiverOther, "无人代收": ReceiverOther,
}

// wordClass reads one word.
func wordClass(word string) string {
	if c, ok := personWords[word]; ok {
		return c
	}
	for _, p := range placeWords {
		if strings.Contains(word, p.word) {
			return p.class
		}
	}
	who := word
	for _, tail := range []string{"代为签收", "代签收", "代签", "代收", "签收", "代领"} {
		who = strings.TrimSuffix(who, tail)
	}
	who = strings.TrimPrefix(strings.TrimPrefix(who, "由"), "收件人")
	if c, ok := personWords[who]; ok && (c != ReceiverSelf || !strings.Contains(word, "代")) {
		return c
	}
	return ""
}

// wordCare says which of several words counts: the one that asks for more care.
var wordCare = map[string]int{ReceiverSelf: 0, ReceiverAgent: 1, ReceiverColleague: 2, ReceiverFamily: 3, ReceiverOther: 4, ReceiverOffice: 5,
	ReceiverVillage: 6, ReceiverProperty: 7, ReceiverReception: 8, ReceiverDoor: 9, ReceiverLetterbox: 10, ReceiverMeterBox: 11,
	ReceiverPickupPoint: 12, ReceiverLocker: 13}

// saidPlace reads from the text of a 747 whether a pickup point or a locker has the envelope.
func saidPlace(text string) string {
	text = cut(text)
	for _, stop := range []string{"如有", "快递员", "投递员", "请"} {
		if i := strings.Index(text, stop); i >= 0 {
			text = text[:i]
		}
	}
	class := ""
	for _, p := range placeWords {
		if p.class != ReceiverLocker && p.class != ReceiverPickupPoint || !strings.Contains(text, p.word) {
			continue
		}
		if class != "" && class != p.class { // EMS's own name of the code names both
			return ""
		}
		class = p.class
	}
	return class
}

// farthest is how many days after its scan a last day of collection may lie.
const farthest = 60

var (
	dayNamed = regexp.MustCompile(`(?:请于|请在|须于|截止到?至?|截至|保管至|保管到|保留至|保留到|存放至|存放到|有效期至|期限至|领取期限)[:：为 ]{0,3}` +
		`(?:(20\d\d)[年./-])?(\d{1,2})[月./-](\d{1,2})日?`)
	daysNamed = regexp.MustCompile(`(?:免费保管|免费存放|保管期限?|保管|保留|存放|领取期限|取件期限|请在|请于|限)[:：为 ]{0,3}` +
		`([0-9]{1,3}|[一二两三四五六七八九十]{1,2})个?(工作日|小时|天|日)`)
)

// dayWords are what the patterns begin with: most texts hold none of them and are not searched.
var dayWords = []string{"请于", "请在", "须于", "截止", "截至", "保管", "保留", "存放", "期", "限"}

// SaidUntil reads the last day of collection that a text names, as a midnight in Beijing; zero for none. "11月28日前"
// names the 28th itself; of "3天" the day of the scan is the first; a deadline in hours is the day in which it lies. A day
// before the scan or more than 60 days after it is nonsense and says nothing.
func SaidUntil(text string, at time.Time) time.Time {
	text = cut(text)
	if !slices.ContainsFunc(dayWords, func(w string) bool { return strings.Contains(text, w) }) {
		return time.Time{}
	}
	first := plainDay(at, 1)
	day := time.Time{}
	if m := dayNamed.FindStringSubmatch(text); m != nil {
		day = namedDay(m[1], m[2], m[3], first)
	} else if m := daysNamed.FindStringSubmatch(text); m != nil {
		n := numeral(m[1])
		switch {
		case n == 0:
		case m[2] == "小时":
			day = plainDay(at.Add(time.Duration(n)*time.Hour), 1)
		default:
			day = plainDay(at, n)
		}
	}
	if day.Before(first) || day.After(plainDay(at, farthest+1)) {
		return time.Time{}
	}
	return day
}

// namedDay is a day of the calendar; without a year that of the scan, or the next one when it is past.
func namedDay(year, month, dayOfMonth string, first time.Time) time.Time {
	y, _ := strconv.Atoi(year)
	m, _ := strconv.Atoi(month)
	d, _ := strconv.Atoi(dayOfMonth)
	guess := y
	if y == 0 {
		guess = first.Year()
	}
	day := time.Date(guess, time.Month(m), d, 0, 0, 0, 0, beijing)
	if y == 0 && day.Before(first) {
		guess++
		day = time.Date(guess, time.Month(m), d, 0, 0, 0, 0, beijing)
	}
	if day.Year() != guess || int(day.Month()) != m || day.Day() != d { // the 30th of February
		return time.Time{}
	}
	return day
}

// numeral reads a small number in digits or in Chinese; 0 when it is none.
func numeral(text string) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	digits := map[rune]int{'一': 1, '二': 2, '两': 2, '三': 3, '四': 4, '五': 5, '六': 6, '七': 7, '八': 8, '九': 9}
	n := 0
	for i, r := range []rune(text) {
		switch {
		case r == '十' && n == 0:
			n = 10
		case r == '十':
			n *= 10
		case i == 0 || n >= 10:
			n += digits[r]
		default:
			return 0
		}
	}
	return n
}
