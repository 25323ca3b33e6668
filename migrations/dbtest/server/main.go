// Command server runs a command with a private PostgreSQL for its tests: go run ./migrations/dbtest/server -- go test ./...
//
// It sets EMSD_TEST_DATABASE_URL for the command, stops the server when the command has ended, and exits with the
// command's exit code. One server for all test binaries of a run saves each of them the start of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"emsd/migrations/dbtest"
	"emsd/migrations/privatepg"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: server -- COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	// The command hears Ctrl-C itself, being in our process group; a signal sent to us alone is passed on. Either
	// way we stay until it has ended, so that its tests can drop their databases.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	pg, err := privatepg.Start(context.Background(), privatepg.Options{InMemory: true})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), dbtest.URLEnv+"="+pg.DSN("postgres"))
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			if sig != os.Interrupt {
				_ = cmd.Process.Signal(sig) // it may have ended, which is what the signal wants
			}
		case err := <-ended:
			return exitCode(err)
		}
	}
}

// exitCode is what a shell would give: the command's own, or 128 and the signal that ended it.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 1, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
