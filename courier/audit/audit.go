// Package audit is the chain of who did what: each entry hashes its predecessor with SM3, so that an entry which was
// changed, removed or moved shows. It cannot show that entries were cut off at the end: note the head of a report
// elsewhere from time to time, and compare.
package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// An Entry says who did what to which object, when. Detail never holds personal data.
type Entry struct {
	At     time.Time
	Actor  string
	Action string
	Object string
	Detail map[string]string
}

// A Link is an entry in its place in the chain.
type Link struct {
	ID int64 `json:"id"`
	Entry
	Prev []byte `json:"prev"`
	Hash []byte `json:"hash"`
}

// genesis is what the first entry takes for its predecessor's hash.
var genesis = make([]byte, sm3.Size)

// hash covers the place, the predecessor and every field, each with its length before it, so that no two entries
// give the same bytes.
func (l Link) hash() []byte {
	var b bytes.Buffer
	part := func(p []byte) {
		binary.Write(&b, binary.BigEndian, uint32(len(p)))
		b.Write(p)
	}
	binary.Write(&b, binary.BigEndian, l.ID)
	part(l.Prev)
	binary.Write(&b, binary.BigEndian, l.At.UnixMicro()) // what the column keeps
	part([]byte(l.Actor))
	part([]byte(l.Action))
	part([]byte(l.Object))
	for _, k := range slices.Sorted(maps.Keys(l.Detail)) {
		part([]byte(k))
		part([]byte(l.Detail[k]))
	}
	sum := sm3.Sum(b.Bytes())
	return sum[:]
}

// A Report is the result of a check.
type Report struct {
	Entries int64
	Head    string // hash of the last entry, hex
	Fault   string // the first thing that is wrong; empty when the chain holds
}

// A verifier checks links in order.
type verifier struct {
	report Report
	prev   []byte
}

// next checks one link; after a fault the rest is counted only.
func (v *verifier) next(l Link) {
	v.report.Entries++
	if v.report.Fault != "" {
		return
	}
	if v.prev == nil {
		v.prev = genesis
	}
	switch {
	case l.ID != v.report.Entries:
		v.report.Fault = fmt.Sprintf("entry %d stands where entry %d should be: an entry was removed or moved", l.ID, v.report.Entries)
	case !bytes.Equal(l.Prev, v.prev):
		v.report.Fault = fmt.Sprintf("entry %d does not follow on entry %d", l.ID, l.ID-1)
	case !bytes.Equal(l.Hash, l.hash()):
		v.report.Fault = fmt.Sprintf("entry %d was changed", l.ID)
	}
	v.prev = l.Hash
	v.report.Head = hex.EncodeToString(l.Hash)
}

// VerifyStream checks what Export wrote, without a database.
func VerifyStream(r io.Reader) (Report, error) {
	var v verifier
	d := json.NewDecoder(r)
	for {
		var l Link
		err := d.Decode(&l)
		if err == io.EOF {
			return v.report, nil
		}
		if err != nil {
			return v.report, fmt.Errorf("entry %d of the export: %w", v.report.Entries+1, err)
		}
		v.next(l)
	}
}
