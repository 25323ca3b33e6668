package courier

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// A StoredAnswer is what the first request under an idempotency key was answered.
type StoredAnswer struct {
	Status      int
	ContentType string
	Location    string // of what was made, empty when nothing was
	Body        []byte
}

// idempotencyLease is how long a request without an answer counts as in progress: after it, its process is taken for
// dead, and a repetition may do the work, which is itself safe to repeat.
const idempotencyLease = time.Minute

// BeginIdempotent claims a key for one request whose work is no single transaction. It returns the stored answer of an earlier one with the same content,
// nil when this request is to be carried out, and a *Conflict or Faults when the key is in use.
func (s *Service) BeginIdempotent(ctx context.Context, token uuid.UUID, key string, requestHash []byte) (*StoredAnswer, error) {
	wall := s.clock.Wall()
	claimed, err := claimKey(ctx, s.db, token, key, requestHash, wall, wall.Add(-idempotencyLease))
	if err != nil || claimed {
		return nil, err
	}
	hash, answer, _, err := readKey(ctx, s.db, token, key)
	switch {
	case errors.Is(err, ErrNotFound): // given back between the claim and this look
		return nil, inProgress
	case err != nil:
		return nil, err
	case !bytes.Equal(hash, requestHash):
		return nil, keyReused
	case answer == nil:
		return nil, inProgress
	}
	return answer, nil
}

// FinishIdempotent stores the answer under its key.
func (s *Service) FinishIdempotent(ctx context.Context, token uuid.UUID, key string, a StoredAnswer) error {
	return finishKey(ctx, s.db, token, key, a)
}

// ForgetIdempotent gives a key back after a failure of ours, so that the caller may try again.
func (s *Service) ForgetIdempotent(ctx context.Context, token uuid.UUID, key string) error {
	return forgetKey(ctx, s.db, token, key)
}

// OpenIdempotent takes a key for the request whose work and answer are the transaction of Together. It returns the stored
// answer of an earlier one with the same content, nil when this request is to be carried out, and a *Conflict or Faults
// when the key is in use. The key is held by a lock of the transaction: whatever ends it, a dead process too, frees it.
func (s *Service) OpenIdempotent(ctx context.Context, token uuid.UUID, key string, requestHash []byte) (*StoredAnswer, error) {
	if err := lockKey(ctx, s.tx, token, key); err != nil {
		return nil, err
	}
	hash, answer, begun, err := readKey(ctx, s.tx, token, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(hash, requestHash):
		return nil, keyReused
	case answer == nil && begun.After(s.clock.Wall().Add(-idempotencyLease)):
		return nil, inProgress
	}
	return answer, nil
}

// StoreIdempotent puts the answer into the transaction that OpenIdempotent took the key in.
func (s *Service) StoreIdempotent(ctx context.Context, token uuid.UUID, key string, requestHash []byte, a StoredAnswer) error {
	return storeKey(ctx, s.tx, token, key, requestHash, a, s.clock.Wall())
}

var (
	keyReused  = Faults{{"Idempotency-Key", "reused", "该 Idempotency-Key 已用于另一个请求，请换一个新的值"}}
	inProgress = &Conflict{"in_progress", "相同 Idempotency-Key 的请求正在处理，请稍后再试"}
)

// PurgeIdempotency drops the answers given before a time.
func (s *Service) PurgeIdempotency(ctx context.Context, before time.Time) error {
	return purgeKeys(ctx, s.db, before)
}
