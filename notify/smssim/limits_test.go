package smssim

import (
	"testing"
	"time"
)

func TestANumberHasLimitsInTheWindowsOfTheClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{MinuteLimit: 1, HourlyLimit: 2, DailyLimit: 3})
	for _, tt := range []struct {
		at      time.Duration // after ten o'clock
		message string
	}{
		{50 * time.Second, "OK"}, {59 * time.Second, "触发分钟级流控Permits:1"}, {time.Minute, "OK"},
		{59 * time.Minute, "触发小时级流控Permits:2"}, {time.Hour, "OK"}, {23 * time.Hour, "触发天级流控Permits:3"}, {24*time.Hour + 50*time.Second, "OK"},
	} {
		r.now.Store(start.Add(tt.at).UnixNano())
		if got := r.call("SendSms", sms("13900000001", "x")); got.Message != tt.message || (got.Code == "OK") != (tt.message == "OK") {
			t.Errorf("after %v: %+v, want %s", tt.at, got, tt.message)
		}
	}
}

func TestTencentLimitsANumber(t *testing.T) {
	t.Parallel()
	at := start
	g := New(Config{Now: func() time.Time { return at }, Tencent: Tencent{HourlyLimit: 2, DailyLimit: 3}})
	for _, tt := range []struct {
		at   time.Duration
		text string
		code string
	}{
		{0, "a", "Ok"}, {29 * time.Second, "a", "LimitExceeded.PhoneNumberThirtySecondLimit"}, {29 * time.Second, "b", "Ok"},
		{time.Hour - time.Second, "c", "LimitExceeded.PhoneNumberOneHourLimit"}, {time.Hour, "c", "Ok"},
		{13 * time.Hour, "d", "LimitExceeded.PhoneNumberDailyLimit"}, {14 * time.Hour, "d", "Ok"}, // midnight
	} {
		at = start.Add(tt.at)
		body := encode(map[string]any{"PhoneNumberSet": []string{"+8613900000001"}, "SmsSdkAppId": SampleAppID, "SignName": SampleSignName, "TemplateId": "1", "TemplateParamSet": []string{tt.text}})
		entry := g.sendTencent(body).fields["SendStatusSet"].([]map[string]any)[0]
		if entry["Code"] != tt.code {
			t.Errorf("after %v, %q: %v, want %s", tt.at, tt.text, entry["Code"], tt.code)
		}
	}
}
