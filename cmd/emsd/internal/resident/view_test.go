package resident

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/tracking"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// Every text in a view is of a type whose values are ours, or of an institution (I-9).
func TestI9_AViewHasNoPlaceForAPerson(t *testing.T) {
	ours := map[reflect.Type]bool{
		reflect.TypeFor[Language](): true, reflect.TypeFor[courier.Status](): true, reflect.TypeFor[Class](): true, reflect.TypeFor[Back](): true,
		reflect.TypeFor[tracking.Group](): true, reflect.TypeFor[Institution](): true, reflect.TypeFor[time.Time](): true,
	}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		if ours[typ] {
			return
		}
		switch typ.Kind() {
		case reflect.Bool, reflect.Int, reflect.Int64:
		case reflect.Pointer, reflect.Slice:
			walk(path, typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		default:
			t.Errorf("%s is a %s: it could hold somebody's name", path, typ)
		}
	}
	walk("View", reflect.TypeFor[View]())
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, beijing)

// said is all that a page says of a view, for golden files.
func said(v View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  [%s] %s\n", v.Tone(), v.Headline())
	for _, s := range v.Next() {
		fmt.Fprintf(&b, "  - %s\n", s)
	}
	for _, s := range []string{v.Papers(), v.Expected()} {
		if s != "" {
			fmt.Fprintf(&b, "  · %s\n", s)
		}
	}
	fmt.Fprintf(&b, "  report %t, again %t, station %t\n", v.MayReport, v.MayAskAgain, v.ShowStation())
	return b.String()
}

// everySituation is a delivery in every status, delivered to every class, waiting everywhere, and back in every way.
func everySituation() (names []string, facts []Facts) {
	add := func(name string, f Facts) { names, facts = append(names, name), append(facts, f) }
	base := func(s courier.Status) Facts {
		f := Facts{Station: courier.Station{Name: "示例派出所", Province: "北京市", City: "北京市", County: "朝阳区", Address: "示例路9号", Hours: "09:00-17:00"}}
		f.Status, f.StatusSince, f.FeeFen, f.PaidFen, f.PaymentMethod = s, noon.Add(-2*time.Hour), 2000, 800, courier.Prepaid
		return f
	}
	for _, s := range courier.Statuses {
		if s == courier.Delivered || s == courier.Held || s == courier.Returned {
			continue
		}
		f := base(s)
		if s == courier.Cancelled {
			f.RefundDueFen = 800
		}
		add(string(s), f)
	}
	for _, c := range []string{tracking.ReceiverSelf, tracking.ReceiverCollected, tracking.ReceiverFamily, tracking.ReceiverColleague, tracking.ReceiverAgent,
		tracking.ReceiverReception, tracking.ReceiverOffice, tracking.ReceiverProperty, tracking.ReceiverVillage, tracking.ReceiverDoor, tracking.ReceiverMeterBox,
		tracking.ReceiverLetterbox, tracking.ReceiverOther, tracking.ReceiverUnstated, tracking.ReceiverUnknown} {
		f := base(courier.Delivered)
		f.Receiver = c
		add("delivered/"+c, f)
	}
	for _, c := range []string{"", tracking.ReceiverLocker, tracking.ReceiverPickupPoint} {
		f := base(courier.Held)
		f.Receiver, f.HeldUntil = c, noon.AddDate(0, 0, 3)
		add("held/"+c, f)
	}
	f := base(courier.Returned)
	add("returned/on the way", f)
	f.Return = &courier.Return{RetainUntil: noon.AddDate(0, 0, 20)}
	add("returned/on the shelf", f)
	g := f
	g.Return = &courier.Return{PickedUpAt: noon}
	add("returned/picked up", g)
	g.Return = &courier.Return{DisposedAt: noon}
	add("returned/disposed of", g)
	x := base(courier.InTransit)
	x.Steps = []tracking.Step{{At: noon.Add(-26 * time.Hour), Group: tracking.Accepted}, {At: noon.Add(-20 * time.Hour), Group: tracking.InTransit}}
	x.Expected = &tracking.Expectation{Low: 1, Median: 2, High: 3}
	add("in_transit/with days", x)
	y := base(courier.Ordered)
	y.Expected, y.PaymentMethod = &tracking.Expectation{Low: 1, Median: 2, High: 3}, courier.Collect
	add("ordered/with days, collect", y)
	return names, facts
}

