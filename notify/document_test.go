package notify

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/messages.md holds every text as the code has it, and names every verdict and every reason for a clerk.
func TestTheDocumentHasTheTextsOfTheCode(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../docs/messages.md", "<!-- texts -->\n", "<!-- /texts -->"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(file), begin)
	has, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no block of texts", path)
	}
	if want := documentedTexts(t); has != want && *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if has != want {
		t.Errorf("%s has other texts than notify/texts.go: run go test ./notify -run Document -update\nwant\n%s\nhas\n%s", path, want, has)
	}
	for _, a := range Actions {
		if !strings.Contains(after, "| `"+string(a)+"` |") {
			t.Errorf("%s lacks the verdict %s", path, a)
		}
	}
	for _, m := range Milestones {
		if !strings.Contains(after, "| `"+string(m)+"` |") {
			t.Errorf("%s does not say when %s is sent", path, m)
		}
	}
	for class, words := range classWords {
		if !strings.Contains(after, words) {
			t.Errorf("%s lacks what a clerk reads of %s: %s", path, class, words)
		}
	}
}

func documentedTexts(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, m := range slices.Concat(Milestones, PasswordTemplates) {
		fmt.Fprintf(&b, "\n**%s** (%s)\n\n| template | version | characters, segments | text |\n|---|---|---|---|\n", m.Title(), strings.Join(Variables(m), ", "))
		for _, language := range Languages {
			text := m.In(language)
			longest, err := Render(text, longestValues(text))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "| `%s` | %d | %d, %d | %s<br>%s |\n", text, TextVersion(text), signed("签名八个字签名八", longest), Segments("签名八个字签名八", longest),
				Text(text), Numbered(text))
		}
	}
	return b.String() + "\n"
}

func TestWhereTextsPartIsTold(t *testing.T) {
	t.Parallel()
	for want, texts := range map[string][2]string{
		"from character 3 on: ours is …一二三…, theirs …一二叁…": {"一二三", "一二叁"},
		"from character 3 on: ours is …一二…, theirs …一二三…":  {"一二", "一二三"},
		"from character 1 on: ours is …一…, theirs ……":      {"一", ""},
	} {
		if got := differ(texts[0], texts[1]); !strings.HasSuffix(got, want) {
			t.Errorf("differ(%q) = %s, want %s", texts, got, want)
		}
	}
}
