package courier

import (
	"strings"
	"testing"

	"emsd/courier/vault"
)

func TestTheLanguageIsReadAndCheckedEverywhere(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{"": InChinese, "zh": InChinese, " EN ": InEnglish, "英文": InEnglish, "中文": InChinese, "fr": "fr"} {
		row := goodRow()
		row["语言"] = written
		a, _, faults := ApplicationFromRow(row)
		if a = Normalise(a); faults != nil || a.Recipient.Language != want {
			t.Errorf("语言 %q is %q (%v), want %q", written, a.Recipient.Language, faults, want)
		}
		if wrong := fieldsAndCodes(Validate(a, testNow)); (wrong != "") != (want == "fr") || wrong != "" && wrong != "recipient.language unknown_value" {
			t.Errorf("语言 %q: faults %q", written, wrong)
		}
	}
	a, faults := ParseApplication([]byte(strings.Replace(goodJSON, `"recipient":{`, `"recipient":{"language":"en",`, 1)))
	if faults != nil || a.Recipient.Language != InEnglish {
		t.Errorf("JSON: %q, %v", a.Recipient.Language, faults)
	}
}

// What was posted before there were languages, or without one, is the same application with the language that it had.
func TestALanguageNotChosenChangesNoContent(t *testing.T) {
	t.Parallel()
	a := goodApplication()
	before := contentOf(with(a, func(a *Application) { a.Recipient.Language = "" }))
	if got := contentOf(a); got != before {
		t.Error("Chinese is another content than none")
	}
	if got := contentOf(with(a, func(a *Application) { a.Recipient.Language = InEnglish })); got == before {
		t.Error("English is the same content as none")
	}
	s := newIntake(t, Options{})
	d := s.created(with(permit(1), func(a *Application) { a.Recipient.Language = "" }))
	if r := s.accept(permit(1))[0]; r.Outcome != Existing || r.Delivery.ID != d.ID {
		t.Errorf("posted again in Chinese: %s", r.Outcome)
	}
	if r := s.accept(with(permit(1), func(a *Application) { a.Recipient.Language = InEnglish }))[0]; r.Outcome != LivePermit {
		t.Errorf("posted again in English: %s", r.Outcome)
	}
}

func TestTheLanguageGoesAlong(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.post(exchangeRow(2, "language", "en"), exchangeRow(3))
	s.round()
	if got := value[string](s, `SELECT string_agg(language, ' ' ORDER BY permit_no) FROM deliveries`); got != "en zh" {
		t.Errorf("from the exchange table: %q; %q", got, s.answers())
	}
	old := s.onShelf(1)
	s.exec(`UPDATE deliveries SET language = 'en' WHERE id = $1`, old.ID)
	r := s.consent()
	r.Recipient = &Recipient{Phone: vault.Conceal("13900000002"), Province: "广东省", City: "广州市", County: "天河区", Address: vault.Conceal("示例大道9号1栋801")}
	if d := s.redispatched(old.ID, r); d.Recipient.Language != InEnglish || s.get(d.ID).Recipient.Language != InEnglish {
		t.Errorf("sent again in %q", d.Recipient.Language)
	}
}
