package courier_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"emsd/courier"
)

// eventTypes are all types that the code has: the constants, and one for each status.
func eventTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "EventType" {
				return true
			}
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			types = append(types, text)
			return true
		})
	}
	for _, s := range courier.Statuses {
		types = append(types, string(courier.StatusEvent(s)))
	}
	slices.Sort(types)
	return types
}

var inBackticks = regexp.MustCompile("`([^`]*)`")

// Every event type stands in docs/events.md with an example of its data that an event can have, and nothing else does.
func TestEveryEventTypeIsDocumentedWithAnExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || !strings.HasPrefix(cells[0], "| `") {
			continue
		}
		group := ""
		for _, m := range inBackticks.FindAllStringSubmatch(cells[0], -1) {
			name := m[1]
			if strings.HasPrefix(name, ".") {
				name = group + name
			}
			group, _, _ = strings.Cut(name, ".")
			documented = append(documented, name)
		}
		examples := 0
		for _, m := range inBackticks.FindAllStringSubmatch(cells[2], -1) {
			example := m[1]
			if strings.HasPrefix(example, `"`) { // "the same with"
				example = "{" + example + "}"
			}
			if !strings.HasPrefix(example, "{") {
				continue
			}
			examples++
			d := json.NewDecoder(strings.NewReader(example))
			d.DisallowUnknownFields()
			if err := d.Decode(&courier.EventData{}); err != nil {
				t.Errorf("%s: the example %s is none of an event's data: %v", cells[0], example, err)
			}
		}
		if examples == 0 {
			t.Errorf("%s has no example of its data", cells[0])
		}
	}
	slices.Sort(documented)
	for _, name := range eventTypes(t) {
		if !slices.Contains(documented, name) {
			t.Errorf("%s is not in docs/events.md", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(eventTypes(t), name) {
			t.Errorf("docs/events.md has %s, which is no event", name)
		}
	}
}
