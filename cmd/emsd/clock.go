package main

import (
	"time"

	"emsd/courier"
)

// newClock gives the clocks of the service. At scale 1 both are the machine's; otherwise business time starts at
// start and runs scale times faster, while leases and waits stay real.
func newClock(scale float64, start time.Time) courier.Clock {
	if scale == 1 {
		return courier.Clock{Now: time.Now, Wall: time.Now}
	}
	real := time.Now()
	return courier.Clock{
		Now:  func() time.Time { return start.Add(time.Duration(float64(time.Since(real)) * scale)) },
		Wall: time.Now,
	}
}
