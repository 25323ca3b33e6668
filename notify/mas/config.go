package mas

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"emsd/notify"
	"emsd/notify/post"
)

// Config is one interface account. Hosts, ports and paths differ by province and account: the branch office's document
// says which (C.1).
type Config struct {
	URL       string // of the folder that holds the calls, such as http://112.35.1.155:1992/sms/
	ECName    string // the customer's name as registered
	APID      string // the interface account, not the portal's sign-in
	SecretKey string
	Sign      string            // the signature's code, not its text
	Templates map[string]string // milestone → template id

	Texts        bool   // send a text of our own for a milestone without a template (ordinary submission)
	TemplatePath string // tmpsubmit
	TextPath     string // norsubmit; submit on the https interfaces
	ReportPath   string // report
	DeliverPath  string // deliver
	Pulls        bool   // fetch the reports, where the account cannot have them pushed
	PullsReplies bool   // fetch what residents answered, where the account cannot have it pushed
	AddSerial    string // own digits after the service code; mostly none
	SecretInBody bool   // some provinces want secretKey in the body; over plain http that discloses it

	CAFile      string        // a further root certificate; certificate checks are never off
	Timeout     time.Duration // of one request; 30 s, because nothing can be asked afterwards (E.4)
	DialTimeout time.Duration
	Concurrency int
}

// LogValue keeps the credentials out of a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String names the account without its credentials.
func (c Config) String() string { return "云MAS at " + c.URL }

// GoString is String, so that %#v shows no more.
func (c Config) GoString() string { return c.String() }

func (c Config) withDefaults() Config {
	c.TemplatePath = cmp.Or(c.TemplatePath, "tmpsubmit")
	c.TextPath = cmp.Or(c.TextPath, "norsubmit")
	c.ReportPath = cmp.Or(c.ReportPath, "report")
	c.DeliverPath = cmp.Or(c.DeliverPath, "deliver")
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	if c.URL != "" && !strings.HasSuffix(c.URL, "/") {
		c.URL += "/"
	}
	return c
}

var (
	path   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	serial = regexp.MustCompile(`^[0-9]{0,19}$`)
)

// check names every setting that is wrong, never its value.
func (c Config) check() error {
	var errs []error
	wrong := func(setting, why string) { errs = append(errs, fmt.Errorf("EMSD_SMS_MAS_%s: %s", setting, why)) }
	if why := post.WrongURL(c.URL, true); why != "" {
		wrong("URL", why)
	}
	for setting, value := range map[string]string{"EC_NAME": c.ECName, "AP_ID": c.APID, "SECRET_KEY": c.SecretKey, "SIGN": c.Sign} {
		if value == "" {
			wrong(setting, "is missing")
		}
	}
	for setting, value := range map[string]string{"TEMPLATE_PATH": c.TemplatePath, "TEXT_PATH": c.TextPath, "REPORT_PATH": c.ReportPath, "DELIVER_PATH": c.DeliverPath} {
		if !path.MatchString(value) {
			wrong(setting, "the last part of an address is wanted, such as tmpsubmit")
		}
	}
	if !serial.MatchString(c.AddSerial) {
		wrong("ADD_SERIAL", "digits are wanted; with the service code 20 at most")
	}
	if len(c.Templates) == 0 && !c.Texts {
		wrong("TEMPLATES", "is missing: a JSON object, milestone to template id; or let TEXTS be true")
	}
	for milestone, id := range c.Templates {
		if !notify.Milestone(milestone).HasText() {
			wrong("TEMPLATES", fmt.Sprintf("%q is no milestone", milestone))
		}
		if id == "" {
			wrong("TEMPLATES", fmt.Sprintf("the id of %s is empty", milestone))
		}
	}
	return errors.Join(errs...)
}
