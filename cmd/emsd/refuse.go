package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"emsd/courier/vault"
	"emsd/notify"
)

type doNotSendCmd struct {
	Add   doNotSendAddCmd   `cmd:"" help:"Stop a number; it is read from the input."`
	Lift  doNotSendLiftCmd  `cmd:"" help:"Let a number have messages again; it is read from the input."`
	Check doNotSendCheckCmd `cmd:"" help:"Tell whether a number is stopped; it is read from the input."`
	List  doNotSendListCmd  `cmd:"" help:"List who stopped what when and why, without the numbers, which are not kept."`
}

type doNotSendAddCmd struct {
	Source string `enum:"reply,wrong_person,clerk" default:"clerk" help:"How the refusal reached us: reply, wrong_person or clerk."`
	Why    string `required:"" help:"What the resident said, without name and number."`
	numberFile
}

// Run stops a number.
func (c doNotSendAddCmd) Run(e *world) error {
	return c.with(e, func(a *app, list *notify.Refusals, phone vault.Secret) error {
		added, err := list.Add(e.ctx, phone, notify.Refusal{Source: c.Source, By: operator(), Why: c.Why, Since: a.clock.Now()})
		return tellChange(e, added, err, "the number gets no more messages", "the number was stopped already")
	})
}

type doNotSendLiftCmd struct {
	Why string `required:"" help:"Why messages may go to it again."`
	numberFile
}

// Run lets a number have messages again.
func (c doNotSendLiftCmd) Run(e *world) error {
	return c.with(e, func(a *app, list *notify.Refusals, phone vault.Secret) error {
		lifted, err := list.Lift(e.ctx, phone, operator(), c.Why, a.clock.Now())
		return tellChange(e, lifted, err, "the number gets messages again", "the number was not stopped")
	})
}

type doNotSendCheckCmd struct{ numberFile }

// Run tells whether a number is stopped.
func (c doNotSendCheckCmd) Run(e *world) error {
	return c.with(e, func(_ *app, list *notify.Refusals, phone vault.Secret) error {
		stopped, err := list.Has(e.ctx, phone)
		return tellChange(e, stopped, err, "stopped", "not stopped")
	})
}

type doNotSendListCmd struct{}

// Run lists the refusals.
func (doNotSendListCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		all, err := notify.NewRefusals(a.db, a.vault).All(e.ctx)
		if err != nil {
			return err
		}
		for _, r := range all {
			fmt.Fprintf(e.out, "%s  %s  %-12s by %s: %s", r.ID, shortTime(r.Since), r.Source, r.By, r.Why)
			if r.LiftedAt != nil {
				fmt.Fprintf(e.out, "; lifted %s by %s: %s", shortTime(*r.LiftedAt), r.LiftedBy, r.LiftedWhy)
			}
			fmt.Fprintln(e.out)
		}
		if len(all) == 0 {
			fmt.Fprintln(e.out, "no number is stopped")
		}
		return nil
	})
}

// A numberFile is where a number is read from: as an argument it would stand in the shell's history and the process list.
type numberFile struct {
	PhoneFile string `default:"-" help:"File that holds the number; - is the input." placeholder:"FILE"`
}

func (n numberFile) with(e *world, do func(*app, *notify.Refusals, vault.Secret) error) error {
	phone, err := n.read()
	if err != nil {
		return err
	}
	return withApp(e, func(a *app) error { return do(a, notify.NewRefusals(a.db, a.vault), phone) })
}

func (n numberFile) read() (vault.Secret, error) {
	in := os.Stdin
	if n.PhoneFile != "-" {
		f, err := os.Open(n.PhoneFile)
		if err != nil {
			return vault.Secret{}, err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return vault.Secret{}, fmt.Errorf("read the number: %w", err)
	}
	return vault.Conceal(strings.TrimSpace(line)), nil
}

func tellChange(e *world, done bool, err error, yes, no string) error {
	if err != nil {
		return err
	}
	if !done {
		yes = no
	}
	fmt.Fprintln(e.out, yes)
	return nil
}
