package main

import (
	"sync"
	"time"

	"emsd/courier"
)

// newClock gives the clocks of the service. At scale 1 both are the machine's; otherwise business time starts at
// start and runs scale times faster, while leases and waits stay real.
func newClock(scale float64, start time.Time) courier.Clock {
	if scale == 1 {
		return courier.Clock{Now: time.Now, Wall: time.Now}
	}
	return newPace(scale, start).clock()
}

// A pace is business time beside real time. It can change while it runs, and never steps.
type pace struct {
	mu       sync.Mutex
	business time.Time // when it was real
	real     time.Time
	scale    float64 // business seconds per real second
}

func newPace(scale float64, start time.Time) *pace {
	return &pace{business: start, real: time.Now(), scale: scale}
}

func (p *pace) clock() courier.Clock { return courier.Clock{Now: p.now, Wall: time.Now} }

func (p *pace) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at(time.Now())
}

func (p *pace) at(real time.Time) time.Time {
	return p.business.Add(time.Duration(float64(real.Sub(p.real)) * p.scale))
}

// change goes on from here at another scale.
func (p *pace) change(scale float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	real := time.Now()
	p.business, p.real, p.scale = p.at(real), real, scale
}
