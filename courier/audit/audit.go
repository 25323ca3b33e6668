// Package audit is the chain of who did what: each entry hashes its predecessor with SM3, so that an entry that was
// changed, removed, inserted or moved shows. It is not the log of deliveries (the events of package courier) and holds
// no personal data (I-9): objects are named by id.
//
// What the chain cannot show by itself: entries cut off at its end, and a chain written anew from some entry on, for
// the hashes need no key. Both show against an Anchor, an entry's number and hash noted where the database's owner
// cannot write: on paper, in another system's log. Every Report gives one.
package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"
	"github.com/google/uuid"
)

// An Entry says who did what to which object, when. No field holds personal data.
type Entry struct {
	At     time.Time // kept to the microsecond, as PostgreSQL does
	Actor  string
	Action string
	Object string
	Detail map[string]string // strings only: jsonb would rewrite numbers, and the hash would not be theirs
}

// manyIDs is the key of an entry's detail under which the objects stand that it is about beside Object.
const manyIDs = "ids"

// MostIDs is how many objects one entry names: so many fit into maxEntry twice over, beside the rest of the detail.
const MostIDs = 500

// About gives a copy of detail that names objects, at most MostIDs of them; List finds the entry by each.
func About(detail map[string]string, ids []uuid.UUID) map[string]string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = withoutDashes(id.String())
	}
	about := maps.Clone(detail)
	if about == nil {
		about = map[string]string{}
	}
	about[manyIDs] = strings.Join(short, " ")
	return about
}

// withoutDashes makes an id a ninth shorter.
func withoutDashes(id string) string { return strings.ReplaceAll(id, "-", "") }

// maxEntry bounds the texts of an entry, so that a line of an export stays readable in one piece.
const maxEntry = 64 << 10

// check refuses what PostgreSQL would not give back as it was written.
func (e Entry) check() error {
	texts := []string{e.Actor, e.Action, e.Object}
	for k, v := range e.Detail {
		texts = append(texts, k, v)
	}
	size := 0
	for _, t := range texts {
		if !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
			return fmt.Errorf("audit entry %q: a text is not UTF-8 or holds a zero byte", e.Action)
		}
		size += len(t)
	}
	if size > maxEntry {
		return fmt.Errorf("audit entry %q: %d bytes of text, at most %d", e.Action, size, maxEntry)
	}
	return nil
}

// link is an entry in its place in the chain.
type link struct {
	id int64
	Entry
	prev, hash []byte
}

// genesis is what the first entry takes for its predecessor's hash.
var genesis = make([]byte, sm3.Size)

// sum covers the predecessor, the place and every field. Each text has its length before it and the details their
// number, so that no two entries give the same bytes.
func (l link) sum() []byte {
	b := append([]byte("emsd audit 1\x00"), l.prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.id))
	b = binary.BigEndian.AppendUint64(b, uint64(l.At.UnixMicro()))
	for _, t := range []string{l.Actor, l.Action, l.Object} {
		b = appendText(b, t)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Detail)))
	for _, k := range slices.Sorted(maps.Keys(l.Detail)) {
		b = appendText(appendText(b, k), l.Detail[k])
	}
	sum := sm3.Sum(b)
	return sum[:]
}

func appendText(b []byte, t string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(t))), t...)
}

// A record is a link as it was found, in the database or in an export, which need not be well formed.
type record struct {
	ID     int64           `json:"id"`
	At     string          `json:"at"`
	Actor  string          `json:"actor"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Detail json.RawMessage `json:"detail"`
	Prev   string          `json:"prev_hash"`
	Hash   string          `json:"hash"`
}

// stamp is how an export writes times: UTC, always with microseconds.
const stamp = "2006-01-02T15:04:05.000000Z"

func (r record) link() (link, error) {
	at, err := time.Parse(stamp, r.At)
	if err != nil {
		return link{}, errors.New("its time is not one that is written here")
	}
	l := link{id: r.ID, Entry: Entry{At: at, Actor: r.Actor, Action: r.Action, Object: r.Object}}
	if l.Detail, err = readDetail(r.Detail); err != nil {
		return link{}, err
	}
	if l.prev, err = readHash(r.Prev); err != nil {
		return link{}, err
	}
	l.hash, err = readHash(r.Hash)
	return l, err
}

func readDetail(raw []byte) (map[string]string, error) {
	var values map[string]*string
	if json.Unmarshal(raw, &values) != nil || values == nil {
		return nil, errors.New("its detail is not an object of strings")
	}
	detail := make(map[string]string, len(values))
	for k, v := range values {
		if v == nil {
			return nil, errors.New("its detail is not an object of strings")
		}
		detail[k] = *v
	}
	return detail, nil
}

func readHash(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != sm3.Size || text != strings.ToLower(text) {
		return nil, errors.New("a hash of it is not an SM3 hash")
	}
	return b, nil
}

// line is the record as an export writes it. Detail is brought into one order if it is well formed.
func (r record) line() ([]byte, error) {
	if detail, err := readDetail(r.Detail); err == nil {
		if r.Detail, err = encode(detail); err != nil {
			return nil, err
		}
	}
	return encode(r)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// An Anchor is an entry's number and hash, noted outside of the database.
type Anchor struct {
	ID   int64
	Hash string // hex
}

// String is the form that ParseAnchor reads: number, colon, hash.
func (a Anchor) String() string { return fmt.Sprintf("%d:%s", a.ID, a.Hash) }

// ParseAnchor reads an anchor.
func ParseAnchor(text string) (Anchor, error) {
	number, hash, ok := strings.Cut(strings.TrimSpace(text), ":")
	id, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || id < 1 {
		return Anchor{}, fmt.Errorf("anchor %q: want an entry's number, a colon and its hash", text)
	}
	hash = strings.ToLower(hash)
	if _, err := readHash(hash); err != nil {
		return Anchor{}, fmt.Errorf("anchor %q: %w", text, err)
	}
	return Anchor{ID: id, Hash: hash}, nil
}
