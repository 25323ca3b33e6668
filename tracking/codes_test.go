package tracking

import (
	"slices"
	"strings"
	"testing"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
)

// The dictionary copied from the platform on 2026-05-13 has 197 codes, 24 deliverCodes and 16 attemptDeliveryCodes. The
// dossier names 200 codes: those 197 and three that were seen in real traces although the dictionary lacks them.
func TestTheTableIsComplete(t *testing.T) {
	t.Parallel()
	var unlisted []string
	for _, c := range codes {
		if !c.Listed {
			unlisted = append(unlisted, c.Code)
		}
	}
	slices.Sort(unlisted)
	if diff := cmp.Diff([]string{"306", "307", "989"}, unlisted); diff != "" {
		t.Errorf("codes that the dictionary lacks: want -, got +\n%s", diff)
	}
	if got := len(codes) - len(unlisted); got != 197 {
		t.Errorf("%d codes of the dictionary, want 197", got)
	}
	if len(receivers) != 24 || len(attempts) != 16 {
		t.Errorf("%d deliverCodes and %d attemptDeliveryCodes, want 24 and 16", len(receivers), len(attempts))
	}
}

func TestEveryCodeOfTheDomesticListHasItsGroup(t *testing.T) {
	t.Parallel()
	want := map[Group]string{
		Before:         "764",
		Accepted:       "203 208",
		InTransit:      "303 336 345 305 306 307 356 358 360 364 365 368 370 371 374 375 376 379 394 399 893 913 916 931 932 937 389 954 989 396 404 950 911 912 991 713",
		OutForDelivery: "702 749", AttemptFailed: "705", Held: "747 723", Delivered: "704 748", Changed: "756 802 803",
		Withdrawn: "801 013", Exception: "993 751 651", Returning: "708 741 312 326 447 405 482 750", Returned: "711", Lost: "987 988",
		Void: "207 212 304 472 742 743 744 448 474 483",
	}
	n := 0
	for group, list := range want {
		for _, code := range strings.Fields(list) {
			n++
			if c, ok := Lookup(code); !ok || c.Group != group {
				t.Errorf("code %s: group %q, want %q", code, c.Group, group)
			}
		}
	}
	if n != 75 {
		t.Errorf("%d codes in 4.1, want 75", n)
	}
}

func TestVoidsNameWhatTheyTakeBack(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, c := range codes {
		if (c.Group == Void) != (len(c.Voids) > 0) {
			t.Errorf("code %s: group %s voids %v", c.Code, c.Group, c.Voids)
		}
		for _, v := range c.Voids {
			if target, ok := codes[v]; !ok || target.Group == Void {
				t.Errorf("code %s voids %s, which the table lacks or which is a void itself", c.Code, v)
			}
		}
		if len(c.Voids) > 0 {
			got[c.Code] = strings.Join(c.Voids, " ")
		}
	}
	want := map[string]string{"207": "203", "212": "208", "304": "303 336 345", "472": "404", "742": "702", "743": "704", "744": "705",
		"448": "447", "474": "405", "483": "482",
		"424": "423", "EDAD": "EDA", "EDCD": "EDC", "EMED": "EME", "EXAD": "EXA", "EXBD": "EXB", "EXCD": "EXC", "EXDD": "EXD"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("voids: want -, got +\n%s", diff)
	}
}

func TestTheSmallTablesAreWellFormed(t *testing.T) {
	t.Parallel()
	for _, r := range receivers {
		if !slices.Contains(decidable, r.Class) {
			t.Errorf("deliverCode %s: class %q", r.Code, r.Class)
		}
	}
	if r := receivers["180"]; r.Class != ReceiverClaim {
		t.Errorf("deliverCode 180 has the class %s: a signed claim is no delivery", r.Class)
	}
	for _, a := range attempts {
		if a.Meaning == "" || !courier.Ordered.MayBecome(a.Status, "") {
			t.Errorf("attemptDeliveryCode %s: meaning %q, status %q", a.Code, a.Meaning, a.Status)
		}
	}
}

// Residents read these: plain sentences, each ended, without a person, a number or a link.
func TestEveryCodeHasItsOwnPlainSentence(t *testing.T) {
	t.Parallel()
	check := func(code, s string) {
		if !strings.HasSuffix(s, "。") || strings.ContainsAny(s, "0123456789【】:/") {
			t.Errorf("sentence of %s: %q", code, s)
		}
	}
	for _, c := range codes {
		check(c.Code, Sentence(c.Code))
	}
	check("an unknown code", Sentence("Z99"))
	for _, r := range receivers {
		check("704/"+r.Code, SentenceOf(courier.Scan{Code: "704", DeliverCode: r.Code}))
	}
	for class, sentence := range classes {
		check(class, sentence)
	}
	for _, a := range attempts {
		check("705/"+a.Code, SentenceOf(courier.Scan{Code: "705", AttemptCode: a.Code}))
	}
	if got := SentenceOf(courier.Scan{Code: "704", DeliverCode: "161"}); got != "邮件已放在家门口。" {
		t.Errorf("SentenceOf(704/161) = %q", got)
	}
}
