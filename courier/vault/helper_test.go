package vault_test

import (
	"encoding/hex"
	"testing"
	"time"

	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var (
	noon = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	row1 = uuid.MustParse("01938e0c-0000-7000-8000-000000000001")
	row2 = uuid.MustParse("01938e0c-0000-7000-8000-000000000002")
)

func fixed() *vault.Vault { return vault.Fixed([]byte("vault_test")) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newMaster(t testing.TB) vault.MasterKey {
	t.Helper()
	text, err := vault.NewMasterKey()
	if err != nil {
		t.Fatal(err)
	}
	m, err := vault.ParseMasterKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, db *sqlx.DB, m vault.MasterKey) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), db, m, noon)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
