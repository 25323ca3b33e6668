package api

import (
	"context"
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"
	"emsd/notify"

	"github.com/google/uuid"
)

// Messages gives what a delivery's resident was told, or why not.
type Messages interface {
	Messages(ctx context.Context, delivery uuid.UUID) ([]notify.MessageState, error)
}

// messageView is one message; its text is not kept.
type messageView struct {
	Milestone string `json:"milestone"`
	State     string `json:"state"`
	Verdict   string `json:"verdict"`
	Reason    string `json:"reason"`
	Gateway   string `json:"gateway,omitempty"` // of the last try
	Tries     int    `json:"tries"`
	CreatedAt string `json:"created_at"`
	SentAt    string `json:"sent_at,omitempty"`
	Receipt   string `json:"receipt,omitempty"` // delivered, failed, awaited or none
	ReceiptAt string `json:"receipt_at,omitempty"`
}

func (a *API) messagesTo(r *http.Request, delivery uuid.UUID) ([]messageView, error) {
	if a.messages == nil {
		return nil, nil
	}
	list, err := a.messages.Messages(r.Context(), delivery)
	var vs []messageView
	for _, m := range list {
		vs = append(vs, messageView{string(m.Milestone), m.State, m.Verdict, m.Reason, m.Gateway, m.Tries, timeText(m.CreatedAt),
			optionalTime(m.SentAt), m.Receipt(), optionalTime(m.ReceiptAt)})
	}
	return vs, err
}

func optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return timeText(*t)
}

// wrongPerson records that a delivery's number is somebody else's.
func (a *API) wrongPerson(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.withReason(w, r, t, func(id uuid.UUID, reason string) (courier.Delivery, error) {
		if err := a.refusals.WrongPerson(r.Context(), id, reason, t.Name, a.clock.Now()); err != nil {
			return courier.Delivery{}, err
		}
		v, err := a.service.Get(r.Context(), id)
		return v.Delivery, err
	})
}

// refusalView is one entry of the do-not-send list; the number is not kept.
type refusalView struct {
	ID        string `json:"id"`
	Source    string `json:"source"`
	Since     string `json:"since"`
	By        string `json:"by"`
	Why       string `json:"why"`
	LiftedAt  string `json:"lifted_at,omitempty"`
	LiftedBy  string `json:"lifted_by,omitempty"`
	LiftedWhy string `json:"lifted_why,omitempty"`
}

func (a *API) stopped(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	all, err := a.refusals.All(r.Context())
	if err != nil {
		return err
	}
	out := struct {
		Refusals []refusalView `json:"refusals"`
	}{[]refusalView{}}
	for _, one := range all {
		out.Refusals = append(out.Refusals, refusalView{one.ID.String(), one.Source, timeText(one.Since), one.By, one.Why,
			optionalTime(one.LiftedAt), one.LiftedBy, one.LiftedWhy})
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func (a *API) stop(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.changeRefusal(w, r, true, func(phone vault.Secret, why string) (bool, error) {
		return a.refusals.Add(r.Context(), phone, notify.Refusal{Source: "clerk", By: t.Name, Why: why, Since: a.clock.Now()})
	})
}

func (a *API) lift(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.changeRefusal(w, r, false, func(phone vault.Secret, why string) (bool, error) {
		return a.refusals.Lift(r.Context(), phone, t.Name, why, a.clock.Now())
	})
}

// changeRefusal reads the number from the body, so that none is in an address.
func (a *API) changeRefusal(w http.ResponseWriter, r *http.Request, stopped bool, do func(phone vault.Secret, why string) (bool, error)) error {
	var in struct {
		Phone vault.Secret `json:"phone"`
		Why   string       `json:"why"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	var faults courier.Faults
	if !notify.IsMobile(in.Phone.Reveal()) {
		faults = append(faults, courier.Fault{Field: "phone", Code: "format", Detail: "请填写11位手机号"})
	}
	why, err := courier.Scrub(courier.Recipient{Phone: in.Phone}, "why", in.Why)
	if more, ok := err.(courier.Faults); ok {
		faults = append(faults, more...)
	}
	if len(faults) > 0 {
		return faults
	}
	changed, err := do(in.Phone, why)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Stopped bool `json:"stopped"`
		Changed bool `json:"changed"` // false: it was so before
	}{stopped, changed})
	return nil
}
