package courier

import (
	"database/sql/driver"
	"encoding/hex"

	"github.com/google/uuid"
)

// UUIDs is a uuid[] parameter of a statement. It is what pq.Array makes of their texts, without the quotes and the escaping, for
// statements that carry hundreds.
type UUIDs []uuid.UUID

// Value gives the array as PostgreSQL reads it.
func (u UUIDs) Value() (driver.Value, error) {
	b := make([]byte, 0, 2+37*len(u))
	b = append(b, '{')
	for i, id := range u {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(hex.AppendEncode(b, id[:4]), '-')
		b = append(hex.AppendEncode(b, id[4:6]), '-')
		b = append(hex.AppendEncode(b, id[6:8]), '-')
		b = append(hex.AppendEncode(b, id[8:10]), '-')
		b = hex.AppendEncode(b, id[10:])
	}
	return string(append(b, '}')), nil
}
