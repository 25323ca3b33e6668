package api

import (
	"net/http"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/notify/webhook"

	"github.com/google/uuid"
)

// webhookView is a subscriber as the API shows it; its secret is shown when it is made, and not again.
type webhookView struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	URL           string   `json:"url"`
	Types         []string `json:"types"`
	Ordered       bool     `json:"ordered"`
	Enabled       bool     `json:"enabled"`
	DisabledWhy   string   `json:"disabled_why,omitempty"`
	DisabledAt    string   `json:"disabled_at,omitempty"`
	After         int64    `json:"after"` // position of the feed behind which it is told
	PublicKey     string   `json:"public_key,omitempty"`
	OldPublicKey  string   `json:"old_public_key,omitempty"`
	OverlapUntil  string   `json:"overlap_until,omitempty"`
	Pending       int      `json:"pending"`
	Failed        int      `json:"failed"`
	Failures      int      `json:"failures"` // in a row
	FailingSince  string   `json:"failing_since,omitempty"`
	LastSuccessAt string   `json:"last_success_at,omitempty"`
	CreatedAt     string   `json:"created_at"`
	CreatedBy     string   `json:"created_by"`
	UpdatedAt     string   `json:"updated_at"`

	Secret string `json:"secret,omitempty"` // when it is made, and when it is rotated
}

func viewWebhook(e webhook.Endpoint) webhookView {
	return webhookView{ID: e.ID.String(), Name: e.Name, URL: e.URL, Types: e.Types, Ordered: e.Ordered, Enabled: e.Disabled == "", DisabledWhy: e.Disabled,
		DisabledAt: timeText(e.DisabledAt), After: e.After, PublicKey: e.PublicKey, OldPublicKey: e.OldPublicKey, OverlapUntil: timeText(e.OldUntil),
		Pending: e.Pending, Failed: e.Failed, Failures: e.Health.Failures, FailingSince: timeText(e.Health.FailingSince), LastSuccessAt: timeText(e.LastSuccessAt),
		CreatedAt: timeText(e.CreatedAt), CreatedBy: e.CreatedBy, UpdatedAt: timeText(e.UpdatedAt)}
}

// webhookBody is what somebody wants of a subscriber; what is left out stays, or is taken as it is by itself.
type webhookBody struct {
	Name    *string   `json:"name"`
	URL     *string   `json:"url"`
	Types   *[]string `json:"types"`
	Ordered *bool     `json:"ordered"`
	Ed25519 *bool     `json:"ed25519"`
	Enabled *bool     `json:"enabled"`
}

func (b webhookBody) wish() webhook.Wish {
	return webhook.Wish{Name: b.Name, URL: b.URL, Types: b.Types, Ordered: b.Ordered, Ed25519: b.Ed25519, Enabled: b.Enabled}
}

func (a *API) webhooks(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	all, err := a.hooks.List(r.Context())
	if err != nil {
		return err
	}
	out := struct {
		Webhooks []webhookView `json:"webhooks"`
	}{make([]webhookView, len(all))}
	for i, e := range all {
		out.Webhooks[i] = viewWebhook(e)
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// unrepeatable refuses an Idempotency-Key: the answer holds a secret, which must not be kept under it.
func unrepeatable(r *http.Request) error {
	if r.Header.Get("Idempotency-Key") != "" {
		return web.NewProblem(http.StatusBadRequest, "idempotency_not_supported", "应答含有密钥，不会保存，因此不能带 Idempotency-Key；如未收到应答，请先查看列表")
	}
	return nil
}

func (a *API) createWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	if err := unrepeatable(r); err != nil {
		return err
	}
	var in webhookBody
	if err := readJSON(r, &in); err != nil {
		return err
	}
	e, c, err := a.hooks.Create(r.Context(), in.wish(), t.Name)
	if err != nil {
		return err
	}
	v := viewWebhook(e)
	v.Secret = c.Secret
	w.Header().Set("Location", "/v1/webhooks/"+v.ID)
	web.WriteJSON(w, http.StatusCreated, "application/json", v)
	return nil
}

func (a *API) showWebhook(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	return a.withWebhook(w, r, func(id uuid.UUID) (webhook.Endpoint, error) { return a.hooks.Get(r.Context(), id) })
}

func (a *API) changeWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in webhookBody
	if err := readJSON(r, &in); err != nil {
		return err
	}
	return a.withWebhook(w, r, func(id uuid.UUID) (webhook.Endpoint, error) {
		return a.hooks.Change(r.Context(), id, in.wish(), t.Name)
	})
}

