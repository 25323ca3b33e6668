package tracking

import (
	"context"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/tracking/calendar"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// The round asks the database for what began at the deadline or before. That must be the same as to count, for each
// delivery by itself, the working hours since its clock began.
func TestADeliveryIsStalledIffItsWorkingHoursHavePassed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h, err := calendar.ParseHours(rapid.SampledFrom([]string{"09:00-17:00", "09:00-12:00,13:30-17:00", "08:00-20:00", "00:00-24:00"}).Draw(t, "hours"))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2025, 3, 1, 0, rapid.IntRange(0, 660*24*60).Draw(t, "now"), 0, 0, beijing) // to December 2026
		c := stallClock{limit: time.Duration(rapid.IntRange(1, 80).Draw(t, "limit")) * time.Hour}
		last, missing := c.deadline(h, now)
		if missing != 0 {
			t.Fatalf("the calendar lacks %d", missing)
		}
		ago := rapid.OneOf(rapid.IntRange(0, 30*24*60), rapid.Map(rapid.IntRange(-2, 2), func(n int) int { return int(now.Sub(last)/time.Minute) + n })).Draw(t, "minutes")
		began := now.Add(-time.Duration(ago) * time.Minute)
		passed, err := h.Elapsed(began, now)
		if err != nil {
			t.Fatal(err)
		}
		if due := !began.After(last); due != (passed >= c.limit) {
			t.Fatalf("began %s, now %s: %s have passed of %s; by the deadline %s it is due: %t", began, now, passed, c.limit, last, due)
		}
	})
}

// Package courier checks a station's hours by itself, because it may not import the calendar.
func TestHoursThatAStationMayKeepCanBeRead(t *testing.T) {
	t.Parallel()
	clock := func() time.Time { return base }
	service := courier.New(nil, nil, courier.Clock{Now: clock, Wall: clock}, courier.Options{})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-2][0-9]:[0-6][0-9]-[0-2][0-9]:[0-6][0-9](,[0-2][0-9]:[0-6][0-9]-[0-2][0-9]:[0-6][0-9])?`),
			rapid.SampledFrom([]string{"00:00-24:00", "09:00-12:00,12:00-13:00", "9:00-17:00", "09:00-17:00,", "24:00-24:00"})).Draw(t, "hours")
		faults, err := service.SaveStations(context.Background(), []map[string]string{{"code": "110105001", "name": "示例派出所", "kind": "police_station", "hours": text}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := calendar.ParseHours(text); (err == nil) != (len(faults[0]) == 0) {
			t.Fatalf("%q: the import says %v, the calendar %v", text, faults[0], err)
		}
	})
}

func TestACaseOfAStandstillSaysWhatStandsStill(t *testing.T) {
	t.Parallel()
	tests := []struct {
		c      stallClock
		status courier.Status
		want   string
	}{
		{stallClock{name: "not_accepted", starts: "handed_over", limit: 8 * time.Hour}, courier.Ordered, "待交寄：11月16日10:00已交寄，超过8个工作小时没有收寄记录（not_accepted）"},
		{stallClock{name: "returning_long", starts: "status", limit: 56 * time.Hour}, courier.Returning, "退回中：自11月16日10:00起没有进展，已超过56个工作小时（returning_long）"},
		{stallClock{name: "no_scan", starts: "scan", limit: 24 * time.Hour}, courier.InTransit, "运输中：自11月16日10:00起没有新的物流记录，已超过24个工作小时（no_scan）"},
		{stallClock{name: "held_too_long", starts: "held_until"}, courier.Held, "待领取：期限已于11月16日10:00届满（held_too_long）"},
		{stallClock{name: "shelf_over", starts: "shelf", limit: 16 * time.Hour}, courier.Returned, "已退回：期限已于11月16日10:00届满，又过了16个工作小时（shelf_over）"},
	}
	now := beijingTime("2026-11-27 10:00")
	for _, tt := range tests {
		c := tt.c.caseOf(standstill{uuid.Nil, tt.status, beijingTime("2026-11-16 10:00")}, 0, now)
		if c.Detail != tt.want || !c.DueAt.Equal(beijingTime("2026-11-30 10:00")) {
			t.Errorf("%s, due %s; want %s, due a working day later", c.Detail, c.DueAt.In(beijing), tt.want)
		}
		if c := tt.c.caseOf(standstill{uuid.Nil, tt.status, beijingTime("2026-11-16 10:00")}, 2031, now); !strings.Contains(c.Detail, "2031年") {
			t.Errorf("%s: the year that the calendar lacks is not told", c.Detail)
		}
	}
}
