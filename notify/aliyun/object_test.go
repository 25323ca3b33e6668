package aliyun

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// What travels as TemplateParam is what encoding/json makes of the variables, whatever they hold.
func TestObjectIsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		vars := rapid.MapOf(rapid.String(), rapid.OneOf(rapid.String(), rapid.StringMatching(`[\x00-\x7f]{0,8}`),
			rapid.SampledFrom([]string{"张**", "a\xffb", "\u2028", "\u2029", "\ufffd", `"<&>\`, ""}))).Draw(t, "vars")
		want, err := json.Marshal(vars)
		if err != nil {
			t.Fatal(err)
		}
		if got := object(vars); got != string(want) {
			t.Fatalf("object = %q, want %q", got, want)
		}
	})
}
