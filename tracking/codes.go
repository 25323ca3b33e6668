package tracking

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"emsd/courier"
)

// A Group says what a code means for the status.
type Group string

const (
	Before         Group = "before"           // the order is valid; nothing has been handed over
	Accepted       Group = "accepted"         // EMS has the envelope
	InTransit      Group = "in_transit"       // between accepting and delivering branch
	Customs        Group = "customs"          // abroad only; counts as in transit
	OutForDelivery Group = "out_for_delivery" // with the courier
	AttemptFailed  Group = "attempt_failed"   // 705: attemptDeliveryCode decides
	Held           Group = "held"             // waits at a counter or in a locker
	Delivered      Group = "delivered"        // 704: deliverCode decides
	Changed        Group = "changed"          // another address; leaves the status
	Exception      Group = "exception"        // something odd; leaves the status
	Withdrawn      Group = "withdrawn"        // the sender called it back; returns if it was accepted
	Returning      Group = "returning"
	Returned       Group = "returned"
	Lost           Group = "lost"
	Void           Group = "void" // takes back an earlier scan
)

// rank is the place of a group among groups.
var rank = func() map[Group]int {
	m := make(map[Group]int, len(groups))
	for i, g := range groups {
		m[g] = i
	}
	return m
}()

// groups lists every group in the order in which scans of one second are taken: the dossier's traces hold several
// events a minute, and an effect never precedes its cause.
var groups = []Group{Before, Accepted, Customs, InTransit, Changed, Exception, OutForDelivery, AttemptFailed, Held, Delivered,
	Withdrawn, Returning, Returned, Lost, Void}

// A Code is one row of EMS's dictionary of scans (dossier 4.1, 4.2).
type Code struct {
	Code     string
	Name     string // EMS's own name
	Group    Group
	Voids    []string // of a voiding code: what it takes back
	Listed   bool     // stands in the dictionary copied from the platform; the others were seen in real traces only
	Sentence string   // ours, plain Chinese, without anybody's name

	rank int // of Group
}

// A Receiver is one deliverCode (dossier 4.4).
type Receiver struct {
	Code     string
	Name     string
	Class    string // who or what received it: one of classes
	Sentence string
}

// An Attempt is one attemptDeliveryCode (dossier 4.5): why a 705 delivered nothing, and what that makes of the delivery.
type Attempt struct {
	Code     string
	Name     string
	Meaning  string
	Status   courier.Status
	Case     courier.CaseKind
	Sentence string
}

//go:embed codes.csv
var codesCSV string

//go:embed deliver_codes.csv
var deliverCSV string

//go:embed attempt_codes.csv
var attemptCSV string

var (
	codes     = readCodes(codesCSV)
	receivers = readReceivers(deliverCSV)
	attempts  = readAttempts(attemptCSV)
)

// foldVersion changes when the rules of fold.go do; see salt.
const foldVersion = "2"

// salt is mixed into stored fingerprints: after a release with another table or other rules every trace looks changed
// once, so that an unknown code that has become known takes effect by itself.
var salt = func() int64 {
	h := fnv.New64a()
	for _, s := range []string{foldVersion, codesCSV, deliverCSV, attemptCSV} {
		h.Write([]byte(s))
	}
	return int64(h.Sum64())
}()

// Lookup finds a code in the built-in table.
func Lookup(code string) (Code, bool) {
	c, ok := codes[code]
	return c, ok
}

func readCodes(text string) map[string]Code {
	table := map[string]Code{}
	for _, r := range readTable(text, "code,name,group,voids,listed,sentence") {
		c := Code{Code: r[0], Name: r[1], Group: Group(r[2]), Voids: strings.Fields(r[3]), Listed: r[4] == "yes", Sentence: r[5]}
		if _, twice := table[c.Code]; twice || !slices.Contains(groups, c.Group) {
			panic(fmt.Sprintf("codes.csv: code %s stands twice or has the unknown group %q", c.Code, c.Group))
		}
		c.rank = rank[c.Group]
		table[c.Code] = c
	}
	return table
}

func readReceivers(text string) map[string]Receiver {
	table := map[string]Receiver{}
	for _, r := range readTable(text, "code,name,class,sentence") {
		if !isClass(r[2]) {
			panic(fmt.Sprintf("deliver_codes.csv: code %s has the unknown class %q", r[0], r[2]))
		}
		table[r[0]] = Receiver{Code: r[0], Name: r[1], Class: r[2], Sentence: r[3]}
	}
	return table
}

func readAttempts(text string) map[string]Attempt {
	table := map[string]Attempt{}
	for _, r := range readTable(text, "code,name,meaning,status,case,sentence") {
		table[r[0]] = Attempt{Code: r[0], Name: r[1], Meaning: r[2], Status: courier.Status(r[3]), Case: courier.CaseKind(r[4]), Sentence: r[5]}
	}
	return table
}

// readTable reads an embedded table; a broken one is a broken build, hence the panic.
func readTable(text, head string) [][]string {
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) == 0 || strings.Join(rows[0], ",") != head {
		panic(fmt.Sprintf("embedded table with the columns %s: %v", head, err))
	}
	return rows[1:]
}

// Groups lists every group.
func Groups() []Group { return slices.Clone(groups) }
