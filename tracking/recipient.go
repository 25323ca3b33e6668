package tracking

import (
	"slices"

	"emsd/courier"
)

// Classes of who or what received an envelope. They travel in events and stand in recipient_policies.
const (
	ReceiverSelf        = "self"      // the holder's own hands
	ReceiverCollected   = "collected" // 748: taken from locker or pickup point with the code that the holder was sent
	ReceiverFamily      = "family"
	ReceiverColleague   = "colleague"
	ReceiverAgent       = "agent" // another person, unnamed
	ReceiverReception   = "reception"
	ReceiverOffice      = "office"
	ReceiverProperty    = "property" // property management, guards
	ReceiverVillage     = "village_committee"
	ReceiverDoor        = "door"
	ReceiverMeterBox    = "meter_box" // water and power meters, fire cabinets, shoe racks: anybody may reach into them
	ReceiverLetterbox   = "letterbox" // letter, newspaper and milk boxes
	ReceiverOther       = "other"
	ReceiverUnstated    = "unstated" // 704 without a word about it, which the wire allows
	ReceiverUnknown     = "unknown"  // 704 with a deliverCode that nobody knows
	ReceiverLocker      = "locker"   // only waits there, until 748
	ReceiverPickupPoint = "pickup_point"
	ReceiverClaim       = "claim" // 180: a signed claim, no delivery at all
)

// classes gives each class with what residents read when a 704 says it in words or by decision.
var classes = map[string]string{
	ReceiverSelf:        "邮件已由本人签收。",
	ReceiverCollected:   "邮件已从快递柜或自提点取走。",
	ReceiverFamily:      "邮件已由家人代收。",
	ReceiverColleague:   "邮件已由同事代收。",
	ReceiverAgent:       "邮件已由他人代收。",
	ReceiverReception:   "邮件已放在收发室。",
	ReceiverOffice:      "邮件已放在办公室。",
	ReceiverProperty:    "邮件已由物业代收。",
	ReceiverVillage:     "邮件已由村（居）委会代收。",
	ReceiverDoor:        "邮件已放在家门口。",
	ReceiverMeterBox:    "邮件已放在表箱等处。",
	ReceiverLetterbox:   "邮件已放入信报箱。",
	ReceiverOther:       "邮件已按其他方式妥投。",
	ReceiverUnstated:    "邮件已妥投。",
	ReceiverUnknown:     "邮件已妥投。",
	ReceiverLocker:      "邮件已放入快递柜，请尽快领取。",
	ReceiverPickupPoint: "邮件已放在自提点，请尽快领取。",
	ReceiverClaim:       "邮件已办理理赔。",
}

func isClass(class string) bool { return classes[class] != "" }

// decidable lists the classes that a decision may give a deliverCode.
var decidable = []string{ReceiverSelf, ReceiverFamily, ReceiverColleague, ReceiverAgent, ReceiverReception, ReceiverOffice, ReceiverProperty,
	ReceiverVillage, ReceiverDoor, ReceiverMeterBox, ReceiverLetterbox, ReceiverOther, ReceiverLocker, ReceiverPickupPoint, ReceiverClaim}

// What a recipient class means for a delivered envelope: recipient_policies.action, and the receipt in events.
const (
	receiptFine  = "fine" // in the right hands
	receiptAsk   = "ask"  // the message asks to call if it did not arrive
	receiptCase  = "case" // a clerk looks first
	caseUnlessID = "case_unless_id"
)

// elsewhereHours is the clock of a class without a policy in force.
const elsewhereHours = 4

// classOf reads who or what a 704 names: its deliverCode, else its wording. Codes for "somebody" and "in some other way"
// are made more exact by the wording, though never into the holder's own hands.
func (b *Rulebook) classOf(s *courier.Scan) (class string, known bool) {
	if s.DeliverCode == "" {
		if s.SaidClass != "" && isClass(s.SaidClass) {
			return s.SaidClass, true
		}
		return ReceiverUnstated, true
	}
	if d := b.decided("704/", s.DeliverCode, s.At); d != nil {
		return d.class, true
	}
	r, ok := receivers[s.DeliverCode]
	if !ok {
		return ReceiverUnknown, false
	}
	if s.SaidClass != "" && moreExact(r, s.SaidClass) {
		return s.SaidClass, true
	}
	return r.Class, true
}

func moreExact(r Receiver, said string) bool {
	switch r.Code {
	case "20":
		return said == ReceiverFamily || said == ReceiverColleague
	case "100", "ZDY":
		return said != ReceiverSelf && slices.Contains(decidable, said)
	}
	return false
}

// receipt is what a class means for an envelope delivered at the time of s, and within how many working hours a clerk
// looks when it is a case.
func (b *Rulebook) receipt(class string, s *courier.Scan, idChecked bool) (receipt string, hours int) {
	p := b.policy(class, s)
	switch {
	case p == nil:
		return receiptCase, elsewhereHours
	case p.action != caseUnlessID:
		return p.action, p.dueHours
	case idChecked:
		return receiptFine, p.dueHours
	}
	return receiptCase, p.dueHours
}

// policy is the policy of a class that was in force when the scan was made, so that a new one changes nothing that was.
func (b *Rulebook) policy(class string, s *courier.Scan) *recipientPolicy {
	rows := b.policies[class]
	for i := range rows {
		if p := &rows[i]; !s.At.Before(p.from) && (p.to.IsZero() || s.At.Before(p.to)) {
			return p
		}
	}
	return nil
}

// How much care a telling of a scan asks for: of several, the one that asks for most counts (see moreCareful).
const (
	saysNothing = iota
	careFine
	careAsk
	careUnlessID
	careWaits
	careCase
	careClaim
)

func (b *Rulebook) classCare(class string, s *courier.Scan) int {
	switch class {
	case ReceiverUnstated:
		return saysNothing
	case ReceiverClaim:
		return careClaim
	case ReceiverLocker, ReceiverPickupPoint:
		return careWaits
	}
	p := b.policy(class, s)
	if p == nil {
		return careCase
	}
	switch p.action {
	case receiptFine:
		return careFine
	case receiptAsk:
		return careAsk
	case caseUnlessID:
		return careUnlessID
	}
	return careCase
}

// attemptCare orders what the tellings of a 705 say; the codes themselves break ties.
func attemptCare(e effect) int {
	switch {
	case e.status == courier.Lost:
		return 6
	case e.standing == courier.CaseAddress:
		return 5
	case e.status == courier.Returning:
		return 4
	case e.status == courier.Held:
		return 3
	case e.unknown != "":
		return 2
	}
	return 1
}

// moreCareful says, as cmp.Compare does, which of two tellings of one scan comes first and so counts: the one that asks
// for more care. It looks at what is told only, so that the order in which tellings came changes nothing (I-6).
func (b *Rulebook) moreCareful(s, t *courier.Scan, g Group) int {
	switch g {
	case Delivered:
		sc, _ := b.classOf(s)
		tc, _ := b.classOf(t)
		return b.classCare(tc, t) - b.classCare(sc, s)
	case AttemptFailed:
		if (s.AttemptCode == "") != (t.AttemptCode == "") {
			return map[bool]int{true: 1, false: -1}[s.AttemptCode == ""]
		}
		return attemptCare(b.attemptEffect(t)) - attemptCare(b.attemptEffect(s))
	}
	return 0
}
