package main

import (
	"fmt"
	"time"

	"emsd/cmd/emsd/internal/heap"
	"emsd/migrations"
)

type serveCmd struct {
	Migrate bool `help:"Bring the schema up first."`
}

// Run serves until a signal.
func (c serveCmd) Run(e *world) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	if err := underTest(cfg); err != nil {
		return err
	}
	heap.Reserve()
	log := newLog(e.err, cfg.LogLevel)
	if c.Migrate {
		if err := migrateUp(e, cfg); err != nil {
			return err
		}
	}
	a, err := newApp(e.ctx, cfg, ahead(newClock(cfg.TimeScale, time.Now())), log)
	if err != nil {
		return err
	}
	defer a.close()
	return a.run(e.ctx, func([]string) {})
}

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply what is missing."`
	Down   migrateDownCmd   `cmd:"" help:"Take back the newest migration, and the data it holds."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations."`
}

type migrateUpCmd struct{}

// Run brings the schema to this binary's version.
func (migrateUpCmd) Run(e *world) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	return migrateUp(e, cfg)
}

func migrateUp(e *world, cfg Config) error {
	db, err := openDatabase(e.ctx, string(cfg.DatabaseURL), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Up(e.ctx, db.DB)
}

type migrateDownCmd struct {
	Steps int  `default:"1" help:"How many."`
	Yes   bool `help:"Confirm that data is lost."`
}

// Run takes migrations back.
func (c migrateDownCmd) Run(e *world) error {
	if !c.Yes {
		return usageError{fmt.Errorf("migrate down drops tables with their data: repeat with --yes")}
	}
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	db, err := openDatabase(e.ctx, string(cfg.DatabaseURL), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Down(e.ctx, db.DB, c.Steps)
}

type migrateStatusCmd struct{}

// Run lists the migrations.
func (migrateStatusCmd) Run(e *world) error {
	cfg, err := readConfig(e.environ)
	if err != nil {
		return err
	}
	db, err := openDatabase(e.ctx, string(cfg.DatabaseURL), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	states, err := migrations.Status(e.ctx, db.DB)
	for _, s := range states {
		when := "missing"
		if !s.AppliedAt.IsZero() {
			when = s.AppliedAt.In(beijing).Format(time.DateTime)
		}
		fmt.Fprintf(e.out, "%04d  %-30s  %s\n", s.Version, s.Name, when)
	}
	return err
}
