package vault_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
)

func states(t testing.TB, db *sqlx.DB) []string {
	t.Helper()
	var got []string
	if err := db.Select(&got, `SELECT concat_ws(' ', id, purpose, state) FROM data_keys ORDER BY id`); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDaemonsThatStartAtOnceShareTheirKeys(t *testing.T) {
	t.Parallel()
	db, m := dbtest.Open(t), newMaster(t)
	vaults := make([]*vault.Vault, 8)
	var wg sync.WaitGroup
	for i := range vaults {
		wg.Go(func() {
			var err error
			if vaults[i], err = vault.Open(t.Context(), db, m, noon); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if diff := cmp.Diff([]string{"1 seal active", "2 lookup active"}, states(t, db)); diff != "" {
		t.Errorf("data_keys (-want +got):\n%s", diff)
	}
	sealed := vaults[0].Seal(vault.ColumnName, row1, "张三")
	for i, v := range vaults {
		if got, err := v.Unseal(vault.ColumnName, row1, sealed); err != nil || got.Reveal() != "张三" {
			t.Errorf("daemon %d reads %q, %v", i, got.Reveal(), err)
		}
		if diff := cmp.Diff(vaults[0].Lookup(vault.ColumnPhone, "1"), v.Lookup(vault.ColumnPhone, "1")); diff != "" {
			t.Errorf("daemon %d looks up by another key", i)
		}
	}
}

func TestAnotherMasterKeyIsRefusedAndMakesNoKeys(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	open(t, db, newMaster(t))
	before := states(t, db)
	if _, err := vault.Open(t.Context(), db, newMaster(t), noon); !errors.Is(err, vault.ErrOtherMaster) {
		t.Errorf("Open = %v, want ErrOtherMaster", err)
	}
	if _, err := vault.Open(t.Context(), db, vault.MasterKey{}, noon); err == nil {
		t.Error("opened without a master key")
	}
	if diff := cmp.Diff(before, states(t, db)); diff != "" {
		t.Errorf("data_keys changed (-want +got):\n%s", diff)
	}
}

func TestAChangedDataKeyIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"flipped":         `UPDATE data_keys SET wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1) WHERE id = 1`,
		"of another key":  `UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE id = 2) WHERE id = 1`,
		"renumbered":      `UPDATE data_keys SET id = 7 WHERE id = 1`,
		"cut":             `UPDATE data_keys SET wrapped = '\x01' WHERE id = 1`,
		"look-up retired": `UPDATE data_keys SET state = 'old' WHERE id = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, m := dbtest.Open(t), newMaster(t)
			open(t, db, m)
			db.MustExec(change)
			if _, err := vault.Open(t.Context(), db, m, noon); err == nil {
				t.Error("the vault opened")
			} else if errors.Is(err, vault.ErrOtherMaster) {
				t.Errorf("the master key is blamed: %v", err)
			}
		})
	}
}

func TestAKeyThatAnotherDaemonMadeIsLoadedOnDemand(t *testing.T) {
	t.Parallel()
	db, m := dbtest.Open(t), newMaster(t)
	a, b := open(t, db, m), open(t, db, m)
	old := a.Seal(vault.ColumnName, row1, "张三")
	id, err := a.Rotate(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.ActiveKey(); got != id || id == 1 {
		t.Errorf("after Rotate = %d the active key is %d", id, got)
	}
	fresh := a.Seal(vault.ColumnName, row1, "李四")

	// Many readers meet the unknown key at once; one of them reads data_keys.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if got, err := b.Unseal(vault.ColumnName, row1, fresh); err != nil || got.Reveal() != "李四" {
				t.Errorf("b reads %q, %v", got.Reveal(), err)
			}
		})
	}
	wg.Wait()
	if got := b.ActiveKey(); got != id {
		t.Errorf("b seals under %d, want %d", got, id)
	}
	for name, v := range map[string]*vault.Vault{"a": a, "b": b} {
		if got, err := v.Unseal(vault.ColumnName, row1, old); err != nil || got.Reveal() != "张三" {
			t.Errorf("%s reads an older value as %q, %v", name, got.Reveal(), err)
		}
	}
	if diff := cmp.Diff([]string{"1 seal old", "2 lookup active", "3 seal active"}, states(t, db)); diff != "" {
		t.Errorf("data_keys (-want +got):\n%s", diff)
	}
}

func TestRefreshTakesUpTheNewKey(t *testing.T) {
	t.Parallel()
	db, m := dbtest.Open(t), newMaster(t)
	a, b := open(t, db, m), open(t, db, m)
	want := a.Lookup(vault.ColumnPhone, "13800000000")
	id, err := a.Rotate(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	if b.ActiveKey() == id {
		t.Fatal("b knows the key already")
	}
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.ActiveKey(); got != id {
		t.Errorf("after Refresh b seals under %d, want %d", got, id)
	}
	if diff := cmp.Diff(want, b.Lookup(vault.ColumnPhone, "13800000000")); diff != "" {
		t.Error("the look-up key rotated")
	}
}

func TestAnUnknownKeyIsAnErrorAlsoWhenTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	v := open(t, db, newMaster(t))
	good := v.Seal(vault.ColumnName, row1, "张三")
	forged := append([]byte(nil), good...)
	forged[3] = 1
	_, err := v.Unseal(vault.ColumnName, row1, forged)
	if e := sealFault(t, err, vault.ColumnName, row1); e.Reason != vault.NoSuchKey || e.Err != nil {
		t.Errorf("forged key id: %v", err)
	}
	_ = db.Close()
	_, err = v.Unseal(vault.ColumnName, row1, forged)
	if e := sealFault(t, err, vault.ColumnName, row1); e.Reason != vault.NoSuchKey || e.Err == nil {
		t.Errorf("without a database: %v, want the cause beneath", err)
	}
	if got, err := v.Unseal(vault.ColumnName, row1, good); err != nil || got.Reveal() != "张三" {
		t.Errorf("a known key needs no database: %q, %v", got.Reveal(), err)
	}
}

// Ten looks at once and ten a second, whatever comes in.
func TestForgedKeyIDsDoNotBecomeQueries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		v := vault.WithLoader(func(context.Context) error {
			looks++
			return nil
		})
		forged := fixed().Seal(vault.ColumnName, row1, "张三")
		forged[4] = 99
		for range 1000 {
			if _, err := v.Unseal(vault.ColumnName, row1, forged); err == nil {
				t.Fatal("a forged value opened")
			}
		}
		if looks != 10 {
			t.Errorf("a thousand forged values made %d looks, want 10", looks)
		}
	})
}

func TestTheMasterKeyIsChangedInOneStep(t *testing.T) {
	t.Parallel()
	db, old, new := dbtest.Open(t), newMaster(t), newMaster(t)
	v := open(t, db, old)
	if _, err := v.Rotate(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	sealed, hash := v.Seal(vault.ColumnName, row1, "张三"), v.Lookup(vault.ColumnPhone, "1")

	if _, err := vault.Rewrap(t.Context(), db, newMaster(t), newMaster(t)); !errors.Is(err, vault.ErrOtherMaster) {
		t.Errorf("with a wrong old key: %v, want ErrOtherMaster", err)
	}
	for _, want := range []int{3, 0} { // the second time there is nothing left to do
		if n, err := vault.Rewrap(t.Context(), db, old, new); err != nil || n != want {
			t.Fatalf("Rewrap = %d, %v; want %d", n, err, want)
		}
	}
	if _, err := vault.Open(t.Context(), db, old, noon); !errors.Is(err, vault.ErrOtherMaster) {
		t.Errorf("with the old master: %v, want ErrOtherMaster", err)
	}
	w := open(t, db, new)
	if got, err := w.Unseal(vault.ColumnName, row1, sealed); err != nil || got.Reveal() != "张三" {
		t.Errorf("with the new master: %q, %v", got.Reveal(), err)
	}
	if diff := cmp.Diff(hash, w.Lookup(vault.ColumnPhone, "1")); diff != "" {
		t.Error("the look-up key changed")
	}

	// The daemon that was running goes on, but makes no key that nobody else could open.
	if err := v.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh of a running daemon: %v", err)
	}
	if _, err := v.Rotate(t.Context(), noon); !errors.Is(err, vault.ErrOtherMaster) {
		t.Errorf("Rotate of a daemon with the old master: %v, want ErrOtherMaster", err)
	}
	if err := open(t, db, new).Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEverySealedColumnIsRotated(t *testing.T) {
	t.Parallel()
	var schema []string
	err := dbtest.Open(t).Select(&schema, `
		SELECT c.table_name || '.' || c.column_name
		FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND c.column_name LIKE '%\_sealed' AND t.table_type = 'BASE TABLE'
			AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = format('%I.%I', c.table_schema, c.table_name)::regclass)
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range vault.Columns {
		listed[c.Table+"."+c.Field] = true
		if want := c.Table + "." + strings.TrimSuffix(c.Field, "_sealed"); c.Name != want {
			t.Errorf("column %s is named %q in the associated data", want, c.Name)
		}
	}
	for _, name := range schema {
		if !listed[name] {
			t.Errorf("%s is sealed and not in vault.Columns", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is in vault.Columns and not in the schema", name)
	}
}
