package webhook

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Service keeps the endpoints: who is told, what is sent again. It sends nothing itself.
type Service struct {
	on    courier.Handle
	vault *vault.Vault
	allow *Allow
	clock courier.Clock
}

// NewService returns a Service. With an empty list webhooks are off: endpoints can be looked at and deleted only.
func NewService(db *sqlx.DB, v *vault.Vault, allow *Allow, clock courier.Clock) *Service {
	return &Service{courier.HandleOf(db), v, allow, clock}
}

// On returns a Service for work on another handle: as a part of the transaction that is open there.
func (s *Service) On(h courier.Handle) *Service {
	bound := *s
	bound.on = h
	return &bound
}

// Off says that the operator allows no address, so that nobody is told anything.
func (s *Service) Off() bool { return s.allow.Empty() }

// Credentials are shown once: what a subscriber needs to verify.
type Credentials struct {
	Secret    string // whsec_…
	PublicKey string // whpk_…, with v1a
}

var errOff = &courier.Conflict{Code: "webhooks_off", Detail: "尚未配置允许的订阅地址（EMSD_WEBHOOK_ALLOW），不能使用订阅推送，请联系运维人员"}

// Create makes an endpoint, which is told of what comes behind the present end of the feed.
func (s *Service) Create(ctx context.Context, w Wish, by string) (Endpoint, Credentials, error) {
	if s.allow.Empty() {
		return Endpoint{}, Credentials{}, errOff
	}
	now := s.clock.Now()
	e := Endpoint{ID: uuid.Must(uuid.NewV7()), CreatedAt: now, CreatedBy: by, UpdatedAt: now, Types: []string{}}
	if faults := w.apply(&e, s.allow); len(faults) > 0 {
		return Endpoint{}, Credentials{}, faults
	}
	k := keys{secret: newSecret()}
	if w.Ed25519 != nil && *w.Ed25519 {
		k.seed = newKeySeed()
	}
	e.PublicKey = publicKey(k.seed)
	err := s.on.InTx(ctx, func(tx *sqlx.Tx) error {
		var err error
		if e.After, err = lockReader(ctx, tx); err != nil {
			return err
		}
		if n, err := countEndpoints(ctx, tx); err != nil || n >= maxEndpoints {
			if err == nil {
				err = &courier.Conflict{Code: "too_many_webhooks", Detail: "订阅地址已达上限 " + strconv.Itoa(maxEndpoints) + " 个，请先删除不用的"}
			}
			return err
		}
		if err := insertEndpoint(ctx, tx, e, s.seal(e.ID, k)); err != nil {
			return err
		}
		if w.Enabled != nil && !*w.Enabled {
			if err := s.disable(ctx, tx, &e, whyOperator); err != nil {
				return err
			}
		}
		return s.audit(ctx, tx, "webhook.create", e, by, nil)
	})
	return e, Credentials{k.secret, e.PublicKey}, err
}

// List gives every endpoint, the oldest first.
func (s *Service) List(ctx context.Context) ([]Endpoint, error) {
	rows, err := readEndpoints(ctx, s.on.Q(), nil)
	if err != nil {
		return nil, err
	}
	return s.endpoints(rows)
}

// Get gives one endpoint.
func (s *Service) Get(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	rows, err := readEndpoints(ctx, s.on.Q(), &id)
	if err != nil {
		return Endpoint{}, err
	}
	if len(rows) == 0 {
		return Endpoint{}, courier.ErrNotFound
	}
	all, err := s.endpoints(rows)
	if err != nil {
		return Endpoint{}, err
	}
	return all[0], nil
}

func (s *Service) endpoints(rows []endpointRow) ([]Endpoint, error) {
	all := make([]Endpoint, len(rows))
	for i, r := range rows {
		k, err := r.keys(s.vault)
		if err != nil {
			return nil, err
		}
		all[i] = r.endpoint(k, s.clock.Wall())
	}
	return all, nil
}

// change locks an endpoint, lets f work on it and audits what was done.
func (s *Service) change(ctx context.Context, id uuid.UUID, action, by string, f func(tx *sqlx.Tx, e *Endpoint, k *keys) (map[string]string, error)) (Endpoint, error) {
	err := s.on.InTx(ctx, func(tx *sqlx.Tx) error {
		row, err := lockEndpoint(ctx, tx, id)
		if err != nil {
			return err
		}
		k, err := row.keys(s.vault)
		if err != nil {
			return err
		}
		e := row.endpoint(k, s.clock.Wall())
		detail, err := f(tx, &e, &k)
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, action, e, by, detail)
	})
	if err != nil {
		return Endpoint{}, err
	}
	return s.Get(ctx, id)
}

