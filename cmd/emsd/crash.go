package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"emsd/courier"
)

// What a test may ask of a process that it starts. They are no settings: a daemon whose EMS is not on its own machine does
// not start with them.
const (
	// crashPointEnv names the point at which the process is to be killed; "point/3" means the third time that it is passed.
	crashPointEnv = "EMSD_TEST_CRASH_POINT"
	// clockAheadEnv says by how much the clocks of the process are ahead, as if it had been started so much later.
	clockAheadEnv = "EMSD_TEST_CLOCK_AHEAD"
)

// underTest reports what is wrong with those variables.
func underTest(cfg Config) error {
	if os.Getenv(crashPointEnv)+os.Getenv(clockAheadEnv) == "" {
		return nil
	}
	if u, err := url.Parse(cfg.EMS.URL); err != nil || !loopback(u) {
		return fmt.Errorf("%s and %s are for tests: refused, because EMSD_EMS_URL is not on this machine", crashPointEnv, clockAheadEnv)
	}
	if text := os.Getenv(clockAheadEnv); text != "" {
		if _, err := time.ParseDuration(text); err != nil {
			return errors.New(clockAheadEnv + ": not a duration")
		}
	}
	return nil
}

// ahead puts the clocks ahead, where a test wants it.
func ahead(c courier.Clock) courier.Clock {
	by, err := time.ParseDuration(os.Getenv(clockAheadEnv))
	if err != nil || by == 0 {
		return c
	}
	return courier.Clock{Now: func() time.Time { return c.Now().Add(by) }, Wall: func() time.Time { return c.Wall().Add(by) }}
}

// crashHook lets the crash tests stop this process at a named point, as a power cut would.
func crashHook() func(point string) {
	at, nth, _ := strings.Cut(os.Getenv(crashPointEnv), "/")
	if at == "" {
		return nil
	}
	last, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		last = 1
	}
	var passed atomic.Int64
	return func(point string) {
		if point == at && passed.Add(1) == last {
			killSelf()
		}
	}
}

// killSelf ends the process the way a crash does: no deferred call runs.
func killSelf() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
