package courier

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestI9_NoWordsOfAPersonGetIntoAnEvent: whatever stands in the texts of an event, what is stored holds codes only. A field
// that is added is tried, too.
func TestI9_NoWordsOfAPersonGetIntoAnEvent(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[A-Za-z0-9_.:+-]{0,64}$`)
	numbers := map[string]bool{"waybill_no": true, "supersedes": true, "superseded_by": true}
	texts := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"已联系邻居王五", "call 13800000001", "13800000001", "11010519491231002X", "示例路1号院2号楼301",
		"moved_on", "scan_voided:743", "R-08", "2026-11-28", "2026-11-28T10:00:00+08:00", strings.Repeat("a", 65)}))
	rapid.Check(t, func(t *rapid.T) {
		var d EventData
		v := reflect.ValueOf(&d).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Type() == reflect.TypeFor[string]() {
				f.SetString(texts.Draw(t, v.Type().Field(i).Name))
			}
		}
		var said map[string]any
		if err := json.Unmarshal([]byte(encodeData(d)), &said); err != nil {
			t.Fatal(err)
		}
		for name, value := range said {
			text, ok := value.(string)
			switch {
			case !ok:
			case !code.MatchString(text):
				t.Fatalf("%s holds words: %q", name, text)
			case !numbers[name] && regexp.MustCompile(`[0-9]{8}`).MatchString(text):
				t.Fatalf("%s holds a long number: %q", name, text)
			}
		}
	})
}

// What events say today is said as before.
func TestCodesAreKeptInEvents(t *testing.T) {
	t.Parallel()
	d := EventData{From: InTransit, Rule: "return_after_delivery:708", WaybillNo: "1135250000000", Case: CaseHeld, Outcome: "intervention_agreed", Kind: "readdress",
		ScanAt: "2026-11-28T10:00:00+08:00", ScanCode: "704", Receiver: "unstated", Receipt: "ask", HeldUntil: "2026-11-30", Attempt: "bad_address",
		HandedOverAt: "2026-11-28T10:00:00+08:00", RetainUntil: "2026-12-24", Who: "holder",
		Supersedes: "019f0000-0000-7000-8000-000000000001", SupersededBy: "019f0000-0000-7000-8000-123456789012"}
	if got := d.inCodes(); got != d {
		t.Errorf("an event says\n%+v, want\n%+v", got, d)
	}
}
