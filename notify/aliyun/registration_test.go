package aliyun

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
)

// What Aliyun and the carriers have approved is told by subject, and other words than ours are named.
func TestRegistrationsAreInspected(t *testing.T) {
	t.Parallel()
	sim, url := simulate(t, smssim.Config{})
	cfg := config(url)
	cfg.Templates = map[string]string{"handed_over": "SMS_1", "delivered": "SMS_2", "returned": "SMS_3", "held.en": "SMS_4", "cancelled": "SMS_5"}
	c := newClient(t, cfg)
	sim.SetRegistry(smssim.Registry{
		Templates: map[string]smssim.Template{
			"SMS_1": {Content: notify.Text(notify.HandedOver)},
			"SMS_2": {Content: strings.Replace(notify.Text(notify.Delivered), "已签收", "已送达", 1)},
			"SMS_3": {State: "in_review"},
			"SMS_4": {State: "refused", Reason: "含有敏感词"},
		},
		Carriers: map[string]smssim.Carrier{"unicom": {Status: 2, Reasons: []string{"NO_SEND_RECORD"}}, "telecom": {Status: 1}},
	})
	type short struct {
		Subject, Says string
		Fine          bool
	}
	var got []short
	for _, f := range notify.Inspect(t.Context(), c, true) {
		says, _, _ := strings.Cut(f.Says, ", from character") // where they part is another test's
		got = append(got, short{f.Subject, says, f.Fine})
	}
	want := []short{
		{"signature", "approved", true},
		{"signature mobile", "registered: DETECT_SUCCESS", true},
		{"signature telecom", "to_verify", true},
		{"signature unicom", "lapsed: NO_SEND_RECORD", false},
		{"template handed_over", "approved word for word, version 1", true},
		{"template delivered", "other words are approved", false},
		{"template returned", "in_review", false},
		{"template cancelled", "approved; the vendor does not tell the words", true},
		{"template held.en", "refused: 含有敏感词", false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if n := len(sim.Messages()); n != 0 {
		t.Errorf("asking sent %d messages", n)
	}
}

func TestRegistrationThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"Code":"OK"}`: "lacks", `{"Code":"isp.RAM_PERMISSION_DENY","Message":"x"}`: "isp.RAM_PERMISSION_DENY", "<html>": "http_200",
	} {
		c := newClient(t, config(answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })))
		for _, f := range notify.Inspect(t.Context(), c, false) {
			if f.Fine || !strings.Contains(f.Says, "cannot be asked") || !strings.Contains(f.Says, want) {
				t.Errorf("%s: %+v", body, f)
			}
		}
	}
	sim, url := simulate(t, smssim.Config{})
	sim.SetRegistry(smssim.Registry{Signature: "refused", Reason: "资质不符"})
	if s, err := newClient(t, config(url)).Standing(t.Context()); err != nil || s.State != "refused" || s.Reason != "资质不符" {
		t.Errorf("Standing = %+v, %v", s, err)
	}
}
