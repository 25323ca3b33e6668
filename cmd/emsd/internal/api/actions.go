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
	PaidAt        string `json:"paid_at" moment:"true"`
}

func (b *paymentBody) payment() courier.Payment {
	at, _ := time.Parse(time.RFC3339, b.PaidAt) // checked by its tag
	return courier.Payment{AmountFen: b.AmountFen, Method: b.Method, TransactionNo: b.TransactionNo, PaidAt: at}
}

func (b *paymentBody) check() courier.Faults { return courier.CheckPayment(b.payment()) }

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
	p := body.payment()
	p.RecordedBy = t.Name
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
		Reason string `json:"reason" need:"请填写原因"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	d, err := do(id, strings.TrimSpace(in.Reason))
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}

// addressBody is where the envelope is to go, as posted.
type addressBody struct {
	Reason   string       `json:"reason" need:"请填写原因"`
	Province string       `json:"province"`
	City     string       `json:"city"`
	County   string       `json:"county"`
	Address  vault.Secret `json:"address"`
}

func (b *addressBody) place() courier.Recipient {
	return courier.Recipient{Province: b.Province, City: b.City, County: b.County, Address: b.Address}
}

func (b *addressBody) check() courier.Faults { return courier.CheckDestination(b.place()) }

// address corrects where the envelope goes, before it is ordered.
func (a *API) address(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in addressBody
	if err := readJSON(r, &in); err != nil {
		return err
	}
	d, err := a.service.ChangeAddress(r.Context(), id, in.place(), in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}
