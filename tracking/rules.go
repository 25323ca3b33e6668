package tracking

import "emsd/courier"

// A Rule names what the fold does with a scan. Explain tells the rule for each; ARCHITECTURE.md explains them together.
type Rule string

const (
	RuleMoves        Rule = "moves"
	RuleConfirms     Rule = "confirms"
	RuleLeaves       Rule = "leaves"
	RuleReaddressed  Rule = "readdressed"
	RuleException    Rule = "exception"
	RuleUnknown      Rule = "unknown"
	RuleOlder        Rule = "older_than_order"
	RuleBelowRank    Rule = "below_rank"
	RuleVoided       Rule = "voided"
	RuleVoids        Rule = "voids"
	RuleVoidsAhead   Rule = "voids_ahead"
	RuleVoidsNothing Rule = "voids_nothing"

	RuleLateAcceptance Rule = "late_acceptance"
	RuleWithdrawnEarly Rule = "withdrawn_before_acceptance"
	RuleClaim          Rule = "claim_is_no_delivery"
	RuleReturnWay      Rule = "return_way"
	RuleAfterDelivery  Rule = "after_delivery"
	RuleAfterReturn    Rule = "after_return"
	RuleAfterLoss      Rule = "after_loss"

	RuleReturnAfterDelivery Rule = "return_after_delivery"
	RuleLostAfterDelivery   Rule = "lost_after_delivery"
	RuleFound               Rule = "found"
)

// Rules lists every rule with what it says.
var Rules = []struct {
	Rule     Rule
	Sentence string
}{
	{RuleMoves, "the scan gives the delivery its status"},
	{RuleConfirms, "it says what stands already; it may set another last day of collection, or name who received it where that asks for more care"},
	{RuleLeaves, "it says nothing about the status"},
	{RuleReaddressed, "802, 803, 756: EMS was told another address; the status stays, a clerk confirms with the holder"},
	{RuleException, "651, 751, 993 and their like: the status stays; a clerk asks EMS unless later scans settle it"},
	{RuleUnknown, "neither tables nor decisions know the code: kept, a case, the status stays"},
	{RuleOlder, "more than a day before the order: of an earlier envelope with the same number; kept, flagged, not counted"},
	{RuleBelowRank, "less than a minute after a scan that ranks higher: clocks without seconds; the status does not go back"},
	{RuleVoided, "a voiding scan took it back: as if it had never been"},
	{RuleVoids, "takes back the most recent earlier scan of what it names, that of its own organisation first; one scan, once"},
	{RuleVoidsAhead, "the same where clocks disagree: its target lies up to five minutes after it and no earlier one stands"},
	{RuleVoidsNothing, "a voiding scan without anything to take back; it waits, for its target may come later"},
	{RuleLateAcceptance, "an acceptance or charge (203, 208) after the first leg does not move the status back"},
	{RuleWithdrawnEarly, "801 or 013 before EMS had the envelope: nothing can come back; a clerk asks EMS"},
	{RuleClaim, "a 704 with 180 (理赔签收) is a signed claim: no delivery, a case"},
	{RuleReturnWay, "once a return is registered the way back is scanned like the way there: only 711 and a loss end it"},
	{RuleAfterDelivery, "no scan but a return, a loss or a void leaves delivered; one that contradicts it is a case"},
	{RuleAfterReturn, "no scan but a void leaves returned"},
	{RuleAfterLoss, "withdrawing what is lost changes nothing"},
	{RuleReturnAfterDelivery, "741, 708, 711 and their like after a delivery: it comes back"},
	{RuleLostAfterDelivery, "987, 988 after a delivery: lost"},
	{RuleFound, "any movement after a loss: found"},
}

// reopens reports whether the rule leaves a final status, and so is named in the event (I-6).
func (r Rule) reopens() bool {
	return r == RuleReturnAfterDelivery || r == RuleLostAfterDelivery || r == RuleFound
}

