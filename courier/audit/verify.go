package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// A Report is the result of a check.
type Report struct {
	Entries int64
	Last    int64    // number of the last entry
	Head    string   // its hash, hex
	Fault   string   // the first thing that is wrong; empty when the chain holds
	Faults  []string // all of them, at most a hundred
}

// Anchor is the end of the chain, to be noted elsewhere and given to a later check.
func (r Report) Anchor() Anchor { return Anchor{ID: r.Last, Hash: r.Head} }

const maxFaults = 100

// A verifier checks records in order. After a fault it goes on from what it found, so that one change is one fault and
// does not hide another further on.
type verifier struct {
	report  Report
	prev    []byte
	anchors map[int64]string
}

func newVerifier(anchors []Anchor) *verifier {
	v := &verifier{prev: genesis, anchors: map[int64]string{}}
	for _, a := range anchors {
		if noted, ok := v.anchors[a.ID]; ok && noted != a.Hash {
			v.fault("entry %d was noted with two hashes: one of them is not of this chain", a.ID)
		}
		v.anchors[a.ID] = a.Hash
	}
	return v
}

func (v *verifier) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.report.Fault == "" {
		v.report.Fault = text
	}
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, text)
	}
}

func (v *verifier) next(r record) {
	want := v.report.Last + 1
	v.report.Entries++
	v.report.Last, v.report.Head = r.ID, r.Hash
	if noted, ok := v.anchors[r.ID]; ok {
		delete(v.anchors, r.ID)
		if noted != r.Hash {
			v.fault("entry %d has another hash than was noted: the chain was written anew", r.ID)
		}
	}
	l, err := r.link()
	switch {
	case r.ID != want:
		v.fault("entry %d stands where entry %d should be: an entry was removed or moved", r.ID, want)
	case err != nil:
		v.fault("entry %d was changed: %v", r.ID, err)
	case !bytes.Equal(l.prev, v.prev):
		v.fault("entry %d does not follow on entry %d", r.ID, want-1)
	case !bytes.Equal(l.hash, l.sum()):
		v.fault("entry %d was changed", r.ID)
	}
	v.prev, _ = readHash(r.Hash) // of a hash that is none, nothing follows: the next entry is a fault too
}

func (v *verifier) end() Report {
	for _, id := range slices.Sorted(maps.Keys(v.anchors)) {
		v.fault("entry %d was noted and is not there: the chain was cut off", id)
	}
	return v.report
}

// maxLine is more than the longest entry can become when each byte of it is escaped.
const maxLine = 8*maxEntry + 4096

// VerifyStream checks what Export wrote, without a database. Lines must be exactly as Export writes them: in any other
// form, a reader of the file could see something else than what was hashed.
func VerifyStream(r io.Reader, anchors ...Anchor) (Report, error) {
	v := newVerifier(anchors)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		var rec record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			v.fault("line %d is not an entry", n)
			continue
		}
		if own, err := rec.line(); err != nil || !bytes.Equal(own, lines.Bytes()) {
			v.fault("line %d is not in the form of an export", n)
		}
		v.next(rec)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		v.fault("line %d is longer than any entry", n+1)
		return v.end(), nil
	}
	if err := lines.Err(); err != nil {
		return v.report, fmt.Errorf("read line %d of the export: %w", n+1, err)
	}
	return v.end(), nil
}
