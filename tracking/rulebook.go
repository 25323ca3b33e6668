package tracking

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/courier"
)

// rules is what a round goes by: how scans are read, and when EMS is asked again. Both are snapshots of tables that an
// operator or a clerk may change; a round takes up changes within half a minute.
type rules struct {
	book *Rulebook
	plan *Plan
}

// A Rulebook says how scans are read: the built-in code tables, what was decided beyond them, what each class of
// recipient means, and how long envelopes wait for collection. It never changes once made.
type Rulebook struct {
	decisions map[string][]decided // by code, those that count first in front
	made      int                  // decisions, also those that cannot be read
	policies  map[string][]recipientPolicy
	terms     map[string]term

	// Faults are rows of the tables that could not be used and were left out.
	Faults []error
}

// An Envelope is what the fold has to know beside the scans.
type Envelope struct {
	OrderedAt time.Time
	IDChecked bool // the order told EMS to check an identity document
}

// A Decision says from when on a code means what. Code is a code of its own ("999"), a deliverCode behind its scan
// ("704/99") or an attemptDeliveryCode ("705/99"). Meaning is a Group or "void:" with the codes taken back; a recipient
// class; or attempt_failed, held, returning, lost or in_transit, with "+address" behind it when a clerk must look at the
// address. It counts for scans from ValidFrom on, until a newer decision about the same code does.
type Decision struct {
	Code      string
	Name      string // EMS's
	Meaning   string
	Sentence  string // what residents read; may be empty
	ValidFrom time.Time
}

// decided is a Decision that was read.
type decided struct {
	Decision
	group  Group // of a code of its own
	rank   int
	voids  []string
	class  string         // of a deliverCode
	status courier.Status // of an attemptDeliveryCode
	kind   courier.CaseKind
}

// A recipientPolicy is a row of recipient_policies.
type recipientPolicy struct {
	class, action string
	dueHours      int
	from, to      time.Time // to is zero while it is open
}

// A term is a row of collection_terms.
type term struct {
	place   string
	days    int
	working bool // working days
}

// defaultBook is what migrations/0002_tracking.sql brings; a test compares.
var defaultBook = newRulebook(nil, defaultPolicies(), []term{{placeLocker, 3, false}, {placePickupPoint, 3, true}, {placeCounter, 5, true}})

func defaultPolicies() []recipientPolicy {
	since := time.Date(2017, 7, 10, 0, 0, 0, 0, beijing)
	var rows []recipientPolicy
	for _, p := range []recipientPolicy{
		{class: ReceiverSelf, action: receiptFine, dueHours: 8}, {class: ReceiverCollected, action: receiptFine, dueHours: 8},
		{class: ReceiverUnstated, action: receiptAsk, dueHours: 8},
		{class: ReceiverFamily, action: caseUnlessID, dueHours: 8}, {class: ReceiverColleague, action: caseUnlessID, dueHours: 8},
		{class: ReceiverAgent, action: caseUnlessID, dueHours: 8},
		{class: ReceiverReception, action: receiptCase, dueHours: 8}, {class: ReceiverOffice, action: receiptCase, dueHours: 8},
		{class: ReceiverProperty, action: receiptCase, dueHours: 8}, {class: ReceiverVillage, action: receiptCase, dueHours: 8},
		{class: ReceiverDoor, action: receiptCase, dueHours: 4}, {class: ReceiverMeterBox, action: receiptCase, dueHours: 4},
		{class: ReceiverLetterbox, action: receiptCase, dueHours: 4}, {class: ReceiverOther, action: receiptCase, dueHours: 4},
	} {
		p.from = since
		rows = append(rows, p)
	}
	return rows
}

// DefaultRulebook is the rulebook that the schema brings, without a decision.
func DefaultRulebook() *Rulebook { return defaultBook }

