package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/webhook"

	"github.com/caarlos0/env/v11"
)

// A secret is a configured value that prints as "redacted".
type secret string

func (s secret) String() string       { return "redacted" }
func (s secret) GoString() string     { return "redacted" }
func (s secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalText keeps check-config from printing it.
func (s secret) MarshalText() ([]byte, error) { return []byte("redacted"), nil }

// Config is all that the environment says. Names and defaults are those of the contract; README.md has the table.
type Config struct {
	DatabaseURL    secret         `env:"DATABASE_URL"`
	Listen         string         `env:"LISTEN" envDefault:"127.0.0.1:8080"`
	PublicListen   string         `env:"PUBLIC_LISTEN" envDefault:"127.0.0.1:8081"`
	OpsListen      string         `env:"OPS_LISTEN" envDefault:"127.0.0.1:8082"`
	PublicURL      string         `env:"PUBLIC_URL"`
	TrackingDays   int            `env:"TRACKING_DAYS" envDefault:"90"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES"`
	TLSCertFile    string         `env:"TLS_CERT_FILE"`
	TLSKeyFile     string         `env:"TLS_KEY_FILE"`
	ClientCAFile   string         `env:"CLIENT_CA_FILE"`
	MasterKeyFile  string         `env:"MASTER_KEY_FILE"`
	LogLevel       string         `env:"LOG_LEVEL" envDefault:"info"`

	EMS            EMSConfig `envPrefix:"EMS_"`
	API            APIConfig `envPrefix:"API_"`
	PaymentMethods []string  `env:"PAYMENT_METHODS" envDefault:"prepaid,collect"`
	SMS            []string  `env:"SMS" envDefault:"log"`
	Aliyun         Aliyun    `envPrefix:"SMS_ALIYUN_"`
	Tencent        Tencent   `envPrefix:"SMS_TENCENT_"`
	MAS            MAS       `envPrefix:"SMS_MAS_"`
	DailyCap       int       `env:"SMS_DAILY_CAP" envDefault:"8"`
	SMSRate        float64   `env:"SMS_RATE" envDefault:"100"`
	ResendIfAbsent []string  `env:"SMS_RESEND_IF_ABSENT"`
	ReceiptSecret  secret    `env:"SMS_RECEIPT_SECRET"`
	SelfTestPhones secret    `env:"SMS_SELFTEST_PHONES"` // comma separated; one per carrier
	Webhook        Webhook   `envPrefix:"WEBHOOK_"`
	QuietHours     string    `env:"QUIET_HOURS" envDefault:"21:00-08:00"`
	Sender         Sender    `envPrefix:"SENDER_"`
	Schedule       Schedule  `envPrefix:"SCHEDULE_"`
	TimeScale      float64   `env:"TIME_SCALE" envDefault:"1"`

	OrderConcurrency int           `env:"ORDER_CONCURRENCY" envDefault:"16"`
	OrderLease       time.Duration `env:"ORDER_LEASE" envDefault:"2m"`
	NumbersLow       int           `env:"NUMBERS_LOW" envDefault:"200"`
	NumbersRefill    int           `env:"NUMBERS_REFILL" envDefault:"999"`
	WeightG          int           `env:"WEIGHT_G" envDefault:"80"`
	OrderRemarks     string        `env:"ORDER_REMARKS" envDefault:"证件类邮件，请核对收件人身份证件后当面交本人签收，请勿投放快递柜或门口。"`
	KeepAnswersDays  int           `env:"KEEP_ANSWERS_DAYS" envDefault:"90"`
	KeepTracesMonths int           `env:"KEEP_TRACES_MONTHS" envDefault:"24"`
	KeepRepliesDays  int           `env:"KEEP_REPLIES_DAYS" envDefault:"180"`
	KeepPersonsDays  int           `env:"KEEP_PERSONS_DAYS" envDefault:"365"`
	FontFiles        []string      `env:"FONT_FILES" envDefault:"/usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf,/usr/share/fonts/truetype/hanazono/HanaMinA.ttf,/usr/share/fonts/truetype/hanazono/HanaMinB.ttf"`
	DatabasePool     int           `env:"DATABASE_POOL" envDefault:"16"`
	ShutdownTimeout  time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"30s"`
	SessionIdle      time.Duration `env:"SESSION_IDLE" envDefault:"15m"`
	SessionMax       time.Duration `env:"SESSION_MAX" envDefault:"12h"`
	SecondFactor     string        `env:"SECOND_FACTOR" envDefault:"privileged"`

	quickRetries bool // for the demo: waits after technical failures are seconds, because a minute is all it has
}

// APIConfig bounds what one token may ask of one replica.
type APIConfig struct {
	Rate  float64 `env:"RATE" envDefault:"200"`
	Burst int     `env:"BURST" envDefault:"400"`
}

// EMSConfig is the account at EMS (dossier section 1).
type EMSConfig struct {
	URL           string        `env:"URL"`
	SenderNo      string        `env:"SENDER_NO"`
	Authorization secret        `env:"AUTHORIZATION"`
	Secret        secret        `env:"SECRET"`
	Numbers       string        `env:"NUMBERS" envDefault:"reserved"`
	Rate          float64       `env:"RATE" envDefault:"20"`
	Concurrency   int           `env:"CONCURRENCY" envDefault:"64"`
	Timeout       time.Duration `env:"TIMEOUT" envDefault:"15s"`
	CAFile        string        `env:"CA_FILE"`

	// What the contract with EMS allows: the holder's ID number for the courier to check, a password at the door (密码投递),
	// and the interface code for changes after hand-over (SPEC 5.27), which no document states.
	RecipientID      bool   `env:"RECIPIENT_ID"`
	DeliveryPassword bool   `env:"DELIVERY_PASSWORD"`
	InterveneAPI     string `env:"INTERVENE_API"`
	InterveneNames   string `env:"INTERVENE_NAMES" envDefault:"table"`

	retryWait, breakerPause time.Duration // for tests of a month in a minute; 0: the client's own
}

// Aliyun is the account at Aliyun's SMS service; Templates is JSON, milestone → template code.
type Aliyun struct {
	URL             string `env:"URL" envDefault:"https://dysmsapi.aliyuncs.com/"`
	AccessKeyID     string `env:"ACCESS_KEY_ID"`
	AccessKeySecret secret `env:"ACCESS_KEY_SECRET"`
	SignName        string `env:"SIGN_NAME"`
	Templates       string `env:"TEMPLATES"`
	CAFile          string `env:"CA_FILE"`
}

// Tencent is the application at Tencent Cloud's SMS service; Templates is JSON, milestone → template id.
type Tencent struct {
	URL           string `env:"URL" envDefault:"https://sms.tencentcloudapi.com/"`
	SecretID      string `env:"SECRET_ID"`
	SecretKey     secret `env:"SECRET_KEY"`
	AppID         string `env:"APP_ID"`
	SignName      string `env:"SIGN_NAME"`
	SignID        uint64 `env:"SIGN_ID"`
	Templates     string `env:"TEMPLATES"`
	Region        string `env:"REGION" envDefault:"ap-guangzhou"`
	VariableLimit int    `env:"VARIABLE_LIMIT" envDefault:"6"`
	PullReplies   bool   `env:"PULL_REPLIES"`
	CAFile        string `env:"CA_FILE"`
}

// MAS is the interface account at 云MAS; Templates is JSON, milestone → template id. SignName is the signature's text, to
// count segments; Sign is its code, which is what is sent.
type MAS struct {
	URL          string `env:"URL"`
	ECName       string `env:"EC_NAME"`
	APID         string `env:"AP_ID"`
	SecretKey    secret `env:"SECRET_KEY"`
	Sign         string `env:"SIGN"`
	SignName     string `env:"SIGN_NAME"`
	Templates    string `env:"TEMPLATES"`
	Texts        bool   `env:"TEXTS"`
	TemplatePath string `env:"TEMPLATE_PATH" envDefault:"tmpsubmit"`
	TextPath     string `env:"TEXT_PATH" envDefault:"norsubmit"`
	ReportPath   string `env:"REPORT_PATH" envDefault:"report"`
	DeliverPath  string `env:"DELIVER_PATH" envDefault:"deliver"`
	Pull         bool   `env:"PULL"`
	PullReplies  bool   `env:"PULL_REPLIES"`
	AddSerial    string `env:"ADD_SERIAL"`
	SecretInBody bool   `env:"SECRET_IN_BODY"`
	CAFile       string `env:"CA_FILE"`
}

// Webhook says where webhooks may go (see webhook.Allow) and how long a subscriber may take; an empty list turns them off.
type Webhook struct {
	Allow    []string      `env:"ALLOW"`
	CAFile   string        `env:"CA_FILE"`
	Timeout  time.Duration `env:"TIMEOUT" envDefault:"10s"`
	KeepDays int           `env:"KEEP_DAYS" envDefault:"30"`
}

// Sender is who stands on an envelope whose station has no sender record of its own.
type Sender struct {
	Name     string `env:"NAME"`
	Phone    string `env:"PHONE"`
	Province string `env:"PROVINCE"`
	City     string `env:"CITY"`
	County   string `env:"COUNTY"`
	Address  string `env:"ADDRESS"`
}

// Schedule is when each round is woken, five cron fields in Beijing time or "@every 15s". What is due is decided by
// columns, not here: a schedule only bounds how late a round may notice.
type Schedule struct {
	Order     string `env:"ORDER" envDefault:"@every 15s"`
	Numbers   string `env:"NUMBERS" envDefault:"@every 1m"`
	Reconcile string `env:"RECONCILE" envDefault:"@every 30s"`
	Cancel    string `env:"CANCEL" envDefault:"@every 30s"`
	Label     string `env:"LABEL" envDefault:"@every 15s"`
	Intervene string `env:"INTERVENE" envDefault:"@every 1m"`
	Poll      string `env:"POLL" envDefault:"@every 10s"`
	Publish   string `env:"PUBLISH" envDefault:"@every 5s"`
	Send      string `env:"SEND" envDefault:"@every 10s"`
	Resolve   string `env:"RESOLVE" envDefault:"@every 5s"`
	Replies   string `env:"REPLIES" envDefault:"@every 1m"`
	Webhooks  string `env:"WEBHOOKS" envDefault:"@every 5s"`
	Inbox     string `env:"INBOX" envDefault:"@every 30s"`
	Keys      string `env:"KEYS" envDefault:"@every 1m"`
	Audit     string `env:"AUDIT" envDefault:"@every 5s"`
	Fees      string `env:"FEES" envDefault:"30 2 * * *"`
	Stall     string `env:"STALL" envDefault:"*/10 * * * *"`
	Journeys  string `env:"JOURNEYS" envDefault:"@every 1m"`
	Tallies   string `env:"TALLIES" envDefault:"@every 1m"`
	Refold    string `env:"REFOLD" envDefault:"@every 1m"`
	Uploads   string `env:"UPLOADS" envDefault:"@every 30s"`
	Signature string `env:"SIGNATURES" envDefault:"40 9 * * *"`
	Purge     string `env:"PURGE" envDefault:"15 3 * * *"`
}

// readConfig reports all that is wrong at once, so that one restart is enough. environ has the form of os.Environ.
func readConfig(environ []string) (Config, error) {
	values, err := withFiles(environ)
	errs := []error{err}
	var cfg Config
	err = env.ParseWithOptions(&cfg, env.Options{Environment: values, Prefix: "EMSD_"})
	if agg, ok := errors.AsType[env.AggregateError](err); ok {
		for _, e := range agg.Errors {
			errs = append(errs, fmt.Errorf("configuration: %w", e))
		}
	} else if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, unknownNames(values), cfg.check())
	return cfg, errors.Join(errs...)
}

// withFiles turns EMSD_X_FILE into EMSD_X with the content of that file. Names that end in _FILE by themselves keep it.
func withFiles(environ []string) (map[string]string, error) {
	own := []string{"EMSD_MASTER_KEY_FILE", "EMSD_TLS_CERT_FILE", "EMSD_TLS_KEY_FILE", "EMSD_CLIENT_CA_FILE", "EMSD_EMS_CA_FILE", "EMSD_SMS_ALIYUN_CA_FILE", "EMSD_SMS_TENCENT_CA_FILE", "EMSD_SMS_MAS_CA_FILE", "EMSD_WEBHOOK_CA_FILE"}
	values := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "EMSD_") && !strings.HasPrefix(name, "EMSD_TEST_") {
			values[name] = value
		}
	}
	var errs []error
	for name, path := range values {
		base, ok := strings.CutSuffix(name, "_FILE")
		if !ok || slices.Contains(own, name) {
			continue
		}
		delete(values, name)
		if _, both := values[base]; both {
			errs = append(errs, fmt.Errorf("%s and %s are both set: keep one", base, name))
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		values[base] = strings.TrimRight(string(content), "\r\n")
	}
	return values, errors.Join(errs...)
}

func unknownNames(values map[string]string) error {
	params, err := env.GetFieldParamsWithOptions(&Config{}, env.Options{Prefix: "EMSD_"})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range params {
		known[p.Key] = true
	}
	var errs []error
	for name := range values {
		if !known[name] {
			errs = append(errs, fmt.Errorf("%s is not a setting of emsd: see README.md for the names", name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, v := range map[string]string{
		"EMSD_DATABASE_URL": string(c.DatabaseURL), "EMSD_MASTER_KEY_FILE": c.MasterKeyFile,
		"EMSD_EMS_URL": c.EMS.URL, "EMSD_EMS_SENDER_NO": c.EMS.SenderNo,
		"EMSD_EMS_AUTHORIZATION": string(c.EMS.Authorization), "EMSD_EMS_SECRET": string(c.EMS.Secret),
	} {
		if v == "" {
			bad("%s is required", name)
		}
	}
	for name, addr := range map[string]string{"EMSD_LISTEN": c.Listen, "EMSD_PUBLIC_LISTEN": c.PublicListen, "EMSD_OPS_LISTEN": c.OpsListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("%s: %q is not host:port", name, addr)
		}
	}
	emsHost := checkURL("EMSD_EMS_URL", c.EMS.URL, bad)
	checkURL("EMSD_PUBLIC_URL", c.PublicURL, bad)
	if c.EMS.Numbers != "reserved" && c.EMS.Numbers != "assigned" {
		bad("EMSD_EMS_NUMBERS: %q is neither reserved nor assigned", c.EMS.Numbers)
	}
	for name, n := range map[string]float64{
		"EMSD_EMS_RATE": c.EMS.Rate, "EMSD_EMS_CONCURRENCY": float64(c.EMS.Concurrency), "EMSD_EMS_TIMEOUT": c.EMS.Timeout.Seconds(),
		"EMSD_ORDER_CONCURRENCY": float64(c.OrderConcurrency), "EMSD_ORDER_LEASE": c.OrderLease.Seconds(), "EMSD_WEIGHT_G": float64(c.WeightG),
		"EMSD_NUMBERS_LOW": float64(c.NumbersLow), "EMSD_NUMBERS_REFILL": float64(c.NumbersRefill), "EMSD_DATABASE_POOL": float64(c.DatabasePool),
		"EMSD_API_RATE": c.API.Rate, "EMSD_API_BURST": float64(c.API.Burst),
		"EMSD_TRACKING_DAYS": float64(c.TrackingDays), "EMSD_SHUTDOWN_TIMEOUT": c.ShutdownTimeout.Seconds(), "EMSD_SESSION_IDLE": c.SessionIdle.Seconds(), "EMSD_SESSION_MAX": c.SessionMax.Seconds(),
	} {
		if n <= 0 {
			bad("%s: must be more than 0", name)
		}
	}
	if n := utf8.RuneCountInString(c.OrderRemarks); n > 200 {
		bad("EMSD_ORDER_REMARKS: %d characters, EMS takes 200", n)
	}
	if api := c.EMS.InterveneAPI; api != "" && !regexp.MustCompile(`^[0-9]{6}$`).MatchString(api) {
		bad("EMSD_EMS_INTERVENE_API: %q is no interface code of six digits; empty leaves it to a telephone call", api)
	}
	if n := c.EMS.InterveneNames; n != "table" && n != "sample" {
		bad("EMSD_EMS_INTERVENE_NAMES: %q is neither table nor sample", n)
	}
	if c.KeepAnswersDays < 0 {
		bad("EMSD_KEEP_ANSWERS_DAYS: %d is negative; 0 keeps no answer of EMS's as it came", c.KeepAnswersDays)
	}
	if c.KeepTracesMonths < 3 {
		bad("EMSD_KEEP_TRACES_MONTHS: %d is too few, disputes about an envelope come months later: at least 3", c.KeepTracesMonths)
	}
	if c.KeepRepliesDays < 30 {
		bad("EMSD_KEEP_REPLIES_DAYS: %d is too few, a clerk reads a reply while its envelope is under way: at least 30", c.KeepRepliesDays)
	}
	if n := c.KeepPersonsDays; n != 0 && n < max(60, c.TrackingDays) {
		bad("EMSD_KEEP_PERSONS_DAYS: %d is too few, complaints come weeks later and residents' pages stay for EMSD_TRACKING_DAYS (%d): at least 60 and as many as those, or 0 to keep them for good", n, c.TrackingDays)
	}
	if c.SessionMax < c.SessionIdle {
		bad("EMSD_SESSION_MAX: %s is shorter than EMSD_SESSION_IDLE (%s)", c.SessionMax, c.SessionIdle)
	}
	switch staff.SecondFactor(c.SecondFactor) {
	case staff.NobodyMust, staff.Privileged, staff.Everybody:
	default:
		bad("EMSD_SECOND_FACTOR: %q is none of off, privileged (supervisors and administrators), all", c.SecondFactor)
	}
	if c.DatabasePool > 0 && c.DatabasePool < 8 {
		bad("EMSD_DATABASE_POOL: %d is too few, the rounds that run side by side need 8", c.DatabasePool)
	}
	if c.OrderLease <= c.EMS.Timeout {
		bad("EMSD_ORDER_LEASE: %s must be longer than EMSD_EMS_TIMEOUT (%s), or an order would be asked about while it is on its way", c.OrderLease, c.EMS.Timeout)
	}
	for _, m := range c.PaymentMethods {
		if m != "prepaid" && m != "collect" {
			bad("EMSD_PAYMENT_METHODS: %q is neither prepaid nor collect (R-10: the applicant pays)", m)
		}
	}
	c.checkSMS(bad)
	c.certFiles().check(bad)
	if _, err := webhook.ParseAllow(c.Webhook.Allow); err != nil {
		bad("EMSD_WEBHOOK_ALLOW: %w", err)
	}
	if t := c.Webhook.Timeout; t < time.Second || t > time.Minute {
		bad("EMSD_WEBHOOK_TIMEOUT: %s, want 1s to 1m", t)
	}
	if c.Webhook.KeepDays < 7 {
		bad("EMSD_WEBHOOK_KEEP_DAYS: %d is too few, a subscriber may be away for days and ask for a replay: at least 7", c.Webhook.KeepDays)
	}
	for name, spec := range c.Schedule.specs() {
		if err := checkSpec(spec); err != nil {
			bad("EMSD_SCHEDULE_%s: %w", strings.ToUpper(name), err)
		}
	}
	if c.TimeScale < 1 {
		bad("EMSD_TIME_SCALE: %g is below 1", c.TimeScale)
	}
	if c.TimeScale != 1 && !loopback(emsHost) {
		bad("EMSD_TIME_SCALE: refused, because EMSD_EMS_URL is not on this machine: a faster clock is for simulators only")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		bad("EMSD_LOG_LEVEL: %q is none of debug, info, warn, error", c.LogLevel)
	}
	return errors.Join(errs...)
}

func (c *Config) certFiles() certFiles {
	return certFiles{c.TLSCertFile, c.TLSKeyFile, c.ClientCAFile}
}

func (c *Config) checkSMS(bad func(string, ...any)) {
	if len(c.SMS) == 0 {
		bad("EMSD_SMS: name at least one gateway")
	}
	for _, g := range c.SMS {
		switch g {
		case "log":
		case "aliyun":
			checkGateway(g, c.Aliyun.URL, c.Aliyun.Templates, map[string]string{
				"ACCESS_KEY_ID": c.Aliyun.AccessKeyID, "ACCESS_KEY_SECRET": string(c.Aliyun.AccessKeySecret),
				"SIGN_NAME": c.Aliyun.SignName, "TEMPLATES": c.Aliyun.Templates,
			}, bad)
		case "tencent":
			checkGateway(g, c.Tencent.URL, c.Tencent.Templates, map[string]string{
				"SECRET_ID": c.Tencent.SecretID, "SECRET_KEY": string(c.Tencent.SecretKey), "APP_ID": c.Tencent.AppID,
				"SIGN_NAME": c.Tencent.SignName, "TEMPLATES": c.Tencent.Templates,
			}, bad)
		case "mas":
			checkGateway(g, c.MAS.URL, c.MAS.Templates, map[string]string{
				"URL": c.MAS.URL, "EC_NAME": c.MAS.ECName, "AP_ID": c.MAS.APID, "SECRET_KEY": string(c.MAS.SecretKey),
				"SIGN": c.MAS.Sign, "SIGN_NAME": c.MAS.SignName,
			}, bad)
		default:
			bad("EMSD_SMS: %q is not a gateway: aliyun, mas, tencent, log", g)
		}
	}
	if c.DailyCap < 0 {
		bad("EMSD_SMS_DAILY_CAP: a number of messages is wanted; 0 is no limit")
	}
	if !(c.SMSRate >= 0) {
		bad("EMSD_SMS_RATE: messages a second are wanted; 0 is no limit")
	}
	if _, err := c.selfTestPhones(); err != nil {
		bad("EMSD_SMS_SELFTEST_PHONES: %w", err)
	}
	for _, m := range c.ResendIfAbsent {
		if !slices.Contains(notify.Milestones, notify.Milestone(m)) {
			bad("EMSD_SMS_RESEND_IF_ABSENT: %q is no milestone", m)
		}
	}
}

// maxSelfTests is one number per carrier.
const maxSelfTests = 3

// selfTestPhones reads the numbers of the monthly self-test. No error quotes one.
func (c *Config) selfTestPhones() ([]vault.Secret, error) {
	var phones []vault.Secret
	for i, number := range strings.FieldsFunc(string(c.SelfTestPhones), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		if !notify.IsMobile(number) {
			return nil, fmt.Errorf("number %d is no mainland mobile number of 11 digits", i+1)
		}
		phones = append(phones, vault.Conceal(number))
	}
	if len(phones) > maxSelfTests {
		return nil, fmt.Errorf("%d numbers: at most %d, one per carrier", len(phones), maxSelfTests)
	}
	return phones, nil
}

// checkGateway names what is missing of a gateway's account; its client checks the rest.
func checkGateway(name, address, templates string, required map[string]string, bad func(string, ...any)) {
	prefix := "EMSD_SMS_" + strings.ToUpper(name)
	for setting, v := range required {
		if v == "" {
			bad("%s_%s is required, because EMSD_SMS names %s", prefix, setting, name)
		}
	}
	if name != "mas" { // most of its accounts are reached by plain http (dossier C.1); the daemon warns
		checkURL(prefix+"_URL", address, bad)
	}
	if _, err := readTemplates(templates); err != nil {
		bad("%s_TEMPLATES: %w", prefix, err)
	}
}

// readTemplates reads the mapping from milestone to a gateway's template.
func readTemplates(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf(`want JSON such as {"delivered":"SMS_000000001"}: %w`, err)
	}
	return m, nil
}

// specs lists the schedules by the lower-case end of their setting's name.
func (s Schedule) specs() map[string]string {
	return map[string]string{
		"order": s.Order, "numbers": s.Numbers, "reconcile": s.Reconcile, "cancel": s.Cancel, "label": s.Label, "poll": s.Poll,
		"publish": s.Publish, "send": s.Send, "webhooks": s.Webhooks, "resolve": s.Resolve, "replies": s.Replies, "inbox": s.Inbox, "keys": s.Keys, "audit": s.Audit, "fees": s.Fees, "intervene": s.Intervene, "stall": s.Stall, "journeys": s.Journeys, "tallies": s.Tallies, "refold": s.Refold, "uploads": s.Uploads, "purge": s.Purge, "signatures": s.Signature,
	}
}

func checkURL(name, raw string, bad func(string, ...any)) *url.URL {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		bad("%s: want http:// or https:// and a host", name) // the value may hold a key: not printed
		return nil
	}
	if u.Scheme == "http" && !loopback(u) {
		bad("%s: plain http is allowed to this machine only", name)
	}
	return u
}

func loopback(u *url.URL) bool {
	if u == nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}
