package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/asynctest"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// later is when every daemon has come to its Refresh.
var later = noon.Add(time.Hour)

// people are deliveries with everything that is sealed: two scans each, in two partitions, and a label for every third.
func people(t testing.TB, db *sqlx.DB, v *vault.Vault, n int) []uuid.UUID {
	t.Helper()
	db.MustExec(`
		INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('S', 'S', 'police_station', $1, $1)
		ON CONFLICT DO NOTHING`, noon)
	db.MustExec(`CREATE TABLE IF NOT EXISTS scans_2026_11 PARTITION OF scans FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')`)
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
		person(t, db, v, ids[i], i)
	}
	return ids
}

func person(t testing.TB, db *sqlx.DB, v *vault.Vault, id uuid.UUID, i int) {
	t.Helper()
	sealed := func(column string) []byte { return v.Seal(column, id, textOf(column, id)) }
	db.MustExec(`
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed,
			station_code, station_class, consent_source, consent_at, approved_at, payment_method,
			name_sealed, phone_sealed, id_no_sealed, address_sealed, phone_lookup, id_no_lookup, content_lookup,
			province, city, county, status, status_since, created_at, updated_at)
		VALUES ($1, $2, $2, 'exchange', 'online', 'residence', false, false, 'S', 'police_station', 'platform', $3, $3, 'prepaid',
			$4, $5, $6, $7, '', '', '', '', '', '', 'awaiting_payment', $3, $3, $3)`,
		id, id.String(), noon, sealed(vault.ColumnName), sealed(vault.ColumnPhone), sealed(vault.ColumnIDNo), sealed(vault.ColumnAddress))
	for k, at := range []time.Time{noon.AddDate(0, -2, 0), noon.Add(time.Duration(i) * time.Microsecond)} {
		db.MustExec(`
			INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at)
			VALUES ($1, $2, '203', $3, '', '', $4, '', '', '', $2)`, id, at, fmt.Sprintf(`机构"%d,`, k), sealed(vault.ColumnScan))
	}
	if i%3 == 0 {
		db.MustExec(`INSERT INTO labels (delivery_id, waybill_no, pdf_sealed, fetched_at) VALUES ($1, '', $2, $3)`,
			id, sealed(vault.ColumnLabel), noon)
	} else if i%3 == 1 {
		db.MustExec(`INSERT INTO labels (delivery_id, waybill_no) VALUES ($1, '')`, id)
	}
}

func textOf(column string, id uuid.UUID) string { return column + " 张三 " + id.String() }

