package vault_test

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/lib/pq"
)

// A text whose bytes show in any form: as they are, quoted to ASCII, in hex, as numbers, in base64.
const plain = "张三ZhangSan"

var traces = []string{
	"张", `\u5f20`, "ZhangSan", "hangSa",
	"e5bca0e4b889", "E5BCA0E4B889", "5a68616e67", "5A68616E67", "0x5a, 0x68", "90 104 97", "[229 188", "%e5%bc%a0", "%E5%BC%A0",
	"5byg5LiJ", "Wmhhbmd",
}

func leak(out string) string {
	for _, trace := range traces {
		if strings.Contains(out, trace) {
			return trace
		}
	}
	return ""
}

type open1 struct {
	Name vault.Secret
	Next *vault.Secret
}

type closed struct {
	name vault.Secret
	next *vault.Secret
	many []vault.Secret
}

type embedded struct{ vault.Secret }

type renamed vault.Secret

// TestI9_ASecretNeverComesOutUnasked puts a secret, and all that may hold one, through everything that writes.
func TestI9_ASecretNeverComesOutUnasked(t *testing.T) {
	t.Parallel()
	s := vault.Conceal(plain)
	holders := map[string]any{
		"secret":             s,
		"pointer":            &s,
		"exported fields":    open1{s, &s},
		"pointer to struct":  &open1{s, &s},
		"unexported fields":  closed{s, &s, []vault.Secret{s}},
		"pointer to closed":  &closed{s, &s, []vault.Secret{s}},
		"embedded":           embedded{s},
		"another type":       renamed(s),
		"struct of another":  struct{ Name renamed }{renamed(s)},
		"slice":              []vault.Secret{s},
		"map":                map[string]vault.Secret{"name": s},
		"nested":             map[string]any{"a": []any{open1{s, &s}, closed{name: s}}},
		"interface":          struct{ V any }{s},
		"error":              fmt.Errorf("permit of %v: %w", s, errors.New("x")),
		"array":              [2]vault.Secret{s, s},
		"pointer to pointer": func() any { p := &s; return &p }(),
		"secret sql value":   sql.Named("name", s),
		"valuer in interface": struct {
			V driver.Valuer
		}{s},
	}
	for name, h := range holders {
		for how, out := range everyWayOut(h) {
			if trace := leak(out); trace != "" {
				t.Errorf("%s by %s shows %q: %s", name, how, trace, out)
			}
		}
	}
}

// TestTheLeakTestSeesLeaks keeps the test above honest: the same holders of a plain string are all found out.
func TestTheLeakTestSeesLeaks(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, out := range everyWayOut(struct{ Name string }{plain}) {
		if leak(out) != "" {
			seen++
		}
	}
	if seen < 60 {
		t.Errorf("a plain string was seen in %d outputs only", seen)
	}
}

func everyWayOut(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
		for _, flags := range []string{"", "+", "#", " ", "-20", "020", "+#", ".3"} {
			format := "%" + flags + string(verb)
			out[format] = fmt.Sprintf(format, v)
		}
	}
	out["Sprint"] = fmt.Sprint(v)
	out["Sprintln"] = fmt.Sprintln("x", v)
	out["Errorf"] = fmt.Errorf("accept: %v", v).Error()

	var b bytes.Buffer
	take := func(how string) {
		out[how] = b.String()
		b.Reset()
	}
	log.New(&b, "", 0).Print(v)
	take("log")
	for how, h := range map[string]slog.Handler{"slog text": slog.NewTextHandler(&b, nil), "slog json": slog.NewJSONHandler(&b, nil)} {
		l := slog.New(h)
		l.Info("x", "v", v)
		l.With("w", v).WithGroup("g").Info("x", slog.Group("deep", "v", v), slog.Any("p", &v))
		take(how)
	}
	j, err := json.Marshal(v)
	out["json"] = fmt.Sprint(string(j), err)
	j, err = json.MarshalIndent(map[string]any{"v": v}, "", " ")
	out["json indent"] = fmt.Sprint(string(j), err)
	x, err := xml.Marshal(v)
	out["xml"] = fmt.Sprint(string(x), err)
	err = gob.NewEncoder(&b).Encode(v)
	out["gob error"] = fmt.Sprint(err)
	take("gob")
	tmpl(&b, v)
	take("text/template")
	htmpl(&b, v)
	take("html/template")
	out["panic"] = panicked(v)
	return out
}

const page = `{{.}} {{printf "%s %v %q %x" . . . .}} {{print .}} {{js .}} {{html .}} {{urlquery .}}`

func tmpl(w io.Writer, v any) {
	_, _ = fmt.Fprint(w, template.Must(template.New("").Parse(page)).Execute(w, v))
}

func htmpl(w io.Writer, v any) {
	p := `{{.}} <a href="/{{.}}?q={{.}}" title={{.}} onclick="f({{.}})">x</a><script>var a = {{.}}</script><style>p{a:{{.}}}</style>`
	_, _ = fmt.Fprint(w, htmltemplate.Must(htmltemplate.New("").Parse(p)).Execute(w, v))
}

