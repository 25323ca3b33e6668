package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultSchedule is how long is waited after each failed try. Quick ones bridge a restart, the long ones a weekend: about
// three days in all.
var DefaultSchedule = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
	4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 12 * time.Hour, 16 * time.Hour, 16 * time.Hour,
}

const (
	// jitter spreads retries of many messages: each wait is longer or shorter by up to this part.
	jitter = 0.1
	// maxRetryAfter is the longest that a subscriber may ask us to wait.
	maxRetryAfter = 12 * time.Hour

	// DisableAfter is how long an endpoint may fail, with at least disableFailures failures and no success between, before it
	// is disabled. It is shorter than the schedule, so that a dead endpoint is paused before a message of its has no try left.
	DisableAfter    = 60 * time.Hour
	disableFailures = 10

	// breakFailures in a row make an endpoint be probed with one request at a time, breakFor apart, instead of being asked
	// for every message: what is dead costs next to nothing, and what was queued goes out when it answers.
	breakFailures = 10
	breakFor      = 30 * time.Second
)

// Waits says how long a message waits after failed tries. The zero value has no schedule; use DefaultSchedule.
type Waits []time.Duration

// next tells how long to wait after the tries-th failed try (from 1) and whether there is another one. r is a random number
// from 0 up to 1; retryAfter is what the subscriber asked for, 0 for nothing.
func (w Waits) next(tries int, retryAfter time.Duration, r float64) (wait time.Duration, again bool) {
	if tries > len(w) {
		return 0, false
	}
	wait = time.Duration(float64(w[max(tries, 1)-1]) * (1 - jitter + 2*jitter*r))
	return max(wait, min(retryAfter, maxRetryAfter)), true
}

// retryAfter reads the header of that name, seconds or a date; 0 when it says nothing that can be read, or asks for no wait.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if isDigits(header) {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

func isDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// Outcomes of a try, as they stand in webhook_attempts.
const (
	outcomeDelivered   = "delivered"   // any 2xx
	outcomeRefused     = "refused"     // another status
	outcomeGone        = "gone"        // 410: the subscriber wants nothing more
	outcomeRedirect    = "redirect"    // 3xx: redirects are not followed
	outcomeTimeout     = "timeout"     // no answer in time
	outcomeUnreachable = "unreachable" // no connection, or it broke
	outcomeForbidden   = "forbidden"   // the address is none that the operator allows
	outcomeUnreadable  = "unreadable"  // our own secret does not open
)

// Outcomes lists them.
var Outcomes = []string{outcomeDelivered, outcomeRefused, outcomeGone, outcomeRedirect, outcomeTimeout, outcomeUnreachable, outcomeForbidden, outcomeUnreadable}

// Reasons why an endpoint is disabled.
const (
	whyOperator = "operator" // somebody disabled it
	whyGone     = "gone"     // it answered 410
	whyFailing  = "failing"  // nothing was taken for DisableAfter
)

// A Health is how an endpoint has been doing since its last success.
type Health struct {
	Failures     int
	FailingSince time.Time // zero without failures
	HoldUntil    time.Time // nothing is sent before; zero: now
}

// after tells how an endpoint does after one more try, and why it is to be disabled, if it is.
func (h Health) after(r result, disableAfter, hold time.Duration, wall time.Time) (next Health, why string) {
	switch {
	case r.outcome == outcomeDelivered:
		return Health{}, ""
	case h.Failures == 0:
		h.FailingSince = wall
	}
	h.Failures++
	if r.retryAfter > 0 {
		h.HoldUntil = later(h.HoldUntil, wall.Add(min(r.retryAfter, maxRetryAfter)))
	}
	if h.broken() {
		h.HoldUntil = later(h.HoldUntil, wall.Add(hold))
	}
	if r.outcome == outcomeGone {
		return h, whyGone
	}
	if h.Failures >= disableFailures && wall.Sub(h.FailingSince) >= disableAfter {
		return h, whyFailing
	}
	return h, ""
}

// broken reports whether the endpoint is only probed.
func (h Health) broken() bool { return h.Failures >= breakFailures }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
