package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// A Gateway sends one SMS to one number with one request. Every failure is a *SendError; anything else counts as
// Unknown. It never sends again by itself.
type Gateway interface {
	Name() string
	Send(ctx context.Context, s SMS) (Sent, error)
}

// A Finder is a gateway that can be asked what became of an attempt (dossier E.1).
type Finder interface {
	Find(ctx context.Context, q Query) (Found, error)
	Questions() Questions
}

// A Bounded gateway ends every request by itself within a time, so that its caller needs no clock of its own for it.
type Bounded interface {
	Timeout() time.Duration
}

// A Templated gateway sends by templates that its vendor has approved.
type Templated interface {
	HasTemplate(m Milestone) bool // by the name of a text
}

// A Ruled gateway has rules for what it takes, and a code for each template.
type Ruled interface {
	Rules() Rules
	TemplateCode(m Milestone) string // empty: none is configured
}

// Questions say when a gateway is asked about an attempt, and what its silence is worth (dossier E.3).
type Questions struct {
	After []time.Duration // at least one, counted from the attempt's start
	Proof bool            // Absent after the last question: the gateway never took it
}

// knowsAttempts reports whether a gateway can always be asked about an attempt by our id, so that its silence is proof. Of any other
// a word may come that names the number only.
func knowsAttempts(g Gateway) bool {
	f, ok := g.(Finder)
	return ok && f.Questions().Proof
}

// A Puller is a gateway whose receipts can be fetched.
type Puller interface {
	Pull(ctx context.Context) ([]Receipt, error)
}

// A ReplyPuller is a gateway from which replies can be fetched. What was handed out once may not be had again, so each part is to
// be stored before more is asked for.
type ReplyPuller interface {
	PullReplies(ctx context.Context) (replies []Reply, more bool, err error)
}

// A ReceiptReader is a gateway that knows what its receipts mean.
type ReceiptReader interface {
	ReadReceipt(success bool, code string) (Outcome, Class)
}

// An SMS is one message on its way to one gateway, which puts Vars into its own approved template.
type SMS struct {
	AttemptID uuid.UUID // travels along and comes back in receipts and queries
	Phone     vault.Secret
	Milestone Milestone         // the name of the text
	Vars      map[string]string // what Fields gives
	Segments  int               // of our own text, as the carriers count
}

// Sent is a gateway's word that it took the message.
type Sent struct{ ProviderID string }

// A Query asks about one attempt. Day is the Beijing day of its start, yyyyMMdd; near midnight a gateway may have
// booked it under the neighbour.
type Query struct {
	Phone     vault.Secret
	AttemptID uuid.UUID
	Day       string

	// For gateways that may not know our id: when the attempt started by business time, the gateway's ids of all messages
	// of ours to the number since, and whether no other attempt to the number is open there.
	Since time.Time
	Known []string
	Alone bool
}

// An Outcome is what a gateway knows of an attempt, by query or receipt.
type Outcome int

const (
	Absent     Outcome = iota // the gateway holds no such attempt
	Pending                   // taken, no receipt yet
	Arrived                   // on the phone
	NotArrived                // taken and failed, see Code and Class
)

// Found is the answer to a Query.
type Found struct {
	Outcome    Outcome
	ProviderID string
	Code       string
	Class      Class
}

// A Class says what a failure means for the message, the recipient and the gateway (dossier A.7).
type Class int

const (
	Unknown       Class = iota // it may have been taken: ask, never repeat. The zero value, so that a forgotten class is safe
	Unsent                     // nothing left this machine
	Transient                  // the gateway said no for now
	Throttle                   // the gateway said no until RetryAfter is over
	Permanent                  // this message can never be sent as it is
	Recipient                  // this number cannot be reached
	Configuration              // account, signature, template or network place: stop the gateway and call a person
	Unregistered               // the number's carrier does not know our signature there: the next gateway, and call a person
)

// Classes lists every class, for counters that start at zero.
var Classes = []Class{Unknown, Unsent, Transient, Throttle, Permanent, Recipient, Configuration, Unregistered}

// String gives the word used in message_attempts.class, logs and metrics.
func (c Class) String() string {
	switch c {
	case Unsent:
		return "unsent"
	case Transient:
		return "transient"
	case Throttle:
		return "throttle"
	case Permanent:
		return "permanent"
	case Recipient:
		return "recipient"
	case Configuration:
		return "configuration"
	case Unregistered:
		return "unregistered"
	}
	return "unknown"
}

// A SendError is a message that a gateway did not clearly take. It never holds a number, a name or a text.
type SendError struct {
	Class      Class
	Code       string        // as answered, or a word of ours
	Message    string        // what went wrong; gateways scrub what they quote
	RetryAfter time.Duration // of Throttle and Transient, zero when the gateway does not say
	Clerk      string        // what went wrong for a clerk, where the class does not say enough; never a value
	// ThisTemplate narrows Configuration to one milestone: its template is refused, the account works.
	ThisTemplate bool
	// Unlisted: the code stands in no table. Whatever the class, the gateway is stopped and a person called, rather than given
	// one message after the other.
	Unlisted bool
	// Unexplained: the code stands in no table, but its family does, and says what to do. A person is called, nothing is stopped.
	Unexplained bool
}

func (e *SendError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "send SMS: %s", e.Class)
	if e.Code != "" {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	return b.String()
}
