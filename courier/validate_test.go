package courier

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
)

func TestAGoodApplicationHasNoFaults(t *testing.T) {
	t.Parallel()
	if faults := Validate(Normalise(goodApplication()), testNow); faults != nil {
		t.Errorf("faults %v, want none", faults)
	}
}

// TestFields walks over one spoiled field at a time; want is "field code", empty when it must pass.
func TestFieldsAreChecked(t *testing.T) {
	t.Parallel()
	secret := vault.Conceal
	tests := []struct {
		name  string
		spoil func(a *Application)
		want  string
	}{
		{"permit missing", func(a *Application) { a.PermitNo = "" }, "permit_no required"},
		{"permit blank", func(a *Application) { a.PermitNo = " \u3000" }, "permit_no required"},
		{"permit full-width", func(a *Application) { a.PermitNo = "Ａ１１００００" }, ""},
		{"permit with a hyphen", func(a *Application) { a.PermitNo = "A-11-2" }, ""},
		{"permit of 50", func(a *Application) { a.PermitNo = strings.Repeat("1", 50) }, ""},
		{"permit of 51", func(a *Application) { a.PermitNo = strings.Repeat("1", 51) }, "permit_no format"},
		{"permit with Han", func(a *Application) { a.PermitNo = "京A1" }, "permit_no format"},
		{"permit with NUL", func(a *Application) { a.PermitNo = "A1\x002" }, "permit_no format"},
		{"application missing", func(a *Application) { a.ApplicationNo = "" }, "application_no required"},
		{"business missing", func(a *Application) { a.Business = "" }, "business required"},
		{"business unknown is for the rules", func(a *Application) { a.Business = "renewal" }, ""},
		{"business with NUL", func(a *Application) { a.Business = "a\x00" }, "business format"},
		{"route missing", func(a *Application) { a.Route = "" }, "route required"},
		{"ground missing", func(a *Application) { a.Ground = "" }, "ground required"},
		{"R-14 has three grounds", func(a *Application) { a.Ground = "marriage" }, "ground unknown_value"},
		{"R-14 employment", func(a *Application) { a.Ground = "employment" }, ""},
		{"R-14 study", func(a *Application) { a.Ground = "study" }, ""},
		{"station missing", func(a *Application) { a.StationCode = "" }, "station_code required"},
		{"consent missing is R-13's", func(a *Application) { a.Consent = Consent{} }, ""},
		{"consent in the future", func(a *Application) { a.Consent.At = testNow.Add(6 * time.Minute) }, "consent.at future"},
		{"clock five minutes ahead", func(a *Application) { a.Consent.At = testNow.Add(5 * time.Minute) }, ""},
		{"consent with emoji", func(a *Application) { a.Consent.Source = "👍" }, "consent.source format"},
		{"notice too long", func(a *Application) { a.Consent.NoticeVersion = strings.Repeat("1", 51) }, "consent.notice_version format"},
		{"approval missing", func(a *Application) { a.ApprovedAt = time.Time{} }, "approved_at required"},
		{"approval in the future", func(a *Application) { a.ApprovedAt = testNow.Add(6 * time.Minute) }, "approved_at future"},
		{"approval in 1970", func(a *Application) { a.ApprovedAt = time.Unix(0, 0) }, "approved_at format"},
		{"payment method missing", func(a *Application) { a.PaymentMethod = "" }, "payment_method required"},
		{"payment method unknown is R-10's", func(a *Application) { a.PaymentMethod = "free" }, ""},

		{"name missing", func(a *Application) { a.Recipient.Name = secret(" ") }, "recipient.name required"},
		{"one character", func(a *Application) { a.Recipient.Name = secret("张") }, ""},
		{"Extension B", func(a *Application) { a.Recipient.Name = secret("张𠮷") }, ""},
		{"Extension G, plane 3", func(a *Application) { a.Recipient.Name = secret("张\U00030EDE") }, ""},
		{"zero as a character", func(a *Application) { a.Recipient.Name = secret("李〇") }, ""},
		{"middle dot", func(a *Application) { a.Recipient.Name = secret("阿依古丽·买买提") }, ""},
		{"other middle dots", func(a *Application) { a.Recipient.Name = secret("阿依古丽•买买提‧甲・乙") }, ""},
		{"Latin", func(a *Application) { a.Recipient.Name = secret("Anna-Lena O'Neil Jr.") }, ""},
		{"name of 50", func(a *Application) { a.Recipient.Name = secret(strings.Repeat("张", 50)) }, ""},
		{"name of 51", func(a *Application) { a.Recipient.Name = secret(strings.Repeat("张", 51)) }, "recipient.name too_long"},
		{"digit", func(a *Application) { a.Recipient.Name = secret("张3") }, "recipient.name character"},
		{"emoji", func(a *Application) { a.Recipient.Name = secret("张😀") }, "recipient.name character"},
		{"control character", func(a *Application) { a.Recipient.Name = secret("张\x07三") }, "recipient.name character"},
		{"line break", func(a *Application) { a.Recipient.Name = secret("张\n三") }, "recipient.name character"},
		{"zero-width space", func(a *Application) { a.Recipient.Name = secret("张\u200b三") }, "recipient.name character"},
		{"direction override", func(a *Application) { a.Recipient.Name = secret("张\u202e三") }, "recipient.name character"},
		{"broken text", func(a *Application) { a.Recipient.Name = secret("张\ufffd") }, "recipient.name character"},
		{"invalid UTF-8", func(a *Application) { a.Recipient.Name = secret("张\xff") }, "recipient.name character"},
		{"private character", func(a *Application) { a.Recipient.Name = secret("张\ue001") }, "recipient.name character"},
		{"a dot alone", func(a *Application) { a.Recipient.Name = secret("·") }, "recipient.name format"},
		{"a formula", func(a *Application) { a.Recipient.Name = secret("=HYPERLINK(1)") }, "recipient.name character"},

		{"phone missing", func(a *Application) { a.Recipient.Phone = vault.Secret{} }, "recipient.phone required"},
		{"+86", func(a *Application) { a.Recipient.Phone = secret("+86 138-0000-0001") }, ""},
		{"0086", func(a *Application) { a.Recipient.Phone = secret("008613800000001") }, ""},
		{"86 without plus", func(a *Application) { a.Recipient.Phone = secret("8613800000001") }, ""},
		{"full-width digits", func(a *Application) { a.Recipient.Phone = secret("１３８０００００００１") }, ""},
		{"no-break spaces", func(a *Application) { a.Recipient.Phone = secret("138\u00a00000\u00a00001") }, ""},
		{"ten digits", func(a *Application) { a.Recipient.Phone = secret("1380000000") }, "recipient.phone format"},
		{"twelve digits", func(a *Application) { a.Recipient.Phone = secret("138000000011") }, "recipient.phone format"},
		{"begins with 12", func(a *Application) { a.Recipient.Phone = secret("12800000001") }, "recipient.phone format"},
		{"fixed line", func(a *Application) { a.Recipient.Phone = secret("010-89735900") }, "recipient.phone format"},
		{"two numbers", func(a *Application) { a.Recipient.Phone = secret("13800000001/13800000002") }, "recipient.phone format"},
		{"Arabic digits", func(a *Application) { a.Recipient.Phone = secret("١٣٨٠٠٠٠٠٠٠١") }, "recipient.phone format"},
		{"lower-case x", func(a *Application) { a.Recipient.IDNo = secret("11010519491231002x") }, ""},
		{"ID with blanks", func(a *Application) { a.Recipient.IDNo = secret("110105 19491231 002X") }, ""},
		{"ID full-width", func(a *Application) {
			a.Recipient.IDNo = secret("１１０１０５１９４９１２３１００２Ｘ")
		}, ""},
		{"ID wrong", func(a *Application) { a.Recipient.IDNo = secret("110105194912310020") }, "recipient.id_no check_digit"},

		{"province short", func(a *Application) { a.Recipient.Province = "北京" }, "recipient.province unknown_division"},
		{"county elsewhere", func(a *Application) { a.Recipient.County = "浦东新区" }, "recipient.county unknown_division"},
		{"address missing", func(a *Application) { a.Recipient.Address = secret(" ") }, "recipient.address required"},
		{"address of 4", func(a *Application) { a.Recipient.Address = secret("示例路1") }, "recipient.address too_short"},
		{"address of 5", func(a *Application) { a.Recipient.Address = secret("示例路1号") }, ""},
		{"address of 200", func(a *Application) { a.Recipient.Address = secret(strings.Repeat("路", 200)) }, ""},
		{"address of 201", func(a *Application) { a.Recipient.Address = secret(strings.Repeat("路", 201)) }, "recipient.address too_long"},
		{"address on two lines", func(a *Application) { a.Recipient.Address = secret("示例路1号院\r\n2号楼\t301") }, ""},
		{"address of digits", func(a *Application) { a.Recipient.Address = secret("123456-789") }, "recipient.address format"},
		{"address with NUL", func(a *Application) { a.Recipient.Address = secret("示例路1号\x00院") }, "recipient.address character"},
		{"address with emoji", func(a *Application) { a.Recipient.Address = secret("示例路1号院🏠") }, "recipient.address character"},
		{"address in Extension B", func(a *Application) { a.Recipient.Address = secret("𠮷祥路1号院") }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := goodApplication()
			tt.spoil(&a)
			faults := Validate(Normalise(a), testNow)
			var got []string
			for _, f := range faults {
				got = append(got, f.Field+" "+f.Code)
				if f.Detail == "" {
					t.Errorf("%s %s says nothing", f.Field, f.Code)
				}
				for _, s := range []string{a.Recipient.Phone.Reveal(), a.Recipient.IDNo.Reveal(), a.Recipient.Address.Reveal()} {
					if strings.TrimSpace(s) != "" && strings.Contains(f.Detail, s) {
						t.Errorf("%s quotes the value: %s", f.Field, f.Detail)
					}
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEveryFaultIsToldAtOnce(t *testing.T) {
	t.Parallel()
	faults := Validate(Normalise(Application{}), testNow)
	var got []string
	for _, f := range faults {
		if f.Code == "required" {
			got = append(got, f.Field)
		}
	}
	want := []string{"permit_no", "application_no", "business", "route", "ground", "station_code", "approved_at", "payment_method",
		"recipient.name", "recipient.phone", "recipient.id_no", "recipient.province", "recipient.address"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("required fields (-want +got):\n%s", diff)
	}
}

func TestNormaliseIsStable(t *testing.T) {
	t.Parallel()
	a := goodApplication()
	a.PermitNo, a.Recipient.Phone = "ａ1-b ", vault.Conceal("+86（138）0000-0001")
	once := Normalise(a)
	if diff := cmp.Diff(once, Normalise(once)); diff != "" {
		t.Errorf("a second pass changes (-once +twice):\n%s", diff)
	}
	if got := once.PermitNo + " " + once.Recipient.Phone.Reveal(); got != "A1-B 13800000001" {
		t.Errorf("normalised %q", got)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"13800000001", "+86 138", "１３８", "张·三", "\ufffd\x00", "8686868686868613800000001"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, phone, text string) {
		a := goodApplication()
		a.Recipient.Phone, a.Recipient.Name, a.Recipient.Address, a.PermitNo = vault.Conceal(phone), vault.Conceal(text), vault.Conceal(text), text
		a = Normalise(a)
		if len(Validate(a, testNow)) == 0 {
			for _, s := range []string{a.PermitNo, a.Recipient.Name.Reveal(), a.Recipient.Address.Reveal(), a.Recipient.Phone.Reveal()} {
				if strings.ContainsAny(s, "\x00\n\r") || s == "" {
					t.Errorf("%q passes", s)
				}
			}
			if fmt.Sprint(Normalise(a).Recipient.Phone.Reveal()) != a.Recipient.Phone.Reveal() {
				t.Errorf("%q is not stable", phone)
			}
		}
	})
}
