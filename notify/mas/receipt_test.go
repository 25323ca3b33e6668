package mas

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
)

var sameSecret = cmp.Comparer(func(a, b vault.Secret) bool { return a.Reveal() == b.Reveal() })

func TestParseReceipts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)
	const one = `{"reportStatus":"DELIVRD","mobile":"13912345678","submitDate":"20261123100000","receiveDate":"20261123100005","errorCode":"","msgGroup":"g1"}`
	good := notify.Receipt{ProviderID: "g1", Success: true, Code: "DELIVRD", Phone: vault.Conceal(phone), SubmittedAt: at}
	tests := []struct {
		name, body string
		want       []notify.Receipt
	}{
		{"an object", one, []notify.Receipt{good}},
		{"in base64", base64.StdEncoding.EncodeToString([]byte(one)), []notify.Receipt{good}},
		{"in base64 and quotes", `"` + base64.StdEncoding.EncodeToString([]byte(one)) + `"`, []notify.Receipt{good}},
		{"a form", "reportStatus=DELIVRD&mobile=13912345678&submitDate=20261123100000&msgGroup=g1", []notify.Receipt{good}},
		{"a list with numbers in lists", `[{"reportStatus":"UNDELIV","mobile":["13912345678"],"errorCode":"DB:0140","mgsGroup":"g2"}]`,
			[]notify.Receipt{{ProviderID: "g2", Code: "DB:0140", Phone: vault.Conceal(phone)}}},
		{"elements that cannot be read", `[7,{"mobile":["1","2"]},{"mobile":"12","msgGroup":"g3","submitDate":"x"}]`,
			[]notify.Receipt{{Code: "unreadable"}, {Code: "unreadable"}, {ProviderID: "g3"}}},
		{"an empty list", `[]`, []notify.Receipt{}},
	}
	for _, tt := range tests {
		got, err := ParseReceipts([]byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got, sameSecret); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, bad := range []string{"", "{", "null", "a=b", "é"} {
		if _, err := ParseReceipts([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// Reports that nobody pushed are fetched.
func TestPull(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)
	sim, url := simulate(t, smssim.Config{Now: func() time.Time { return at }})
	cfg := config(url)
	if list, err := newClient(t, cfg).Pull(t.Context()); err != nil || list != nil {
		t.Errorf("not set to pull: %v, %v", list, err)
	}
	cfg.Pulls = true
	c := newClient(t, cfg)
	sim.Next(smssim.LoseReply)
	c.Send(t.Context(), sms())
	if list, err := c.Pull(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("before the carrier has reported: %v, %v", list, err)
	}
	at = at.Add(time.Minute)
	list, err := c.Pull(t.Context())
	if err != nil || len(list) != 1 || !list[0].Success || list[0].Phone.Reveal() != phone || list[0].ProviderID == "" || !list[0].SubmittedAt.Equal(at.Add(-time.Minute)) {
		t.Errorf("Pull = %v, %v", list, err)
	}
	cfg.SecretKey = "another"
	if _, err := newClient(t, cfg).Pull(t.Context()); err == nil || sendError(t, err).Class != notify.Configuration {
		t.Errorf("with another secret: %v", err)
	}
}

func FuzzParseReceipts(f *testing.F) {
	for _, seed := range []string{`{"mobile":"13912345678","msgGroup":"1"}`, `[{"mobile":["13912345678"]}]`, "msgGroup=1&mobile=13912345678", "e30=", `"e30="`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := ParseReceipts(body)
		if err != nil && strings.Contains(err.Error(), "139") {
			t.Errorf("the error quotes what came: %v", err)
		}
		for _, r := range list {
			if n := r.Phone.Reveal(); n != "" && !notify.IsMobile(n) {
				t.Errorf("%q is taken for a number", n)
			}
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"rspcod":"success","success":"true","mgsGroup":"1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if a, err := readAnswer(body); err == nil && !codeForm.MatchString(a.Rspcod) {
			t.Errorf("code %q", a.Rspcod)
		}
	})
}
