package vault_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func columnNames() []string {
	var names []string
	for _, c := range vault.Columns {
		names = append(names, c.Name)
	}
	return names
}

func drawRow(t *rapid.T, label string) uuid.UUID {
	return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
}

// sealFault is the *SealError of err; it fails the test if err is another or does not name the column.
func sealFault(t rapid.TB, err error, column string, row uuid.UUID) *vault.SealError {
	t.Helper()
	e, ok := errors.AsType[*vault.SealError](err)
	if !ok {
		t.Fatalf("error = %v, want a *SealError", err)
	}
	if e.Column != column || e.Row != row || !strings.Contains(err.Error(), column) || !strings.Contains(err.Error(), row.String()) {
		t.Fatalf("error %q does not name %s of %s", err, column, row)
	}
	return e
}

func TestI9_WhatWasSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	v, other := fixed(), vault.Fixed([]byte("another"))
	rapid.Check(t, func(t *rapid.T) {
		column := rapid.SampledFrom(columnNames()).Draw(t, "column")
		row := drawRow(t, "row")
		text := rapid.String().Draw(t, "text")
		sealed := v.Seal(column, row, text)

		if got, err := v.Unseal(column, row, sealed); err != nil || got.Reveal() != text {
			t.Fatalf("unsealed %q, %v; want %q", got.Reveal(), err, text)
		}
		if len(sealed) != len(text)+vault.Overhead {
			t.Fatalf("%d bytes became %d", len(text), len(sealed))
		}
		if len(text) > 3 && bytes.Contains(sealed, []byte(text)) {
			t.Fatalf("the text stands in the sealed value")
		}
		if slices.Equal(sealed, v.Seal(column, row, text)) {
			t.Fatalf("the same text sealed twice gives the same value")
		}

		refused := func(what, column string, row uuid.UUID, sealed []byte, v *vault.Vault) {
			t.Helper()
			got, err := v.Unseal(column, row, sealed)
			if err == nil {
				t.Fatalf("%s: opened as %q", what, got.Reveal())
			}
			if !got.IsZero() {
				t.Fatalf("%s: a text beside the error", what)
			}
			sealFault(t, err, column, row)
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Fatalf("%s: the error shows the text", what)
			}
		}
		otherRow := drawRow(t, "other row")
		if otherRow != row {
			refused("swapped row", column, otherRow, sealed, v)
		}
		for _, c := range columnNames() {
			if c != column {
				refused("swapped column", c, row, sealed, v)
			}
		}
		refused("wrong key", column, row, sealed, other)
		cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")
		refused("cut", column, row, sealed[:cut], v)
		refused("longer", column, row, append(slices.Clone(sealed), rapid.Byte().Draw(t, "more")), v)
		bit := rapid.IntRange(0, 8*len(sealed)-1).Draw(t, "bit")
		flipped := slices.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		refused("flipped bit", column, row, flipped, v)
	})
}

func TestI9_EveryFlippedBitIsAnError(t *testing.T) {
	t.Parallel()
	v := fixed()
	sealed := v.Seal(vault.ColumnName, row1, "欧阳·买买提")
	for bit := range 8 * len(sealed) {
		flipped := slices.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		_, err := v.Unseal(vault.ColumnName, row1, flipped)
		sealFault(t, err, vault.ColumnName, row1)
	}
}

func TestTheReasonSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	v := fixed()
	good := v.Seal(vault.ColumnPhone, row1, "13800000000")
	edit := func(i int, b byte) []byte {
		c := slices.Clone(good)
		c[i] = b
		return c
	}
	tests := []struct {
		name   string
		sealed []byte
		want   string
	}{
		{"nothing", nil, vault.Erased},
		{"empty", []byte{}, vault.Erased},
		{"short", good[:vault.Overhead-1], vault.TooShort},
		{"version", edit(0, 2), vault.OtherVersion},
		{"key", edit(4, 9), vault.NoSuchKey},
		{"nonce", edit(5, good[5]^1), vault.Changed},
		{"tag", edit(len(good)-1, good[len(good)-1]^1), vault.Changed},
	}
	for _, tt := range tests {
		_, err := v.Unseal(vault.ColumnPhone, row1, tt.sealed)
		if got := sealFault(t, err, vault.ColumnPhone, row1).Reason; got != tt.want {
			t.Errorf("%s: reason %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The layout stands in databases, so it is fixed: version, key id, nonce, SM4-GCM with name, zero byte and row as
// associated data. The stored value was made without this package, by GCM written out over OpenSSL's sm4-ecb.
func TestTheLayoutIsFixed(t *testing.T) {
	t.Parallel()
	v := vault.New(vault.Keys{
		Active: 7,
		Seal:   map[uint32][]byte{7: unhex(t, "0123456789abcdeffedcba9876543210")},
		Lookup: make([]byte, 32),
	})
	sealed := v.Seal(vault.ColumnName, row1, "张三")
	if got := sealed[:5]; !bytes.Equal(got, []byte{1, 0, 0, 0, 7}) {
		t.Errorf("a sealed value begins %x", got)
	}
	if id, ok := vault.KeyID(sealed); id != 7 || !ok {
		t.Errorf("KeyID = %d, %v", id, ok)
	}
	stored := unhex(t, "01000000070102030405060708090a0b0c29a7565e7c9f81dd702b42250e4f55a1bb81c3ddd9a6")
	got, err := v.Unseal(vault.ColumnName, row1, stored)
	if err != nil || got.Reveal() != "张三" {
		t.Errorf("a stored value opens as %q, %v", got.Reveal(), err)
	}
}

func TestLookupFindsEqualValues(t *testing.T) {
	t.Parallel()
	v := fixed()
	tests := []struct {
		name      string
		column    string
		a, b      string
		wantEqual bool
	}{
		{"same phone", vault.ColumnPhone, "13800000000", "13800000000", true},
		{"blanks and dashes", vault.ColumnPhone, "138 0000-0000", "13800000000", true},
		{"country code", vault.ColumnPhone, "+86 138 0000 0000", "13800000000", true},
		{"full width", vault.ColumnPhone, "１３８００００００００", "13800000000", true},
		{"other phone", vault.ColumnPhone, "13800000001", "13800000000", false},
		{"small x", vault.ColumnIDNo, "11010519491231002x", "11010519491231002X", true},
		{"other ID number", vault.ColumnIDNo, "110105194912310021", "11010519491231002X", false},
		{"other columns are exact", "deliveries.content", "1-2", "12", false},
		{"names are exact", vault.ColumnName, "张三", "张三 ", false},
	}
	for _, tt := range tests {
		if got := bytes.Equal(v.Lookup(tt.column, tt.a), v.Lookup(tt.column, tt.b)); got != tt.wantEqual {
			t.Errorf("%s: equal = %v, want %v", tt.name, got, tt.wantEqual)
		}
	}
	if bytes.Equal(v.Lookup("a", "b"), v.Lookup("b", "b")) || bytes.Equal(v.Lookup("a", "bc"), v.Lookup("ab", "c")) {
		t.Error("one value in two columns has one hash")
	}
	if bytes.Equal(v.Lookup("a", "b"), vault.Fixed([]byte("another")).Lookup("a", "b")) {
		t.Error("a look-up hash does not depend on the key")
	}
	if n := len(v.Lookup("a", "b")); n != 32 {
		t.Errorf("a look-up hash has %d bytes", n)
	}
}

func TestAVaultIsSharedByGoroutines(t *testing.T) {
	t.Parallel()
	v := fixed()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				sealed := v.SealBytes(vault.ColumnLabel, row1, []byte("%PDF-1.4"))
				got, err := v.UnsealBytes(vault.ColumnLabel, row1, sealed)
				if err != nil || string(got) != "%PDF-1.4" {
					t.Errorf("unsealed %q, %v", got, err)
					return
				}
				v.Lookup(vault.ColumnPhone, "13800000000")
			}
		})
	}
	wg.Wait()
}

func TestColumnsAreNamedOnce(t *testing.T) {
	t.Parallel()
	names := columnNames()
	want := []string{"deliveries.name", "deliveries.phone", "deliveries.id_no", "deliveries.address", "labels.pdf", "scans.desc",
		"deliveries.password", "retellings.desc", "raw_answers.body", "returns.agent_name", "readdressings.address", "interventions.address",
		"uploads.name", "uploads.file", "upload_rows.row", "users.totp",
		"webhook_endpoints.secret", "webhook_endpoints.old_secret", "webhook_endpoints.key", "webhook_endpoints.old_key", "manifests.courier", "message_replies.text"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names in the associated data are stored for good (-want +got):\n%s", diff)
	}
}

func FuzzUnseal(f *testing.F) {
	v := fixed()
	f.Add(v.Seal(vault.ColumnName, row1, "张三"))
	f.Add(v.Seal(vault.ColumnName, row2, "张三"))
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add(bytes.Repeat([]byte{1}, 64))
	seeds := map[string]bool{"张三": true}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		got, err := v.Unseal(vault.ColumnName, row1, sealed)
		if err == nil && !seeds[got.Reveal()] {
			t.Fatalf("%x opened, and nobody sealed it", sealed)
		}
		if err == nil {
			return
		}
		if !got.IsZero() {
			t.Fatal("a text beside the error")
		}
		sealFault(t, err, vault.ColumnName, row1)
		if id, ok := vault.KeyID(sealed); ok && id == 1 && len(sealed) < vault.Overhead {
			t.Fatal("a key id in a value that is too short")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	v := fixed()
	for b.Loop() {
		v.Seal(vault.ColumnAddress, row1, "示例路1号院2号楼301")
	}
}

func BenchmarkUnseal(b *testing.B) {
	v := fixed()
	sealed := v.Seal(vault.ColumnAddress, row1, "示例路1号院2号楼301")
	for b.Loop() {
		if _, err := v.Unseal(vault.ColumnAddress, row1, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	v := fixed()
	for b.Loop() {
		v.Lookup(vault.ColumnPhone, "13800000000")
	}
}
