package courier

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQuoteTakesTheTariffInForce(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2026, 12, 1, 0, 0, 0, 0, beijing)
	tariffs := []Tariff{
		{Zone: "同城", Provinces: []string{"北京市"}, ValidFrom: midnight.AddDate(-1, 0, 0), FirstWeightG: 500, FirstFen: 1200, StepWeightG: 500, StepFen: 200},
		{Zone: "同城", Provinces: []string{"北京市"}, ValidFrom: midnight, FirstWeightG: 500, FirstFen: 1500, StepWeightG: 500, StepFen: 200},
		{Zone: "旧", Provinces: []string{"上海市"}, ValidFrom: midnight.AddDate(-1, 0, 0), ValidTo: midnight, FirstWeightG: 500, FirstFen: 2000, StepWeightG: 100, StepFen: 50},
	}
	tests := []struct {
		name     string
		province string
		weightG  int
		now      time.Time
		fen      int64
		ok       bool
	}{
		{"first weight", "北京市", 80, midnight.Add(-time.Nanosecond), 1200, true},
		{"new tariff from midnight in Beijing", "北京市", 80, midnight, 1500, true},
		{"exactly the first weight", "北京市", 500, midnight, 1500, true},
		{"a gram more begins a step", "北京市", 501, midnight, 1700, true},
		{"steps", "上海市", 750, midnight.Add(-time.Hour), 2000 + 3*50, true},
		{"ended", "上海市", 80, midnight, 0, false},
		{"no zone", "西藏自治区", 80, midnight, 0, false},
		{"before the first", "北京市", 80, midnight.AddDate(-2, 0, 0), 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, ok := Quote(tariffs, tt.province, tt.weightG, tt.now)
			if ok != tt.ok || q.Fen != tt.fen {
				t.Errorf("Quote = %d, %v, want %d, %v", q.Fen, ok, tt.fen, tt.ok)
			}
		})
	}
}

func TestQuoteNeverFallsAsWeightGrows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tariff := Tariff{FirstWeightG: rapid.IntRange(1, 2000).Draw(t, "first"), FirstFen: rapid.Int64Range(0, 9999).Draw(t, "fen"),
			StepWeightG: rapid.IntRange(1, 2000).Draw(t, "step"), StepFen: rapid.Int64Range(0, 9999).Draw(t, "stepFen")}
		w := rapid.IntRange(1, 50_000).Draw(t, "weight")
		if a, b := tariff.price(w), tariff.price(w+1); b < a || b > a+tariff.StepFen {
			t.Fatalf("%d g: %d fen, %d g: %d fen", w, a, w+1, b)
		}
	})
}
