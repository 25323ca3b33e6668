package emssim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// LedgerOrder is one order that was made.
type LedgerOrder struct {
	OrderNo     string    `json:"order_no"`
	WaybillNo   string    `json:"waybill_no"`
	PaymentMode string    `json:"payment_mode"`
	Product     string    `json:"product"`
	At          time.Time `json:"at"`
	Cancelled   bool      `json:"cancelled"`
	Outcome     Outcome   `json:"outcome"` // how its journey ends, unless something interferes
}

// PushCounts says what became of the pushes.
type PushCounts struct {
	Delivered int `json:"delivered"` // answered with 00000
	Failed    int `json:"failed"`    // tries that got no such answer
	GivenUp   int `json:"given_up"`  // events whose tries are used up
	Lost      int `json:"lost"`      // events lost on purpose, or for want of room
	Repeated  int `json:"repeated"`  // events sent twice on purpose
	Forged    int `json:"forged"`    // events that somebody without the key sends beside the true one
	Strange   int `json:"strange"`   // events of items that are not the receiver's
}

// Ledger is what EMS did, also where its reply was lost. Calls counts those that succeeded, Refused the others.
type Ledger struct {
	Orders          []LedgerOrder  `json:"orders"`
	Messages        any            `json:"messages"`
	Calls           map[string]int `json:"calls"`
	Refused         map[string]int `json:"refused"`
	NumbersReserved int            `json:"numbers_reserved"`
	Pushes          PushCounts     `json:"pushes"`

	Faults map[FaultKind]int `json:"faults"` // calls that each kind has hit
}

// Ledger returns a copy of the books.
func (c *Carrier) Ledger() Ledger {
	messages := any([]struct{}{})
	if c.cfg.Messages != nil {
		messages = c.cfg.Messages()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := Ledger{
		Orders: make([]LedgerOrder, 0, len(c.sequence)), Messages: messages, Calls: maps.Clone(c.calls), Refused: maps.Clone(c.refused),
		NumbersReserved: len(c.reserved), Pushes: c.pushed, Faults: c.faults.counts(),
	}
	for _, o := range c.sequence {
		l.Orders = append(l.Orders, LedgerOrder{o.ref, o.waybillNo, o.paymentMode, o.product, o.at, o.cancelled, o.outcome()})
	}
	return l
}

// ControlHandler serves /sim/ledger, /sim/faults, /sim/journey, /sim/scan and /sim/repeat for tests in other processes.
func (c *Carrier) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sim/ledger", func(w http.ResponseWriter, r *http.Request) {
		writeBody(w, http.StatusOK, jsonType, render(c.Ledger()))
	})
	mux.Handle("POST /sim/faults", control(c.controlFault))
	mux.HandleFunc("DELETE /sim/faults", func(w http.ResponseWriter, r *http.Request) {
		c.ClearFaults()
		if c.cfg.ClearOther != nil {
			c.cfg.ClearOther()
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("POST /sim/journey", control(c.controlJourney))
	mux.Handle("POST /sim/scan", control(c.controlScan))
	mux.Handle("POST /sim/repeat", control(c.controlRepeat))
	return mux
}

// control reads a JSON body of a known shape, acts on it, and answers 204, or 400 with the reason.
func control[T any](act func(T) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in T
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		dec.DisallowUnknownFields()
		err := dec.Decode(&in)
		if err == nil {
			err = act(in)
		}
		switch {
		case errors.Is(err, ErrNoOrder):
			writeBody(w, http.StatusNotFound, jsonType, render(map[string]string{"error": err.Error()}))
		case err != nil:
			writeBody(w, http.StatusBadRequest, jsonType, render(map[string]string{"error": err.Error()}))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

func (c *Carrier) controlFault(f Fault) error {
	if c.cfg.OtherFaults != nil {
		if taken, err := c.cfg.OtherFaults(f); taken || err != nil {
			return err
		}
	}
	if err := f.check(); err != nil {
		return err
	}
	c.SetFault(f)
	return nil
}

func (c *Carrier) controlRepeat(in struct {
	Repeat RepeatBehaviour `json:"repeat"`
}) error {
	switch in.Repeat {
	case RepeatSame, RepeatNew, RepeatRefuse:
		c.SetRepeat(in.Repeat)
		return nil
	}
	return fmt.Errorf("unknown repeat behaviour %q", in.Repeat)
}
