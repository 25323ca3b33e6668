package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"

	"github.com/google/uuid"
)

// withApp runs a command that needs the parts of the daemon but not its listeners.
func withApp(e *world, f func(a *app) error) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	a, err := newApp(e.ctx, cfg, newClock(1, time.Now()), newLog(e.err, cfg.LogLevel))
	if err != nil {
		return err
	}
	defer a.close()
	return f(a)
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token; it is shown once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens."`
	Rotate tokenRotateCmd `cmd:"" help:"Give a token a new secret, shown once; the old one ends later."`
	Revoke tokenRevokeCmd `cmd:"" help:"Make a token useless."`
}

type tokenCreateCmd struct {
	Name   string        `required:"" help:"Who uses it."`
	Scopes []string      `required:"" help:"permits, payments, read, clerk, admin." enum:"permits,payments,read,clerk,admin"`
	TTL    time.Duration `help:"How long it is valid, for example 8760h; without it until revoked."`
}

// Run prints the new token, alone on its line, so that a script can keep it.
func (c tokenCreateCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		secret, t, err := a.service.CreateToken(e.ctx, c.Name, c.Scopes, c.TTL, operator())
		if err != nil {
			return err
		}
		fmt.Fprintf(e.err, "token %s for %s, scopes %s; it is not shown again\n", t.ID, t.Name, strings.Join(t.Scopes, ","))
		fmt.Fprintln(e.out, secret)
		return nil
	})
}

type tokenListCmd struct{}

// Run lists the tokens.
func (tokenListCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		tokens, err := a.service.Tokens(e.ctx)
		for _, t := range tokens {
			fmt.Fprintf(e.out, "%s  %-20s  %-30s  expires %-16s  last used %-16s  %s\n", t.ID, t.Name, strings.Join(t.Scopes, ","),
				shortTime(t.ExpiresAt), shortTime(t.LastUsedAt), tokenState(t, a.clock.Now()))
		}
		return err
	})
}

func tokenState(t courier.Token, now time.Time) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked " + shortTime(t.RevokedAt)
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return "expired"
	case now.Before(t.FormerUntil):
		return "valid, its former secret until " + shortTime(t.FormerUntil)
	}
	return "valid"
}

func shortTime(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.In(beijing).Format("2006-01-02 15:04")
}

type tokenRotateCmd struct {
	ID      uuid.UUID     `arg:"" help:"Id of the token, from token list."`
	Overlap time.Duration `default:"24h" help:"How long the old secret is good beside the new one, up to 720h; 0 ends it at once."`
}

// Run prints the new secret, alone on its line.
func (c tokenRotateCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		secret, t, err := a.service.RotateToken(e.ctx, c.ID, c.Overlap, operator())
		if err != nil {
			return err
		}
		fmt.Fprintf(e.err, "token %s for %s has a new secret, which is not shown again; the old one ends %s\n", t.ID, t.Name, shortTime(t.FormerUntil))
		fmt.Fprintln(e.out, secret)
		return nil
	})
}

type tokenRevokeCmd struct {
	ID uuid.UUID `arg:"" help:"Id of the token, from token list."`
}

// Run revokes a token.
func (c tokenRevokeCmd) Run(e *world) error {
	return withApp(e, func(a *app) error { return a.service.RevokeToken(e.ctx, c.ID, operator()) })
}

type verifyAuditCmd struct {
	Export bool     `help:"Print the chain as JSON lines instead of checking it."`
	Anchor []string `help:"id:hash as an earlier check printed it: shows what was cut off or written anew since."`
	File   string   `arg:"" optional:"" help:"An export to check without a database."`
}

// Run checks the audit chain; a chain that does not hold is a failure.
func (c verifyAuditCmd) Run(e *world) error {
	anchors := make([]audit.Anchor, len(c.Anchor))
	for i, text := range c.Anchor {
		var err error
		if anchors[i], err = audit.ParseAnchor(text); err != nil {
			return usageError{err}
		}
	}
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		report, err := audit.VerifyStream(f, anchors...)
		return tellAudit(e, report, err)
	}
	return withApp(e, func(a *app) error {
		if err := audit.Chain(e.ctx, a.db); err != nil {
			return err
		}
		if c.Export {
			return audit.Export(e.ctx, a.db, e.out)
		}
		report, err := audit.Verify(e.ctx, a.db, anchors...)
		return tellAudit(e, report, err)
	})
}

func tellAudit(e *world, r audit.Report, err error) error {
	if err != nil {
		return err
	}
	if r.Fault != "" {
		return fmt.Errorf("the audit chain does not hold: %s", r.Fault)
	}
	if r.Entries == 0 {
		fmt.Fprintln(e.out, "the chain is empty")
		return nil
	}
	fmt.Fprintf(e.out, "%d entries, the chain holds; keep this elsewhere, for --anchor: %s\n", r.Entries, r.Anchor())
	return nil
}

type purgeCmd struct{}

// Run does once what the daemon does by schedule.
func (purgeCmd) Run(e *world) error {
	return withApp(e, func(a *app) error { return a.purge(e.ctx) })
}

type checkConfigCmd struct{}

// Run checks the environment and prints the settings, without the secrets.
func (checkConfigCmd) Run(e *world) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(cfg)
}