// An effect is what one scan says by itself.
type effect struct {
	status      courier.Status // empty: leaves the status as it is
	receiver    string
	receipt     string // of a delivery,
	hours       int    // and the clock of its case
	place       string // where it is held
	attempt     string // why a try delivered nothing
	soft        bool   // a return that is only announced: a further attempt ends it
	readdressed bool
	concern     courier.CaseKind // what a clerk must look at once the scan has its effect
	standing    courier.CaseKind // the same, where it outlives the status
	until       until            // of a concern that leaves the status
	unknown     string           // code that nobody knows
}

func (b *Rulebook) effectOf(x *entry) effect {
	switch x.group {
	case "":
		return effect{unknown: x.Code}
	case Accepted:
		return effect{status: courier.Accepted}
	case InTransit, Customs:
		return effect{status: courier.InTransit}
	case OutForDelivery:
		return effect{status: courier.OutForDelivery}
	case AttemptFailed:
		return b.attemptEffect(x.Scan)
	case Delivered:
		return b.deliverEffect(x.Scan)
	case Held:
		return heldEffect(x.Scan, "")
	case Withdrawn, Returning:
		return effect{status: courier.Returning}
	case Returned:
		return effect{status: courier.Returned, concern: courier.CaseReturned}
	case Lost:
		return effect{status: courier.Lost, concern: courier.CaseLost}
	case Changed:
		return effect{concern: courier.CaseAddress, until: untilEnd}
	case Exception:
		return exceptionEffect(x.Scan)
	}
	return effect{}
}

// exceptionEffect gives a clerk what EMS itself finds odd. An interception that was ordered is settled only by what
// comes of it; anything else by the next movement.
func exceptionEffect(s *courier.Scan) effect {
	if s.Code == "993" {
		return effect{concern: courier.CaseStalled, until: untilTurned}
	}
	return effect{concern: courier.CaseStalled, until: untilMoved}
}

func heldEffect(s *courier.Scan, class string) effect {
	return effect{status: courier.Held, receiver: class, place: placeOf(s, class), concern: courier.CaseHeld}
}

// attemptEffect reads a 705. Without an attemptDeliveryCode, or with one that nobody knows, it is a failed attempt.
func (b *Rulebook) attemptEffect(s *courier.Scan) effect {
	if s.Code != "705" || s.AttemptCode == "" {
		return effect{status: courier.AttemptFailed}
	}
	status, kind, meaning := courier.AttemptFailed, courier.CaseKind(""), ""
	if d := b.decided("705/", s.AttemptCode, s.At); d != nil {
		status, kind = d.status, d.kind
	} else if a, ok := attempts[s.AttemptCode]; ok {
		status, kind, meaning = a.Status, a.Case, a.Meaning
	} else {
		return effect{status: status, unknown: "705/" + s.AttemptCode}
	}
	switch status {
	case courier.Held:
		e := heldEffect(s, "")
		e.standing = kind
		return e
	case courier.Lost:
		return effect{status: status, concern: courier.CaseLost}
	case courier.Returning:
		return effect{status: status, soft: true, standing: kind}
	case courier.InTransit: // 11, 12: sent on to another address
		return effect{status: status, readdressed: true, standing: kind}
	}
	return effect{status: status, attempt: meaning, standing: kind}
}

// deliverEffect reads a delivery by who received it (I-7): the holder's own hands are a success; a locker or a pickup
// point only holds the envelope until 748 (dossier 4.3: China Post itself counts it as delivered, a served document is
// not); what anybody else means is a matter of policy; 180 is a claim.
func (b *Rulebook) deliverEffect(s *courier.Scan) effect {
	switch s.Code {
	case "748":
		return effect{status: courier.Delivered, receiver: ReceiverCollected}
	case "704":
	default:
		return effect{status: courier.Delivered, receiver: ReceiverUnstated}
	}
	class, known := b.classOf(s)
	e := effect{status: courier.Delivered, receiver: class}
	switch class {
	case ReceiverLocker, ReceiverPickupPoint:
		e = heldEffect(s, class)
	case ReceiverClaim:
		e = effect{receiver: class, concern: courier.CaseLost, until: untilFinal}
	}
	if !known {
		e.unknown = "704/" + s.DeliverCode
	}
	return e
}
