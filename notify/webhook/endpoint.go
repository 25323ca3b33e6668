package webhook

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"emsd/courier"

	"github.com/google/uuid"
)

// An Endpoint is a subscriber's address and how it is doing. Its secrets are not in it.
type Endpoint struct {
	ID            uuid.UUID
	Name          string
	URL           string
	Types         []string // event types, or groups such as delivery.*; none: all
	Ordered       bool
	After         int64 // position of the feed behind which it is told
	PublicKey     string
	OldPublicKey  string    // while OldUntil lasts
	OldUntil      time.Time // zero unless a rotation's overlap lasts
	Disabled      string    // operator, gone or failing; empty: enabled
	DisabledAt    time.Time
	Health        Health
	LastSuccessAt time.Time // to the minute
	Pending       int       // messages that wait; counted up to MaxPending
	Failed        int       // messages for which no try is left, until they are replayed
	OldestAt      time.Time // when the first of those that wait was queued (wall); zero when none does
	CreatedAt     time.Time
	CreatedBy     string
	UpdatedAt     time.Time

	purged int64 // position up to which sent messages may be gone
}

// MaxPending is up to where waiting messages are counted.
const MaxPending = 100_000

// maxEndpoints bounds how many connections subscribers can hold of us.
const maxEndpoints = 500

// Overlaps of a rotation.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// A Wish is what somebody wants of an endpoint; nil fields stay as they are.
type Wish struct {
	Name    *string
	URL     *string
	Types   *[]string
	Ordered *bool
	Ed25519 *bool // sign with v1a, too
	Enabled *bool // false pauses
}

var typeForm = regexp.MustCompile(`^[a-z_]+\.([a-z_]+|\*)$`)

// apply checks a wish and writes it into e; every fault is told at once.
func (w Wish) apply(e *Endpoint, allow *Allow) courier.Faults {
	var faults courier.Faults
	if w.Name != nil {
		e.Name = strings.TrimSpace(*w.Name)
	}
	switch n := utf8.RuneCountInString(e.Name); {
	case n == 0:
		faults = append(faults, courier.Fault{Field: "name", Code: "required", Detail: "请填写订阅方名称"})
	case n > 100 || !utf8.ValidString(e.Name) || strings.ContainsFunc(e.Name, unicode.IsControl):
		faults = append(faults, courier.Fault{Field: "name", Code: "format", Detail: "名称最长 100 个字符，不能有控制字符"})
	}
	if w.URL != nil {
		e.URL = *w.URL
		if err := allow.Check(e.URL); err != nil {
			faults = append(faults, courier.Fault{Field: "url", Code: "not_allowed", Detail: err.Error()})
		}
	} else if e.URL == "" {
		faults = append(faults, courier.Fault{Field: "url", Code: "required", Detail: errNoURL.Error()})
	}
	if w.Types != nil {
		e.Types = slices.Compact(slices.AppendSeq([]string{}, slices.Values(slices.Sorted(slices.Values(*w.Types)))))
		if len(e.Types) > 100 || slices.ContainsFunc(e.Types, func(t string) bool { return len(t) > 100 || !typeForm.MatchString(t) }) {
			faults = append(faults, courier.Fault{Field: "types", Code: "format",
				Detail: "应为事件类型，例如 delivery.delivered，或一组事件，例如 delivery.*；留空为全部"})
		}
	}
	if w.Ordered != nil {
		e.Ordered = *w.Ordered
	}
	return faults
}

// wants reports whether an endpoint asks for events of a type. The planner says the same in SQL; a test compares them.
func (e Endpoint) wants(typ string) bool {
	group, _, _ := strings.Cut(typ, ".")
	return len(e.Types) == 0 || slices.Contains(e.Types, typ) || slices.Contains(e.Types, group+".*")
}

// An Attempt is one try as it was recorded.
type Attempt struct {
	ID        int64
	MessageID string // webhook-id
	Type      string
	Position  int64 // 0: a test
	Try       int
	At        time.Time
	Took      time.Duration
	Outcome   string
	Status    int // 0: no answer
	Detail    string
}

// A Replay says what is sent again: one message, what lies in a range of positions, or all that has no try left. After is
// excluded, Until included.
type Replay struct {
	MessageID    string
	After, Until int64
	Failed       bool
}

func (r Replay) check() courier.Faults {
	ways := 0
	for _, given := range []bool{r.MessageID != "", r.After != 0 || r.Until != 0, r.Failed} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return courier.Faults{{Field: "", Code: "one_of", Detail: "请给出其中之一：message_id、after 与 until、failed"}}
	}
	if r.MessageID != "" {
		if _, ok := ParseMessageID(r.MessageID); !ok {
			return courier.Faults{{Field: "message_id", Code: "format", Detail: "应为 webhook-id，例如 msg_019f…"}}
		}
	}
	if r.After < 0 || r.Until < 0 || (r.After != 0 || r.Until != 0) && r.Until <= r.After {
		return courier.Faults{{Field: "until", Code: "range", Detail: "until 应大于 after，二者都是事件的 position"}}
	}
	return nil
}

// within refuses a range that begins among what was purged, up to a position: less would come than was asked for.
func (r Replay) within(purged int64) error {
	if r.Until == 0 || r.After >= purged {
		return nil
	}
	at := strconv.FormatInt(purged, 10)
	return &courier.Gone{Code: "replay_too_far_back", After: purged,
		Detail: "position 在 " + at + " 及以前的推送已过保留期，不能重发。请以 after=" + at + " 重发其后的推送，更早的变动从事件流（GET /v1/events）读取"}
}

// subject names an endpoint in a case.
func subject(id uuid.UUID) string { return "webhook:" + id.String() }

// OfSubject gives the endpoint that a case is about; false when it is about something else.
func OfSubject(subject string) (uuid.UUID, bool) {
	text, ok := strings.CutPrefix(subject, "webhook:")
	id, err := uuid.Parse(text)
	return id, ok && err == nil
}
