package staff

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A desk is a Staff on a clock that the test moves.
type desk struct {
	*Staff
	t   *testing.T
	db  *sqlx.DB
	mu  sync.Mutex
	now time.Time
}

func newDesk(t *testing.T, opts Options) *desk {
	d := &desk{t: t, db: dbtest.Open(t), now: time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)}
	clock := func() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now }
	d.Staff = New(d.db, vault.Fixed([]byte("staff")), courier.Clock{Now: clock, Wall: clock}, opts)
	return d
}

func (d *desk) pass(by time.Duration) { d.mu.Lock(); defer d.mu.Unlock(); d.now = d.now.Add(by) }

const goodPassword = "four wet horses"

// user makes one whose password is the own one.
func (d *desk) user(name string, r Role) User {
	d.t.Helper()
	u, _, err := d.Create(d.t.Context(), User{Name: name, FullName: name, Role: r}, goodPassword, "operator")
	if err == nil {
		err = d.KeepPassword(d.t.Context(), u.ID, "operator")
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

func (d *desk) signIn(name string) (string, Session) {
	d.t.Helper()
	token, sess, err := d.SignIn(d.t.Context(), name, goodPassword, "10.0.0.1")
	if err != nil {
		d.t.Fatal(err)
	}
	return token, sess
}

func (d *desk) alive(token string) bool {
	d.t.Helper()
	_, err := d.Session(d.t.Context(), token)
	if err != nil && !errors.Is(err, courier.ErrNotFound) {
		d.t.Fatal(err)
	}
	return err == nil
}

func TestASessionEndsWhenIdleAndAfterADay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Options{})
	d.user("wang", BackOffice)
	token, _ := d.signIn("wang")
	for range 3 {
		d.pass(14 * time.Minute)
		if !d.alive(token) {
			t.Fatal("a session that is used every 14 minutes ended")
		}
	}
	d.pass(15 * time.Minute)
	if d.alive(token) {
		t.Error("a session outlived a quarter of an hour without a request")
	}
	token, _ = d.signIn("WANG ")
	for range 12*6 - 1 {
		d.pass(10 * time.Minute)
		if !d.alive(token) {
			t.Fatal("ended before 12 hours")
		}
	}
	d.pass(10 * time.Minute)
	if d.alive(token) {
		t.Error("a session outlived 12 hours")
	}
	if err := d.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := d.db.Get(&left, `SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM sign_in_tries WHERE since < $1)`, d.now.Add(-tryWindow)); err != nil || left != 0 {
		t.Errorf("purge left %d, %v", left, err)
	}
}

func TestEverythingThatChangesAUserEndsTheSessions(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Options{})
	for name, change := range map[string]func(u User, own Session) error{
		"disable": func(u User, _ Session) error { return d.Disable(t.Context(), u.ID, "operator") },
		"reset": func(u User, _ Session) error {
			_, err := d.ResetPassword(t.Context(), u.ID, "", "operator")
			return err
		},
		"second":   func(u User, _ Session) error { return d.ResetSecondFactor(t.Context(), u.ID, "operator") },
		"sign-out": func(_ User, own Session) error { return d.SignOut(t.Context(), own) },
	} {
		u := d.user(name, BackOffice)
		token, sess := d.signIn(name)
		if err := change(u, sess); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.alive(token) {
			t.Errorf("%s: the session goes on", name)
		}
	}
	u := d.user("own", BackOffice)
	elsewhere, _ := d.signIn("own")
	token, sess := d.signIn("own")
	if _, err := d.ChangePassword(t.Context(), sess, "not this", "four dry horses"); err == nil {
		t.Error("a password was changed without the old one")
	}
	next, err := d.ChangePassword(t.Context(), sess, goodPassword, "four dry horses")
	if err != nil {
		t.Fatal(err)
	}
	if d.alive(elsewhere) || d.alive(token) || !d.alive(next) {
		t.Error("after a change of the password another session than the new one goes on")
	}
	if _, _, err := d.SignIn(t.Context(), u.Name, goodPassword, "10.0.0.1"); !errors.Is(err, ErrSignIn) {
		t.Errorf("the old password: %v", err)
	}
	var tokens []string
	if err := d.db.Select(&tokens, `SELECT encode(hash, 'hex') FROM sessions`); err != nil {
		t.Fatal(err)
	}
	for _, h := range tokens {
		if h == next {
			t.Error("a token is kept in clear")
		}
	}
	report, err := audit.Verify(t.Context(), d.db)
	if err != nil || report.Fault != "" || report.Entries < 10 {
		t.Errorf("the audit: %+v, %v", report, err)
	}
}

func TestGuessesAtTheSameInstantAreCounted(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Options{})
	d.user("wang", BackOffice)
	var wg sync.WaitGroup
	results := make([]error, 12)
	for i := range results {
		wg.Go(func() {
			_, _, results[i] = d.SignIn(t.Context(), "wang", fmt.Sprintf("guess number %d", i), "10.0.0.9")
		})
	}
	wg.Wait()
	tried, locked := 0, 0
	for _, err := range results {
		if l := (*Locked)(nil); errors.As(err, &l) {
			locked++
		} else if errors.Is(err, ErrSignIn) {
			tried++
		} else {
			t.Errorf("a guess: %v", err)
		}
	}
	if tried != triesOfName || locked != len(results)-triesOfName {
		t.Errorf("%d were tried, %d refused", tried, locked)
	}
	if _, _, err := d.SignIn(t.Context(), "wang", goodPassword, "10.0.0.1"); err == nil {
		t.Error("the right password opens a locked name")
	}
	d.pass(tryWindow)
	d.signIn("wang")
	for range 3 * triesOfAddress { // right ones do not use the address up
		d.signIn("wang")
	}
}

func TestAnUnmaskingLastsFiveMinutesInOneSession(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Options{})
	d.user("wang", BackOffice)
	_, here := d.signIn("wang")
	_, there := d.signIn("wang")
	id := uuid.Must(uuid.NewV7())
	if _, err := d.db.Exec(`ALTER TABLE unmaskings DROP CONSTRAINT unmaskings_delivery_id_fkey`); err != nil { // no delivery is needed here
		t.Fatal(err)
	}
	if _, err := d.Unmask(t.Context(), here, id, "核对收件人"); err != nil {
		t.Fatal(err)
	}
	shown := func(s Session) bool {
		until, err := d.UnmaskedUntil(t.Context(), s, id)
		if err != nil {
			t.Fatal(err)
		}
		return !until.IsZero()
	}
	if !shown(here) || shown(there) {
		t.Errorf("here %v, in another session %v", shown(here), shown(there))
	}
	d.pass(5 * time.Minute)
	if shown(here) {
		t.Error("still shown after five minutes")
	}
	if _, err := d.Unmask(t.Context(), here, id, "再核对一次"); err != nil || !shown(here) {
		t.Error(err)
	}
	if err := d.Mask(t.Context(), here, id); err != nil || shown(here) {
		t.Error("not masked again", err)
	}
}
