package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"

	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

// flags are the command line.
type flags struct {
	Listen string  `help:"Address to listen on." default:"127.0.0.1:9090" placeholder:"HOST:PORT"`
	Speed  float64 `help:"Simulated seconds per second." default:"1"`
	Seed   uint64  `help:"Fixes outcomes, routes and which calls a rate hits." default:"1"`

	EmsSecret        string `help:"The account's secret, base64 of 16 bytes." default:"${secret}" env:"EMSSIM_EMS_SECRET"`
	EmsSenderNo      string `help:"The account's customer number." default:"${sender}"`
	EmsAuthorization string `help:"The account's authorization code." default:"${authorization}" env:"EMSSIM_EMS_AUTHORIZATION"`
	PushTo           string `help:"Address that tracking events are pushed to." placeholder:"URL"`

	Repeat            string        `help:"What a repeated order is answered: same, new or refuse." enum:"same,new,refuse" default:"same"`
	UsedNumber        string        `help:"What an order is answered that names a used number: refuse or accept." enum:"refuse,accept" default:"refuse"`
	AcceptUnreserved  bool          `help:"Let orders name numbers that were never given out."`
	CancelAccepted    bool          `help:"Let accepted items be cancelled."`
	RefuseCancelTwice bool          `help:"Refuse to cancel what is cancelled."`
	StaleAfter        time.Duration `help:"Refuse a timeStamp further from the simulated clock; 0 does not look." default:"0s"`
	LabelDelay        time.Duration `help:"Simulated time until a new order's label is held." default:"0s"`
	PickUpDelay       time.Duration `help:"Simulated time that an order waits for its courier." default:"0s"`
	FirstSerial       uint32        `help:"First serial of a waybill number; 0 takes it from the time, so that a restart repeats none." default:"0"`
	Latency           time.Duration `help:"Real time that every call takes." default:"0s"`

	Misbehave          bool `help:"Late, repeated and lost scans, pushes and receipts, a few in a hundred each."`
	PushSecretAppended bool `help:"Append the secret to the plaintext of pushes."`

	AliyunAccessKeyID     string              `name:"aliyun-access-key-id" help:"The SMS account's key." default:"${key}"`
	AliyunAccessKeySecret string              `name:"aliyun-access-key-secret" help:"The SMS account's secret." default:"${keysecret}" env:"EMSSIM_ALIYUN_ACCESS_KEY_SECRET"`
	AliyunSignName        string              `name:"aliyun-sign-name" help:"The approved signature." default:"${sign}"`
	AliyunTemplate        map[string][]string `name:"aliyun-template" help:"An approved template with its variables, comma separated; without any, every template is known." placeholder:"SMS_1=name,no" mapsep:"none"`
	AliyunMinuteLimit     int                 `name:"aliyun-minute-limit" help:"Messages per template and number in a minute of the clock; 0: any." default:"0"`
	AliyunHourlyLimit     int                 `name:"aliyun-hourly-limit" help:"Messages per template and number in an hour of the clock; 0: any." default:"0"`
	AliyunDailyLimit      int                 `name:"aliyun-daily-limit" help:"Messages per template and number in 24 hours." default:"50"`
	ReceiptTo             string              `help:"Address that Aliyun's receipts are pushed to." placeholder:"URL"`

	TencentSecretID      string         `name:"tencent-secret-id" help:"The account's id." default:"${tencentid}"`
	TencentSecretKey     string         `help:"The account's secret." default:"${tencentkey}" env:"EMSSIM_TENCENT_SECRET_KEY"`
	TencentAppID         string         `name:"tencent-app-id" help:"The application." default:"${tencentapp}"`
	TencentTemplate      map[string]int `help:"An approved template with the number of its variables; without any, every template is known." placeholder:"1110=2"`
	TencentVariableLimit int            `help:"Most characters of a variable." default:"6"`
	TencentHourlyLimit   int            `help:"Messages per number in an hour; 0: any." default:"0"`
	TencentDailyLimit    int            `help:"Messages per number and calendar day." default:"10"`
	TencentEcho          bool           `help:"Bring SessionContext back in callbacks and queries, as support switches on."`
	TencentTopLevel      bool           `help:"Refuse a message under Response.Error instead of in the entry of its number."`
	TencentReceiptTo     string         `help:"Address that Tencent's callbacks go to." placeholder:"URL"`
	TencentHoldReplies   bool           `help:"Keep replies until PullSmsReplyStatus fetches them."`

	MasECName     string         `name:"mas-ec-name" help:"The customer's name." default:"${masname}"`
	MasAPID       string         `name:"mas-ap-id" help:"The interface account." default:"${masap}"`
	MasSecretKey  string         `help:"The account's secret." default:"${massecret}" env:"EMSSIM_MAS_SECRET_KEY"`
	MasSign       string         `help:"The signature's code." default:"${massign}"`
	MasTemplate   map[string]int `help:"An approved template with the number of its variables; without any, every template is known." placeholder:"tpl1=2"`
	MasWantSecret bool           `help:"Want secretKey in the body."`
	MasMisspelt   bool           `help:"Answer mgsGroup."`
	MasWrapped    bool           `help:"Wrap reports in base64."`
	MasReceiptTo  string         `help:"Address that MAS's reports are pushed to." placeholder:"URL"`

	MasHoldReplies bool `help:"Keep replies until the deliver interface fetches them."`
}

