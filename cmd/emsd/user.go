package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"emsd/courier/staff"
)

type userCmd struct {
	Create   userCreateCmd   `cmd:"" help:"Make a user. The password is printed once, and must be changed at the first sign-in."`
	List     userListCmd     `cmd:"" help:"List the users."`
	Disable  userDisableCmd  `cmd:"" help:"Keep a user from signing in, and end the sessions."`
	Enable   userEnableCmd   `cmd:"" help:"Let a disabled user sign in again."`
	Password userPasswordCmd `cmd:"" help:"Give a user a new password, which is printed once; also lifts a lock-out."`
}

// passwordFlags say where a password comes from: never from an argument, which other processes can read.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from the first line of the standard input instead of drawing one."`
}

func (f passwordFlags) read(in io.Reader) (string, error) {
	if !f.PasswordStdin {
		return "", nil
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", usageError{errors.New("the standard input holds no password")}
	}
	return line, nil
}

type userCreateCmd struct {
	Name     string     `required:"" help:"Sign-in name: small letters, digits, dot, underscore, hyphen."`
	FullName string     `required:"" help:"Name that colleagues see."`
	Role     staff.Role `required:"" enum:"counter,back_office,supervisor,administrator,auditor" help:"counter, back_office, supervisor, administrator or auditor."`
	Station  string     `help:"Code of the station; for counter only."`
	passwordFlags
}

// Run prints a drawn password, alone on its line, so that a script can keep it.
func (c userCreateCmd) Run(e *world) error {
	password, err := c.read(os.Stdin)
	if err != nil {
		return err
	}
	return withApp(e, func(a *app) error {
		u, drawn, err := a.staff.Create(e.ctx, staff.User{Name: c.Name, FullName: c.FullName, Role: c.Role, Station: c.Station}, password, operator())
		if err != nil {
			return err
		}
		fmt.Fprintf(e.err, "user %s, %s; the password must be changed at the first sign-in\n", u.Name, u.Role)
		tellPassword(e, drawn)
		return nil
	})
}

func tellPassword(e *world, drawn string) {
	if drawn != "" {
		fmt.Fprintln(e.out, drawn)
	}
}

type userListCmd struct{}

// Run lists the users.
func (userListCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		users, err := a.staff.Users(e.ctx)
		for _, u := range users {
			fmt.Fprintf(e.out, "%-20s  %-14s  %-10s  second factor %-3s  last sign-in %-16s  %s\n", u.Name, u.Role, u.Station,
				map[bool]string{true: "yes", false: "no"}[u.SecondFactor], shortTime(u.LastSignInAt), userState(u))
		}
		return err
	})
}

func userState(u staff.User) string {
	if !u.DisabledAt.IsZero() {
		return "disabled " + shortTime(u.DisabledAt)
	}
	return "enabled"
}

type userNameArg struct {
	Name string `arg:"" help:"Sign-in name."`
}

// with finds the user and does f.
func (n userNameArg) with(e *world, f func(a *app, u staff.User) error) error {
	return withApp(e, func(a *app) error {
		u, err := a.staff.ByName(e.ctx, n.Name)
		if err != nil {
			return fmt.Errorf("user %q: %w", n.Name, err)
		}
		return f(a, u)
	})
}

type userDisableCmd struct{ userNameArg }

// Run disables a user.
func (c userDisableCmd) Run(e *world) error {
	return c.with(e, func(a *app, u staff.User) error { return a.staff.Disable(e.ctx, u.ID, operator()) })
}

type userEnableCmd struct{ userNameArg }

// Run enables a user.
func (c userEnableCmd) Run(e *world) error {
	return c.with(e, func(a *app, u staff.User) error { return a.staff.Enable(e.ctx, u.ID, operator()) })
}

type userPasswordCmd struct {
	userNameArg
	ResetSecondFactor bool `help:"Also take the second factor away, for who has lost it."`
	passwordFlags
}

// Run gives a user a new password.
func (c userPasswordCmd) Run(e *world) error {
	password, err := c.read(os.Stdin)
	if err != nil {
		return err
	}
	return c.with(e, func(a *app, u staff.User) error {
		if c.ResetSecondFactor {
			if err := a.staff.ResetSecondFactor(e.ctx, u.ID, operator()); err != nil {
				return err
			}
		}
		drawn, err := a.staff.ResetPassword(e.ctx, u.ID, password, operator())
		tellPassword(e, drawn)
		return err
	})
}
