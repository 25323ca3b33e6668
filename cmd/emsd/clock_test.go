package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBusinessTimeChangesItsPaceWithoutAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Date(2026, 11, 28, 9, 0, 0, 0, beijing)
		p := newPace(3600, start)
		now := p.clock().Now
		time.Sleep(2 * time.Second)
		if got, want := now(), start.Add(2*time.Hour); !got.Equal(want) {
			t.Errorf("after two seconds at an hour a second it is %s, want %s", got, want)
		}
		p.change(60)
		if got, want := now(), start.Add(2*time.Hour); !got.Equal(want) {
			t.Errorf("the change itself moved the time to %s, want %s", got, want)
		}
		time.Sleep(5 * time.Second)
		if got, want := now(), start.Add(2*time.Hour+5*time.Minute); !got.Equal(want) {
			t.Errorf("after five more seconds at a minute a second it is %s, want %s", got, want)
		}
	})
}
