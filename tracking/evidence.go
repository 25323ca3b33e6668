package tracking

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// EMS keeps traces for a year and rewrites them. Each answer that told something new is kept as it came, deflated and
// then sealed, so that a dispute can be settled by what EMS said on the day, and a mended reader can be tried on it.

// longestAnswer bounds what is kept of an answer, deflated. Ten thousand scans take about a tenth of it.
const longestAnswer = 4 << 20

// longestBody bounds what an answer inflates to again.
const longestBody = 64 << 20

// An Answer is one of EMS's answers about a waybill, as it came. Body holds names and phones of courier staff.
type Answer struct {
	AskedAt     time.Time
	Fingerprint int64
	Body        vault.Secret
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

func deflate(body []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	w.Write(body) // into memory: neither fails
	w.Close()
	return out.Bytes()
}

func inflate(packed []byte) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), longestBody))
	if err != nil {
		return nil, fmt.Errorf("inflate an answer: %w", err)
	}
	return body, nil
}

// sealAnswers packs the answers of a chunk that are worth keeping; tooLong counts those that are not kept for their size.
func sealAnswers(v *vault.Vault, changed []*asked) (kept []*asked, sealed [][]byte, tooLong int) {
	for _, a := range changed {
		if len(a.trace.Raw) == 0 {
			continue
		}
		packed := deflate(a.trace.Raw)
		if len(packed) > longestAnswer {
			tooLong++
			continue
		}
		kept, sealed = append(kept, a), append(sealed, v.SealBytes(vault.ColumnAnswer, a.delivery, packed))
	}
	return kept, sealed, tooLong
}

func openAnswer(v *vault.Vault, delivery uuid.UUID, sealed []byte) (vault.Secret, error) {
	packed, err := v.UnsealBytes(vault.ColumnAnswer, delivery, sealed)
	if err != nil {
		return vault.Secret{}, err
	}
	body, err := inflate(packed)
	return vault.Conceal(string(body)), err
}
