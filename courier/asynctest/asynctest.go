// Package asynctest is for tests that look at what runs beside them: a daemon, a simulator, a round in a goroutine.
package asynctest

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

const (
	often    = 5 * time.Millisecond
	patience = 30 * time.Second // what a busy machine may need; a test that passes does not wait for it
)

// Eventually looks again and again until ok, and fails the test when half a minute was not enough.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Within(t, patience, what, ok)
}

// Within is Eventually with a limit that the test claims something about. It tells how long it took.
func Within(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) >= limit {
			t.Fatalf("after %s: not %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// A Buffer may be read while others write it: a log, most often.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is everything written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
