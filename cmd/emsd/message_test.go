package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/mas"
	"emsd/notify/smssim"
	"emsd/notify/tencent"
)

// Every text in both languages, as long as it can be, is taken by every gateway with a signature of eight characters: one
// segment in Chinese, two at most in English.
func TestEveryTextFitsEveryGateway(t *testing.T) {
	t.Parallel()
	const signature = "某某市政务服务台"
	texts := slices.Concat(notify.TextNames("zh", true), notify.TextNames("en", true))
	codes := func(form string) map[string]string {
		m := map[string]string{}
		for i, text := range texts {
			m[string(text)] = fmt.Sprintf(form, 900000001+i)
		}
		return m
	}
	a, err := aliyun.New(aliyun.Config{AccessKeyID: "k", AccessKeySecret: "s", SignName: signature, Templates: codes("SMS_%d")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tencent.New(tencent.Config{SecretID: "k", SecretKey: "s", AppID: "1", SignName: signature, Templates: codes("%d"), VariableLimit: 13})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mas.New(mas.Config{URL: "http://127.0.0.1/", ECName: "x", APID: "x", SecretKey: "s", Sign: "x", Templates: codes("%d")})
	if err != nil {
		t.Fatal(err)
	}
	gateways := []notify.Gateway{a, c, m}
	signatures := map[string]string{"aliyun": signature, "tencent": signature, "mas": signature}
	for _, text := range texts {
		for name, sample := range notify.Samples {
			p, err := notify.Preview(gateways, signatures, text, sample)
			if err != nil {
				t.Errorf("%s %s: %v", text, name, err)
				continue
			}
			most := 1
			if p.Language == "en" {
				most = 2
			}
			for _, f := range p.Fits {
				if f.Why != "" || f.Segments > most || f.Template == "" {
					t.Errorf("%s %s at %s: %+v", text, name, f.Gateway, f)
				}
			}
		}
	}
	for _, g := range gateways {
		if bad := notify.Unsendables(g, signature, true); len(bad) != 0 {
			t.Errorf("%s: %v", g.Name(), bad)
		}
	}
}

// An operator looks at the texts, tries a gateway, and reads in doctor what needs care; no number is shown or kept.
func TestMessageCommands(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_SMS_SELFTEST_PHONES=13900005678"}})
	env := environ(string(d.app.cfg.DatabaseURL), d.app.cfg.MasterKeyFile, d.sims, "EMSD_SMS_SELFTEST_PHONES=13900005678")
	number := filepath.Join(t.TempDir(), "number")
	if err := os.WriteFile(number, []byte("13900005678\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(want int, says string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := run(t.Context(), args, env, &out, &out)
		if code != want || !strings.Contains(out.String(), says) || strings.Contains(out.String(), "5678") {
			t.Errorf("emsd %q: code %d, want %d and %q:\n%s", args, code, want, says, out.String())
		}
		return out.String()
	}
	command(exitDone, "张**您好，EMS登记您的居住证（邮件1135250000000）已签收。", "message", "preview", "--milestone", "delivered", "--language", "zh")
	command(exitDone, "the Chinese text stands in", "message", "preview", "--milestone", "delivered")
	command(exitDone, "申请人您好", "message", "preview", "--sample", "longest")
	command(exitUsage, "is none of payment_due", "message", "preview", "--milestone", "party")

	test := []string{"message", "test-send", "--gateway", "aliyun", "--milestone", "delivered"}
	command(exitUsage, "--to-stdin", test...)
	command(exitDone, "accepted: delivered/1 through aliyun", append(test, "--phone-file", number)...)
	command(exitUsage, "is none of EMSD_SMS", "message", "test-send", "--gateway", "mas", "--milestone", "held", "--phone-file", number)
	command(exitFailed, "class configuration", append(test, "--language", "en", "--phone-file", number)...)

	until(t, 20*time.Second, "the self-test", func() bool {
		return slices.ContainsFunc(d.sms.Messages(), func(m smssim.Message) bool { return m.Params["name"] == "测**" && m.Template == "SMS_900000008" })
	})
	until(t, 20*time.Second, "its outcome", func() bool {
		tests, err := d.app.trials.SelfTests(t.Context())
		return err == nil && len(tests) == 1 && tests[0].Fine == 1
	})
	if got := command(exitDone, "sms self-test aliyun", "doctor"); !strings.Contains(got, "1 of 1 numbers this month") || !strings.Contains(got, "sms aliyun signature unicom") {
		t.Errorf("doctor:\n%s", got)
	}
	d.sms.SetRegistry(smssim.Registry{Templates: map[string]smssim.Template{"SMS_900000005": {State: "refused", Reason: "内容不符"}},
		Carriers: map[string]smssim.Carrier{"unicom": {Status: 2, Reasons: []string{"NO_SEND_RECORD"}}}})
	if got := command(exitFailed, "refused: 内容不符", "doctor"); !strings.Contains(got, "lapsed: NO_SEND_RECORD") {
		t.Errorf("doctor:\n%s", got)
	}
}

// What is not approved is a warning at the start, and a gauge.
func TestWhatIsNotApprovedIsWarnedOfAtTheStart(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{}, sms: smssim.Config{Templates: map[string][]string{"SMS_900000001": {"name", "fee"}}}})
	until(t, 20*time.Second, "a warning", func() bool {
		return strings.Contains(d.log.String(), `"subject":"template held"`) && strings.Contains(d.log.String(), "isv.SMS_TEMPLATE_ILLEGAL")
	})
	until(t, 20*time.Second, "gauges", func() bool {
		m, err := request(d.ops+"/metrics", "GET", nil)
		if err != nil {
			t.Fatal(err)
		}
		text := string(m.body)
		return strings.Contains(text, `emsd_sms_registration_fine{gateway="aliyun",kind="template",name="held"} 0`) &&
			strings.Contains(text, `emsd_sms_registration_fine{gateway="aliyun",kind="carrier",name="mobile"} 1`)
	})
}

// From the permit system's POST to the phone: who chose English reads English.
func TestAResidentWhoChoseEnglishReadsEnglish(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{"EMSD_QUIET_HOURS=off", "EMSD_SMS_ALIYUN_TEMPLATES=" + demoBilingual}})
	id := d.ordered(77, "recipient.language", "en")
	if to, _ := d.view(id)["recipient"].(map[string]any); to["language"] != "en" {
		t.Errorf("recipient %v", to)
	}
	d.scanned(id, "out_for_delivery", "203", "702")
	until(t, 20*time.Second, "told in English", func() bool {
		return slices.ContainsFunc(d.sms.Messages(), func(m smssim.Message) bool { return m.Template == "SMS_900000103" && m.Params["name"] == "" })
	})
	for _, m := range d.sms.Messages() {
		if !strings.Contains(demoEnglish, m.Template) {
			t.Errorf("told by %s", m.Template)
		}
	}
}
