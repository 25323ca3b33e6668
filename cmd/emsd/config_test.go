package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// required are the settings without which nothing starts.
func required(more ...string) []string {
	return append([]string{
		"EMSD_DATABASE_URL=postgres://emsd:geheim@127.0.0.1/emsd", "EMSD_MASTER_KEY_FILE=/etc/emsd/master.key",
		"EMSD_EMS_URL=https://api.ems.com.cn/amp-prod-api/f/amp/api/open", "EMSD_EMS_SENDER_NO=1100000000000",
		"EMSD_EMS_AUTHORIZATION=AUTHORIZATION123", "EMSD_EMS_SECRET=TvaBgrhE46sft3nZlfe7xw==",
	}, more...)
}

func TestConfigNamesEverythingThatIsWrong(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		want    []string // parts of the error; none: fine
	}{
		{"the least", required(), nil},
		{"nothing", nil, []string{"EMSD_DATABASE_URL is required", "EMSD_MASTER_KEY_FILE is required", "EMSD_EMS_URL is required",
			"EMSD_EMS_SENDER_NO is required", "EMSD_EMS_AUTHORIZATION is required", "EMSD_EMS_SECRET is required"}},
		{"unknown name", required("EMSD_EMS_RAET=5"), []string{"EMSD_EMS_RAET is not a setting"}},
		{"others' names", required("PATH=/bin", "EMSX=1"), nil},
		{"several at once", required("EMSD_EMS_RATE=-1", "EMSD_SMS=pigeon", "EMSD_LISTEN=8080", "EMSD_SCHEDULE_POLL=often"),
			[]string{"EMSD_EMS_RATE: must be more than 0", `EMSD_SMS: "pigeon"`, `EMSD_LISTEN: "8080"`, "EMSD_SCHEDULE_POLL"}},
		{"not a number", required("EMSD_EMS_CONCURRENCY=many"), []string{"Concurrency"}},
		{"schedule that makes cron panic", required("EMSD_SCHEDULE_POLL=TZ=UTC"), []string{"a zone cannot be given"}},
		{"six fields", required("EMSD_SCHEDULE_ORDER=0 0 0 * * *"), []string{"EMSD_SCHEDULE_ORDER"}},
		{"plain http outside", required("EMSD_EMS_URL=http://api.ems.com.cn/x"), []string{"plain http is allowed to this machine only"}},
		{"fast clock against the real EMS", required("EMSD_TIME_SCALE=100"), []string{"EMSD_TIME_SCALE: refused"}},
		{"fast clock against a simulator", required("EMSD_TIME_SCALE=100", "EMSD_EMS_URL=http://127.0.0.1:9090/x"), nil},
		{"somebody else pays", required("EMSD_PAYMENT_METHODS=prepaid,government"), []string{"R-10"}},
		{"aliyun without account", required("EMSD_SMS=aliyun"), []string{"EMSD_SMS_ALIYUN_ACCESS_KEY_ID is required", "EMSD_SMS_ALIYUN_TEMPLATES is required"}},
		{"tencent without account", required("EMSD_SMS=tencent"), []string{"EMSD_SMS_TENCENT_SECRET_ID is required", "EMSD_SMS_TENCENT_APP_ID is required"}},
		{"mas without account", required("EMSD_SMS=mas"), []string{"EMSD_SMS_MAS_URL is required", "EMSD_SMS_MAS_SIGN is required"}},
		{"mas over plain http, as most accounts have it", required("EMSD_SMS=mas,log", "EMSD_SMS_MAS_URL=http://112.35.1.155:1992/sms/", "EMSD_SMS_MAS_EC_NAME=x",
			"EMSD_SMS_MAS_AP_ID=x", "EMSD_SMS_MAS_SECRET_KEY=x", "EMSD_SMS_MAS_SIGN=x", "EMSD_SMS_MAS_SIGN_NAME=x", "EMSD_SMS_MAS_TEXTS=true"), nil},
		{"a rate below nothing", required("EMSD_SMS_RATE=-1"), []string{"EMSD_SMS_RATE"}},
		{"a rate that is no number", required("EMSD_SMS_RATE=NaN"), []string{"EMSD_SMS_RATE"}},
		{"a cap below nothing", required("EMSD_SMS_DAILY_CAP=-1"), []string{"EMSD_SMS_DAILY_CAP"}},
		{"webhooks to everybody", required("EMSD_WEBHOOK_ALLOW=hooks.example.cn,0.0.0.0/0", "EMSD_WEBHOOK_KEEP_DAYS=1", "EMSD_WEBHOOK_TIMEOUT=10m"),
			[]string{`EMSD_WEBHOOK_ALLOW: "0.0.0.0/0"`, "EMSD_WEBHOOK_KEEP_DAYS", "EMSD_WEBHOOK_TIMEOUT"}},
		{"webhooks to a host and a range", required("EMSD_WEBHOOK_ALLOW=hooks.example.cn,10.1.0.0/16:8080"), nil},
		{"a gateway that nobody knows", required("EMSD_SMS=pigeon"), []string{`"pigeon" is not a gateway`}},
		{"a milestone that nobody knows", required("EMSD_SMS_RESEND_IF_ABSENT=held,lunch"), []string{`EMSD_SMS_RESEND_IF_ABSENT: "lunch" is no milestone`}},
		{"templates that are no JSON", required("EMSD_SMS=log", "EMSD_SMS_ALIYUN_TEMPLATES={"), nil}, // not used, not read
		{"lease shorter than a call", required("EMSD_ORDER_LEASE=10s"), []string{"EMSD_ORDER_LEASE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readConfig(tt.environ)
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("readConfig: %v, want an error: %t", err, tt.want != nil)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q:\n%v", w, err)
				}
			}
		})
	}
}

func TestConfigReadsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("TvaBgrhE46sft3nZlfe7xw==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := required("EMSD_EMS_SECRET_FILE=" + path)
	if _, err := readConfig(environ); err == nil || !strings.Contains(err.Error(), "both set") {
		t.Errorf("readConfig with both: %v, want it to refuse", err)
	}
	cfg, err := readConfig(append(environ[:5:5], "EMSD_EMS_SECRET_FILE="+path))
	if err != nil || string(cfg.EMS.Secret) != "TvaBgrhE46sft3nZlfe7xw==" {
		t.Errorf("readConfig = %q, %v; want the file's content without the line end", string(cfg.EMS.Secret), err)
	}
	if _, err := readConfig(append(environ[:5:5], "EMSD_EMS_SECRET_FILE="+path+".gone")); err == nil {
		t.Error("a file that is missing was not missed")
	}
}

func TestConfigNeverPrintsASecret(t *testing.T) {
	cfg, err := readConfig(required("EMSD_SMS_ALIYUN_ACCESS_KEY_SECRET=hushhush"))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", cfg.EMS.Secret, "url", cfg.DatabaseURL)
	js, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"%v": fmt.Sprintf("%v", cfg), "%+v": fmt.Sprintf("%+v", cfg), "%#v": fmt.Sprintf("%#v", cfg), "json": string(js), "log": log.String()} {
		for _, s := range []string{"hushhush", "geheim", "TvaBgrhE46sft3nZlfe7xw==", "AUTHORIZATION123"} {
			if strings.Contains(text, s) {
				t.Errorf("%s shows %s", name, s)
			}
		}
	}
}
