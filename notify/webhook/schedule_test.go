package webhook

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheScheduleLastsThreeDays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var total time.Duration
		tries := 1
		for ; ; tries++ {
			r := rapid.Float64Range(0, 0.999999).Draw(t, "r")
			wait, again := Waits(DefaultSchedule).next(tries, 0, r)
			if !again {
				break
			}
			base := DefaultSchedule[tries-1]
			if wait < base*9/10-time.Millisecond || wait > base*11/10+time.Millisecond {
				t.Fatalf("wait %d is %s, the schedule has %s", tries, wait, base)
			}
			total += wait
		}
		if tries != len(DefaultSchedule)+1 || total < 64*time.Hour || total > 80*time.Hour {
			t.Fatalf("%d tries over %s", tries, total)
		}
		if total <= DisableAfter {
			t.Fatalf("a message of a dead endpoint ends after %s, before the endpoint is disabled", total)
		}
	})
}

func TestRetryAfterLengthensAWaitAndIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		asked := time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "asked"))
		tries := rapid.IntRange(1, len(DefaultSchedule)).Draw(t, "tries")
		r := rapid.Float64Range(0, 0.999999).Draw(t, "r")
		plain, _ := Waits(DefaultSchedule).next(tries, 0, r)
		wait, again := Waits(DefaultSchedule).next(tries, asked, r)
		if want := max(plain, min(asked, maxRetryAfter)); wait != want || !again {
			t.Fatalf("waits %s, want %s", wait, want)
		}
	})
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	tests := []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"0", 0}, {"120", 2 * time.Minute}, {" 5 ", 5 * time.Second}, {"-5", 0}, {"1.5", 0}, {"soon", 0},
		{"99999999999999999999", maxRetryAfter}, {"999999", maxRetryAfter},
		{"Mon, 23 Nov 2026 04:10:00 GMT", 10 * time.Minute}, {"Mon, 23 Nov 2026 03:00:00 GMT", 0},
		{"Monday, 23-Nov-26 04:00:30 GMT", 30 * time.Second}, {"Mon Nov 23 04:01:00 2026", time.Minute},
		{"Fri, 01 Jan 2100 00:00:00 GMT", maxRetryAfter},
	}
	for _, tt := range tests {
		if got := retryAfter(tt.header, now); got != tt.want {
			t.Errorf("Retry-After %q: %s, want %s", tt.header, got, tt.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "1e9", "Mon, 23 Nov 2026 04:10:00 GMT", "９"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if got := retryAfter(header, now); got < 0 || got > maxRetryAfter {
			t.Errorf("Retry-After %q: %s", header, got)
		}
	})
}

// TestHealth walks an endpoint through results drawn at random: it is disabled for one of two reasons only, never by a
// success, and a success forgets everything.
func TestHealth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h Health
		wall := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
		inRow, since := 0, time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "tries") {
			wall = wall.Add(time.Duration(rapid.Int64Range(0, int64(10*time.Hour)).Draw(t, "pass")))
			r := result{outcome: rapid.SampledFrom(Outcomes).Draw(t, "outcome"), retryAfter: time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "after"))}
			before := h
			var why string
			h, why = h.after(r, DisableAfter, breakFor, wall)
			if r.outcome == outcomeDelivered {
				inRow = 0
				if h != (Health{}) || why != "" {
					t.Fatalf("after a success: %+v, %q", h, why)
				}
				continue
			}
			if inRow++; inRow == 1 {
				since = wall
			}
			if h.Failures != inRow || !h.FailingSince.Equal(since) || h.HoldUntil.Before(before.HoldUntil) || h.HoldUntil.Sub(wall) > maxRetryAfter {
				t.Fatalf("after %d failures since %s: %+v", inRow, since, h)
			}
			if r.retryAfter > 0 && h.HoldUntil.Sub(wall) < min(r.retryAfter, maxRetryAfter) {
				t.Fatalf("asked for %s, held until %s", r.retryAfter, h.HoldUntil)
			}
			want := ""
			switch {
			case r.outcome == outcomeGone:
				want = whyGone
			case inRow >= disableFailures && wall.Sub(since) >= DisableAfter:
				want = whyFailing
			}
			if why != want {
				t.Fatalf("%s after %d failures in %s: disabled %q, want %q", r.outcome, inRow, wall.Sub(since), why, want)
			}
		}
	})
}
