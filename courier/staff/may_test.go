package staff

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// who lists the roles that may do something, by their first letters: c, b, s, a (administrator), u (auditor).
var who = map[Action]string{
	ReadToday: "cbsau", ReadQueue: "cbsau", ReadDelivery: "cbsau", ReadCases: "cbsau", ReadSettings: "bsau", ReadAudit: "au",
	SearchPerson: "cbs", Export: "cbsau", ExportClear: "s", Unmask: "cbs",
	Cancel: "cbs", Retry: "bs", Address: "cbs", HandOver: "cbs", Pay: "cbs", Refund: "bs", NotReceived: "cbs", Intervene: "bs",
	Redispatch: "cbs", AskEMS: "cbsa", Propose: "cbs", Confirm: "s",
	PackCheck: "cbs", Label: "cbs", Manifest: "cbs", Returns: "cbs", WorkCases: "cbs", ReadBills: "bsau", Bills: "bs", Import: "cbsa",
	WriteSettings: "a", ManageUsers: "a", ManageTokens: "a", ManageHooks: "a", DoNotSend: "bsa", VerifyAudit: "au",
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	letters := map[Role]string{Counter: "c", BackOffice: "b", Supervisor: "s", Administrator: "a", Auditor: "u"}
	for a := range allowed {
		if _, ok := who[a]; !ok {
			t.Errorf("%s is new: think about who may do it, then add it here", a)
		}
	}
	for a, want := range who {
		got := ""
		for _, r := range Roles {
			if May(r, a) {
				got += letters[r]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", a, diff)
		}
	}
	for _, r := range append(slices.Clone(Roles), "", "root") {
		if May(r, "") || May(r, "no.such") {
			t.Errorf("%q may do what nobody has named", r)
		}
	}
}

func TestAnAuditorWritesNothing(t *testing.T) {
	t.Parallel()
	for a := range allowed {
		if May(Auditor, a) && !strings.HasSuffix(string(a), ".read") && a != Export && a != VerifyAudit {
			t.Errorf("an auditor may %s", a)
		}
	}
}

func TestPasswordsThatAreGuessedAreRefused(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"short": "length", strings.Repeat("長", 129): "length", "aaaaaaaaaaaa": "guessable", "abababababab": "guessable",
		"password12": "guessable", "12345678ab": "guessable", "zhangwei-2026": "guessable", "ZhangWei 2026": "guessable", "bad\xffbytes here": "characters",
		"four wet horses": "", "一二三四五六七八九十": "", "correct-horse-12345678": "",
	} {
		code := ""
		if f := checkPassword(password, "zhangwei"); len(f) > 0 {
			code = f[0].Code
		}
		if want == "characters" {
			want = "code"
			if code != "" {
				code = "code"
			}
		}
		if code != want {
			t.Errorf("%q: %q, want %q", password, code, want)
		}
	}
	for range 50 {
		if f := checkPassword(drawPassword(), "zhangwei"); len(f) > 0 {
			t.Errorf("a drawn password is refused: %v", f)
		}
	}
}
