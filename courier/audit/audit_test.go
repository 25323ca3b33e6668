package audit_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/audit"
	"emsd/migrations/dbtest"

	"github.com/jmoiron/sqlx"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var noon = time.Date(2026, 11, 22, 4, 0, 0, 123456789, time.UTC)

func TestAChangedChainShows(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, change, want string }{
		{"untouched", ``, ""},
		{"actor", `UPDATE audit SET actor = 'nobody' WHERE id = 3`, "entry 3 was changed"},
		{"time", `UPDATE audit SET at = at + interval '1 microsecond' WHERE id = 3`, "entry 3 was changed"},
		{"detail", `UPDATE audit SET detail = '{"why":"other"}' WHERE id = 3`, "entry 3 was changed"},
		{"detail added", `UPDATE audit SET detail = detail || '{"x":"y"}' WHERE id = 3`, "entry 3 was changed"},
		{"object", `UPDATE audit SET object = 'x' WHERE id = 5`, "entry 5 was changed"},
		{"action and hash", `UPDATE audit SET action = 'x', hash = '\x00' WHERE id = 3`, "entry 3 was changed"},
		{"removed", `DELETE FROM audit WHERE id = 3`, "entry 4 stands where entry 3"},
		{"first removed", `DELETE FROM audit WHERE id = 1`, "entry 2 stands where entry 1"},
		{"removed and renumbered", `DELETE FROM audit WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5`, "entry 3 does not follow"},
		{"swapped", `UPDATE audit SET id = 0 WHERE id = 2; UPDATE audit SET id = 2 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 0`, "entry 2 does not follow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			for i := range 5 {
				write(t, db, audit.Entry{At: noon.Add(time.Duration(i)), Actor: "王", Action: "cancel", Object: fmt.Sprint(i), Detail: map[string]string{"why": "测试", "n": fmt.Sprint(i)}})
			}
			if _, err := db.Exec(tt.change); err != nil {
				t.Fatal(err)
			}
			got, err := audit.Verify(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && got.Fault != "" || !strings.Contains(got.Fault, tt.want) {
				t.Errorf("Verify says %q, want %q", got.Fault, tt.want)
			}
			var export bytes.Buffer
			if err := audit.Export(t.Context(), db, &export); err != nil {
				t.Fatal(err)
			}
			if off, err := audit.VerifyStream(&export); err != nil || off != got {
				t.Errorf("VerifyStream = %+v, %v; Verify = %+v", off, err, got)
			}
		})
	}
}

func TestWritersAtOnceKeepTheChain(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				write(t, db, audit.Entry{At: noon, Actor: fmt.Sprint(w), Action: "test", Object: fmt.Sprint(i)})
			}
		})
	}
	wg.Wait()
	got, err := audit.Verify(t.Context(), db)
	if err != nil || got.Fault != "" || got.Entries != 80 {
		t.Errorf("Verify = %+v, %v; want 80 entries without fault", got, err)
	}
}

func write(t *testing.T, db *sqlx.DB, e audit.Entry) {
	tx, err := db.Beginx()
	if err != nil {
		t.Error(err)
		return
	}
	defer tx.Rollback()
	if err := audit.Append(t.Context(), tx, e); err != nil {
		t.Error(err)
		return
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}
