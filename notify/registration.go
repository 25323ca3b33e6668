package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Registrar is a gateway that can be asked what its vendor and the carriers have made of our signature and templates.
type Registrar interface {
	// Approval tells what became of a text's template, which must be configured.
	Approval(ctx context.Context, m Milestone) (Approval, error)
	// Standing tells what became of the signature; ErrNotAsked when the account's settings do not let it be asked.
	Standing(ctx context.Context) (Standing, error)
	// Registered gives a text as it is to be registered there.
	Registered(m Milestone) string
}

// ErrNotAsked is the answer of a gateway that cannot be asked.
var ErrNotAsked = errors.New("the gateway cannot be asked")

// Approved is the state of a signature or template that may be used; the others are in_review, refused, cancelled and
// what a vendor may come up with.
const Approved = "approved"

// An Approval is what a vendor has made of a template.
type Approval struct {
	State  string
	Reason string // of a refusal, in the vendor's words
	Words  string // as approved; empty when the vendor does not tell
}

// A Standing is what a vendor and the carriers have made of a signature.
type Standing struct {
	State    string
	Reason   string
	Carriers []Carrier // where the vendor tells
}

// A Carrier is one carrier's registration of a signature. Without it the carrier blocks what we send (dossier F).
type Carrier struct {
	Name    string   // mobile, unicom or telecom
	State   string   // registered, to_verify, in_progress, failed, lapsed, not_registered
	Reasons []string // codes
}

// Works reports whether messages arrive. One to be verified works: it is verified by what is sent.
func (c Carrier) Works() bool { return c.State == "registered" || c.State == "to_verify" }

// A Finding is one thing about a gateway's registrations, for an operator.
type Finding struct {
	Gateway string
	Subject string // signature, signature mobile, template delivered.en, …
	Kind    string // what a metric counts it under: signature, carrier or template
	Name    string // of the carrier or text
	Fine    bool
	Says    string
	State   string // approved, in_review, … as of Approval, Standing and Carrier; NotAsked, OtherWords
	Reason  string // of a refusal, in the vendor's words
}

// States of a Finding beside those that vendors give.
const (
	NotAsked   = "not_asked"   // the question failed
	OtherWords = "other_words" // approved, but not what we would send
)

// Inspect asks a gateway about its signature and about the template of every text that has one. An English text without a
// template is no finding: the Chinese one stands in.
func Inspect(ctx context.Context, g Gateway, passwords bool) []Finding {
	var all []Finding
	find := func(kind, name, subject string, fine bool, says, state, reason string) {
		all = append(all, Finding{g.Name(), subject, kind, name, fine, says, state, reason})
	}
	registrar, ok := g.(Registrar)
	if !ok {
		return nil
	}
	standing, err := registrar.Standing(ctx)
	switch {
	case errors.Is(err, ErrNotAsked):
	case err != nil:
		find("signature", "", "signature", false, "cannot be asked: "+Explain(err), NotAsked, "")
		if classOf(err) == Unsent { // nor can anything else
			return all
		}
	default:
		find("signature", "", "signature", standing.State == Approved, stateWords(standing.State, standing.Reason), standing.State, standing.Reason)
		for _, c := range standing.Carriers {
			why := strings.Join(c.Reasons, " ")
			find("carrier", c.Name, "signature "+c.Name, c.Works(), stateWords(c.State, why), c.State, why)
		}
	}
	for _, m := range slices.Concat(TextNames(Languages[0], passwords), TextNames(Languages[1], passwords)) {
		if t, ok := g.(Ruled); !ok || t.TemplateCode(m) == "" {
			continue
		}
		fine, says, state, reason := inspectText(ctx, registrar, m)
		find("template", string(m), "template "+string(m), fine, says, state, reason)
	}
	return all
}

func inspectText(ctx context.Context, r Registrar, m Milestone) (fine bool, says, state, reason string) {
	a, err := r.Approval(ctx, m)
	switch {
	case err != nil:
		return false, "cannot be asked: " + Explain(err), NotAsked, ""
	case a.State != Approved:
		return false, stateWords(a.State, a.Reason), a.State, a.Reason
	case a.Words == "":
		return true, "approved; the vendor does not tell the words", a.State, ""
	}
	if ours := r.Registered(m); a.Words != ours {
		return false, differ(ours, a.Words), OtherWords, ""
	}
	return true, fmt.Sprintf("approved word for word, version %d", TextVersion(m)), a.State, ""
}

// Explain tells what a gateway's refusal of a question means; nothing was to be sent.
func Explain(err error) string {
	e, ok := errors.AsType[*SendError](err)
	if !ok {
		return err.Error()
	}
	return strings.TrimPrefix(e.Error(), "send SMS: ")
}

func stateWords(state, reason string) string {
	if reason == "" {
		return state
	}
	return state + ": " + reason
}

// differ tells where two texts part.
func differ(ours, theirs string) string {
	a, b := []rune(ours), []rune(theirs)
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	from := max(0, n-6)
	piece := func(r []rune) string { return string(r[min(from, len(r)):min(n+12, len(r))]) }
	return fmt.Sprintf("other words are approved, from character %d on: ours is …%s…, theirs …%s…", n+1, piece(a), piece(b))
}
