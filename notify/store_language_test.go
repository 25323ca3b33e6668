package notify

import (
	"strings"
	"testing"

	"emsd/courier"

	"github.com/google/uuid"
)

// templated is a gateway with templates for some texts.
type templated struct {
	fakeGateway
	has map[Milestone]bool
}

func (g *templated) HasTemplate(m Milestone) bool { return g.has[m] }

// A resident who chose English is told in English by a gateway that has the template, in Chinese by one that has not, and
// the order of the gateways stands.
func TestTheTextIsInTheLanguageOfTheResident(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both := &templated{fakeGateway: fakeGateway{name: "both"}, has: map[Milestone]bool{HandedOver: true, HandedOver + english: true}}
	chinese := &templated{fakeGateway: fakeGateway{name: "chinese"}, has: map[Milestone]bool{HandedOver: true}}
	tests := []struct {
		name     string
		language string
		gateways []Gateway
		template string
		gateway  string
		reason   string
	}{
		{"english", "en", []Gateway{both, chinese}, "handed_over.en/1", "both", "短信网关已接收"},
		{"chinese", "zh", []Gateway{both, chinese}, "handed_over/1", "both", "短信网关已接收"},
		{"the first gateway has no English", "en", []Gateway{chinese, both}, "handed_over/1", "chinese", "以中文发送"},
	}
	for _, tt := range tests {
		id := w.news(courier.InTransit, courier.EventData{})
		w.exec(`UPDATE deliveries SET language = $2 WHERE id = $1`, id, tt.language)
		w.run(w.sender(w.gateways(tt.gateways...), Options{}))
		template, gateway, reason := w.attemptOf(id)
		if template != tt.template || gateway != tt.gateway || !strings.Contains(reason, tt.reason) {
			t.Errorf("%s: %s by %s, %s; want %s by %s, %s", tt.name, template, gateway, reason, tt.template, tt.gateway, tt.reason)
		}
	}
	if last := both.ledger[0]; last.Milestone != HandedOver+english || last.Segments != 2 || last.Vars["name"] != "" {
		t.Errorf("English: %+v", last)
	}
}

// A gateway that refuses the English template is asked for the Chinese one; the resident is told once.
func TestARefusedEnglishTemplateFallsBackToChinese(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &templated{fakeGateway: fakeGateway{name: "a"}, has: map[Milestone]bool{HandedOver: true, HandedOver + english: true}}
	g.script = func(s SMS) (bool, error) {
		if s.Milestone.Language() == courier.InEnglish {
			return false, &SendError{Class: Configuration, ThisTemplate: true, Code: "template"}
		}
		return true, nil
	}
	id := w.news(courier.InTransit, courier.EventData{})
	w.exec(`UPDATE deliveries SET language = 'en' WHERE id = $1`, id)
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	w.run(s)
	w.wantMessage(id, HandedOver, state{accepted, Send, 2})
	if n := g.once(t); n != 1 || g.ledger[0].Milestone != HandedOver {
		t.Errorf("%d sent: %+v", n, g.ledger)
	}
}

// A value that a text cannot hold is never sent, and a clerk reads why.
func TestAValueThatDoesNotFitIsACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	id := w.news(courier.InTransit, courier.EventData{})
	w.exec(`UPDATE deliveries SET waybill_no = 'EA-1234' WHERE id = $1`, id)
	w.run(w.sender(w.gateways(g), Options{}))
	w.wantMessage(id, HandedOver, state{failed, Send, 1})
	if _, _, reason := w.attemptOf(id); reason != "短信没有发出：邮件号只能是8到13位数字或大写字母。请核对后电话通知" {
		t.Errorf("reason %q", reason)
	}
	if w.openCases(id) != 1 || g.once(t) != 0 {
		t.Errorf("%d cases, %d sent", w.openCases(id), g.once(t))
	}
}

func (w *world) attemptOf(id uuid.UUID) (template, gateway, reason string) {
	w.t.Helper()
	row := w.db.QueryRowContext(w.t.Context(), `
		SELECT a.template, a.gateway, m.reason FROM message_attempts a JOIN messages m ON m.id = a.message_id
		WHERE m.delivery_id = $1 ORDER BY a.id DESC LIMIT 1`, id)
	if err := row.Scan(&template, &gateway, &reason); err != nil {
		w.t.Fatal(err)
	}
	return template, gateway, reason
}
