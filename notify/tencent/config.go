package tencent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"
	"unicode/utf8"

	"emsd/notify"
	"emsd/notify/post"
)

// DefaultURL serves the mainland (B.1).
const DefaultURL = "https://sms.tencentcloudapi.com/"

// DefaultVariableLimit is what accounts opened since 2024 may put into a variable (B.3).
const DefaultVariableLimit = 6

// Config is one account. Zero values of all but the credentials, the application, the signature and the templates have a
// meaning of their own.
type Config struct {
	URL       string // DefaultURL
	SecretID  string
	SecretKey string
	AppID     string            // SmsSdkAppId
	SignName  string            // approved, without brackets
	Templates map[string]string // milestone → approved template id
	SignID    uint64            // the signature's id in the console, to ask about it; 0: it is not asked about
	Region    string            // ap-guangzhou

	PullReplies bool // fetch replies, where the account cannot have them pushed; support has to switch that on

	// VariableLimit is the most characters that the account may put into a variable; DefaultVariableLimit. A waybill
	// number needs 13: support raises it on request, and until then most texts cannot be sent here.
	VariableLimit int

	CAFile      string        // a further root certificate; certificate checks are never off
	Timeout     time.Duration // of one request; see post.Config for this and what follows
	DialTimeout time.Duration
	Concurrency int

	Now  func() time.Time // business clock, for windows of queries and waits; time.Now
	Wall func() time.Time // for signatures, which allow five minutes; time.Now
}

// LogValue keeps the credentials out of a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String names the account without its credentials.
func (c Config) String() string { return "Tencent SMS at " + c.URL }

// GoString is String, so that %#v shows no more.
func (c Config) GoString() string { return c.String() }

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, DefaultURL)
	c.Region = cmp.Or(c.Region, "ap-guangzhou")
	c.VariableLimit = cmp.Or(c.VariableLimit, DefaultVariableLimit)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	return c
}

var (
	number   = regexp.MustCompile(`^[0-9]{1,20}$`)
	brackets = regexp.MustCompile(`[\[\]【】]`)
)

// check names every setting that is wrong, never its value, and gives the host that is signed.
func (c Config) check() (host string, err error) {
	var errs []error
	wrong := func(setting, why string) { errs = append(errs, fmt.Errorf("EMSD_SMS_TENCENT_%s: %s", setting, why)) }
	if why := post.WrongURL(c.URL, false); why != "" {
		wrong("URL", why)
	}
	for setting, value := range map[string]string{"SECRET_ID": c.SecretID, "SECRET_KEY": c.SecretKey} {
		if value == "" {
			wrong(setting, "is missing")
		}
	}
	if !number.MatchString(c.AppID) {
		wrong("APP_ID", "digits are wanted, as the console shows them (SdkAppId)")
	}
	if n := utf8.RuneCountInString(c.SignName); n < 2 || n > 12 || brackets.MatchString(c.SignName) {
		wrong("SIGN_NAME", "the approved signature is wanted, 2 to 12 characters without its brackets")
	}
	if c.VariableLimit < 1 {
		wrong("VARIABLE_LIMIT", "a number of characters is wanted, as the console shows it")
	}
	if len(c.Templates) == 0 {
		wrong("TEMPLATES", "is missing: a JSON object, milestone to template id")
	}
	for milestone, id := range c.Templates {
		if !notify.Milestone(milestone).HasText() {
			wrong("TEMPLATES", fmt.Sprintf("%q is no milestone", milestone))
		}
		if !number.MatchString(id) {
			wrong("TEMPLATES", fmt.Sprintf("the id of %s is not digits", milestone))
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil || errs != nil {
		return "", errors.Join(errs...)
	}
	return u.Host, nil
}
