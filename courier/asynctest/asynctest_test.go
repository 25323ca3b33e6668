package asynctest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"emsd/courier/asynctest"
)

// A failing is a test that may fail; Fatalf ends its goroutine, as a real one's does.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestEventuallyWaitsUntilItIsSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asynctest.Eventually(t, "29 seconds later", func() bool { return time.Since(began) >= 29*time.Second })
		if took := asynctest.Within(t, time.Hour, "a minute later", func() bool { return time.Since(began) >= time.Minute }); took != 31*time.Second {
			t.Errorf("took %s, want 31s", took)
		}
	})
}

func TestEventuallyFailsWhenItIsNever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, began := &failing{TB: t}, time.Now()
		defer func() {
			if recover() == nil || time.Since(began) != 30*time.Second || f.said != "after 30s: not the moon" {
				t.Errorf("after %s it said %q", time.Since(began), f.said)
			}
		}()
		asynctest.Eventually(f, "the moon", func() bool { return false })
	})
}

func TestBufferIsReadWhileOthersWrite(t *testing.T) {
	t.Parallel()
	var b asynctest.Buffer
	go func() {
		for range 1000 {
			fmt.Fprint(&b, "x")
		}
	}()
	asynctest.Eventually(t, "all written", func() bool { return strings.Count(b.String(), "x") == 1000 })
}