// parse reads the command line; done means that there is nothing to run, and code is how to exit.
func parse(args []string, stdout, stderr io.Writer) (f flags, code int, done bool) {
	parser, err := kong.New(&f,
		kong.Name("emssim"),
		kong.Description("Simulates EMS and SMS gateways: strict, with a ledger, and as unreliable as asked for."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { done = true }), // after --help
		kong.Vars{
			"secret": emssim.SampleSecret, "sender": emssim.SampleSenderNo, "authorization": emssim.SampleAuthorization,
			"key": smssim.SampleAccessKeyID, "keysecret": smssim.SampleAccessKeySecret, "sign": smssim.SampleSignName,
			"tencentid": smssim.SampleSecretID, "tencentkey": smssim.SampleSecretKey, "tencentapp": smssim.SampleAppID,
			"masname": smssim.SampleECName, "masap": smssim.SampleAPID, "massecret": smssim.SampleMASSecret, "massign": smssim.SampleMASSign,
		})
	if err == nil {
		_, err = parser.Parse(args)
	}
	if done {
		return f, 0, true
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		fmt.Fprintln(stderr, "emssim:", err)
		return f, 2, true
	}
	return f, 0, false
}

func (f flags) check() error {
	if key, err := base64.StdEncoding.DecodeString(f.EmsSecret); err != nil || len(key) != 16 {
		return errors.New("--ems-secret is not base64 of 16 bytes")
	}
	if f.Speed <= 0 {
		return errors.New("--speed is not above 0")
	}
	return nil
}

// share is the part of things that go wrong by themselves.
func (f flags) share(s float64) float64 {
	if f.Misbehave {
		return s
	}
	return 0
}

func (f flags) carrier(k clock) emssim.Config {
	first := f.FirstSerial
	if first == 0 {
		first = uint32(k.start.Unix() * 100 % 100_000_000) // a hundred numbers a second for eleven days
	}
	return emssim.Config{
		Secret: f.EmsSecret, SenderNo: f.EmsSenderNo, Authorization: f.EmsAuthorization,
		Now: k.now, Seed: f.Seed, FirstSerial: first, Latency: f.Latency,
		Repeat: emssim.RepeatBehaviour(f.Repeat), UsedNumber: emssim.UsedNumberBehaviour(f.UsedNumber),
		AcceptUnreserved: f.AcceptUnreserved, CancelAccepted: f.CancelAccepted, RefuseCancelTwice: f.RefuseCancelTwice,
		StaleAfter: f.StaleAfter, LabelDelay: f.LabelDelay, PickUpDelay: f.PickUpDelay,
		LateScans: f.share(0.05), RepeatScans: f.share(0.03),
		PushTo: f.PushTo, PushSecretAppended: f.PushSecretAppended,
		PushDuplicate: f.share(0.05), PushDisorder: f.share(0.05), PushLose: f.share(0.03),
	}
}

func (f flags) gateway(k clock) smssim.Config {
	return smssim.Config{
		AccessKeyID: f.AliyunAccessKeyID, AccessKeySecret: f.AliyunAccessKeySecret, SignName: f.AliyunSignName,
		Templates: f.AliyunTemplate, MinuteLimit: f.AliyunMinuteLimit, HourlyLimit: f.AliyunHourlyLimit, DailyLimit: f.AliyunDailyLimit,
		Now: k.now, Seed: f.Seed, Latency: f.Latency,
		ReceiptTo: f.ReceiptTo, Undelivered: f.share(0.02), LateReceipts: f.share(0.03), TwiceReceipts: f.share(0.05), LostReceipts: f.share(0.03),
		Tencent: smssim.Tencent{SecretID: f.TencentSecretID, SecretKey: f.TencentSecretKey, AppID: f.TencentAppID, Templates: f.TencentTemplate,
			VariableLimit: f.TencentVariableLimit, Echo: f.TencentEcho, TopLevel: f.TencentTopLevel, HoldReplies: f.TencentHoldReplies,
			HourlyLimit: f.TencentHourlyLimit, DailyLimit: f.TencentDailyLimit, ReceiptTo: f.TencentReceiptTo},
		MAS: smssim.MAS{ECName: f.MasECName, APID: f.MasAPID, SecretKey: f.MasSecretKey, Sign: f.MasSign, Templates: f.MasTemplate,
			WantSecret: f.MasWantSecret, Misspelt: f.MasMisspelt, Wrapped: f.MasWrapped, ReceiptTo: f.MasReceiptTo, HoldReplies: f.MasHoldReplies},
	}
}
