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

// OpenIdempotent takes a key for the request whose work and answer are the transaction of Together. It returns the stored
// answer of an earlier one with the same content, nil when this request is to be carried out, and a *Conflict or Faults
// when the key is in use. The key is held by a lock of the transaction: whatever ends it, a dead process too, frees it.
func (s *Service) OpenIdempotent(ctx context.Context, token uuid.UUID, key string, requestHash []byte) (*StoredAnswer, error) {
	if err := lockKey(ctx, s.tx, token, key); err != nil {
		return nil, err
	}
	hash, answer, err := readKey(ctx, s.tx, token, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(hash, requestHash):
		return nil, keyReused
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
