package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"emsd/courier/ems"
	"emsd/courier/vault"
	"emsd/migrations"
	"emsd/tracking/calendar"

	"github.com/jmoiron/sqlx"
	"github.com/robfig/cron/v3"
)

// maxClockSkew is how far this machine and the database may be apart: gateways refuse signatures that are 15 minutes
// off, leases are compared across replicas.
const maxClockSkew = 2 * time.Second

type doctorCmd struct {
	NewMasterKey bool `help:"Print a new master key and do nothing else."`
}

// Run checks every part and goes on after a failure, so that one visit finds everything.
func (c doctorCmd) Run(e *world) error {
	if c.NewMasterKey {
		key, err := vault.NewMasterKey()
		if err == nil {
			_, err = fmt.Fprintln(e.out, key)
		}
		return err
	}
	cfg, err := readConfig(e.environ)
	tell(e, "configuration", "every name known, every value readable", err)
	if err != nil {
		return errors.New("mend the configuration first")
	}
	failed := 0
	check := func(part, fine string, err error) {
		if tell(e, part, fine, err); err != nil {
			failed++
		}
	}
	db, err := openDatabase(e.ctx, string(cfg.DatabaseURL), 4)
	check("database", "answers", err)
	if err == nil {
		defer db.Close()
		check("schema", fmt.Sprintf("version %d", migrations.Latest()), migrations.Check(e.ctx, db.DB))
		skew, err := clockSkew(e.ctx, db)
		check("clock", fmt.Sprintf("%s apart from the database's", skew.Round(time.Millisecond)), err)
		check("key", "opens the data keys", checkKey(e.ctx, cfg, db))
		hooks, err := checkWebhooks(e.ctx, cfg, db)
		check("webhooks", hooks, err)
	}
	check("calendar", fmt.Sprintf("working days known to the end of %d", lastKnownYear()), checkCalendar(time.Now()))
	check("ems", "reachable, credentials accepted", checkEMS(e, cfg))
	failed += checkSMS(e, cfg, db)
	specs := cfg.Schedule.specs()
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		spec := specs[name]
		s, err := cron.ParseStandard(spec)
		if err == nil {
			tell(e, "schedule "+name, fmt.Sprintf("%s, next at %s", spec, s.Next(time.Now().In(beijing)).Format(time.DateTime)), nil)
		} else {
			check("schedule "+name, "", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d parts need care", failed)
	}
	return nil
}

func tell(e *world, part, fine string, err error) {
	if err != nil {
		fmt.Fprintf(e.out, "FAIL  %-20s  %v\n", part, err)
		return
	}
	fmt.Fprintf(e.out, "ok    %-20s  %s\n", part, fine)
}

func lastKnownYear() int {
	known := calendar.Years()
	return known[len(known)-1]
}

// checkCalendar says when clocks are about to run out of working days: from December on the next year must be known.
func checkCalendar(now time.Time) error {
	year := now.In(beijing).AddDate(0, 1, 0).Year()
	if lastKnownYear() < year {
		return &calendar.MissingYear{Year: year}
	}
	return nil
}

func checkKey(ctx context.Context, cfg Config, db *sqlx.DB) error {
	master, err := vault.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return err
	}
	if err := migrations.Check(ctx, db.DB); err != nil {
		return errors.New("not checked: the schema is not there")
	}
	_, err = vault.Open(ctx, db, master, time.Now())
	return err
}

func checkEMS(e *world, cfg Config) error {
	client, err := ems.New(cfg.EMS.client(newClock(1, time.Now())), newLog(e.err, "error"), nil)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(e.ctx, cfg.EMS.Timeout)
	defer cancel()
	return client.Check(ctx)
}
