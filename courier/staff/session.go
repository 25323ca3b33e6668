package staff

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"

	"emsd/courier"
	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Stage is how far a sign-in has come. Only a full session shows more than the sign-in itself.
type Stage string

// The stages, in their order.
const (
	StageCode     Stage = "code"     // the password was right; the second factor is asked for
	StagePassword Stage = "password" // the password must be changed
	StageEnrol    Stage = "enrol"    // a second factor must be set up
	StageFull     Stage = "full"
)

// A Session is one person at one browser.
type Session struct {
	User      User
	Stage     Stage
	CreatedAt time.Time
	hash      []byte
}

// stageOf says what is still to be done before a session is full; coded says that the second factor was given.
func (s *Staff) stageOf(u User, coded bool) Stage {
	switch {
	case u.SecondFactor && !coded:
		return StageCode
	case u.MustChange:
		return StagePassword
	case !u.SecondFactor && s.opts.SecondFactor.demands(u.Role):
		return StageEnrol
	}
	return StageFull
}

// newToken has 256 bits, so that a plain hash is enough to keep it.
func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// seenEvery is how often a session's last request is written down: a write for every page would be one too many.
const seenEvery = time.Minute

// Session finds the session of a token; one that is unknown, has ended or belongs to a disabled user is
// courier.ErrNotFound.
func (s *Staff) Session(ctx context.Context, token string) (Session, error) {
	if token == "" || len(token) > 128 {
		return Session{}, courier.ErrNotFound
	}
	now := s.clock.Wall()
	sess, seen, err := findSession(ctx, s.db, tokenHash(token))
	switch {
	case err != nil:
		return Session{}, err
	case !sess.User.DisabledAt.IsZero(), now.Sub(seen) >= s.opts.Idle, now.Sub(sess.CreatedAt) >= s.opts.Longest:
		return Session{}, courier.ErrNotFound
	case now.Sub(seen) >= min(seenEvery, s.opts.Idle/4):
		err = touchSession(ctx, s.db, sess.hash, now)
	}
	return sess, err
}

// Idle is how long a session lasts without a request.
func (s *Staff) Idle() time.Duration { return s.opts.Idle }

// begin makes a session with a token of its own; old, if there is one, ends with it, so that no token outlives the stage
// that it was given for.
func (s *Staff) begin(ctx context.Context, tx *sqlx.Tx, u User, stage Stage, created time.Time, old []byte) (string, error) {
	if len(old) > 0 {
		if err := deleteSession(ctx, tx, old); err != nil {
			return "", err
		}
	}
	token := newToken()
	return token, insertSession(ctx, tx, tokenHash(token), u.ID, stage, created, s.clock.Wall())
}

// SignOut ends a session.
func (s *Staff) SignOut(ctx context.Context, sess Session) error {
	return courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if err := deleteSession(ctx, tx, sess.hash); err != nil {
			return err
		}
		return audit.Append(ctx, tx, s.entry(sess.User.Actor(), "sign_out", sess.User, nil))
	})
}

// ChangePassword replaces the password of the session's user; every other session of this user ends. It gives the token
// of the session that goes on.
func (s *Staff) ChangePassword(ctx context.Context, sess Session, old, wanted string) (string, error) {
	u, err := userByID(ctx, s.db, sess.User.ID)
	if err != nil {
		return "", err
	}
	if err := s.countTry(ctx, s.tryKey(tryName, u.Name), triesOfName); err != nil {
		return "", err
	}
	ok, err := matches(ctx, old, u.hash)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", courier.Faults{{Field: "old", Code: "wrong", Detail: "原密码不正确"}}
	}
	if old == wanted {
		return "", courier.Faults{{Field: "password", Code: "same", Detail: "新密码不能与原密码相同"}}
	}
	if err := s.newPassword(ctx, u.ID, wanted, sess.User.Actor(), "user.password_changed", false); err != nil {
		return "", err
	}
	var token string
	err = courier.InTx(ctx, s.db, func(tx *sqlx.Tx) (err error) {
		after := u.User
		after.MustChange = false
		token, err = s.begin(ctx, tx, after, s.stageOf(after, true), sess.CreatedAt, nil)
		return err
	})
	return token, err
}

// unmaskFor is how long one delivery's personal data is shown after somebody said why.
const unmaskFor = 5 * time.Minute

// Unmask lets the session show the personal data of a delivery for some minutes. That the session may see the delivery
// at all, the caller has found out by reading it.
func (s *Staff) Unmask(ctx context.Context, sess Session, delivery uuid.UUID, reason string) (time.Time, error) {
	until := s.clock.Wall().Add(unmaskFor)
	err := courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if err := saveUnmasking(ctx, tx, sess.hash, delivery, until); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: sess.User.Actor(), Action: "unmask", Object: delivery.String(),
			Detail: map[string]string{"reason": reason, "minutes": "5"}})
	})
	return until, err
}

// Mask ends an unmasking before its time.
func (s *Staff) Mask(ctx context.Context, sess Session, delivery uuid.UUID) error {
	return deleteUnmasking(ctx, s.db, sess.hash, delivery)
}

// UnmaskedUntil tells until when the session shows the personal data of a delivery; zero when it does not.
func (s *Staff) UnmaskedUntil(ctx context.Context, sess Session, delivery uuid.UUID) (time.Time, error) {
	until, err := unmaskedUntil(ctx, s.db, sess.hash, delivery)
	if err != nil || !until.After(s.clock.Wall()) {
		return time.Time{}, err
	}
	return until, nil
}

// Record audits something that a person looked at or took out, where nothing else is written: one entry for each object,
// one without an object if there is none.
func (s *Staff) Record(ctx context.Context, u User, action string, detail map[string]string, objects ...string) error {
	entries := make([]audit.Entry, 0, max(1, len(objects)))
	for _, object := range objects {
		entries = append(entries, audit.Entry{At: s.clock.Now(), Actor: u.Actor(), Action: action, Object: object, Detail: detail})
	}
	if len(objects) == 0 {
		entries = append(entries, audit.Entry{At: s.clock.Now(), Actor: u.Actor(), Action: action, Detail: detail})
	}
	return courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error { return audit.Append(ctx, tx, entries...) })
}

// RecordMany is Record for many objects at once: as few entries as can name them all, with the same detail.
func (s *Staff) RecordMany(ctx context.Context, u User, action string, detail map[string]string, ids []uuid.UUID) error {
	var entries []audit.Entry
	for part := range slices.Chunk(ids, audit.MostIDs) {
		entries = append(entries, audit.Entry{At: s.clock.Now(), Actor: u.Actor(), Action: action, Detail: audit.About(detail, part)})
	}
	return courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error { return audit.Append(ctx, tx, entries...) })
}

// Purge forgets sessions and tries that have long ended.
func (s *Staff) Purge(ctx context.Context) error {
	now := s.clock.Wall()
	return purgeSessions(ctx, s.db, now.Add(-s.opts.Longest), now.Add(-s.opts.Idle), now.Add(-tryWindow))
}
