package courier

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDNoIsCheckedToItsLastDigit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, beijing)
	tests := []struct{ name, id, code string }{
		{"the standard's example", "11010519491231002X", ""}, // GB 11643-1999, annex A
		{"its second example", "440524188001010014", "birth_date"},
		{"another", withCheck("11010119900307753"), ""},
		{"permit for a resident of Hong Kong", withCheck("81000019900307753"), ""},
		{"Macao", withCheck("82000019900307753"), ""},
		{"Taiwan", withCheck("83000019900307753"), ""},
		{"wrong check digit", "110105194912310021", "check_digit"},
		{"two digits swapped", "11010519491213002X", "check_digit"},
		{"fifteen digits", "110105491231002", "old_id_no"},
		{"too short", "1101051949123100", "format"},
		{"letter inside", "1101051949A231002X", "format"},
		{"not ASCII", "1101051949123100二", "format"},
		{"unknown region", withCheck("99010519491231002"), "region"},
		{"no such day", withCheck("11010519490230002"), "birth_date"},
		{"born today", withCheck("11010520261124002"), ""},
		{"born tomorrow", withCheck("11010520261125002"), "birth_date"},
		{"nothing", "", "required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, ok := checkIDNo("recipient.id_no", tt.id, now)
			if ok != (tt.code == "") || f.Code != tt.code {
				t.Errorf("fault %q, want %q", f.Code, tt.code)
			}
		})
	}
}

// withCheck completes a number with its check digit.
func withCheck(first17 string) string { return first17 + string(checkDigit(first17+"0")) }

func TestOneWrongDigitIsAlwaysNoticed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := withCheck(fmt.Sprintf("110105%04d%02d%02d%03d", rapid.IntRange(1900, 2020).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"),
			rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 999).Draw(t, "sequence")))
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, beijing)
		if f, ok := checkIDNo("id", id, now); !ok {
			t.Fatalf("%s: %s", id, f.Code)
		}
		i := rapid.IntRange(0, 16).Draw(t, "position")
		wrong := []byte(id)
		wrong[i] = '0' + (wrong[i]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
		if _, ok := checkIDNo("id", string(wrong), now); ok {
			t.Fatalf("%s passes for %s", wrong, id)
		}
	})
}
