package api

import (
	"net/http"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

// paymentBody is a payment, or a refund, as posted.
type paymentBody struct {
	AmountFen     int64  `json:"amount_fen"`
	Method        string `json:"method"`
	TransactionNo string `json:"transaction_no"`
	PaidAt        string `json:"paid_at"`
}

func (b paymentBody) payment(t courier.Token) (courier.Payment, error) {
	var faults courier.Faults
	at, err := time.Parse(time.RFC3339, b.PaidAt)
	if err != nil {
		faults = append(faults, courier.Fault{Field: "paid_at", Code: "format", Detail: "应为 RFC 3339 时间，例如 2026-11-22T09:00:00+08:00"})
	}
	p := courier.Payment{AmountFen: b.AmountFen, Method: b.Method, TransactionNo: b.TransactionNo, PaidAt: at, RecordedBy: t.Name}
	if faults = append(faults, courier.CheckPayment(p)...); len(faults) > 0 {
		return p, faults
	}
	return p, nil
}

func (a *API) pay(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.money(w, r, t, func(id uuid.UUID, p courier.Payment) (courier.Delivery, error) {
		return a.service.Pay(r.Context(), id, p)
	})
}

func (a *API) refund(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.money(w, r, t, func(id uuid.UUID, p courier.Payment) (courier.Delivery, error) {
		return a.service.Refund(r.Context(), id, p)
	})
}

func (a *API) money(w http.ResponseWriter, r *http.Request, t courier.Token, record func(uuid.UUID, courier.Payment) (courier.Delivery, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body paymentBody
	if err := readJSON(r, &body); err != nil {
		return err
	}
	p, err := body.payment(t)
	if err != nil {
		return err
	}
	d, err := record(id, p)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}

func (a *API) cancel(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.withReason(w, r, t, func(id uuid.UUID, reason string) (courier.Delivery, error) {
		return a.service.Cancel(r.Context(), id, reason, t.Name)
	})
}

func (a *API) retry(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	return a.withReason(w, r, t, func(id uuid.UUID, reason string) (courier.Delivery, error) {
		return a.service.Retry(r.Context(), id, reason, t.Name)
	})
}

func (a *API) withReason(w http.ResponseWriter, r *http.Request, t courier.Token, do func(uuid.UUID, string) (courier.Delivery, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Reason = strings.TrimSpace(in.Reason); in.Reason == "" {
		return courier.Faults{reasonMissing}
	}
	d, err := do(id, in.Reason)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}

var reasonMissing = courier.Fault{Field: "reason", Code: "required", Detail: "请填写原因"}

// address corrects where the envelope goes, before it is ordered.
func (a *API) address(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Reason   string       `json:"reason"`
		Province string       `json:"province"`
		City     string       `json:"city"`
		County   string       `json:"county"`
		Address  vault.Secret `json:"address"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return courier.Faults{reasonMissing}
	}
	d, err := a.service.ChangeAddress(r.Context(), id, courier.Recipient{Province: in.Province, City: in.City, County: in.County, Address: in.Address}, in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}