// TestI7_EverySituationIsSaidTrulyInBothLanguages: the golden file is read by people; what nobody signed for is never
// said to be in the holder's hands.
func TestI7_EverySituationIsSaidTrulyInBothLanguages(t *testing.T) {
	names, facts := everySituation()
	var b strings.Builder
	for i, f := range facts {
		zh, en := Compose(f, Chinese, noon), Compose(f, English, noon)
		fmt.Fprintf(&b, "%s\n%s%s\n", names[i], said(zh), said(en))
		if zh.Headline() == "请致电查询" {
			t.Errorf("nothing is said of %s", names[i])
		}
		for _, s := range append(en.Next(), en.Headline(), en.Papers(), en.Expected()) {
			for _, r := range s {
				if r >= 0x2E80 {
					t.Errorf("%s: the English text holds Chinese: %s", names[i], s)
					break
				}
			}
		}
		inHand := f.Status == courier.Delivered && (f.Receiver == tracking.ReceiverSelf || f.Receiver == tracking.ReceiverCollected)
		if f.Status == courier.Delivered && zh.InHand() != inHand {
			t.Errorf("%s: in hand is %t", names[i], zh.InHand())
		}
		if f.Status == courier.Delivered && !inHand && (!strings.Contains(zh.Headline(), "EMS 登记") || zh.Tone() != "ask" || !zh.MayReport) {
			t.Errorf("%s is told as a success: %s", names[i], zh.Headline())
		}
	}
	path := filepath.Join("testdata", "situations.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("what pages say (-want +got), rewrite with -update:\n%s", diff)
	}
}

func TestEveryGroupOfScansHasOurWords(t *testing.T) {
	for _, g := range tracking.Groups() {
		if words := groupWords[g]; g != tracking.Void && (words[0] == "" || words[1] == "") {
			t.Errorf("no words for scans of group %s", g)
		}
	}
}

func TestTheHotlineIsOpenByItsHours(t *testing.T) {
	// A Tuesday, a Saturday, a Sunday, National Day and New Year's Day: the notice says daily.
	for _, day := range []string{"2026-11-24", "2026-11-28", "2026-11-29", "2026-10-01", "2027-01-01"} {
		for at, want := range map[string]bool{"08:59:59": false, "09:00:00": true, "12:30:00": true, "17:59:59": true, "18:00:00": false, "00:10:00": false} {
			now, err := time.ParseInLocation(time.DateTime, day+" "+at, beijing)
			if err != nil {
				t.Fatal(err)
			}
			if got := (View{Now: now.UTC()}).Open(); got != want {
				t.Errorf("on %s at %s the hotline is open: %t", day, at, got)
			}
		}
	}
}

func TestScansAreToldOnceEachAndNeverTheWithdrawnOnes(t *testing.T) {
	at := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	f := Facts{Steps: []tracking.Step{{At: at(0), Group: tracking.Accepted}, {At: at(1), Group: tracking.InTransit}, {At: at(2), Group: tracking.InTransit},
		{At: at(3), Group: tracking.Delivered, Voided: true}, {At: at(4), Group: tracking.Void}, {At: at(5), Group: tracking.OutForDelivery}, {At: at(6)}}}
	v := Compose(f, Chinese, noon)
	want := []Scan{{at(5), tracking.OutForDelivery}, {at(1), tracking.InTransit}, {at(0), tracking.Accepted}}
	if diff := cmp.Diff(want, v.Scans); diff != "" {
		t.Errorf("scans (-want +got):\n%s", diff)
	}
}
