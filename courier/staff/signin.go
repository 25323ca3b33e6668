package staff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"emsd/courier"
	"emsd/courier/audit"

	"github.com/jmoiron/sqlx"
)

// ErrSignIn is the one answer to a wrong name, a wrong password and a disabled user.
var ErrSignIn = errors.New("name or password is wrong")

// ErrCode is the answer to a wrong, old or used code.
var ErrCode = errors.New("the code is wrong or used")

// Locked says that there were too many tries, whether or not there is such a user.
type Locked struct{ Until time.Time } // wall

func (e *Locked) Error() string { return "too many tries; again at " + e.Until.Format(time.TimeOnly) }

// Tries within one window. A name is locked after few; an address, behind which a whole station may sit, after more.
const (
	tryWindow      = 15 * time.Minute
	triesOfName    = 5
	triesOfAddress = 30
)

// Kinds of keys under which tries are counted.
const (
	tryName    = "name"
	tryAddress = "address"
	tryCode    = "code"
)

// tryKey hides what was typed: it may be a password in the wrong field.
func (s *Staff) tryKey(kind, value string) []byte { return s.vault.Lookup("staff.try."+kind, value) }

// countTry counts a try before it is made, so that guesses at the same instant count one by one.
func (s *Staff) countTry(ctx context.Context, key []byte, most int) error {
	now := s.clock.Wall()
	tries, since, err := countTry(ctx, s.db, key, now, now.Add(-tryWindow))
	if err != nil {
		return err
	}
	if tries > most {
		return &Locked{since.Add(tryWindow)}
	}
	return nil
}

// SignIn checks name and password and begins a session; its stage says what is still asked for. Wrong names and wrong
// passwords are told apart neither by the answer nor by its time.
func (s *Staff) SignIn(ctx context.Context, name, password, address string) (string, Session, error) {
	name = normaliseName(name)
	byName, byAddress := s.tryKey(tryName, name), s.tryKey(tryAddress, address)
	if err := s.countTry(ctx, byAddress, triesOfAddress); err != nil {
		return "", Session{}, err
	}
	if err := s.countTry(ctx, byName, triesOfName); err != nil {
		return "", Session{}, err
	}
	u, err := findUser(ctx, s.db, name)
	known := err == nil
	if err != nil && !errors.Is(err, courier.ErrNotFound) {
		return "", Session{}, err
	}
	hash := u.hash
	if !known {
		hash = nobody()
	}
	ok, err := matches(ctx, password, hash)
	if err != nil {
		return "", Session{}, err
	}
	if !ok || !known || !u.DisabledAt.IsZero() {
		return "", Session{}, errors.Join(s.failed(ctx, "sign_in.failed", u.User, known, address), ErrSignIn)
	}
	now := s.clock.Wall()
	sess := Session{User: u.User, Stage: s.stageOf(u.User, false), CreatedAt: now}
	var token string
	err = courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if token, err = s.begin(ctx, tx, u.User, sess.Stage, now, nil); err != nil {
			return err
		}
		if err := forgetTries(ctx, tx, byName); err != nil {
			return err
		}
		if err := uncountTry(ctx, tx, byAddress); err != nil {
			return err
		}
		if sess.Stage == StageCode {
			return nil // it is no sign-in yet
		}
		return s.signedIn(ctx, tx, u.User, address)
	})
	sess.hash = tokenHash(token)
	return token, sess, err
}

func (s *Staff) signedIn(ctx context.Context, tx *sqlx.Tx, u User, address string) error {
	if err := saveSignIn(ctx, tx, u.ID, s.clock.Wall()); err != nil {
		return err
	}
	return audit.Append(ctx, tx, s.entry(u.Actor(), "sign_in", u, map[string]string{"address": address}))
}

// failed audits a failure. A name that nobody has is not written down.
func (s *Staff) failed(ctx context.Context, action string, u User, known bool, address string) error {
	e := audit.Entry{At: s.clock.Now(), Actor: "unknown", Action: action, Detail: map[string]string{"address": address}}
	if known {
		e = s.entry("unknown", action, u, e.Detail)
	}
	return courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error { return audit.Append(ctx, tx, e) })
}

// GiveCode takes the second step of a sign-in: a code of the second factor, or a recovery code. It gives the token of
// the session that goes on.
func (s *Staff) GiveCode(ctx context.Context, sess Session, code, address string) (string, Session, error) {
	if sess.Stage != StageCode {
		return "", Session{}, fmt.Errorf("a session at %s gave a code", sess.Stage)
	}
	key := s.tryKey(tryCode, sess.User.ID.String())
	if err := s.countTry(ctx, key, triesOfName); err != nil {
		return "", Session{}, err
	}
	var token string
	var wrong bool
	next := Session{User: sess.User, Stage: s.stageOf(sess.User, true), CreatedAt: sess.CreatedAt}
	err := courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		how, err := s.spendCode(ctx, tx, sess.User.ID, code)
		if err != nil {
			return err
		}
		if wrong = how == ""; wrong {
			return audit.Append(ctx, tx, s.entry("unknown", "sign_in.code_failed", sess.User, map[string]string{"address": address}))
		}
		if token, err = s.begin(ctx, tx, sess.User, next.Stage, sess.CreatedAt, sess.hash); err != nil {
			return err
		}
		if err := forgetTries(ctx, tx, key); err != nil {
			return err
		}
		if err := s.signedIn(ctx, tx, sess.User, address); err != nil || how != byRecovery {
			return err
		}
		return audit.Append(ctx, tx, s.entry(sess.User.Actor(), "user.recovery_code_used", sess.User, nil))
	})
	if err == nil && wrong {
		err = ErrCode
	}
	next.hash = tokenHash(token)
	return token, next, err
}
