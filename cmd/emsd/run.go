package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"emsd/cmd/emsd/internal/bench"

	"github.com/alecthomas/kong"
)

// Exit codes (contract).
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// A world is what a command may use of the world around it.
type world struct {
	ctx     context.Context
	environ []string
	out     io.Writer // results
	err     io.Writer // logs and complaints
}

// cli is every command of emsd; each is a struct in the file of its name.
type cli struct {
	Serve          serveCmd          `cmd:"" help:"Run the daemon."`
	Migrate        migrateCmd        `cmd:"" help:"Bring the schema up, down, or tell where it stands."`
	Import         importCmd         `cmd:"" help:"Load permits, stations or tariffs from a .jsonl, .csv or .xlsx file."`
	Demo           demoCmd           `cmd:"" help:"Run the main job end to end against simulators on a private PostgreSQL."`
	Doctor         doctorCmd         `cmd:"" help:"Check database, clock, key, EMS and schedules."`
	CheckConfig    checkConfigCmd    `cmd:"" name:"check-config" help:"Check the environment and print what it means."`
	Token          tokenCmd          `cmd:"" help:"Create, list or revoke API tokens."`
	User           userCmd           `cmd:"" help:"Create, list, disable or enable the people who use the console, or give one a new password."`
	Code           codeCmd           `cmd:"" help:"Codes of EMS's that nobody knows, and what was decided about them."`
	Refold         refoldCmd         `cmd:"" help:"Compute anew what stored scans mean, after a table or a policy was mended."`
	DoNotSend      doNotSendCmd      `cmd:"" name:"do-not-send" help:"Numbers that want no messages."`
	Message        messageCmd        `cmd:"" help:"Look at the texts that residents get, and try a gateway."`
	ReplayWebhooks replayWebhooksCmd `cmd:"" name:"replay-webhooks" help:"Send webhooks to an endpoint again: one message, a range of the feed, or all that have no try left."`
	VerifyAudit    verifyAuditCmd    `cmd:"" name:"verify-audit" help:"Check the audit chain, in the database or in an export."`
	RotateKey      rotateKeyCmd      `cmd:"" name:"rotate-key" help:"Make a new data key and seal everything under it; may be stopped and run again."`
	Purge          purgeCmd          `cmd:"" help:"Make partitions ahead and drop what nobody needs any more."`
	Bench          benchCmd          `cmd:"" help:"Measure speed beside a hand-written floor, on a private PostgreSQL."`
	Version        versionCmd        `cmd:"" help:"Print the version."`
}

// A usageError is the caller's mistake on the command line.
type usageError struct{ error }

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args, environ []string, out, errOut io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("emsd"), kong.Description("Sends approved residence permits by EMS."), kong.UsageOnError(),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }), kong.Vars{"measurements": strings.Join(bench.Names(), ", ")})
	if err != nil {
		fmt.Fprintln(errOut, "emsd:", err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help was printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "emsd:", err)
		return exitUsage
	}
	err = k.Run(&world{ctx, environ, out, errOut})
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(errOut, "emsd:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// newLog writes JSON lines for machines to collect.
func newLog(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	l.UnmarshalText([]byte(level)) // checked by readConfig; info otherwise
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *world) error {
	_, err := fmt.Fprintln(e.out, "emsd", version())
	return err
}

// version is the module's, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}