// under checks that every stored value opens as what was written, and counts them by key.
func under(t testing.TB, db *sqlx.DB, v *vault.Vault) map[uint32]int {
	t.Helper()
	count := map[uint32]int{}
	for _, c := range vault.Columns {
		rows, err := db.Queryx(`SELECT ` + c.Key[0].Name + `, ` + c.Field + ` FROM ` + c.Table + ` WHERE ` + c.Field + ` IS NOT NULL`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id uuid.UUID
			var sealed []byte
			if err := rows.Scan(&id, &sealed); err != nil {
				t.Fatal(err)
			}
			if got, err := v.Unseal(c.Name, id, sealed); err != nil || got.Reveal() != textOf(c.Name, id) {
				t.Fatalf("%s of %s reads %q, %v", c.Name, id, got.Reveal(), err)
			}
			key, _ := vault.KeyID(sealed)
			count[key]++
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return count
}

// small makes many chunks of few rows.
func small() []vault.Column {
	columns := slices.Clone(vault.Columns)
	for i := range columns {
		columns[i].Chunk = 7
	}
	return columns
}

func TestRotationResealsEverythingAndRetiresTheOldKey(t *testing.T) {
	t.Parallel()
	for name, columns := range map[string][]vault.Column{"chunks of seven": small(), "own chunks": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			v := open(t, db, newMaster(t))
			people(t, db, v, 30)
			r := &vault.Rotator{Vault: v, Columns: columns}
			if got, err := r.Round(t.Context(), later); err != nil || !got.Done || got.Resealed != 0 {
				t.Errorf("with nothing to do: %+v, %v", got, err)
			}
			id, err := v.Rotate(t.Context(), noon)
			if err != nil {
				t.Fatal(err)
			}

			// Until the other daemons have taken up the key, the old one stays in use.
			got, err := r.Round(t.Context(), noon.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			const values = 30*4 + 30*2 + 10
			want := vault.Rotation{Key: id, Resealed: values, SettlesAt: noon.Add(10 * time.Minute)}
			got.SettlesAt = got.SettlesAt.UTC()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("first round (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[uint32]int{id: values}, under(t, db, v)); diff != "" {
				t.Errorf("values by key (-want +got):\n%s", diff)
			}
			got, err = r.Round(t.Context(), later)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(vault.Rotation{Key: id, Retired: 1, Done: true}, got); diff != "" {
				t.Errorf("last round (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"1 seal retired", "2 lookup active", "3 seal active"}, states(t, db)); diff != "" {
				t.Errorf("data_keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAStoppedRotationGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	m := newMaster(t)
	v := open(t, db, m)
	people(t, db, v, 40)
	id, err := v.Rotate(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	stops := 0
	for {
		// Each life is a new process that is stopped after its second chunk.
		ctx, stop := context.WithCancel(t.Context())
		chunks := 0
		r := &vault.Rotator{Vault: open(t, db, m), Columns: small(), Progress: func(_ string, n int64) {
			total += n
			if chunks++; chunks == 2 {
				stop()
			}
		}}
		got, err := r.Round(ctx, later)
		stop()
		if err == nil {
			if !got.Done {
				t.Errorf("ended with %+v", got)
			}
			break
		}
		if stops++; stops > 100 || !errors.Is(err, context.Canceled) {
			t.Fatalf("life %d: %v", stops, err)
		}
	}
	const values = 40*4 + 40*2 + 14
	if total != values {
		t.Errorf("%d values were re-sealed, want each of %d once", total, values)
	}
	if stops < 5 {
		t.Errorf("it was stopped %d times only", stops)
	}
	if diff := cmp.Diff(map[uint32]int{id: values}, under(t, db, v)); diff != "" {
		t.Errorf("values by key (-want +got):\n%s", diff)
	}
	var stored int64
	if err := db.Get(&stored, `SELECT sum(resealed) FROM key_rotations WHERE key_id = $1 AND done_at IS NOT NULL`, id); err != nil || stored != values {
		t.Errorf("key_rotations says %d, %v; want %d", stored, err, values)
	}
}

// A write between the reading of a chunk and its writing back must win.
func TestAValueWrittenMeanwhileIsKept(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	v := open(t, db, newMaster(t))
	ids := people(t, db, v, 3)
	if _, err := v.Rotate(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	was := v.Seal(vault.ColumnName, ids[1], "stale")
	n, err := vault.Replace(t.Context(), db, vault.Columns[0], ids[1], was, v.Seal(vault.ColumnName, ids[1], "from the stale one"))
	if err != nil || n != 0 {
		t.Errorf("replaced %d rows, %v; the row holds another value", n, err)
	}
	under(t, db, v)

	// The same with a transaction that is open while the rotator writes.
	tx := db.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`UPDATE deliveries SET name_sealed = $2 WHERE id = $1`, ids[1], v.Seal(vault.ColumnName, ids[1], textOf(vault.ColumnName, ids[1])))
	var before []byte
	if err := db.Get(&before, `SELECT name_sealed FROM deliveries WHERE id = $1`, ids[1]); err != nil {
		t.Fatal(err)
	}
	done := make(chan int64)
	go func() {
		n, err := vault.Replace(context.Background(), db, vault.Columns[0], ids[1], before, v.Seal(vault.ColumnName, ids[1], "from the stale one"))
		if err != nil {
			t.Error(err)
		}
		done <- n
	}()
	waitForLock(t, db)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 0 {
		t.Errorf("replaced %d rows that another transaction had just written", n)
	}
	under(t, db, v)
}

func waitForLock(t testing.TB, db *sqlx.DB) {
	t.Helper()
	asynctest.Eventually(t, "somebody waiting for the lock", func() bool {
		var waiting int
		err := db.Get(&waiting, `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		if err != nil {
			t.Fatal(err)
		}
		return waiting > 0
	})
}

// While two rotators run, one daemon writes under the new key and one that has not come to its Refresh under the old.
func TestRotationRunsBesideTheDaemons(t *testing.T) {
	t.Parallel()
	db, m := dbtest.Open(t), newMaster(t)
	v, behind := open(t, db, m), open(t, db, m)
	ids := people(t, db, v, 60)
	id, err := v.Rotate(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers, rotators sync.WaitGroup
	for _, w := range []*vault.Vault{v, behind} {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				row := ids[i%len(ids)]
				db.MustExec(`UPDATE deliveries SET name_sealed = $2, phone_sealed = $3 WHERE id = $1`, row,
					w.Seal(vault.ColumnName, row, textOf(vault.ColumnName, row)), w.Seal(vault.ColumnPhone, row, textOf(vault.ColumnPhone, row)))
			}
		})
	}
	for range 2 {
		rotators.Go(func() {
			r := &vault.Rotator{Vault: open(t, db, m), Columns: small()}
			for range 5 {
				if got, err := r.Round(ctx, noon.Add(time.Minute)); err != nil || got.Done {
					t.Errorf("Round = %+v, %v; the old key must not be retired before it settles", got, err)
				}
			}
		})
	}
	rotators.Wait()
	stop()
	writers.Wait()

	got, err := (&vault.Rotator{Vault: v, Columns: small()}).Round(t.Context(), later)
	if err != nil || !got.Done || got.Resealed == 0 {
		t.Errorf("last round = %+v, %v; want what the daemon behind wrote re-sealed, and done", got, err)
	}
	if diff := cmp.Diff(map[uint32]int{id: 60*6 + 20}, under(t, db, v)); diff != "" {
		t.Errorf("values by key (-want +got):\n%s", diff)
	}
}

func TestASecondRotationTakesTheRestOfTheFirstAlong(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	v := open(t, db, newMaster(t))
	people(t, db, v, 12)
	if _, err := v.Rotate(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	if _, err := (&vault.Rotator{Vault: v, Columns: small(), Progress: func(string, int64) { stop() }}).Round(ctx, later); err == nil {
		t.Fatal("it was not stopped")
	}
	id, err := v.Rotate(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&vault.Rotator{Vault: v, Columns: small()}).Round(t.Context(), later)
	if err != nil || !got.Done || got.Retired != 2 {
		t.Errorf("Round = %+v, %v; want both older keys retired", got, err)
	}
	if diff := cmp.Diff(map[uint32]int{id: 12*6 + 4}, under(t, db, v)); diff != "" {
		t.Errorf("values by key (-want +got):\n%s", diff)
	}
}

// A value that does not open is not thrown away, stops nothing, and keeps its key in use.
func TestAValueThatDoesNotOpenStopsNothing(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	v := open(t, db, newMaster(t))
	ids := people(t, db, v, 20)
	var broken []byte
	err := db.Get(&broken, `
		UPDATE deliveries SET name_sealed = set_byte(name_sealed, 20, get_byte(name_sealed, 20) # 1) WHERE id = $1
		RETURNING name_sealed`, ids[7])
	if err != nil {
		t.Fatal(err)
	}
	db.MustExec(`UPDATE deliveries SET address_sealed = '' WHERE id = $1`, ids[8]) // erased: not a fault
	if _, err := v.Rotate(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := &vault.Rotator{Vault: v, Columns: small(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	for round := range 2 {
		got, err := r.Round(t.Context(), later)
		if err != nil || got.Done || got.Unreadable != 1 || got.Retired != 0 {
			t.Errorf("round %d = %+v, %v; want one unreadable value and the old key in use", round, got, err)
		}
	}
	for _, want := range []string{"deliveries.name", ids[7].String(), "level=ERROR"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, log.String())
		}
	}
	if trace := leak(log.String()); trace != "" {
		t.Errorf("the log shows %q", trace)
	}
	var now []byte
	if err := db.Get(&now, `SELECT name_sealed FROM deliveries WHERE id = $1`, ids[7]); err != nil || !bytes.Equal(now, broken) {
		t.Errorf("the value that does not open was changed (%v)", err)
	}

	// Once it is mended, the rotation ends by itself.
	db.MustExec(`UPDATE deliveries SET name_sealed = $2 WHERE id = $1`, ids[7], v.Seal(vault.ColumnName, ids[7], textOf(vault.ColumnName, ids[7])))
	if got, err := r.Round(t.Context(), later); err != nil || !got.Done {
		t.Errorf("after mending: %+v, %v", got, err)
	}
}

// A round that is under way when somebody rotates again must not go on sealing under what is an old key by then.
func TestARotationGivesWayToTheNext(t *testing.T) {
	t.Parallel()
	db, m := dbtest.Open(t), newMaster(t)
	v := open(t, db, m)
	people(t, db, v, 12)
	if _, err := v.Rotate(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	other := open(t, db, m)
	var id uint32
	r := &vault.Rotator{Vault: v, Columns: small(), Progress: func(string, int64) {
		var err error
		if id, err = other.Rotate(t.Context(), noon); err != nil {
			t.Error(err)
		}
	}}
	got, err := r.Round(t.Context(), later)
	if err == nil || got.Done || got.Resealed != 7 || v.ActiveKey() != id {
		t.Errorf("Round = %+v, %v with key %d active; want it to stop after a chunk and take up key %d", got, err, v.ActiveKey(), id)
	}
	r.Progress = nil
	if got, err := r.Round(t.Context(), later); err != nil || !got.Done {
		t.Errorf("the next round = %+v, %v", got, err)
	}
	if diff := cmp.Diff(map[uint32]int{id: 12*6 + 4}, under(t, db, v)); diff != "" {
		t.Errorf("values by key (-want +got):\n%s", diff)
	}
}
