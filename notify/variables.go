package notify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"emsd/courier"
)

// A variable is one of the values that texts have a place for.
type variable struct {
	title   string // for clerks
	longest int    // characters
	form    func(string) bool
	wanted  string // what form asks for, for clerks
	longVal string // a value as long as any, for previews and checks
}

// variables are all that texts have a place for: a name, a waybill's number, money, a day, a delivery password.
var variables = map[string]variable{
	"name": {"姓名", 3, isMasked, "只能是姓和两个星号", "申请人"},
	"no":   {"邮件号", 13, isNumber, "只能是8到13位数字或大写字母", "1200000001417"},
	"fee":  {"金额", 6, regexp.MustCompile(`^[1-9][0-9]{0,3}(\.[0-9]{2})?$|^0\.[0-9]{2}$`).MatchString, "只能是大于零的元和分", "123.45"},
	"day":  {"日期", 7, regexp.MustCompile(`^([0-9]{1,2}月[0-9]{1,2}日|` + withoutDay + `|[A-Z][a-z]{2} [0-9]{1,2}|` + withoutDayEnglish + `)$`).MatchString, "只能是月和日", "12月31日"},
	"code": {"签收密码", 6, regexp.MustCompile(`^[0-9]{6}$`).MatchString, "只能是6位数字", "012345"},
}

// isMasked reports whether a text is a name of which the first character is left, or what stands for one that has none. Every
// message has a name and most a number, so neither is a regular expression.
func isMasked(text string) bool {
	surname, masked := strings.CutSuffix(text, "**")
	first, size := utf8.DecodeRuneInString(surname)
	return text == "申请人" || masked && size == len(surname) && (unicode.IsLetter(first) || first == '〇')
}

// isNumber reports whether a text is a waybill number: 8 to 13 digits and capitals.
func isNumber(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return 8 <= len(text) && len(text) <= 13
}

// For an envelope of which nobody said how long it waits.
const (
	withoutDay        = "以网点为准"
	withoutDayEnglish = "ask EMS"
)

// LongestValue is the most characters that a variable of our texts can have; gateways have limits.
func LongestValue(name string) int { return variables[name].longest }

// placeholder is ${name} as Aliyun writes variables (dossier A.3).
var placeholder = regexp.MustCompile(`\$\{([a-z]+)\}`)

// A parsed text is cut at its variables: the words before each, and those behind the last.
type parsed struct {
	words []string
	names []string
	units int // of the words, as units counts
}

// parsedTexts are all texts, parsed once: every message needs one.
var parsedTexts = func() map[Milestone]parsed {
	all := make(map[Milestone]parsed, len(texts))
	for m, text := range texts {
		var p parsed
		from := 0
		for _, at := range placeholder.FindAllStringSubmatchIndex(text.words, -1) {
			p.words, p.names = append(p.words, text.words[from:at[0]]), append(p.names, text.words[at[2]:at[3]])
			from = at[1]
		}
		p.words = append(p.words, text.words[from:])
		p.units = units(strings.Join(p.words, ""))
		all[m] = p
	}
	return all
}()

// Variables lists the variables of a text in order.
func Variables(m Milestone) []string { return slices.Clone(parsedTexts[m].names) }

// longestValues are values as long as a text's can be.
func longestValues(m Milestone) map[string]string {
	vars := make(map[string]string)
	for _, name := range Variables(m) {
		vars[name] = variables[name].longVal
	}
	if _, has := vars["day"]; has && m.Language() == courier.InEnglish {
		vars["day"] = withoutDayEnglish
	}
	return vars
}

// A BadValue is a variable that may not be sent. It never quotes the value (I-9).
type BadValue struct {
	Variable string
	Why      string // in English, for a log
	Clerk    string // in Chinese, for a clerk
}

func (e *BadValue) Error() string { return "variable " + e.Variable + " " + e.Why }

// checkForms finds a value that is not what its variable holds.
func checkForms(m Milestone, vars map[string]string) *BadValue {
	for _, name := range parsedTexts[m].names {
		v, value := variables[name], vars[name]
		switch n := utf8.RuneCountInString(value); {
		case n == 0:
			return &BadValue{name, "is empty", v.title + "为空"}
		case n > v.longest:
			return &BadValue{name, fmt.Sprintf("has %d characters, %d is the most", n, v.longest), fmt.Sprintf("%s有%d个字符，最多%d个", v.title, n, v.longest)}
		case !v.form(value):
			return &BadValue{name, "has another form than it should", v.title + v.wanted}
		}
	}
	return nil
}

