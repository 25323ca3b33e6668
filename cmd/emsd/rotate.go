package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"emsd/courier/vault"
)

type rotateKeyCmd struct {
	Resume  bool   `help:"Make no new key: go on with a rotation that was stopped."`
	OldFile string `help:"With a new EMSD_MASTER_KEY_FILE: the file of the old master key. Wraps the data keys anew and rotates nothing."`
}

// Run makes a new data key and seals everything under it, beside running daemons. It may be stopped at any moment: a
// daemon, or --resume, goes on where it stopped.
func (c rotateKeyCmd) Run(e *world) error {
	if c.OldFile != "" {
		return rewrap(e, c.OldFile)
	}
	return withApp(e, func(a *app) error {
		if !c.Resume {
			id, err := a.vault.Rotate(e.ctx, a.clock.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "data key %d is active\n", id)
		}
		last := time.Time{}
		r := a.rotator()
		r.Progress = func(column string, resealed int64) {
			if time.Since(last) > 2*time.Second {
				last = time.Now()
				fmt.Fprintf(e.err, "%s: %d values sealed anew\n", column, resealed)
			}
		}
		rot, err := r.Round(e.ctx, a.clock.Now())
		if err != nil {
			return err
		}
		switch {
		case rot.Done:
			fmt.Fprintf(e.out, "done: %d values sealed anew, %d keys retired\n", rot.Resealed, rot.Retired)
		case rot.Unreadable > 0:
			return fmt.Errorf("%d values do not open and stay under their old key: see the log for their columns", rot.Unreadable)
		case rot.SettlesAt.IsZero():
			return errors.New("values keep coming under the old key: a daemon has not taken up the new one; see that every daemon runs and reaches the database, then run rotate-key --resume")
		default:
			fmt.Fprintf(e.out, "%d values sealed anew; the old key stays until %s, for daemons that have not seen the new one: a daemon finishes this by itself, or run rotate-key --resume then\n",
				rot.Resealed, shortTime(rot.SettlesAt))
		}
		return nil
	})
}

// rewrap puts the data keys under the master key of the configuration.
func rewrap(e *world, oldFile string) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	from, err := vault.ReadMasterKey(oldFile)
	if err != nil {
		return err
	}
	to, err := vault.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return err
	}
	db, err := openDatabase(e.ctx, string(cfg.DatabaseURL), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	n, err := vault.Rewrap(e.ctx, db, from, to)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%d data keys are under the new master key: restart every daemon with it\n", n)
	return nil
}

func (a *app) rotator() *vault.Rotator { return &vault.Rotator{Vault: a.vault, Log: a.log} }

// keys takes up data keys that another process made, and goes on with a rotation that is under way.
func (a *app) keys(ctx context.Context) error {
	if err := a.vault.Refresh(ctx); err != nil {
		return err
	}
	_, err := a.rotator().Round(ctx, a.clock.Now())
	return err
}
