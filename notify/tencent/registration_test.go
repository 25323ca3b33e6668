package tencent

import (
	"errors"
	"testing"

	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
)

// Texts are compared in Tencent's notation; the signature is asked about by its id, where that is configured.
func TestRegistrationsAreInspected(t *testing.T) {
	t.Parallel()
	sim, url := simulate(t, smssim.Config{})
	cfg := config(url)
	cfg.Templates = map[string]string{"handed_over": "101", "delivered.en": "102", "returned": "103"}
	cfg.SignID = 7
	sim.SetRegistry(smssim.Registry{SignID: 7, Templates: map[string]smssim.Template{
		"101": {Content: "{1}您好，您的居住证已交EMS寄出，邮件号{2}。咨询010-56421484"}, "102": {Content: notify.Text(notify.Delivered.In("en"))}, "103": {State: "pending"},
	}})
	got := map[string]bool{}
	for _, f := range notify.Inspect(t.Context(), newClient(t, cfg), false) {
		got[f.Subject+": "+f.Says[:min(len(f.Says), 24)]] = f.Fine
	}
	want := map[string]bool{
		"signature: approved": true, "template handed_over: approved word for word, ": true, "template delivered.en: other words are approved": false,
		"template returned: approved_not_live": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	sim.SetRegistry(smssim.Registry{SignID: 8})
	if s, err := newClient(t, cfg).Standing(t.Context()); err != nil || s.State != "unknown" {
		t.Errorf("a signature of another id: %+v, %v", s, err)
	}
	cfg.SignID = 0
	if _, err := newClient(t, cfg).Standing(t.Context()); !errors.Is(err, notify.ErrNotAsked) {
		t.Errorf("without an id: %v", err)
	}
}

func TestATemplateThatTheAccountHasNotIsTold(t *testing.T) {
	t.Parallel()
	_, url := simulate(t, smssim.Config{Tencent: smssim.Tencent{Templates: map[string]int{"999": 2}}})
	a, err := newClient(t, config(url)).Approval(t.Context(), notify.HandedOver)
	if err != nil || a.State != "unknown" {
		t.Errorf("Approval = %+v, %v", a, err)
	}
}