// Rules are what a gateway takes in variables and texts, beyond what no gateway takes.
type Rules struct {
	LongestVariable int      // characters; 0: no limit is known
	LongestText     int      // characters with signature and variables; 0: no limit is known
	Characters      string   // refused anywhere
	Words           []string // refused in a text
}

// hasAddress finds what could be an address of the web: every gateway refuses one in a variable.
func hasAddress(text string) bool {
	if strings.Contains(text, "://") {
		return true
	}
	for from := 0; ; from++ {
		dot := strings.IndexByte(text[from:], '.')
		if dot < 0 {
			return false
		}
		if from += dot; from >= 3 && strings.EqualFold(text[from-3:from], "www") {
			return true
		}
	}
}

// BadVariable finds a value that the gateway would refuse: such a message would never be sent, and say so late.
func (r Rules) BadVariable(vars map[string]string) *BadValue {
	var first *BadValue // by name
	for name, value := range vars {
		if bad := r.badValue(name, value); bad != nil && (first == nil || name < first.Variable) {
			first = bad
		}
	}
	return first
}

func (r Rules) badValue(name, value string) *BadValue {
	n := utf8.RuneCountInString(value)
	if n == 0 {
		return &BadValue{name, "is empty", variables[name].title + "为空"}
	}
	if r.LongestVariable > 0 && n > r.LongestVariable {
		return &BadValue{name, fmt.Sprintf("has %d characters, 1 to %d are allowed", n, r.LongestVariable),
			fmt.Sprintf("%s有%d个字符，该短信网关允许1到%d个", variables[name].title, n, r.LongestVariable)}
	}
	if why, clerk := r.refuses(value); why != "" {
		return &BadValue{name, why, variables[name].title + clerk}
	}
	return nil
}

func (r Rules) refuses(value string) (why, clerk string) {
	switch {
	case !utf8.ValidString(value):
		return "is not UTF-8", "不是有效的文本"
	case hasAddress(value):
		return "holds an address", "含有网址"
	case strings.ContainsAny(value, "【】"), r.Characters != "" && strings.ContainsAny(value, r.Characters), strings.ContainsFunc(value, pictorial):
		return "holds a character that is not allowed", "含有短信不允许的字符"
	}
	return "", ""
}

// BadText says why the gateway would not approve a text with this signature, filled in as long as it can be, in English for a
// log and in Chinese for a clerk; empty when it would.
func (r Rules) BadText(m Milestone, signature string) (why, clerk string) {
	for _, name := range Variables(m) {
		if n := LongestValue(name); r.LongestVariable > 0 && n > r.LongestVariable {
			return fmt.Sprintf("variable %s may need %d characters, the gateway allows %d", name, n, r.LongestVariable),
				fmt.Sprintf("%s可长达%d个字符，该短信网关最多允许%d个", variables[name].title, n, r.LongestVariable)
		}
	}
	text, err := Render(m, longestValues(m))
	if err != nil {
		return err.Error(), "内容不完整"
	}
	for _, word := range r.Words {
		if strings.Contains(text, word) {
			return fmt.Sprintf("the text holds %q, which the gateway refuses", word), "含有该短信网关不允许的“" + word + "”"
		}
	}
	if why, clerk := r.refuses(text); why != "" {
		return "the text " + why, "内容" + clerk
	}
	if n := signed(signature, text); r.LongestText > 0 && n > r.LongestText {
		return fmt.Sprintf("the text can have %d characters, the gateway allows %d", n, r.LongestText),
			fmt.Sprintf("全文可长达%d个字符，该短信网关最多允许%d个", n, r.LongestText)
	}
	return "", ""
}

// pictorial reports characters beyond the basic plane, controls, and the symbols that phones draw as pictures.
func pictorial(r rune) bool {
	return r < ' ' || r > 0xFFFF || 0x2600 <= r && r <= 0x27BF || r == 0xFE0F || r == 0x200D
}

// check makes sure, before anything is sent, that a gateway takes a text with these variables.
func check(g Gateway, m Milestone, vars map[string]string) *SendError {
	bad := checkForms(m, vars)
	if r, ok := g.(Ruled); ok && bad == nil {
		bad = r.Rules().BadVariable(vars)
	}
	switch {
	case bad != nil:
		return &SendError{Class: Permanent, Code: codeText, Message: bad.Error(), Clerk: "短信没有发出：" + bad.Clerk + "。请核对后电话通知"}
	case !m.HasText():
		return &SendError{Class: Permanent, Code: codeText, Message: "there is no such text", Clerk: "短信没有发出：内容不完整。请电话通知"}
	}
	return nil
}
