package api

import (
	"net/http"

	"emsd/courier"

	"github.com/google/uuid"
)

// nonReceiptView is somebody's word that an envelope did not arrive, and what was known then.
type nonReceiptView struct {
	ID         string        `json:"id"`
	SaidAt     string        `json:"said_at"`
	SaidBy     string        `json:"said_by"`
	RecordedBy string        `json:"recorded_by"`
	Facts      courier.Facts `json:"facts"`
	EndedAt    string        `json:"ended_at,omitempty"`
	Outcome    string        `json:"outcome,omitempty"`
	EndedBy    string        `json:"ended_by,omitempty"`
	Why        string        `json:"why,omitempty"`
}

func viewNonReceipt(n courier.NonReceipt) nonReceiptView {
	if n.Facts.Scans == nil {
		n.Facts.Scans = []courier.FactsScan{}
	}
	return nonReceiptView{n.ID.String(), timeText(n.SaidAt), n.SaidBy, n.RecordedBy, n.Facts, timeText(n.EndedAt), n.Outcome, n.EndedBy, n.Why}
}

// notReceived records that an envelope did not arrive.
func (a *API) notReceived(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		SaidBy string `json:"said_by" need:"应为以下之一：resident、clerk" oneof:"resident clerk"`
		Reason string `json:"reason" need:"请填写原因"`
	}
	return a.missing(w, r, &in, func(id uuid.UUID) (courier.View, error) {
		return a.service.ReportNotReceived(r.Context(), id, in.SaidBy, in.Reason, t.Name)
	})
}

// endNotReceived says how a report ended: found, resent or lost.
func (a *API) endNotReceived(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		Outcome string `json:"outcome" need:"应为以下之一：found、resent、lost" oneof:"found resent lost"`
		Reason  string `json:"reason" need:"请填写原因"`
	}
	return a.missing(w, r, &in, func(id uuid.UUID) (courier.View, error) {
		return a.service.EndNotReceived(r.Context(), id, in.Outcome, in.Reason, t.Name)
	})
}

// declareLost gives up an envelope that is not to be found.
func (a *API) declareLost(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		Reason string `json:"reason" need:"请填写原因"`
	}
	return a.missing(w, r, &in, func(id uuid.UUID) (courier.View, error) {
		return a.service.DeclareLost(r.Context(), id, in.Reason, t.Name)
	})
}

// missing reads what was posted about a missing envelope, and answers with what do made of it.
func (a *API) missing(w http.ResponseWriter, r *http.Request, in any, do func(uuid.UUID) (courier.View, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := readJSON(r, in); err != nil {
		return err
	}
	v, err := do(id)
	return answerAll(w, v, err)
}