// Change alters an endpoint. Enabling and disabling are part of it.
func (s *Service) Change(ctx context.Context, id uuid.UUID, w Wish, by string) (Endpoint, error) {
	return s.change(ctx, id, "webhook.change", by, func(tx *sqlx.Tx, e *Endpoint, k *keys) (map[string]string, error) {
		if faults := w.apply(e, s.allow); len(faults) > 0 {
			return nil, faults
		}
		if w.Ed25519 != nil && *w.Ed25519 != (k.seed != "") {
			k.seed, k.oldSeed = "", ""
			if *w.Ed25519 {
				k.seed = newKeySeed()
			}
		}
		e.UpdatedAt = s.clock.Now()
		if err := updateEndpoint(ctx, tx, *e, s.seal(id, *k)); err != nil {
			return nil, err
		}
		detail := map[string]string{"enabled": strconv.FormatBool(e.Disabled == "")}
		if w.Enabled != nil && *w.Enabled && e.Disabled != "" {
			detail["enabled"] = "true"
			return detail, s.enable(ctx, tx, e, by)
		}
		if w.Enabled != nil && !*w.Enabled && e.Disabled == "" {
			detail["enabled"] = "false"
			return detail, s.disable(ctx, tx, e, whyOperator)
		}
		return detail, nil
	})
}

// Enable lets an endpoint go on: what was queued meanwhile goes out, every waiting message with a new schedule.
func (s *Service) Enable(ctx context.Context, id uuid.UUID, by string) (Endpoint, error) {
	if s.allow.Empty() {
		return Endpoint{}, errOff
	}
	return s.change(ctx, id, "webhook.enable", by, func(tx *sqlx.Tx, e *Endpoint, _ *keys) (map[string]string, error) {
		return nil, s.enable(ctx, tx, e, by)
	})
}

func (s *Service) enable(ctx context.Context, tx *sqlx.Tx, e *Endpoint, by string) error {
	if err := s.allow.Check(e.URL); err != nil {
		return courier.Faults{{Field: "url", Code: "not_allowed", Detail: err.Error()}}
	}
	if err := enableEndpoint(ctx, tx, e.ID, s.clock.Now(), s.clock.Wall()); err != nil {
		return err
	}
	err := courier.CloseSubjectCase(ctx, tx, courier.SubjectClosing{Subject: subject(e.ID), Kind: courier.CaseWebhookDisabled, At: s.clock.Now(),
		Outcome: "enabled", By: by, Why: "订阅地址已重新启用"})
	if err != nil {
		return err
	}
	e.Disabled, e.DisabledAt = "", time.Time{}
	return courier.Wake(ctx, tx, courier.WakeWebhooks)
}

func (s *Service) disable(ctx context.Context, tx *sqlx.Tx, e *Endpoint, why string) error {
	e.Disabled, e.DisabledAt = why, s.clock.Wall()
	return disableEndpoint(ctx, tx, e.ID, why, e.DisabledAt)
}

// Delete forgets an endpoint and what was queued for it.
func (s *Service) Delete(ctx context.Context, id uuid.UUID, by string) error {
	return s.on.InTx(ctx, func(tx *sqlx.Tx) error {
		row, err := lockEndpoint(ctx, tx, id)
		if err != nil {
			return err
		}
		pending, err := deleteEndpoint(ctx, tx, id)
		if err != nil {
			return err
		}
		err = courier.CloseSubjectCase(ctx, tx, courier.SubjectClosing{Subject: subject(id), Kind: courier.CaseWebhookDisabled, At: s.clock.Now(),
			Outcome: "deleted", By: by, Why: "订阅地址已删除"})
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, "webhook.delete", row.endpoint(keys{}, s.clock.Wall()), by, map[string]string{"dropped": strconv.Itoa(pending)})
	})
}

// RotateSecret gives an endpoint a new secret, and a new key if it has one; for the overlap both sign. An overlap of 0 is a
// day, a negative one none.
func (s *Service) RotateSecret(ctx context.Context, id uuid.UUID, overlap time.Duration, by string) (Endpoint, Credentials, error) {
	if overlap == 0 {
		overlap = defaultOverlap
	}
	if overlap > maxOverlap {
		return Endpoint{}, Credentials{}, courier.Faults{{Field: "overlap", Code: "range", Detail: "新旧密钥并用最长 720h"}}
	}
	var c Credentials
	e, err := s.change(ctx, id, "webhook.rotate_secret", by, func(tx *sqlx.Tx, e *Endpoint, k *keys) (map[string]string, error) {
		*k = k.rotated(overlap, s.clock.Wall())
		c = Credentials{k.secret, publicKey(k.seed)}
		e.UpdatedAt = s.clock.Now()
		return map[string]string{"overlap": max(overlap, 0).String()}, updateEndpoint(ctx, tx, *e, s.seal(id, *k))
	})
	return e, c, err
}

