package api

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"emsd/courier"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

func loadSpec(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func registered() []Route {
	return New(nil, nil, nil, nil, courier.Clock{}, Feed{}, nil, nil, Options{}, slog.New(slog.DiscardHandler)).Routes()
}

// scopesOf reads which scopes an operation asks for, without admin, which each must name.
func scopesOf(t *testing.T, name string, op *openapi3.Operation) []string {
	t.Helper()
	var scopes []string
	for _, alternative := range *op.Security {
		scopes = append(scopes, alternative["token"]...)
	}
	if len(scopes) == 0 {
		return nil
	}
	without := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == scopeAdmin })
	if len(without) == len(scopes) {
		t.Errorf("%s: security does not name admin, which may do everything", name)
	}
	return without
}

// TestEveryCallIsInTheSpecAndNoOther also compares who may make each call.
func TestEveryCallIsInTheSpecAndNoOther(t *testing.T) {
	want, got := map[string][]string{}, map[string][]string{}
	for _, r := range registered() {
		scopes := slices.DeleteFunc(slices.Clone(r.Scopes), func(s string) bool { return s == scopeAdmin })
		want[r.Pattern] = slices.Sorted(slices.Values(scopes))
	}
	for path, item := range loadSpec(t).Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			got[name] = slices.Sorted(slices.Values(scopesOf(t, name, op)))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered calls (-) and openapi.yaml (+) differ: add to openapi.yaml what is new, with its scopes\n%s", diff)
	}
}

// TestEveryCallIsDescribed keeps the document useful: what it is for, who may call it, an example of what goes in and of
// what comes out.
func TestEveryCallIsDescribed(t *testing.T) {
	for path, item := range loadSpec(t).Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if op.Summary == "" || op.Description == "" || op.OperationID == "" || len(op.Tags) != 1 {
				t.Errorf("%s lacks a summary, a description, an operationId or its one tag", name)
			}
			if op.RequestBody != nil {
				describeContent(t, name+", request", op.RequestBody.Value.Content)
			}
			for status, r := range op.Responses.Map() {
				if r.Value.Description == nil || *r.Value.Description == "" {
					t.Errorf("%s, %s: no description", name, status)
				}
				if !strings.HasPrefix(path, "/v1/") || strings.HasSuffix(path, "/label") {
					continue // no JSON
				}
				describeContent(t, name+", "+status, r.Value.Content)
				if !strings.HasPrefix(status, "2") && r.Value.Extensions["x-codes"] == nil {
					t.Errorf("%s, %s: x-codes does not list the codes of its problems", name, status)
				}
			}
		}
	}
}

func describeContent(t *testing.T, name string, content openapi3.Content) {
	t.Helper()
	for mime, c := range content {
		if c.Schema == nil || c.Example == nil && len(c.Examples) == 0 {
			t.Errorf("%s, %s: no schema or no example", name, mime)
		}
	}
}

// TestEveryEventHasItsWebhook reads the types of events from the source of package courier.
func TestEveryEventHasItsWebhook(t *testing.T) {
	want := map[string]bool{"webhook.test": true}
	for _, s := range courier.Statuses {
		want[string(courier.StatusEvent(s))] = true
	}
	files, err := filepath.Glob("../../../../courier/*.go")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`EventType = "([a-z_.]+)"`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
			want[m[1]] = !strings.HasSuffix(name, "_test.go")
		}
	}
	got := map[string]bool{}
	for name := range loadSpec(t).Webhooks {
		got[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-) and the webhooks of openapi.yaml (+) differ\n%s", diff)
	}
}

// TestTheIntegratorsGuidesListEveryCode of openapi.yaml, so that nobody meets one that is not explained.
func TestTheIntegratorsGuidesListEveryCode(t *testing.T) {
	for _, name := range []string{"integration.md", "integration.zh-CN.md"} {
		guide, err := os.ReadFile("../../../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`x-codes: \[([^\]]*)\]`).FindAllStringSubmatch(string(Spec), -1) {
			for code := range strings.SplitSeq(m[1], ",") {
				if code = strings.TrimSpace(code); !strings.Contains(string(guide), "| `"+code+"` |") && code != "" {
					t.Errorf("docs/%s does not explain %s", name, code)
				}
			}
		}
	}
}
