package notify

import (
	"fmt"
	"time"
	"unicode/utf16"
)

// A Sample is what a preview fills a text with: nobody's values.
type Sample struct {
	Name  string
	Facts Facts
}

// Samples are the values for previews: as they usually are, and as long as they can be.
var Samples = map[string]Sample{
	"usual":   {"张三", Facts{WaybillNo: "1135250000000", DueFen: 12_00, LastDay: time.Date(2026, 12, 3, 0, 0, 0, 0, beijing), Password: "012345"}},
	"longest": {"", Facts{WaybillNo: "1135250000000", DueFen: 123_45, LastDay: time.Date(2026, 12, 31, 0, 0, 0, 0, beijing), Password: "012345"}},
}

// A Previewed is a text as a resident would read it, and what each gateway makes of it.
type Previewed struct {
	Text       Milestone
	Title      string // of the milestone, for clerks
	Language   string
	Version    int
	Words      string // filled in
	Characters int    // without a signature
	Fits       []Fit
}

// A Fit is what a gateway makes of a text.
type Fit struct {
	Gateway   string
	Template  string // code; empty when none is configured
	Signature string
	Segments  int    // with the signature
	Why       string // why it cannot be sent there, in English; empty when it can
	Clerk     string // the same in Chinese
}

// Preview fills in a text and holds it against the rules of each gateway. signatures are by gateway, without brackets.
func Preview(gateways []Gateway, signatures map[string]string, text Milestone, s Sample) (Previewed, error) {
	if !text.HasText() {
		return Previewed{}, fmt.Errorf("preview: there is no text %q", text)
	}
	vars := Fields(text, s.Name, s.Facts)
	words, err := Render(text, vars)
	if err != nil {
		return Previewed{}, err
	}
	p := Previewed{Text: text, Title: text.Title(), Language: text.Language(), Version: TextVersion(text), Words: words, Characters: len(utf16.Encode([]rune(words)))}
	for _, g := range gateways {
		f := Fit{Gateway: g.Name(), Signature: signatures[g.Name()], Segments: Segments(signatures[g.Name()], words)}
		f.Why, f.Clerk = unfit(g, signatures[g.Name()], text)
		if r, ok := g.(Ruled); ok {
			f.Template = r.TemplateCode(text)
		}
		if bad := check(g, text, vars); bad != nil && f.Why == "" {
			f.Why, f.Clerk = bad.Message, bad.Clerk
		}
		p.Fits = append(p.Fits, f)
	}
	return p, nil
}

// unfit says why no message with a text can be sent by a gateway, whatever its values; empty when one can. It says so in
// English for a log and in Chinese for a clerk.
func unfit(g Gateway, signature string, text Milestone) (why, clerk string) {
	if r, ok := g.(Ruled); ok {
		if why, clerk := r.Rules().BadText(text, signature); why != "" {
			return why, clerk
		}
	}
	if t, ok := g.(Templated); ok && !t.HasTemplate(text) {
		if base := text.base(); base != text && t.HasTemplate(base) {
			return "no template is configured: the Chinese text stands in", "未配置英文模板，改发中文"
		}
		return "no template is configured", "未配置模板"
	}
	return "", ""
}

// An Unsendable is a text that a gateway will not take, known before there is a message.
type Unsendable struct {
	Text Milestone
	Why  string
}

// Unsendables lists the texts that a gateway will not take: those messages take another one, or wait. With passwords the texts
// that tell one are wanted too. Of English ones only those that have a template are looked at: for the others the Chinese text
// stands in.
func Unsendables(g Gateway, signature string, passwords bool) []Unsendable {
	var all []Unsendable
	for _, language := range Languages {
		for _, m := range TextNames(language, passwords) {
			r, ruled := g.(Ruled)
			if language != Languages[0] && (!ruled || r.TemplateCode(m) == "") {
				continue
			}
			if why, _ := unfit(g, signature, m); why != "" {
				all = append(all, Unsendable{m, why})
			}
		}
	}
	return all
}