func panicked(v any) (out string) {
	defer func() { out = fmt.Sprint(recover()) }()
	panic(v)
}

func TestI9_ASecretIsNoSQLArgument(t *testing.T) {
	t.Parallel()
	s := vault.Conceal(plain)
	if v, err := s.Value(); v != nil || err == nil {
		t.Errorf("Value = %v, %v; want an error", v, err)
	}
	if v, err := pq.Array([]vault.Secret{s}).Value(); err == nil {
		t.Errorf("an array of secrets became %v", v)
	}
	if b, err := s.MarshalBinary(); b != nil || err == nil {
		t.Errorf("MarshalBinary = %q, %v; want an error", b, err)
	}
}

func TestASecretOfEqualTextIsEqual(t *testing.T) {
	t.Parallel()
	type holder struct{ Name vault.Secret }
	a, b := holder{vault.Conceal(plain)}, holder{vault.Conceal(plain)}
	if !cmp.Equal(a, b) {
		t.Error("two secrets of one text differ")
	}
	if cmp.Equal(a, holder{vault.Conceal("李四")}) || cmp.Equal(a, holder{}) {
		t.Error("secrets of different texts are equal")
	}
	if !vault.Conceal("").IsZero() || !vault.Conceal("").Equal(vault.Secret{}) || a.Name.IsZero() {
		t.Error("the empty secret is the one that holds nothing")
	}
	if got := a.Name.Reveal(); got != plain {
		t.Errorf("Reveal = %q", got)
	}
}

func TestIntakeReadsStringsOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want, fault string
	}{
		{"a name", `{"name":"张三"}`, "张三", ""},
		{"escapes", `{"name":"\u5f20\u4e09\ud842\udfb7"}`, "张三𠮷", ""},
		{"empty", `{"name":""}`, "", ""},
		{"absent", `{}`, "", ""},
		{"null", `{"name":null}`, "", "null"},
		{"number", `{"name":13800000000}`, "", "number"},
		{"bool", `{"name":true}`, "", "bool"},
		{"object", `{"name":{"first":"张"}}`, "", "object"},
		{"array", `{"name":["张三"]}`, "", "array"},
		{"half surrogate", `{"name":"张\ud842"}`, "", "replacement character"},
		{"invalid UTF-8", "{\"name\":\"\xe5\xbc\"}", "", "invalid UTF-8"},
		{"replacement character", `{"name":"张�"}`, "", "replacement character"},
		{"hidden", `{"name":"` + vault.Hidden + `"}`, "", "hidden"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got struct {
				Name vault.Secret `json:"name"`
			}
			err := json.Unmarshal([]byte(tt.in), &got)
			if tt.fault == "" {
				if err != nil || got.Name.Reveal() != tt.want {
					t.Errorf("read %q, %v; want %q", got.Name.Reveal(), err, tt.want)
				}
				return
			}
			te, ok := errors.AsType[*json.UnmarshalTypeError](err)
			if !ok || !strings.Contains(te.Value, tt.fault) || te.Field != "name" {
				t.Fatalf("error = %#v, want a type error about %q in field name", err, tt.fault)
			}
			if trace := leak(err.Error()); trace != "" || strings.Contains(err.Error(), "13800000000") {
				t.Errorf("the error shows the value: %v", err)
			}
			if !got.Name.IsZero() {
				t.Error("a refused value was stored")
			}
		})
	}
}

func TestMasks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		mask func(vault.Secret) string
		in   string
		want string
	}{
		{"name", vault.MaskName, "张三", "张**"},
		{"long name", vault.MaskName, "阿卜杜勒·买买提", "阿**"},
		{"one character", vault.MaskName, "张", "**"},
		{"beyond the basic plane", vault.MaskName, "𠮷野家", "𠮷**"},
		{"variation selector", vault.MaskName, "葛\U000E0100城", "葛\U000E0100**"},
		{"one character with selector", vault.MaskName, "葛\U000E0100", "**"},
		{"combining accent", vault.MaskName, "e\u0301mile", "e\u0301**"},
		{"Latin", vault.MaskName, "Ann Lee", "A**"},
		{"blanks around", vault.MaskName, " 张三 ", "张**"},
		{"no name", vault.MaskName, "", ""},
		{"phone", vault.MaskPhone, "13812340000", "138****0000"},
		{"landline", vault.MaskPhone, "010-87654321", "****4321"},
		{"short number", vault.MaskPhone, "10086", "****"},
		{"no phone", vault.MaskPhone, "", ""},
		{"address", vault.MaskAddress, "示例路1号院2号楼301", "***"},
		{"no address", vault.MaskAddress, "", ""},
		{"ID number", vault.MaskID, "11010519491231002X", "1****************X"},
		{"other paper", vault.MaskID, "H12345678", "****"},
		{"no ID number", vault.MaskID, "", ""},
	}
	for _, tt := range tests {
		if got := tt.mask(vault.Conceal(tt.in)); got != tt.want {
			t.Errorf("%s: mask = %q, want %q", tt.name, got, tt.want)
		}
	}
}
