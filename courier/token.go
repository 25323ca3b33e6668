package courier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Token lets a machine use the API. Only a hash of its secret is kept.
type Token struct {
	ID         uuid.UUID
	Name       string
	Scopes     []string
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: not at all
	RevokedAt  time.Time
	LastUsedAt time.Time // to the minute

	RotatedAt   time.Time // zero: it has its first secret
	FormerUntil time.Time // until when the secret before it still opens it
}

// scopes that a token may have (contract).
var scopes = []string{"permits", "payments", "read", "clerk", "admin"}

// tokenPrefix makes a token that leaked recognisable, to people and to scanners of repositories.
const tokenPrefix = "emsd_"

// CreateToken makes a token and returns its secret, which cannot be had again. A ttl of 0 means until revoked.
func (s *Service) CreateToken(ctx context.Context, name string, wanted []string, ttl time.Duration, by string) (string, Token, error) {
	var faults Faults
	if name = strings.TrimSpace(name); name == "" {
		faults = append(faults, Fault{"name", "required", "请填写使用者名称"})
	}
	if len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(scopes, w) }) {
		faults = append(faults, Fault{"scopes", "unknown", "权限应为其中之一或几个：" + strings.Join(scopes, "、")})
	}
	if ttl < 0 {
		faults = append(faults, Fault{"ttl", "range", "有效期不能为负"})
	}
	if len(faults) > 0 {
		return "", Token{}, faults
	}
	now := s.clock.Now()
	t := Token{ID: uuid.Must(uuid.NewV7()), Name: name, Scopes: wanted, CreatedAt: now}
	if ttl > 0 {
		t.ExpiresAt = now.Add(ttl)
	}
	secret := newTokenSecret()
	err := InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if err := insertToken(ctx, tx, t, tokenHash(secret)); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "token.create", Object: t.ID.String(),
			Detail: map[string]string{"name": name, "scopes": strings.Join(wanted, ",")}})
	})
	return secret, t, err
}

// Authenticate finds the token of a secret; one that is unknown, revoked or expired is ErrNotFound.
func (s *Service) Authenticate(ctx context.Context, secret string) (Token, error) {
	if !strings.HasPrefix(secret, tokenPrefix) || len(secret) > 128 {
		return Token{}, ErrNotFound
	}
	t, err := findToken(ctx, s.db, tokenHash(secret), s.clock.Now())
	if err != nil {
		return Token{}, err
	}
	now := s.clock.Now()
	if !t.RevokedAt.IsZero() || (!t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)) {
		return Token{}, ErrNotFound
	}
	if now.Sub(t.LastUsedAt) >= time.Minute {
		if err := touchToken(ctx, s.db, t.ID, now); err != nil {
			return Token{}, err
		}
	}
	return t, nil
}

// Tokens lists all tokens, the newest first.
func (s *Service) Tokens(ctx context.Context) ([]Token, error) { return listTokens(ctx, s.db) }

// RevokeToken makes a token useless at once.
func (s *Service) RevokeToken(ctx context.Context, id uuid.UUID, by string) error {
	now := s.clock.Now()
	return InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		if err := revokeToken(ctx, tx, id, now); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "token.revoke", Object: id.String()})
	})
}

// RotateToken gives a token a new secret. The old one opens it, too, for as long as overlap, so that its user can change
// over without a gap; what it may do, its name and its idempotency keys stay. A secret older than the last ends at once.
func (s *Service) RotateToken(ctx context.Context, id uuid.UUID, overlap time.Duration, by string) (string, Token, error) {
	if overlap < 0 || overlap > maxOverlap {
		return "", Token{}, Faults{{"overlap", "range", "新旧密钥并用的时间应为 0 到 30 天"}}
	}
	now := s.clock.Now()
	secret := newTokenSecret()
	var t Token
	err := InTx(ctx, s.db, func(tx *sqlx.Tx) (err error) {
		if t, err = rotateToken(ctx, tx, id, tokenHash(secret), now, now.Add(overlap)); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "token.rotate", Object: id.String(),
			Detail: map[string]string{"former_until": t.FormerUntil.UTC().Format(time.RFC3339)}})
	})
	return secret, t, err
}

// maxOverlap keeps a secret that was to be changed from living on.
const maxOverlap = 30 * 24 * time.Hour

// newTokenSecret has 256 bits, so that a plain hash is enough to keep it.
func newTokenSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func tokenHash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
