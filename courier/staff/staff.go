// Package staff knows the people who use the console: who they are, what each role may do (May), how they sign in, and
// for how long. It shows no page and decides nothing about deliveries; what a counter clerk's station limits is said by
// User.Station and enforced in the statements of the packages that hold the data (courier.OfStation).
//
// Times here are technical: a session ends by the clock on the wall also where business time runs faster. Passwords,
// tokens and recovery codes are kept as hashes, the secret of a second factor is sealed. Every sign-in, every failure and
// every change of a user stands in the audit chain.
package staff

import (
	"context"
	"regexp"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A User is one person who may sign in.
type User struct {
	ID           uuid.UUID
	Name         string // typed at sign-in; lower case
	FullName     string // shown to colleagues
	Role         Role
	Station      string // of a counter clerk: all that this person sees; empty: every station
	MustChange   bool   // somebody else knows the password
	SecondFactor bool   // a code is asked for
	CreatedAt    time.Time
	DisabledAt   time.Time
	LastSignInAt time.Time
}

// Actor is the user's name in the audit, in cases and events: told apart from the names of API tokens.
func (u User) Actor() string { return actorPrefix + u.Name }

const actorPrefix = "staff:"

// Options of Staff; zero values take the default given here.
type Options struct {
	Idle         time.Duration // without a request for so long a session ends; 15 minutes
	Longest      time.Duration // a session ends in any case; 12 hours
	SecondFactor SecondFactor  // who must have one; Privileged
}

// SecondFactor says who must have a second factor; everybody may.
type SecondFactor string

// Who must have a second factor.
const (
	NobodyMust SecondFactor = "off"
	Privileged SecondFactor = "privileged" // supervisors and administrators
	Everybody  SecondFactor = "all"
)

func (f SecondFactor) demands(r Role) bool {
	switch f {
	case NobodyMust:
		return false
	case Everybody:
		return true
	}
	return r == Supervisor || r == Administrator
}

// Staff keeps users and their sessions.
type Staff struct {
	db    *sqlx.DB
	vault *vault.Vault
	clock courier.Clock
	opts  Options
}

// New returns a Staff; it starts nothing.
func New(db *sqlx.DB, v *vault.Vault, clock courier.Clock, opts Options) *Staff {
	if opts.Idle <= 0 {
		opts.Idle = 15 * time.Minute
	}
	if opts.Longest <= 0 {
		opts.Longest = 12 * time.Hour
	}
	return &Staff{db, v, clock, opts}
}

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,31}$`)

func normaliseName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// Create makes a user. The password is one that by knows, so it must be changed at the first sign-in; an empty one is
// drawn and returned, and cannot be had again.
func (s *Staff) Create(ctx context.Context, u User, password, by string) (User, string, error) {
	u.Name, u.FullName, u.Station = normaliseName(u.Name), strings.TrimSpace(u.FullName), strings.TrimSpace(u.Station)
	faults := checkUser(u)
	drawn := ""
	if password == "" {
		drawn = drawPassword()
		password = drawn
	} else {
		faults = append(faults, checkPassword(password, u.Name)...)
	}
	if len(faults) > 0 {
		return User{}, "", faults
	}
	hash, err := hashPassword(ctx, password)
	if err != nil {
		return User{}, "", err
	}
	u.ID, u.CreatedAt, u.MustChange = uuid.Must(uuid.NewV7()), s.clock.Wall(), true
	err = courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if err := insertUser(ctx, tx, u, hash); err != nil {
			return err
		}
		return audit.Append(ctx, tx, s.entry(by, "user.create", u, map[string]string{"role": string(u.Role), "station": u.Station}))
	})
	if err != nil {
		return User{}, "", err
	}
	return u, drawn, nil
}

func checkUser(u User) courier.Faults {
	var faults courier.Faults
	if !goodName.MatchString(u.Name) {
		faults = append(faults, courier.Fault{Field: "name", Code: "format", Detail: "登录名应为2至32位小写字母、数字、点、下划线或连字符，以字母或数字开头"})
	}
	if n := len([]rune(u.FullName)); n == 0 || n > 40 {
		faults = append(faults, courier.Fault{Field: "full_name", Code: "length", Detail: "请填写姓名，最多40个字"})
	}
	if !u.Role.known() {
		faults = append(faults, courier.Fault{Field: "role", Code: "unknown_value", Detail: "角色应为 counter、back_office、supervisor、administrator 或 auditor"})
	}
	if (u.Role == Counter) != (u.Station != "") {
		faults = append(faults, courier.Fault{Field: "station", Code: "role", Detail: "窗口人员须指定受理点，其他角色不指定"})
	}
	return faults
}

// Users lists all users by name.
func (s *Staff) Users(ctx context.Context) ([]User, error) { return listUsers(ctx, s.db) }

// ByName finds a user.
func (s *Staff) ByName(ctx context.Context, name string) (User, error) {
	u, err := findUser(ctx, s.db, normaliseName(name))
	return u.User, err
}

// Disable keeps a user from signing in, and ends all sessions. Users are never deleted: the audit names them.
func (s *Staff) Disable(ctx context.Context, id uuid.UUID, by string) error {
	return s.change(ctx, id, "user.disable", by, func(tx *sqlx.Tx, u userRow) error {
		return disableUser(ctx, tx, id, s.clock.Wall())
	})
}

// Enable lets a disabled user sign in again, with the password as it was.
func (s *Staff) Enable(ctx context.Context, id uuid.UUID, by string) error {
	return s.change(ctx, id, "user.enable", by, func(tx *sqlx.Tx, u userRow) error { return enableUser(ctx, tx, id) })
}

// ResetPassword gives a user another password, which must be changed at the next sign-in, lifts a lock-out and ends all
// sessions. An empty password is drawn and returned.
func (s *Staff) ResetPassword(ctx context.Context, id uuid.UUID, password, by string) (string, error) {
	drawn := ""
	if password == "" {
		drawn = drawPassword()
		password = drawn
	}
	err := s.newPassword(ctx, id, password, by, "user.password", true)
	return drawn, err
}

// KeepPassword lets a user go on with the password that was drawn, where that is no risk: in demos and tests.
func (s *Staff) KeepPassword(ctx context.Context, id uuid.UUID, by string) error {
	return s.change(ctx, id, "user.keep_password", by, func(tx *sqlx.Tx, u userRow) error {
		return savePassword(ctx, tx, id, u.hash, false, s.clock.Wall())
	})
}

// ResetSecondFactor takes a user's second factor away, for who has lost it with the recovery codes, and ends all sessions.
func (s *Staff) ResetSecondFactor(ctx context.Context, id uuid.UUID, by string) error {
	return s.change(ctx, id, "user.second_factor_reset", by, func(tx *sqlx.Tx, u userRow) error { return clearTOTP(ctx, tx, id) })
}

func (s *Staff) newPassword(ctx context.Context, id uuid.UUID, password, by, action string, mustChange bool) error {
	u, err := userByID(ctx, s.db, id)
	if err != nil {
		return err
	}
	if faults := checkPassword(password, u.Name); len(faults) > 0 {
		return faults
	}
	hash, err := hashPassword(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, id, action, by, func(tx *sqlx.Tx, u userRow) error {
		if err := forgetTries(ctx, tx, s.tryKey(tryName, u.Name)); err != nil {
			return err
		}
		return savePassword(ctx, tx, id, hash, mustChange, s.clock.Wall())
	})
}

// change does f to one locked user, ends all sessions and audits it.
func (s *Staff) change(ctx context.Context, id uuid.UUID, action, by string, f func(tx *sqlx.Tx, u userRow) error) error {
	return courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		u, err := lockUser(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := f(tx, u); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, id); err != nil {
			return err
		}
		return audit.Append(ctx, tx, s.entry(by, action, u.User, nil))
	})
}

func (s *Staff) entry(by, action string, u User, detail map[string]string) audit.Entry {
	if detail == nil {
		detail = map[string]string{}
	}
	detail["name"] = u.Name
	return audit.Entry{At: s.clock.Now(), Actor: by, Action: action, Object: u.ID.String(), Detail: detail}
}
