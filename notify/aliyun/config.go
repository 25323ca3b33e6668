package aliyun

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

// DefaultURL serves all regions of the mainland (A.1).
const DefaultURL = "https://dysmsapi.aliyuncs.com/"

// Config is one account. Zero values of all but the credentials, the signature and the templates have a meaning of
// their own.
type Config struct {
	URL             string // DefaultURL
	AccessKeyID     string
	AccessKeySecret string
	SignName        string            // approved, without brackets
	Templates       map[string]string // milestone → approved template code

	// InQuery sends parameters as the official client does, in the query. By default they travel in a form body, which
	// keeps numbers and names out of the access logs of every proxy on the way (I-9). That SendSms reads the form is
	// known from the vendor's signer, not from its documentation: try it with the console's test template first.
	InQuery bool

	CAFile      string        // a further root certificate; certificate checks are never off
	Timeout     time.Duration // of one request; see post.Config for this and what follows
	DialTimeout time.Duration
	Concurrency int

	Now   func() time.Time // business clock, for the days of queries; time.Now
	Wall  func() time.Time // for signatures, which allow 15 minutes; time.Now
	Nonce func() string    // a random UUID
}

// LogValue keeps the credentials out of a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String names the account without its credentials.
func (c Config) String() string { return "Aliyun SMS at " + c.URL }

// GoString is String, so that %#v shows no more.
func (c Config) GoString() string { return c.String() }

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, DefaultURL)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Nonce == nil {
		c.Nonce = newNonce
	}
	return c
}

var templateCode = regexp.MustCompile(`^SMS_[0-9]{1,20}$`)

// check names every setting that is wrong, never its value, and gives the host that is signed.
func (c Config) check() (host string, err error) {
	var errs []error
	wrong := func(setting, why string) { errs = append(errs, fmt.Errorf("EMSD_SMS_ALIYUN_%s: %s", setting, why)) }
	if why := post.WrongURL(c.URL, false); why != "" {
		wrong("URL", why)
	}
	if c.AccessKeyID == "" {
		wrong("ACCESS_KEY_ID", "is missing")
	}
	if c.AccessKeySecret == "" {
		wrong("ACCESS_KEY_SECRET", "is missing")
	}
	if n := utf8.RuneCountInString(c.SignName); n < 2 || n > 30 || regexp.MustCompile(`[\[\]【】]`).MatchString(c.SignName) {
		wrong("SIGN_NAME", "the approved signature is wanted, without its brackets")
	}
	if len(c.Templates) == 0 {
		wrong("TEMPLATES", "is missing: a JSON object, milestone to template code")
	}
	for milestone, code := range c.Templates {
		if !notify.Milestone(milestone).HasText() {
			wrong("TEMPLATES", fmt.Sprintf("%q is no milestone", milestone))
		}
		if !templateCode.MatchString(code) {
			wrong("TEMPLATES", fmt.Sprintf("the code of %s is not SMS_ and digits", milestone))
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil || errs != nil {
		return "", errors.Join(errs...)
	}
	return u.Host, nil
}
