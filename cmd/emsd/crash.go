package main

import (
	"os"
	"syscall"
)

// crashPointEnv names the point at which a test wants this process killed.
const crashPointEnv = "EMSD_TEST_CRASH_POINT"

// killSelf ends the process the way a crash does: no deferred call runs.
func killSelf() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