// newRulebook takes decisions in the order in which they were made. A decision that cannot be read is left out.
func newRulebook(decisions []Decision, policies []recipientPolicy, terms []term) *Rulebook {
	b := &Rulebook{made: len(decisions), decisions: map[string][]decided{}, policies: map[string][]recipientPolicy{}, terms: map[string]term{}}
	for i := len(decisions) - 1; i >= 0; i-- { // of two from the same moment on, the later made counts
		d, err := decisions[i].read()
		if err != nil {
			b.Faults = append(b.Faults, fmt.Errorf("decision about the code %q of %s: %w",
				short(decisions[i].Code), decisions[i].ValidFrom.Format(time.DateOnly), err))
			continue
		}
		b.decisions[d.Code] = append(b.decisions[d.Code], d)
	}
	for _, list := range b.decisions {
		slices.SortStableFunc(list, func(x, y decided) int { return y.ValidFrom.Compare(x.ValidFrom) })
	}
	for _, p := range policies {
		b.policies[p.class] = append(b.policies[p.class], p)
	}
	for _, list := range b.policies {
		slices.SortStableFunc(list, func(x, y recipientPolicy) int { return y.from.Compare(x.from) })
	}
	for _, t := range terms {
		b.terms[t.place] = t
	}
	return b
}

// decided finds the decision about prefix+code that counts for a scan of the given time, if any.
func (b *Rulebook) decided(prefix, code string, at time.Time) *decided {
	if len(b.decisions) == 0 {
		return nil
	}
	list := b.decisions[prefix+code]
	for i := range list {
		if !at.Before(list[i].ValidFrom) {
			return &list[i]
		}
	}
	return nil
}

// Knows reports whether the tables or a decision know a code as it stands in unknown_codes: "999", "704/99", "705/99".
func (b *Rulebook) Knows(code string, at time.Time) bool {
	if b.decided("", code, at) != nil {
		return true
	}
	of, detail, _ := strings.Cut(code, "/")
	known := false
	switch {
	case of == "704" && detail != "":
		_, known = receivers[detail]
	case of == "705" && detail != "":
		_, known = attempts[detail]
	default:
		_, known = codes[code]
	}
	return known
}

// attemptMeanings lists what a decision may make of an attemptDeliveryCode.
var attemptMeanings = []courier.Status{courier.AttemptFailed, courier.Held, courier.Returning, courier.Lost, courier.InTransit}

// Check says what is wrong with a decision: courier.Faults, which name the field.
func (d Decision) Check() error {
	_, err := d.read()
	return err
}

const (
	longestName     = 100
	longestSentence = 100
)

func (d Decision) read() (decided, error) {
	out := decided{Decision: d}
	of, detail, split := strings.Cut(d.Code, "/")
	code := of
	if split {
		code = detail
	}
	switch {
	case !isCode(code) || split && of != "704" && of != "705":
		return out, wrong("code", "代码“%s”不是邮政代码：应为轨迹代码，或 704/妥投代码、705/未妥投代码", short(d.Code))
	case d.ValidFrom.IsZero():
		return out, wrong("valid_from", "没有写明从何时起生效")
	case utf8.RuneCountInString(d.Name) > longestName:
		return out, wrong("name", "名称过长，最多 %d 个字", longestName)
	}
	if err := checkSentence(d.Sentence); err != nil {
		return out, err
	}
	switch {
	case !split:
		return out, out.readGroup()
	case of == "704":
		return out, out.readClass()
	}
	return out, out.readAttempt()
}

// wrong is a fault of a field of a decision.
func wrong(field, format string, args ...any) error {
	return courier.Faults{{Field: field, Code: "unknown_value", Detail: fmt.Sprintf(format, args...)}}
}

// isCode reports whether a text may be one of EMS's codes: letters, digits, underscore and hyphen.
func isCode(code string) bool {
	return code != "" && len(code) <= longestCode && !strings.ContainsFunc(code, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-')
	})
}

// checkSentence keeps out of what residents read whatever could be a person, a number or a link.
func checkSentence(s string) error {
	switch {
	case s == "":
	case utf8.RuneCountInString(s) > longestSentence:
		return wrong("sentence", "给群众看的说明过长，最多 %d 个字", longestSentence)
	case !strings.HasSuffix(s, "。"):
		return wrong("sentence", "给群众看的说明应当是以句号结尾的完整句子")
	case strings.ContainsAny(s, "0123456789０１２３４５６７８９【】:/\n\r"):
		return wrong("sentence", "给群众看的说明不能含数字、姓名、电话或网址")
	}
	return nil
}

