package staff

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// issuer is what an authenticator app shows beside the name.
const issuer = "emsd"

// step is how long one code is valid; one step before and after is taken too, for clocks differ.
const step = 30

var codeForm = totp.ValidateOpts{Period: step, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1} // what every app can do

// An Enrolment is a second factor that waits to be confirmed with a code.
type Enrolment struct {
	Secret string // to type where there is no camera
	URL    string // otpauth://, for a QR code
}

// BeginEnrolment draws a secret for a user who has no second factor; calling again gives the same one until it is
// confirmed, so that a page that is loaded twice does not make the first picture useless.
func (s *Staff) BeginEnrolment(ctx context.Context, u User) (Enrolment, error) {
	var secret vault.Secret
	err := courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		row, err := lockUser(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		if row.SecondFactor {
			return &courier.Conflict{Code: "second_factor_exists", Detail: "已经设置了动态口令"}
		}
		if len(row.totp) > 0 {
			secret, err = s.vault.Unseal(vault.ColumnTOTP, u.ID, row.totp)
			return err
		}
		key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: u.Name, Period: step, Digits: otp.DigitsSix})
		if err != nil {
			return fmt.Errorf("draw a secret: %w", err)
		}
		secret = vault.Conceal(key.Secret())
		return saveTOTP(ctx, tx, u.ID, s.vault.Seal(vault.ColumnTOTP, u.ID, key.Secret()))
	})
	if err != nil {
		return Enrolment{}, err
	}
	text := secret.Reveal()
	return Enrolment{text, "otpauth://totp/" + issuer + ":" + u.Name + "?secret=" + text + "&issuer=" + issuer}, nil
}

// ConfirmEnrolment ends an enrolment with a first code and gives the recovery codes, which cannot be had again, and the
// token of the session that goes on.
func (s *Staff) ConfirmEnrolment(ctx context.Context, sess Session, code string) (token string, recovery []string, err error) {
	key := s.tryKey(tryCode, sess.User.ID.String())
	if err := s.countTry(ctx, key, triesOfName); err != nil {
		return "", nil, err
	}
	recovery = drawRecoveryCodes()
	hashes := make([][]byte, len(recovery))
	for i, c := range recovery {
		hashes[i] = recoveryHash(sess.User.ID, c)
	}
	now := s.clock.Wall()
	err = courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		row, err := lockUser(ctx, tx, sess.User.ID)
		if err != nil {
			return err
		}
		if row.SecondFactor || len(row.totp) == 0 {
			return &courier.Conflict{Code: "no_enrolment", Detail: "没有待确认的动态口令，请重新打开设置页"}
		}
		used, err := s.codeStep(row, code)
		if err != nil {
			return err
		}
		if used == 0 {
			return ErrCode
		}
		if err := confirmTOTP(ctx, tx, row.ID, used, now); err != nil {
			return err
		}
		if err := replaceRecoveryCodes(ctx, tx, row.ID, hashes); err != nil {
			return err
		}
		u := row.User
		u.SecondFactor = true
		if token, err = s.begin(ctx, tx, u, s.stageOf(u, true), sess.CreatedAt, sess.hash); err != nil {
			return err
		}
		if err := forgetTries(ctx, tx, key); err != nil {
			return err
		}
		return audit.Append(ctx, tx, s.entry(u.Actor(), "user.second_factor", u, nil))
	})
	if err != nil {
		return "", nil, err
	}
	return token, recovery, nil
}

// Ways of giving a code.
const (
	byTOTP     = "totp"
	byRecovery = "recovery"
)

// spendCode tries a code as one of the second factor, then as a recovery code, and uses it up; empty means that it is
// neither.
func (s *Staff) spendCode(ctx context.Context, tx *sqlx.Tx, user uuid.UUID, code string) (string, error) {
	row, err := lockUser(ctx, tx, user)
	if err != nil || !row.SecondFactor || !row.DisabledAt.IsZero() {
		return "", err
	}
	used, err := s.codeStep(row, code)
	if err != nil {
		return "", err
	}
	if used > 0 {
		return byTOTP, saveStep(ctx, tx, user, used)
	}
	ok, err := spendRecoveryCode(ctx, tx, user, recoveryHash(user, code), s.clock.Wall())
	if err != nil || !ok {
		return "", err
	}
	return byRecovery, nil
}

// codeStep tells the time step whose code was given; 0 when it is wrong, or was used before.
func (s *Staff) codeStep(row userRow, code string) (int64, error) {
	secret, err := s.vault.Unseal(vault.ColumnTOTP, row.ID, row.totp)
	if err != nil {
		return 0, err
	}
	code = plainCode(code)
	now := s.clock.Wall().Unix() / step
	for _, n := range []int64{now, now - 1, now + 1} {
		want, err := totp.GenerateCodeCustom(secret.Reveal(), time.Unix(n*step, 0), codeForm)
		if err != nil {
			return 0, fmt.Errorf("make a code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && n > row.step {
			return n, nil
		}
	}
	return 0, nil
}

func plainCode(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "　", "").Replace(strings.TrimSpace(s)))
}

// recoveryCodes is how many are handed out.
const recoveryCodes = 10

func drawRecoveryCodes() []string {
	codes := make([]string, recoveryCodes)
	for i := range codes {
		text := strings.ToLower(rand.Text())[:16] // 80 bits: a plain hash is enough to keep them
		codes[i] = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
	}
	return codes
}

func recoveryHash(user uuid.UUID, code string) []byte {
	sum := sha256.Sum256(append(user[:], plainCode(code)...))
	return sum[:]
}
