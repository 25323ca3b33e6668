package courier

import (
	"testing"

	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"pgregory.net/rapid"
)

// UUIDs says what pq.Array says of the same ids, and PostgreSQL reads back what was written.
func TestUUIDsAreAnArray(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) uuid.UUID {
			return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		}), 0, 20).Draw(t, "ids")
		var got []string
		if err := db.Select(&got, `SELECT unnest($1::uuid[])::text`, UUIDs(ids)); err != nil {
			t.Fatal(err)
		}
		var want []string
		if err := db.Select(&want, `SELECT unnest($1::uuid[])::text`, pq.Array(uuidTexts(ids))); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(ids) || len(want) != len(ids) {
			t.Fatalf("%d ids became %d, by pq %d", len(ids), len(got), len(want))
		}
		for i, id := range ids {
			if got[i] != id.String() || want[i] != got[i] {
				t.Fatalf("id %d is %s, by pq %s; want %s", i, got[i], want[i], id)
			}
		}
	})
}