func (d *decided) readGroup() error {
	if list, ok := strings.CutPrefix(d.Meaning, "void:"); ok {
		d.group, d.voids = Void, strings.Fields(list)
		if len(d.voids) == 0 {
			return wrong("meaning", "没有写明撤销的是哪个代码，例如 void:203 208")
		}
		for _, v := range d.voids {
			if !isCode(v) || v == d.Code || codes[v].Group == Void {
				return wrong("meaning", "不能撤销代码“%s”：它不是邮政代码、就是本代码，或者本身是撤销代码", short(v))
			}
		}
	} else {
		d.group = Group(d.Meaning)
		if !slices.Contains(groups, d.group) || d.group == Void {
			return wrong("meaning", "含义“%s”不认识：应为 %s，或 void: 加被撤销的代码", short(d.Meaning), groupList())
		}
	}
	d.rank = rank[d.group]
	return nil
}

func groupList() string {
	var names []string
	for _, g := range groups[:len(groups)-1] {
		names = append(names, string(g))
	}
	return strings.Join(names, "、")
}

func (d *decided) readClass() error {
	if !slices.Contains(decidable, d.Meaning) {
		return wrong("meaning", "签收类别“%s”不认识：应为 %s", short(d.Meaning), strings.Join(decidable, "、"))
	}
	d.class = d.Meaning
	return nil
}

func (d *decided) readAttempt() error {
	status, extra, plus := strings.Cut(d.Meaning, "+")
	if plus && extra != string(courier.CaseAddress) || !slices.Contains(attemptMeanings, courier.Status(status)) {
		return wrong("meaning", "未妥投原因“%s”不认识：应为 attempt_failed、held、returning、lost 或 in_transit，需核对地址的在后面加 +address", short(d.Meaning))
	}
	d.status = courier.Status(status)
	if plus {
		d.kind = courier.CaseAddress
	}
	return nil
}

// short cuts foreign text down to what a message may quote.
func short(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if utf8.RuneCountInString(s) > 20 {
		return string([]rune(s)[:20]) + "…"
	}
	return s
}

// Sentence is what residents and clerks read for a code: never the carrier's own text, which holds names and phones.
func (b *Rulebook) Sentence(code string, at time.Time) string {
	if d := b.decided("", code, at); d != nil && d.Sentence != "" {
		return d.Sentence
	}
	return cmp.Or(codes[code].Sentence, "邮件有新的物流记录。")
}

// SentenceOf is Sentence, made more exact by who received the envelope or why nobody did.
func (b *Rulebook) SentenceOf(s courier.Scan) string {
	switch s.Code {
	case "704":
		if said := b.deliverSentence(&s); said != "" {
			return said
		}
	case "705":
		if d := b.decided("705/", s.AttemptCode, s.At); d != nil && d.Sentence != "" {
			return d.Sentence
		}
		if a, ok := attempts[s.AttemptCode]; ok {
			return a.Sentence
		}
	}
	return b.Sentence(s.Code, s.At)
}

func (b *Rulebook) deliverSentence(s *courier.Scan) string {
	if d := b.decided("704/", s.DeliverCode, s.At); d != nil && s.DeliverCode != "" {
		return cmp.Or(d.Sentence, classes[d.class])
	}
	class, _ := b.classOf(s)
	if r, ok := receivers[s.DeliverCode]; ok && r.Class == class {
		return r.Sentence
	}
	if class == ReceiverUnstated || class == ReceiverUnknown {
		return ""
	}
	return classes[class]
}

// Sentence is that of the built-in table.
func Sentence(code string) string { return defaultBook.Sentence(code, time.Time{}) }

// SentenceOf is that of the built-in tables.
func SentenceOf(s courier.Scan) string { return defaultBook.SentenceOf(s) }