func (a *API) enableWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.withWebhook(w, r, func(id uuid.UUID) (webhook.Endpoint, error) { return a.hooks.Enable(r.Context(), id, t.Name) })
}

func (a *API) withWebhook(w http.ResponseWriter, r *http.Request, do func(uuid.UUID) (webhook.Endpoint, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	e, err := do(id)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewWebhook(e))
	return nil
}

func (a *API) deleteWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := a.hooks.Delete(r.Context(), id, t.Name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) rotateWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	if err := unrepeatable(r); err != nil {
		return err
	}
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Overlap string `json:"overlap"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	var overlap time.Duration
	if in.Overlap != "" {
		if overlap, err = time.ParseDuration(in.Overlap); err != nil || overlap < 0 {
			return courier.Faults{{Field: "overlap", Code: "format", Detail: "应为时长，例如 24h；0s 为旧密钥立即失效"}}
		}
		if overlap == 0 {
			overlap = -1
		}
	}
	e, c, err := a.hooks.RotateSecret(r.Context(), id, overlap, t.Name)
	if err != nil {
		return err
	}
	v := viewWebhook(e)
	v.Secret = c.Secret
	web.WriteJSON(w, http.StatusOK, "application/json", v)
	return nil
}

func (a *API) testWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	message, err := a.hooks.Test(r.Context(), id, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusAccepted, "application/json", struct {
		MessageID string `json:"message_id"`
	}{message})
	return nil
}

func (a *API) replayWebhook(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		MessageID string `json:"message_id"`
		After     int64  `json:"after"`
		Until     int64  `json:"until"`
		Failed    bool   `json:"failed"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	n, err := a.hooks.Replay(r.Context(), id, webhook.Replay{MessageID: strings.TrimSpace(in.MessageID), After: in.After, Until: in.Until, Failed: in.Failed}, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusAccepted, "application/json", struct {
		Messages int `json:"messages"`
	}{n})
	return nil
}

// webhookAttempts answers an endpoint's tries, the newest first.
func (a *API) webhookAttempts(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	limit, err := intParam(q.Get("limit"), 100, 1, 500)
	if err != nil {
		return badParam("limit", "应为 1 到 500 的整数")
	}
	page, err := a.hooks.Attempts(r.Context(), id, q.Get("cursor"), limit)
	if err != nil {
		return err
	}
	type attempt struct {
		MessageID string `json:"message_id,omitempty"`
		Type      string `json:"type,omitempty"`
		Position  int64  `json:"position,omitempty"`
		Try       int    `json:"try"`
		At        string `json:"at"`
		TookMS    int64  `json:"took_ms"`
		Outcome   string `json:"outcome"`
		Status    int    `json:"status,omitempty"`
		Detail    string `json:"detail,omitempty"`
	}
	out := struct {
		Attempts []attempt `json:"attempts"`
		Next     string    `json:"next_cursor,omitempty"`
	}{make([]attempt, len(page.Attempts)), page.Next}
	for i, x := range page.Attempts {
		out.Attempts[i] = attempt{x.MessageID, x.Type, x.Position, x.Try, x.At.UTC().Format(time.RFC3339Nano), x.Took.Milliseconds(), x.Outcome, x.Status, x.Detail}
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}
