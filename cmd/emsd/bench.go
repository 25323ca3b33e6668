package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"emsd/cmd/emsd/internal/bench"
)

type benchCmd struct {
	Quick   bool     `help:"Measure little, in a minute; for a first look."`
	Only    []string `placeholder:"NAME" help:"Only these measurements: ${measurements}; or ids such as P1."`
	Rounds  int      `placeholder:"N" help:"Turns of product and floor; 3."`
	Rows    []int    `placeholder:"N" help:"Sizes of the tables to claim from; 10000,1000000,5000000."`
	Out     string   `placeholder:"FILE" help:"Page to write; docs/benchmarks.md when everything was measured in full."`
	Profile string   `placeholder:"PREFIX" help:"Write CPU profiles of the product's runs to PREFIX.poll.pprof and so on."`
	Child   bool     `hidden:""`
}

// Run measures, prints the page and writes it. Missed goals are no failure; lost items are.
func (c benchCmd) Run(e *world) error {
	if c.Child {
		return bench.Child(e.ctx, os.Stdin, e.out)
	}
	sizes, err := c.sizes()
	if err != nil {
		return err
	}
	if err := bench.CheckOnly(c.Only); err != nil {
		return usageError{err}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	report, err := bench.Run(e.ctx, bench.Options{Self: []string{self, "bench", "--child"}, Serve: []string{self, "serve"}, Session: sessionOptions, Sizes: sizes, Only: c.Only,
		Profile: c.Profile, Progress: e.err})
	if report != nil {
		if werr := report.Write(e.out); werr != nil {
			return werr
		}
	}
	if err != nil {
		return err
	}
	return c.write(report)
}

func (c benchCmd) sizes() (bench.Sizes, error) {
	sizes := bench.Full()
	if c.Quick {
		sizes = bench.Quick()
	}
	if c.Rounds > 0 {
		sizes.Rounds = c.Rounds
	}
	if len(c.Rows) > 0 {
		sizes.Rows = c.Rows
	}
	if slices.Min(sizes.Rows) < 1000 || slices.Max(sizes.Rows) > 100_000_000 || c.Rounds < 0 || c.Rounds > 100 {
		return sizes, usageError{fmt.Errorf("--rows takes sizes from 1000 to 100000000, --rounds 1 to 100")}
	}
	return sizes, nil
}

// write keeps the page. A part of a run, or a quick look, takes the place of a whole one only when told to.
func (c benchCmd) write(report *bench.Report) error {
	if c.Out == "" {
		if c.Quick || len(c.Only) > 0 {
			return nil
		}
		c.Out = filepath.Join("docs", "benchmarks.md")
	}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", c.Out, err)
	}
	var page strings.Builder
	if err := report.Write(&page); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, []byte(page.String()), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", c.Out, err)
	}
	return nil
}
