package tracking

import (
	"slices"
	"testing"
	"time"

	"emsd/courier"

	"pgregory.net/rapid"
)

func TestNext(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, beijing)
	night := time.Date(2026, 11, 25, 23, 30, 0, 0, beijing)
	dawn := time.Date(2026, 11, 25, 7, 45, 0, 0, beijing)
	tests := []struct {
		name     string
		stage    courier.Status
		silent   time.Duration
		failures int
		now      time.Time
		want     time.Duration // 0: never
	}{
		{"before hand-over", courier.Ordered, time.Hour, 0, noon, time.Hour},
		{"long not handed over", courier.Ordered, 100 * time.Hour, 0, noon, 4 * time.Hour},
		{"accepted", courier.Accepted, time.Hour, 0, noon, 30 * time.Minute},
		{"in transit", courier.InTransit, time.Hour, 0, noon, 30 * time.Minute},
		{"in transit at night", courier.InTransit, time.Hour, 0, night, 2 * time.Hour},
		{"in transit, silent for three days", courier.InTransit, 72 * time.Hour, 0, noon, 2 * time.Hour},
		{"in transit, silent for a week and a day", courier.InTransit, 8 * 24 * time.Hour, 0, noon, 6 * time.Hour},
		{"in transit, silent for a month", courier.InTransit, 30 * 24 * time.Hour, 0, noon, 12 * time.Hour},
		{"with the courier", courier.OutForDelivery, time.Hour, 0, noon, 10 * time.Minute},
		{"with the courier at night", courier.OutForDelivery, time.Hour, 0, night, 40 * time.Minute},
		{"with the courier just before eight", courier.OutForDelivery, time.Hour, 0, dawn, 15 * time.Minute},
		{"with the courier since yesterday", courier.OutForDelivery, 30 * time.Hour, 0, noon, time.Hour},
		{"attempt failed", courier.AttemptFailed, time.Hour, 0, noon, 30 * time.Minute},
		{"held", courier.Held, time.Hour, 0, noon, time.Hour},
		{"returning", courier.Returning, time.Hour, 0, noon, 2 * time.Hour},
		{"one failure doubles", courier.InTransit, time.Hour, 1, noon, time.Hour},
		{"failures are capped", courier.InTransit, time.Hour, 99, noon, 8 * time.Hour},
		{"a failure never shortens a wait", courier.InTransit, 30 * 24 * time.Hour, 1, noon, 12 * time.Hour},
		{"failures of the delivery day too", courier.OutForDelivery, time.Hour, 3, noon, 80 * time.Minute},
		{"delivered", courier.Delivered, 0, 0, noon, 0},
		{"returned", courier.Returned, 0, 0, noon, 0},
		{"lost", courier.Lost, 0, 3, noon, 0},
		{"cancelled", courier.Cancelled, 0, 0, noon, 0},
		{"not ordered", courier.Approved, 0, 0, noon, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := DefaultPlan().Next(tt.stage, tt.now.Add(-tt.silent), tt.now.Add(-60*24*time.Hour), tt.failures, tt.now)
			want := tt.now.Add(tt.want)
			if tt.want == 0 {
				want = time.Time{}
			}
			if !got.Equal(want) {
				t.Errorf("Next = %s, want %s", got, want)
			}
		})
	}
}

func TestALiveEnvelopeIsAskedAboutWithinADayAndNeverAtOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stage := rapid.SampledFrom(courier.Statuses).Draw(t, "stage")
		at := func(name string) time.Time { return time.Unix(rapid.Int64Range(-1e9, 4e9).Draw(t, name), 0) }
		now := at("now")
		no := rapid.StringMatching(`[0-9]{13}`).Draw(t, "waybill")
		next, urgency := DefaultPlan().Next(stage, at("changed"), at("ordered"), rapid.IntRange(0, 1e6).Draw(t, "failures"), now)
		if urgency < 0 || urgency >= urgencies {
			t.Fatalf("urgency %d of %s", urgency, stage)
		}
		next = Spread(next, now, no)
		live := slices.Contains([]courier.Status{courier.Ordered, courier.Accepted, courier.InTransit, courier.OutForDelivery,
			courier.AttemptFailed, courier.Held, courier.Returning}, stage)
		if !live {
			if !next.IsZero() {
				t.Fatalf("%s is asked about at %s", stage, next)
			}
			return
		}
		if wait := next.Sub(now); wait <= 0 || wait > maxWait*11/10 {
			t.Fatalf("%s is asked about in %s", stage, wait)
		}
	})
}

func TestSpreadGivesEachWaybillItsShare(t *testing.T) {
	t.Parallel()
	now := base
	next := now.Add(time.Hour)
	shares := map[time.Duration]bool{}
	for _, no := range []string{"1200000001417", "1200000002417", "1200000003417", "1200000004417"} {
		d := Spread(next, now, no).Sub(next)
		if d < 0 || d >= 6*time.Minute {
			t.Errorf("Spread delays %s by %s, want less than a tenth of the hour", no, d)
		}
		if !Spread(next, now, no).Equal(Spread(next, now, no)) {
			t.Errorf("Spread of %s differs from call to call", no)
		}
		shares[d] = true
	}
	if len(shares) < 3 {
		t.Errorf("four waybills share %d delays", len(shares))
	}
	if !Spread(time.Time{}, now, "1").IsZero() {
		t.Error("Spread of never is not never")
	}
}

func TestEveryUrgencyHasItsTurn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, 1e9).Draw(t, "turn")
		first := map[int]int{}
		for turn := from; turn < from+fairTurn*(urgencies-1); turn++ {
			order := claimOrder(turn)
			seen := map[int]bool{}
			for _, u := range order {
				seen[u] = true
			}
			if len(seen) != urgencies {
				t.Fatalf("turn %d goes through %v", turn, order)
			}
			first[order[0]]++
		}
		if first[urgent] != (fairTurn-1)*(urgencies-1) {
			t.Fatalf("the most urgent begin %d of %d chunks", first[urgent], fairTurn*(urgencies-1))
		}
		for u := 1; u < urgencies; u++ {
			if first[u] != 1 {
				t.Fatalf("urgency %d begins %d of %d chunks", u, first[u], fairTurn*(urgencies-1))
			}
		}
	})
}

func TestAStageWithoutARowKeepsTheBuiltInOne(t *testing.T) {
	t.Parallel()
	p := newPlan([]planRow{{courier.Held, 48 * time.Hour, time.Minute, time.Minute, 0}, {courier.InTransit, 0, 5 * time.Minute, 5 * time.Minute, 1}})
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, beijing)
	at, urgency := p.Next(courier.Held, now, now, 0, now)
	if want := now.Add(time.Hour); !at.Equal(want) || urgency != 1 {
		t.Errorf("held: asked at %s with urgency %d, want the built-in hour and 1", at, urgency)
	}
	if at, urgency = p.Next(courier.InTransit, now, now, 0, now); !at.Equal(now.Add(5*time.Minute)) || urgency != 1 {
		t.Errorf("in transit: asked at %s with urgency %d, want the operator's row", at, urgency)
	}
	if len(p.Missing) != len(askedStages)-1 {
		t.Errorf("missing rows are told for %v", p.Missing)
	}
}