// Test queues a message of type webhook.test for an endpoint and gives its id.
func (s *Service) Test(ctx context.Context, id uuid.UUID, by string) (string, error) {
	var message string
	_, err := s.change(ctx, id, "webhook.test", by, func(tx *sqlx.Tx, e *Endpoint, _ *keys) (map[string]string, error) {
		if err := s.sendable(e); err != nil {
			return nil, err
		}
		text, err := testBody(id, s.clock.Now())
		if err != nil {
			return nil, err
		}
		m := uuid.Must(uuid.NewV7())
		message = messageID(m)
		if err := insertTest(ctx, tx, id, m, text, s.clock.Wall()); err != nil {
			return nil, err
		}
		return map[string]string{"message": message}, courier.Wake(ctx, tx, courier.WakeWebhooks)
	})
	return message, err
}

func (s *Service) sendable(e *Endpoint) error {
	if s.allow.Empty() {
		return errOff
	}
	if e.Disabled != "" {
		return &courier.Conflict{Code: "webhook_disabled", Detail: "该订阅地址已停用，请先启用"}
	}
	return nil
}

// Replay queues messages of an endpoint again, under the same ids and with the same bodies, and tells how many. One that has
// no message yet, because the endpoint did not ask for its type then, gets none.
func (s *Service) Replay(ctx context.Context, id uuid.UUID, r Replay, by string) (int, error) {
	if faults := r.check(); len(faults) > 0 {
		return 0, faults
	}
	n := 0
	_, err := s.change(ctx, id, "webhook.replay", by, func(tx *sqlx.Tx, e *Endpoint, _ *keys) (map[string]string, error) {
		err := r.within(e.purged)
		if err != nil {
			return nil, err
		}
		if n, err = replay(ctx, tx, id, r, s.clock.Wall()); err != nil {
			return nil, err
		}
		if n == 0 && r.MessageID != "" {
			return nil, courier.ErrNotFound
		}
		detail := map[string]string{"messages": strconv.Itoa(n)}
		switch {
		case r.MessageID != "":
			detail["message"] = r.MessageID
		case r.Failed:
			detail["failed"] = "true"
		default:
			detail["after"], detail["until"] = strconv.FormatInt(r.After, 10), strconv.FormatInt(r.Until, 10)
		}
		return detail, courier.Wake(ctx, tx, courier.WakeWebhooks)
	})
	return n, err
}

// An AttemptPage is a part of an endpoint's tries, the newest first; Next is the cursor of the page behind it.
type AttemptPage struct {
	Attempts []Attempt
	Next     string
}

// Attempts lists an endpoint's tries.
func (s *Service) Attempts(ctx context.Context, id uuid.UUID, cursor string, limit int) (AttemptPage, error) {
	before := int64(0)
	if cursor != "" {
		n, err := strconv.ParseInt(strings.TrimPrefix(cursor, "t"), 10, 64)
		if err != nil || n < 1 {
			return AttemptPage{}, courier.Faults{{Field: "cursor", Code: "format", Detail: "游标无效，请使用上一页给出的 next_cursor"}}
		}
		before = n
	}
	if _, err := s.Get(ctx, id); err != nil {
		return AttemptPage{}, err
	}
	all, err := listAttempts(ctx, s.on.Q(), id, before, limit+1)
	if err != nil {
		return AttemptPage{}, err
	}
	p := AttemptPage{Attempts: all}
	if len(all) > limit {
		p.Attempts = all[:limit]
		p.Next = "t" + strconv.FormatInt(p.Attempts[limit-1].ID, 10)
	}
	return p, nil
}

func (s *Service) audit(ctx context.Context, tx *sqlx.Tx, action string, e Endpoint, by string, more map[string]string) error {
	host := ""
	if u, err := url.Parse(e.URL); err == nil { // the rest of an address may be a secret between subscriber and network
		host = u.Scheme + "://" + u.Host
	}
	detail := map[string]string{"name": e.Name, "host": host, "types": strings.Join(e.Types, " "), "ordered": strconv.FormatBool(e.Ordered)}
	for k, v := range more {
		detail[k] = v
	}
	return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: by, Action: action, Object: e.ID.String(), Detail: detail})
}
