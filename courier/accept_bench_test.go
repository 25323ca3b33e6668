package courier

import (
	"fmt"
	"testing"
)

// BenchmarkAccept takes in batches of 500 new permits; the figure that matters is permits per second. PostgreSQL is
// the test server, so compare runs on one machine only.
func BenchmarkAccept(b *testing.B) {
	s := newIntake(b, Options{})
	const size = 500
	n := 0
	for b.Loop() {
		apps := make([]Application, size)
		for i := range apps {
			n++
			apps[i] = permit(n)
		}
		for _, r := range s.accept(apps...) {
			if r.Outcome != Created {
				b.Fatal(r.Outcome)
			}
		}
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "permits/s")
}

// BenchmarkParse is what one line of JSON costs before the database.
func BenchmarkParse(b *testing.B) {
	line := []byte(goodJSON)
	for b.Loop() {
		a, faults := ParseApplication(line)
		if faults = merge(faults, Validate(Normalise(a), testNow)); faults != nil {
			b.Fatal(fmt.Sprint(faults))
		}
	}
}
