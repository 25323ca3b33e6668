package webhook

import (
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// keys are what signs for an endpoint, in clear; empty ones are none.
type keys struct {
	secret, oldSecret string // whsec_…
	seed, oldSeed     string // of Ed25519, base64
	oldUntil          time.Time
}

// rotated gives new keys, with the present ones beside them for the overlap.
func (k keys) rotated(overlap time.Duration, wall time.Time) keys {
	next := keys{secret: newSecret()}
	if k.seed != "" {
		next.seed = newKeySeed()
	}
	if overlap > 0 {
		next.oldSecret, next.oldSeed, next.oldUntil = k.secret, k.seed, wall.Add(overlap)
	}
	return next
}

// signer gives what signs at a moment: the old keys only while their overlap lasts.
func (k keys) signer(wall time.Time) *signer {
	s := &signer{}
	s.add(k.secret, k.seed)
	if wall.Before(k.oldUntil) {
		s.add(k.oldSecret, k.oldSeed)
	}
	return s
}

// sealedKeys are keys as they are stored; nil is none.
type sealedKeys struct {
	Secret    []byte     `db:"secret_sealed"`
	OldSecret []byte     `db:"old_secret_sealed"`
	Seed      []byte     `db:"key_sealed"`
	OldSeed   []byte     `db:"old_key_sealed"`
	OldUntil  *time.Time `db:"old_until"`
}

func (s *Service) seal(id uuid.UUID, k keys) sealedKeys {
	seal := func(column, text string) []byte {
		if text == "" {
			return nil
		}
		return s.vault.Seal(column, id, text)
	}
	sealed := sealedKeys{Secret: seal(vault.ColumnWebhookSecret, k.secret), OldSecret: seal(vault.ColumnWebhookOldSecret, k.oldSecret),
		Seed: seal(vault.ColumnWebhookKey, k.seed), OldSeed: seal(vault.ColumnWebhookOldKey, k.oldSeed)}
	if k.oldSecret != "" {
		sealed.OldUntil = &k.oldUntil
	}
	return sealed
}

func (s sealedKeys) open(v *vault.Vault, id uuid.UUID) (keys, error) {
	var k keys
	for _, c := range []struct {
		column string
		sealed []byte
		to     *string
	}{
		{vault.ColumnWebhookSecret, s.Secret, &k.secret}, {vault.ColumnWebhookOldSecret, s.OldSecret, &k.oldSecret},
		{vault.ColumnWebhookKey, s.Seed, &k.seed}, {vault.ColumnWebhookOldKey, s.OldSeed, &k.oldSeed},
	} {
		if len(c.sealed) == 0 {
			continue
		}
		text, err := v.Unseal(c.column, id, c.sealed)
		if err != nil {
			return keys{}, err
		}
		*c.to = text.Reveal()
	}
	if s.OldUntil != nil {
		k.oldUntil = *s.OldUntil
	}
	return k, nil
}
