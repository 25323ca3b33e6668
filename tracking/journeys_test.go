package tracking

import (
	"slices"
	"testing"
	"time"

	"emsd/courier"

	"pgregory.net/rapid"
)

func TestAJourneyIsComputedFromAllScans(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		status    courier.Status
		scans     []courier.Scan
		idChecked bool

		accepted, attempt int // hours; -1: not yet
		atOnce            bool
		ended             int
	}{
		{name: "ordered", status: courier.Ordered, accepted: -1, attempt: -1, ended: -1},
		{name: "on its way", status: courier.InTransit, scans: []courier.Scan{at(2, "203"), at(9, "305")}, accepted: 2, attempt: -1, ended: -1},
		{name: "delivered at once", status: courier.Delivered, scans: []courier.Scan{at(2, "203"), at(9, "305"), at(20, "702"), at(22, "704/10")},
			accepted: 2, attempt: 22, atOnce: true, ended: 22},
		{name: "delivered at the second attempt", status: courier.Delivered,
			scans: []courier.Scan{at(2, "203"), at(20, "702"), at(22, "705/1"), at(44, "702"), at(46, "704/10")}, accepted: 2, attempt: 22, ended: 46},
		{name: "seen in one bunch, in the wrong order", status: courier.Delivered,
			scans: []courier.Scan{at(46, "704/10"), at(22, "705/1"), at(2, "203")}, accepted: 2, attempt: 22, ended: 46},
		{name: "no acceptance was scanned", status: courier.Delivered, scans: []courier.Scan{at(9, "305"), at(22, "704/10")},
			accepted: 9, attempt: 22, atOnce: true, ended: 22},
		{name: "the acceptance comes after the first leg", status: courier.InTransit, scans: []courier.Scan{at(9, "305"), at(10, "203")},
			accepted: 9, attempt: -1, ended: -1},
		{name: "a locker is no delivery at once", status: courier.Delivered, scans: []courier.Scan{at(2, "203"), at(22, "747"), at(30, "748")},
			accepted: 2, attempt: 22, ended: 30},
		{name: "a door is no delivery at once (I-7)", status: courier.Delivered, scans: []courier.Scan{at(2, "203"), at(22, "704/161")},
			accepted: 2, attempt: 22, ended: 22},
		{name: "the delivery was taken back", status: courier.OutForDelivery,
			scans: []courier.Scan{at(2, "203"), at(20, "702"), at(22, "704/10"), at(23, "743")}, accepted: 2, attempt: -1, ended: -1},
		{name: "the failed attempt was taken back", status: courier.Delivered,
			scans: []courier.Scan{at(2, "203"), at(20, "702"), at(21, "705/1"), at(22, "744"), at(23, "704/10")}, accepted: 2, attempt: 23, atOnce: true, ended: 23},
		{name: "what happens on the way back is no attempt", status: courier.Returned,
			scans: []courier.Scan{at(2, "203"), at(20, "708"), at(30, "702"), at(31, "705/1"), at(40, "711")}, accepted: 2, attempt: -1, ended: 40},
		{name: "a scan of an earlier envelope does not count", status: courier.Accepted, scans: []courier.Scan{at(-400, "704/10"), at(2, "203")},
			accepted: 2, attempt: -1, ended: -1},
		{name: "a person has ended it", status: courier.Lost, scans: []courier.Scan{at(2, "203")}, accepted: 2, attempt: -1, ended: 99},
		{name: "cancelled", status: courier.Cancelled, accepted: -1, attempt: -1, ended: 99},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := journeyOf(traveller{status: tt.status, since: hour(99), Envelope: Envelope{OrderedAt: base, IDChecked: tt.idChecked}}, tt.scans, DefaultRulebook())
			for what, x := range map[string]struct {
				got  time.Time
				want int
			}{"accepted": {j.acceptedAt, tt.accepted}, "attempt": {j.firstAttemptAt, tt.attempt}, "ended": {j.endedAt, tt.ended}} {
				if want := hour(x.want); x.want >= 0 && !x.got.Equal(want) || x.want < 0 && !x.got.IsZero() {
					t.Errorf("%s at %s, want hour %d", what, x.got, x.want)
				}
			}
			if j.firstAttemptOK != tt.atOnce || (j.outcome != "") != tt.status.Final() {
				t.Errorf("at once %t, outcome %q; want %t and one when it has ended", j.firstAttemptOK, j.outcome, tt.atOnce)
			}
		})
	}
}

func TestI6_AJourneyDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := anyScans().Draw(t, "scans")
		who := traveller{status: Fold(scans, base).Status, since: hour(900), Envelope: Envelope{OrderedAt: base}}
		want := journeyOf(who, scans, DefaultRulebook())
		got := journeyOf(who, rapid.Permutation(append(slices.Clone(scans), scans...)).Draw(t, "again"), DefaultRulebook())
		if got != want {
			t.Fatalf("%+v, in another order %+v", want, got)
		}
		if !want.firstAttemptAt.IsZero() && want.firstAttemptAt.Before(want.acceptedAt) {
			t.Fatalf("tried at %s, before it was accepted at %s", want.firstAttemptAt, want.acceptedAt)
		}
		if want.endedAt.IsZero() != !who.status.Final() {
			t.Fatalf("%s, ended at %s", who.status, want.endedAt)
		}
	})
}

func TestAQuantileIsTheSmallestThatHoldsItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(t, "days")
		q := rapid.SampledFrom([]float64{0.1, 0.5, 0.9}).Draw(t, "q")
		slices.Sort(all)
		var counts dayCounts
		for _, d := range all {
			if n := len(counts); n == 0 || counts[n-1].days != d {
				counts = append(counts, dayCount{days: d})
			}
			counts[len(counts)-1].n++
		}
		need := 0
		for float64(need) < q*float64(len(all)) {
			need++
		}
		if got, want := counts.quantile(q), all[max(need, 1)-1]; got != want {
			t.Fatalf("quantile %g of %v = %d, want %d", q, all, got, want)
		}
	})
}

func TestTheBasisOfAnExpectationIsASentence(t *testing.T) {
	t.Parallel()
	r := Route{"110105001", "北京市", "北京市", "朝阳区"}
	tests := []struct {
		x    Expectation
		want string
	}{
		{Expectation{Low: 1, High: 2, Cases: 132, Level: LevelCounty}, "近180天本派出所寄往朝阳区的132件中，八成在收寄后1至2天内送达"},
		{Expectation{Low: 0, High: 2, Cases: 45, Level: LevelCity}, "近180天本派出所寄往北京市的45件中，八成在收寄后2天内送达"},
		{Expectation{Low: 3, High: 3, Cases: 2000, Level: LevelProvince}, "近180天本派出所寄往北京市的最近2000件中，八成在收寄后第3天送达"},
		{Expectation{Cases: 20, Level: LevelAny}, "近180天全市各派出所寄往北京市的20件中，八成在收寄当天送达"},
	}
	for _, tt := range tests {
		if got := tt.x.basis(r); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
